package responder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/conc/iter"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// An inventory is the organization's keys, read once and then kept for a while.
// It is safe for concurrent use.
type inventory struct {
	mu   sync.Mutex
	full *listing // nil until a list was read in full
	at   time.Time
}

// maxListAge bounds how old a list may be: a key that was made since then is
// missing in it, and another of its shape would look like the only one.
const maxListAge = 10 * time.Minute

// A listing is every key of an organization, or as much of it as could be read.
type listing struct {
	projects []openai.Project
	keys     []openai.Key // of all projects
	admins   []openai.Key
}

// of returns the keys among which one of the kind is to be sought.
func (l listing) of(kind finding.Kind) []openai.Key {
	switch kind {
	case finding.AdminKey:
		return l.admins
	case finding.SessionToken, finding.EphemeralToken:
		return nil
	}
	return l.keys
}

// project returns the project with the id, and at least its id.
func (l listing) project(id string) *finding.Project {
	for _, p := range l.projects {
		if p.ID == id {
			return &finding.Project{ID: p.ID, Name: p.Name}
		}
	}
	return &finding.Project{ID: id}
}

// hold reports whether the key is listed.
func (l listing) hold(key openai.Key) bool {
	all := l.keys
	if key.ProjectID == "" {
		all = l.admins
	}
	return slices.ContainsFunc(all, func(k openai.Key) bool { return k.ID == key.ID && k.ProjectID == key.ProjectID })
}

// read returns the organization's keys. With an error, the listing holds
// what could be read, and must not be used to decide that a key is the only
// one of its shape.
func (v *inventory) read(ctx context.Context, client *openai.Client, log *slog.Logger) (listing, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.full != nil && time.Since(v.at) < maxListAge {
		return *v.full, nil
	}
	asked := time.Now()
	l, err := list(ctx, client)
	log.Info("listed the organization", "projects", len(l.projects), "keys", len(l.keys), "admin keys", len(l.admins), "complete", err == nil)
	if err == nil {
		v.full, v.at = &l, asked
	}
	return l, err
}

// maxLists bounds how many projects are listed side by side: the limits of the
// Admin API are not documented.
const maxLists = 4

// list asks for all keys of the organization.
func list(ctx context.Context, client *openai.Client) (listing, error) {
	var l listing
	admins, adminErr := client.AdminKeys(ctx)
	if adminErr != nil {
		adminErr = fmt.Errorf("list the admin keys: %w", adminErr)
	}
	l.admins = admins
	projects, err := client.Projects(ctx)
	if err != nil {
		return l, errors.Join(fmt.Errorf("list the projects: %w", err), adminErr)
	}
	l.projects = projects

	keys := make([][]openai.Key, len(projects))
	errs := make([]error, len(projects))
	iter.Iterator[openai.Project]{MaxGoroutines: maxLists}.ForEachIdx(projects, func(i int, p *openai.Project) {
		if keys[i], errs[i] = client.ProjectKeys(ctx, p.ID); errs[i] != nil {
			errs[i] = fmt.Errorf("list the keys of project %s: %w", finding.Printable(p.ID), errs[i])
		}
	})
	l.keys = slices.Concat(keys...)
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	const named = 5
	if more := len(errs) - named; more > 0 {
		errs = append(errs[:named], fmt.Errorf("and the keys of %d more projects", more))
	}
	return l, errors.Join(adminErr, errors.Join(errs...))
}
