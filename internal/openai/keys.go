package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Project is a project of the organization.
type Project struct {
	ID, Name string
	Status   string // "active" or "archived"
}

// A Key is a key as the Admin API lists it: its value is masked.
type Key struct {
	ID, Name  string
	Redacted  string // the masked value, as the server writes it
	ProjectID string // "" for an admin key
	Owner     Owner

	CreatedAt, LastUsedAt, ExpiresAt time.Time // UTC; zero where the server names none
}

// An Owner is a person or a service account.
type Owner struct{ Type, ID, Name, Email string }

const adminKeysPath = "/organization/admin_api_keys"

// Projects returns every project of the organization, archived ones too: their
// keys may still work. A list that cannot be read in full is an error.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	all, err := list[wireProject](ctx, c, "/organization/projects", url.Values{"include_archived": {"true"}})
	if err != nil {
		return nil, err
	}
	projects := make([]Project, len(all))
	for i, p := range all {
		projects[i] = Project{ID: string(p.ID), Name: string(p.Name), Status: string(p.Status)}
	}
	return projects, nil
}

// ProjectKeys returns every key of a project, those of people who have left it
// included. A list that cannot be read in full is an error.
func (c *Client) ProjectKeys(ctx context.Context, project string) ([]Key, error) {
	path, err := c.projectKeysPath(project)
	if err != nil {
		return nil, err
	}
	// Without this parameter enabled keys may be missing from the list.
	return c.keys(ctx, path, project, url.Values{"owner_project_access": {"any"}})
}

// AdminKeys returns every admin key of the organization. A list that cannot be
// read in full is an error.
func (c *Client) AdminKeys(ctx context.Context) ([]Key, error) {
	return c.keys(ctx, adminKeysPath, "", url.Values{})
}

// ProjectKey returns one key of a project. It is ErrNotFound if there is none.
func (c *Client) ProjectKey(ctx context.Context, project, id string) (Key, error) {
	path, err := c.projectKeyPath(project, id)
	if err != nil {
		return Key{}, err
	}
	return c.key(ctx, path, project, id)
}

// AdminKey returns one admin key. It is ErrNotFound if there is none.
func (c *Client) AdminKey(ctx context.Context, id string) (Key, error) {
	path, err := below(adminKeysPath, id)
	if err != nil {
		return Key{}, err
	}
	return c.key(ctx, path, "", id)
}

// DeleteProjectKey deletes a key of a project. The error is ErrNotFound if the
// key was gone before, and ErrOutcomeUnknown if the answer was lost or says that
// nothing was deleted: look the key up before sending the deletion again.
func (c *Client) DeleteProjectKey(ctx context.Context, project, id string) error {
	path, err := c.projectKeyPath(project, id)
	if err != nil {
		return err
	}
	return c.remove(ctx, path)
}

// DeleteAdminKey deletes an admin key, as [Client.DeleteProjectKey] does.
func (c *Client) DeleteAdminKey(ctx context.Context, id string) error {
	path, err := below(adminKeysPath, id)
	if err != nil {
		return err
	}
	return c.remove(ctx, path)
}

func (c *Client) projectKeysPath(project string) (string, error) {
	p, err := segment(project)
	if err != nil {
		return "", fmt.Errorf("the project's id: %w", err)
	}
	return strings.ReplaceAll(c.keysPath, "{project_id}", p), nil
}

func (c *Client) projectKeyPath(project, id string) (string, error) {
	path, err := c.projectKeysPath(project)
	if err != nil {
		return "", err
	}
	return below(path, id)
}

// below returns the path of the key id in the list at path.
func below(path, id string) (string, error) {
	k, err := segment(id)
	if err != nil {
		return "", fmt.Errorf("the key's id: %w", err)
	}
	return path + "/" + k, nil
}

func (c *Client) keys(ctx context.Context, path, project string, query url.Values) ([]Key, error) {
	all, err := list[wireKey](ctx, c, path, query)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(all))
	for i, k := range all {
		keys[i] = k.key(project)
	}
	return keys, nil
}

func (c *Client) key(ctx context.Context, path, project, id string) (Key, error) {
	var k wireKey
	if err := c.get(ctx, path, nil, &k); err != nil {
		return Key{}, err
	}
	if k.id() != id {
		return Key{}, fmt.Errorf("GET %s: the answer is about %s, another key", c.admin.clean(path), c.admin.clean(strconv.Quote(k.id())))
	}
	return k.key(project), nil
}

const (
	pageSize = "100" // the most that the API gives at once
	maxPages = 10_000
)

// list reads all pages of the list at path. A page that is missed is a key that
// is not matched, so anything but a list that plainly ends is an error.
func list[T interface{ id() string }](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	query.Set("limit", pageSize)
	var all []T
	seen := make(map[string]bool)
	for n := range maxPages {
		var p page[T]
		if err := c.get(ctx, path, query, &p); err != nil {
			return nil, fmt.Errorf("page %d: %w", n+1, err)
		}
		next, err := p.next(seen)
		if err != nil {
			return nil, fmt.Errorf("page %d: GET %s: %s", n+1, c.admin.clean(path), c.admin.clean(err.Error()))
		}
		all = append(all, p.Data...)
		if next == "" {
			return all, nil
		}
		if next == query.Get("after") {
			return nil, fmt.Errorf("page %d: GET %s: the list does not advance", n+1, c.admin.clean(path))
		}
		query.Set("after", next)
	}
	return nil, fmt.Errorf("GET %s: the list does not end within %d pages", c.admin.clean(path), maxPages)
}

// A page is one page of a list.
type page[T interface{ id() string }] struct {
	Data    []T   `json:"data"`
	LastID  text  `json:"last_id"`
	HasMore *bool `json:"has_more"`
}

// next returns where the next page starts, or "" if p is the last one. The ids
// that p holds are added to seen and must be new there.
func (p page[T]) next(seen map[string]bool) (string, error) {
	if p.Data == nil || p.HasMore == nil {
		return "", errors.New("the answer is no list: data or has_more is missing")
	}
	for _, item := range p.Data {
		switch id := item.id(); {
		case id == "":
			return "", errors.New("the list holds an entry without id")
		case seen[id]:
			return "", fmt.Errorf("the list repeats %q", shown(id))
		default:
			seen[id] = true
		}
	}
	switch {
	case !*p.HasMore:
		return "", nil
	case len(p.Data) == 0:
		return "", errors.New("the list claims to go on after an empty page")
	}
	// last_id may be null although there is more.
	return cmp.Or(string(p.LastID), p.Data[len(p.Data)-1].id()), nil
}

// A wireProject is a project as the API writes it.
type wireProject struct {
	ID     text `json:"id"`
	Name   text `json:"name"`
	Status text `json:"status"`
}

func (p wireProject) id() string { return string(p.ID) }

// A wireKey is a key as the API writes it. The owner of a project's key is
// below the word for what it is, the owner of an admin key is flat.
type wireKey struct {
	ID         text `json:"id"`
	Name       text `json:"name"`
	Redacted   text `json:"redacted_value"`
	CreatedAt  unix `json:"created_at"`
	LastUsedAt unix `json:"last_used_at"`
	ExpiresAt  unix `json:"expires_at"`
	Owner      struct {
		Type text `json:"type"`
		wireOwner
		User           *wireOwner `json:"user"`
		ServiceAccount *wireOwner `json:"service_account"`
	} `json:"owner"`
}

type wireOwner struct {
	ID    text `json:"id"`
	Name  text `json:"name"`
	Email text `json:"email"`
}

func (k wireKey) id() string { return string(k.ID) }

func (k wireKey) key(project string) Key {
	owner := *cmp.Or(k.Owner.User, k.Owner.ServiceAccount, &k.Owner.wireOwner)
	return Key{
		ID:        string(k.ID),
		Name:      string(k.Name),
		Redacted:  string(k.Redacted),
		ProjectID: project,
		Owner: Owner{
			Type:  string(k.Owner.Type),
			ID:    string(owner.ID),
			Name:  string(owner.Name),
			Email: string(owner.Email),
		},
		CreatedAt:  time.Time(k.CreatedAt),
		LastUsedAt: time.Time(k.LastUsedAt),
		ExpiresAt:  time.Time(k.ExpiresAt),
	}
}

// unix decodes seconds since 1970, as a number or as a string that holds one.
// What is neither, or no date of four digits, is the zero time: dates are shown
// to people and decide nothing.
type unix time.Time

// UnmarshalJSON never fails.
func (u *unix) UnmarshalJSON(data []byte) error {
	*u = unix{}
	seconds, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if err == nil && seconds > 0 && seconds < 253402300800 { // the year 10000
		*u = unix(time.Unix(int64(seconds), 0).UTC())
	}
	return nil
}
