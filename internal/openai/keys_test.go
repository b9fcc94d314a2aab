package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/internal/sandbox"
)

func TestListsAreReadInFull(t *testing.T) {
	for _, nullLastID := range []bool{false, true} {
		t.Run(fmt.Sprintf("null last_id %v", nullLastID), func(t *testing.T) {
			sb := sandbox.NewOpenAI(adminKey)
			sb.SetFaults(sandbox.OpenAIFaults{NullLastID: nullLastID})
			var projects, keys, admins []string
			for i := range 230 {
				p := sb.AddProject(fmt.Sprintf("proj_%03d", i), "")
				projects = append(projects, fmt.Sprintf("proj_%03d", i))
				if i == 7 {
					p.Archive()
					for j := range 200 {
						owner := sandbox.Person("Ada")
						owner.Left = j%3 == 0
						keys = append(keys, p.AddKey("", made("sk-proj-", 74, fmt.Sprintf("%04d", j)), owner).ID)
					}
				}
			}
			for i := range 101 {
				k := sb.AddAdminKey("", made("sk-admin-", 58, fmt.Sprintf("%04d", i)), sandbox.Person("Ada"))
				admins = append(admins, k.ID)
			}
			c := connect(t, sb)
			gotProjects, err := c.Projects(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			gotKeys, err := c.ProjectKeys(t.Context(), "proj_007")
			if err != nil {
				t.Fatal(err)
			}
			gotAdmins, err := c.AdminKeys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, p := range gotProjects {
				ids = append(ids, p.ID)
			}
			if diff := cmp.Diff(projects, ids); diff != "" {
				t.Errorf("projects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(keys, keyIDs(gotKeys)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(admins, keyIDs(gotAdmins)[1:]); diff != "" { // the first is the client's own
				t.Errorf("admin keys (-want +got):\n%s", diff)
			}
			if gotProjects[7].Status != "archived" || gotProjects[8].Status != "active" {
				t.Errorf("statuses are %q and %q", gotProjects[7].Status, gotProjects[8].Status)
			}
		})
	}
}

func keyIDs(keys []Key) []string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

// pages serves bodies in order, one for each request, the last one for ever.
func pages(bodies ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, bodies[0])
		if len(bodies) > 1 {
			bodies = bodies[1:]
		}
	})
}

func TestBrokenListsAreErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pages []string
		want  string
	}{
		{"does not advance", []string{
			`{"data":[{"id":"a"}],"last_id":"x","has_more":true}`,
			`{"data":[{"id":"b"}],"last_id":"x","has_more":true}`,
		}, "page 2: GET /organization/admin_api_keys: the list does not advance"},
		{"repeats a page", []string{`{"data":[{"id":"a"}],"last_id":null,"has_more":true}`}, `page 2: GET /organization/admin_api_keys: the list repeats "a"`},
		{"repeats a page at the end", []string{
			`{"data":[{"id":"a"}],"last_id":"a","has_more":true}`,
			`{"data":[{"id":"a"}],"last_id":"a","has_more":false}`,
		}, `the list repeats "a"`},
		{"goes on after nothing", []string{`{"data":[],"last_id":"a","has_more":true}`}, "after an empty page"},
		{"entry without id", []string{`{"data":[{"name":"a"}],"has_more":false}`}, "without id"},
		{"null entry", []string{`{"data":[null],"has_more":false}`}, "without id"},
		{"no data", []string{`{"has_more":false}`}, "is no list"},
		{"null data", []string{`{"data":null,"has_more":false}`}, "is no list"},
		{"no has_more", []string{`{"data":[{"id":"a"}]}`}, "is no list"},
		{"null", []string{`null`}, "is no list"},
		{"data of another type", []string{`{"data":{"id":"a"},"has_more":false}`}, "not the Admin API's"},
		{"broken off", []string{`{"data":[{"id":"a"}],"has_more":fal`}, "not the Admin API's"},
		{"HTML with status 200", []string{`<html>Sign in</html>`}, "not the Admin API's"},
		{"empty", []string{``}, "not the Admin API's"},
		{"more than one answer", []string{`{"data":[],"has_more":false}{}`}, "not the Admin API's"},
		{"too long", []string{`{"data":[],"has_more":false}` + strings.Repeat(" ", maxAnswer)}, "too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			keys, err := connect(t, pages(tc.pages...)).AdminKeys(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error does not say %q: %v", tc.want, err)
			}
			if keys != nil {
				t.Errorf("keys beside an error: %v", keys)
			}
		})
	}
}

func TestEndlessListEnds(t *testing.T) {
	n := 0
	c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, `{"data":[{"id":"key_%d"}],"has_more":true}`, n)
	}))
	if _, err := c.AdminKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("the error does not say why: %v", err)
	}
	if n != maxPages {
		t.Errorf("%d pages were read, want %d", n, maxPages)
	}
}

func TestFailedPageIsNamed(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	p := sb.AddProject("proj_a", "Alpha")
	for i := range 250 {
		p.AddKey("", made("sk-proj-", 74, fmt.Sprintf("%04d", i)), sandbox.Person("Ada"))
	}
	sb.Fail(sandbox.OpenAIFailure{Path: "/organization/projects/proj_a/api_keys", Page: 3, Status: 403, Body: sandbox.BareForbidden})
	_, err := connect(t, sb).ProjectKeys(t.Context(), "proj_a")
	refused, ok := errors.AsType[*Error](err)
	if !ok || refused.Status != 403 || refused.Path != "/organization/projects/proj_a/api_keys" {
		t.Fatalf("the error is %v", err)
	}
	if !strings.HasPrefix(err.Error(), "page 3: ") || !strings.Contains(err.Error(), "that has api.management.read") {
		t.Errorf("the error names no page or no scope: %v", err)
	}
}

func TestKeyFields(t *testing.T) {
	unixTime := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, body string
		want       Key
	}{
		{
			"a person's",
			`{"object":"organization.project.api_key","id":"key_a","name":"ci","redacted_value":"sk-proj-****abcA","new":{"x":[1]},
			 "created_at":1795168800,"last_used_at":1795168800,"expires_at":1795168800,
			 "owner":{"type":"user","user":{"id":"user-a","name":"Ada","email":"ada@example.com","role":"owner","created_at":1}}}`,
			Key{ID: "key_a", Name: "ci", Redacted: "sk-proj-****abcA", CreatedAt: unixTime, LastUsedAt: unixTime, ExpiresAt: unixTime,
				Owner: Owner{Type: "user", ID: "user-a", Name: "Ada", Email: "ada@example.com"}},
		},
		{
			"a service account's, never used",
			`{"id":"key_a","name":null,"redacted_value":"sk-svcac…xyzA","created_at":1795168800.9,"last_used_at":null,
			 "owner":{"type":"service_account","user":null,"service_account":{"id":"svc_a","name":"bot","role":"member"}}}`,
			Key{ID: "key_a", Redacted: "sk-svcac…xyzA", CreatedAt: unixTime, Owner: Owner{Type: "service_account", ID: "svc_a", Name: "bot"}},
		},
		{
			"an admin key's flat owner",
			`{"id":"key_a","created_at":"1795168800","owner":{"type":"user","id":"user-a","name":"Ada","role":"owner"}}`,
			Key{ID: "key_a", CreatedAt: unixTime, Owner: Owner{Type: "user", ID: "user-a", Name: "Ada"}},
		},
		{
			"dates that are none",
			`{"id":"key_a","created_at":"soon","last_used_at":1e300,"expires_at":{"a":1},"owner":null}`,
			Key{ID: "key_a"},
		},
		{"more dates that are none", `{"id":"key_a","created_at":-1,"last_used_at":"NaN","expires_at":"Inf"}`, Key{ID: "key_a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := connect(t, pages(tc.body))
			admin, err := c.AdminKey(t.Context(), "key_a")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, admin); diff != "" {
				t.Errorf("as an admin key (-want +got):\n%s", diff)
			}
			tc.want.ProjectID = "proj_a"
			project, err := c.ProjectKey(t.Context(), "proj_a", "key_a")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, project); diff != "" {
				t.Errorf("as a project's key (-want +got):\n%s", diff)
			}
			if _, err := c.AdminKey(t.Context(), "key_b"); err == nil || !strings.Contains(err.Error(), "another key") {
				t.Errorf("the answer about key_a was taken for one about key_b: %v", err)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	k := sb.AddProject("proj_a", "Alpha").AddKey("ci", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada"))
	admin := sb.AddAdminKey("old", made("sk-admin-", 58, "z1bA"), sandbox.Person("Ada"))
	c := connect(t, sb)
	if err := c.DeleteProjectKey(t.Context(), "proj_a", k.ID); err != nil || !k.Deleted() {
		t.Errorf("project key: %v, deleted %v", err, k.Deleted())
	}
	if err := c.DeleteAdminKey(t.Context(), admin.ID); err != nil || !admin.Deleted() {
		t.Errorf("admin key: %v, deleted %v", err, admin.Deleted())
	}
	if err := c.DeleteProjectKey(t.Context(), "proj_a", k.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if err := c.DeleteAdminKey(t.Context(), admin.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := c.ProjectKey(t.Context(), "proj_a", k.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("got after deletion: %v", err)
	}
	if _, err := c.AdminKey(t.Context(), admin.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("got after deletion: %v", err)
	}
}

func TestKeysPath(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	sb.SetFaults(sandbox.OpenAIFaults{TutorialPath: true})
	k := sb.AddProject("proj_a", "Alpha").AddKey("ci", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada"))
	c := connect(t, sb, func(cfg *Config) {
		cfg.KeysPath = "/organizations/{organization_id}/projects/{project_id}/apikeys"
		cfg.Organization = sandbox.DefaultOrganization
	})
	keys, err := c.ProjectKeys(t.Context(), "proj_a")
	if err != nil || len(keys) != 1 || keys[0].ID != k.ID || keys[0].ProjectID != "proj_a" {
		t.Fatalf("the list is %+v, %v", keys, err)
	}
	if _, err := c.ProjectKey(t.Context(), "proj_a", k.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteProjectKey(t.Context(), "proj_a", k.ID); err != nil {
		t.Fatal(err)
	}
	const path = "/v1/organizations/" + sandbox.DefaultOrganization + "/projects/proj_a/apikeys"
	for i, want := range []string{path, path + "/" + k.ID, path + "/" + k.ID} {
		if got := sb.Requests()[i].Path; got != want {
			t.Errorf("request %d went to %s, want %s", i, got, want)
		}
	}
}

// TestIDsStayInTheirSegment hands the client ids that an honest server never
// gives. No request may reach another path by them.
func TestIDsStayInTheirSegment(t *testing.T) {
	var reached []string
	c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.URL.EscapedPath())
		w.WriteHeader(http.StatusNotFound)
	}))
	for _, id := range []string{"", ".", "..", "a/../../x", "/", `..\x`, "a\nb", "a b", "é"} {
		_, listed := c.ProjectKeys(t.Context(), id)
		_, got := c.ProjectKey(t.Context(), "proj_a", id)
		_, admin := c.AdminKey(t.Context(), id)
		for _, err := range []error{listed, got, admin,
			c.DeleteProjectKey(t.Context(), "proj_a", id), c.DeleteProjectKey(t.Context(), id, "key_a"), c.DeleteAdminKey(t.Context(), id)} {
			if err == nil || !strings.Contains(err.Error(), "cannot be an id") {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
	if len(reached) > 0 {
		t.Errorf("requests were sent: %q", reached)
	}
	for id, want := range map[string]string{
		"a?b=c": "/v1/organization/admin_api_keys/a%3Fb=c",
		"a#b":   "/v1/organization/admin_api_keys/a%23b",
		"a%2fb": "/v1/organization/admin_api_keys/a%252fb",
	} {
		reached = nil
		if err := c.DeleteAdminKey(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
		if len(reached) != 1 || reached[0] != want {
			t.Errorf("%q reached %q, want %q", id, reached, want)
		}
	}
}

// FuzzPage asserts that a page is either refused, or ends the list, or names a
// place to go on at; and that no entry without id, or read before, gets through.
func FuzzPage(f *testing.F) {
	f.Add(`{"data":[{"id":"a"},{"id":"b"}],"last_id":null,"has_more":true}`)
	f.Add(`{"data":[{"id":"a","created_at":"x","owner":{"user":{}}}],"last_id":{},"has_more":false}`)
	f.Add(`{"data":[{"id":1e5},{"ID":"a"}],"has_more":true}`)
	f.Fuzz(func(t *testing.T, body string) {
		var p page[wireKey]
		if json.Unmarshal([]byte(body), &p) != nil {
			return
		}
		seen := make(map[string]bool)
		next, err := p.next(seen)
		if err != nil {
			return
		}
		if len(seen) != len(p.Data) || seen[""] {
			t.Fatalf("%d entries have the ids %v", len(p.Data), seen)
		}
		if *p.HasMore != (next != "") {
			t.Fatalf("has_more is %v, and the next page starts after %q", *p.HasMore, next)
		}
		for _, w := range p.Data {
			for _, at := range []time.Time{w.key("").CreatedAt, w.key("").LastUsedAt, w.key("").ExpiresAt} {
				if _, err := at.MarshalJSON(); err != nil {
					t.Fatalf("a date that cannot be written: %v", err)
				}
			}
		}
	})
}
