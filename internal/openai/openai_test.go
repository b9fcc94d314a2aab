package openai

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/unleak/unleak/internal/sandbox"
)

// made returns a made-up key: prefix, two halves of n characters, and the
// marker between them. The last four characters are tail.
func made(prefix string, n int, tail string) string {
	half := strings.Repeat("aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0z", n/31+1)
	return prefix + half[:n] + "T3Blbk" + "FJ" + half[1:n+1-len(tail)] + tail
}

var adminKey = made("sk-admin-", 58, "x7QA")

// connect serves handler on loopback and returns a client of it.
func connect(t *testing.T, handler http.Handler, configure ...func(*Config)) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg := Config{BaseURL: server.URL + "/v1", AdminKey: adminKey}
	for _, c := range configure {
		c(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewGuardsTheAdminKey(t *testing.T) {
	for _, tc := range []struct {
		name, base, operator string
		refused              string // "" if it is accepted
	}{
		{"default", "", "", ""},
		{"OpenAI", "https://api.openai.com/v1", "", ""},
		{"OpenAI, shouted", "https://API.OpenAI.com/v1/", "", ""},
		{"loopback by address", "http://127.0.0.1:8080/v1", "", ""},
		{"loopback by name", "http://localhost:8080/v1", "", ""},
		{"loopback, version 6", "http://[::1]:8080/v1", "", ""},
		{"permitted gateway", "https://gateway.example/openai/v1", "https://gateway.example/openai/v1", ""},
		{"permitted host, another path", "https://gateway.example/a", "https://Gateway.Example:443/b", ""},
		{"operator's gateway alone", "", "https://gateway.example/v1", ""},
		{"operator's plain http", "", "http://gateway.example/v1", "[openai] base_url: plain http"},
		{"operator's is broken, and not asked for", "http://127.0.0.1/v1", "gateway.example", "[openai] base_url"},
		{"gateway", "https://gateway.example/v1", "", "gateway.example"},
		{"another gateway", "https://gateway.example/v1", "https://other.example/v1", "gateway.example"},
		{"another port", "https://gateway.example:8443/v1", "https://gateway.example/v1", "gateway.example:8443"},
		{"looks like OpenAI", "https://api.openai.com.evil.example/v1", "", "evil.example"},
		{"ends like OpenAI", "https://evilapi.openai.com/v1", "", "evilapi.openai.com"},
		{"OpenAI as user name", "https://api.openai.com@evil.example/v1", "", "user name"},
		{"looks like loopback", "http://127.0.0.1.evil.example/v1", "", "plain http"},
		{"plain http to OpenAI", "http://api.openai.com/v1", "", "plain http"},
		{"plain http to a permitted gateway", "http://gateway.example/v1", "http://gateway.example/v1", "plain http"},
		{"operator's is broken", "https://gateway.example/v1", "gateway.example", "[openai] base_url"},
		{"another scheme", "ftp://api.openai.com/v1", "", "scheme"},
		{"no scheme", "api.openai.com/v1", "", "scheme"},
		{"query", "https://api.openai.com/v1?a=b", "", "query"},
		{"not a URL", "https://[/v1", "", "no URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(Config{BaseURL: tc.base, OperatorURL: tc.operator, AdminKey: adminKey})
			switch {
			case tc.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.refused != "" && err == nil:
				t.Error("accepted")
			case tc.refused != "" && !strings.Contains(err.Error(), tc.refused):
				t.Errorf("the error does not name %q: %v", tc.refused, err)
			}
		})
	}
}

// TestNewAsks tells who is asked when both, one or none of the two is set.
func TestNewAsks(t *testing.T) {
	const variable, operator = "http://127.0.0.1:1/v1", "https://gateway.example/v1"
	for _, tc := range []struct{ base, operator, want string }{
		{"", "", defaultBase},
		{"", operator, operator},
		{variable, "", variable},
		{variable, operator, variable},
	} {
		c, err := New(Config{BaseURL: tc.base, OperatorURL: tc.operator, AdminKey: adminKey})
		if err != nil || c.base.String() != tc.want {
			t.Errorf("New with %q and %q asks %v, want %s; %v", tc.base, tc.operator, c.base, tc.want, err)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no key", Config{}, "OPENAI_ADMIN_KEY is not set"},
		{"key with a line feed", Config{AdminKey: adminKey + "\n"}, "OPENAI_ADMIN_KEY holds"},
		{"organization with a space", Config{AdminKey: adminKey, Organization: "org a"}, "OPENAI_ORG_ID holds"},
		{"no project", Config{AdminKey: adminKey, KeysPath: "/keys"}, "{project_id} is missing"},
		{"no organization", Config{AdminKey: adminKey, KeysPath: "/o/{organization_id}/{project_id}"}, "OPENAI_ORG_ID"},
		{"hostile organization", Config{AdminKey: adminKey, Organization: "..", KeysPath: "/o/{organization_id}/{project_id}"}, "cannot be an id"},
		{"misspelt placeholder", Config{AdminKey: adminKey, KeysPath: "/o/{org}/{project_id}"}, "{org}"},
		{"open placeholder", Config{AdminKey: adminKey, KeysPath: "/{project_id}/{organization_id"}, "{organization_id"},
		{"path of another host", Config{AdminKey: adminKey, KeysPath: "//evil.example/{project_id}"}, "no plain path"},
		{"path without a slash", Config{AdminKey: adminKey, KeysPath: ".evil.example/{project_id}"}, "no plain path"},
		{"path that climbs", Config{AdminKey: adminKey, KeysPath: "/../{project_id}"}, "no plain path"},
		{"path with a query", Config{AdminKey: adminKey, KeysPath: "/{project_id}?a=b"}, "no plain path"},
		{"negative time", Config{AdminKey: adminKey, Retry: -1}, "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error does not say %q: %v", tc.want, err)
			}
			if err != nil && strings.Contains(err.Error(), adminKey) {
				t.Errorf("the error holds the key")
			}
		})
	}
}

func TestPrintingShowsNoKey(t *testing.T) {
	cfg := Config{AdminKey: adminKey}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, v := range []any{cfg, &cfg, []Config{cfg}, c, *c, []*Client{c}, struct{ c Client }{*c}, c.admin, &c.admin, []credential{c.admin}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("printed", "value", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("printed", "value", v)
	}
	for _, form := range []string{adminKey, fmt.Sprintf("%x", adminKey), fmt.Sprintf("%X", adminKey)} {
		if i := strings.Index(b.String(), form); i >= 0 {
			t.Errorf("the key is printed: %.200s", b.String()[max(0, i-150):])
		}
	}
}

// TestErrorsShowNoKey has a server repeat the key in every part of its answers.
func TestErrorsShowNoKey(t *testing.T) {
	half := adminKey[20:50]
	for _, tc := range []struct {
		name   string
		status int
		body   string
	}{
		{"object", 401, `{"error":{"message":"bad ` + adminKey + `","type":"` + adminKey + `","code":"` + adminKey + `"}}`},
		{"bare string", 403, `{"error":"bad ` + adminKey + `"}`},
		{"top level", 404, `{"code":404,"message":"bad ` + adminKey + `"}`},
		{"plain text", 400, adminKey},
		{"a part of it", 400, `{"error":"bad ...` + half + `..."}`},
		{"cut by the bound", 400, `{"error":"` + strings.Repeat("x ", maxMessage/2-20) + adminKey + `"}`},
		{"not a list", 200, `{"` + adminKey + `":1,"data":"` + adminKey + `"}`},
		{"repeated id", 200, `{"has_more":false,"data":[{"id":"` + adminKey + `"},{"id":"` + adminKey + `"}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			}))
			_, listed := c.AdminKeys(t.Context())
			_, got := c.ProjectKey(t.Context(), "proj_a", adminKey)
			for _, err := range []error{listed, got, c.DeleteProjectKey(t.Context(), adminKey, "key_a")} {
				if err == nil {
					continue // a deletion that succeeded
				}
				var refused *Error
				errors.As(err, &refused)
				text := fmt.Sprintf("%v %+v %#v", err, refused, refused)
				if strings.Contains(text, adminKey) || strings.Contains(text, adminKey[20:30]) {
					t.Errorf("the key is in the error: %s", text)
				}
			}
			if listed == nil {
				t.Error("no error")
			}
		})
	}
}

func TestKeyDoesNotFollowRedirects(t *testing.T) {
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer elsewhere.Close()
	c := connect(t, http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))

	_, err := c.Projects(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no redirect is followed") {
		t.Errorf("the error does not say why: %v", err)
	}
	if err := c.DeleteAdminKey(t.Context(), "key_a"); err == nil {
		t.Error("a redirected deletion has succeeded")
	}
	a, err := c.Probe(t.Context(), made("sk-proj-", 74, "y3mA"), "", "")
	if err != nil || a.Verdict != Unknown || a.Status != http.StatusTemporaryRedirect {
		t.Errorf("the probe says %+v, %v", a, err)
	}
	if reached {
		t.Error("a key went to another host")
	}
}

func TestRequestHeaders(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	project := sb.AddProject("proj_a", "Alpha")
	leaked := made("sk-proj-", 74, "y3mA")
	project.AddKey("k", leaked, sandbox.Person("Ada"))
	c := connect(t, sb, func(cfg *Config) { cfg.Organization = sandbox.DefaultOrganization })
	if _, err := c.Projects(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Probe(t.Context(), leaked, "proj_a", "org-other"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Probe(t.Context(), leaked, "", ""); err != nil {
		t.Fatal(err)
	}
	type sent struct{ path, key, organization, project, agent string }
	want := []sent{
		{"/v1/organization/projects", adminKey, sandbox.DefaultOrganization, "", "unleak"},
		{"/v1/models", leaked, "org-other", "proj_a", "unleak"},
		{"/v1/models", leaked, "", "", "unleak"},
	}
	for i, r := range sb.Requests() {
		got := sent{r.Path, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
			r.Header.Get("OpenAI-Organization"), r.Header.Get("OpenAI-Project"), r.Header.Get("User-Agent")}
		if i >= len(want) || got != want[i] {
			t.Errorf("request %d is %+v", i, got)
		}
	}
	for _, key := range []string{adminKey, leaked} {
		if seen := sb.Seen(key); len(seen) > 0 {
			t.Errorf("a key stands outside of Authorization: %+v", seen)
		}
	}
}
