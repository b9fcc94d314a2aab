package openai

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/unleak/unleak/internal/sandbox"
)

// object returns an error object as OpenAI writes it.
func object(code, message string) string {
	return fmt.Sprintf(`{"error":{"message":%q,"type":"invalid_request_error","param":null,"code":%q}}`, message, code)
}

func TestClassify(t *testing.T) {
	const list = `{"object":"list","data":[{"id":"gpt-4o"}]}`
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   Verdict
		code   string
	}{
		{"accepted", 200, list, Live, ""},
		{"restricted, bare string", 403, sandbox.BareForbidden, Live, ""},
		{"restricted, bare string, 401", 401, sandbox.BareForbidden, Live, ""},
		{"restricted, object", 403, object("", "Missing scopes: api.model.read."), Live, ""},
		{"restricted, other words", 401, object("x", "You have Insufficient Permissions for this."), Live, "x"},
		{"another address", 401, object("ip_not_authorized", ""), Live, "ip_not_authorized"},
		{"another project", 401, object("mismatched_project", ""), Live, "mismatched_project"},
		{"another organization", 401, object("mismatched_organization", ""), Live, "mismatched_organization"},
		{"another region", 401, object("incorrect_hostname", ""), Live, "incorrect_hostname"},
		{"deactivated account", 401, object("account_deactivated", ""), Live, "account_deactivated"},
		{"no money", 429, object("insufficient_quota", ""), Live, "insufficient_quota"},
		{"limited", 429, object("rate_limit_exceeded", ""), Live, "rate_limit_exceeded"},
		{"spent", 429, object("project_spend_limit_exceeded", ""), Live, "project_spend_limit_exceeded"},

		{"dead", 401, object("invalid_api_key", "Incorrect API key provided"), Dead, "invalid_api_key"},

		{"no code", 401, `{"error":{"message":"Incorrect API key provided: sk-...","code":null}}`, Unknown, ""},
		{"code in the wrong place", 401, `{"error":{"message":"invalid_api_key","type":"invalid_api_key"}}`, Unknown, ""},
		{"code of another type", 401, `{"error":{"code":["invalid_api_key"]}}`, Unknown, ""},
		{"invalid, but forbidden", 403, object("invalid_api_key", ""), Unknown, "invalid_api_key"},
		{"invalid, but limited", 429, object("invalid_api_key", ""), Unknown, "invalid_api_key"},
		{"invalid, but broken", 500, object("invalid_api_key", ""), Unknown, "invalid_api_key"},
		{"no member", 401, object("", "You must be a member of an organization to use the API"), Unknown, ""},
		{"country", 403, object("unsupported_country_region_territory", "Country, region, or territory not supported"), Unknown, "unsupported_country_region_territory"},
		{"limited by the edge", 429, "slow down", Unknown, ""},
		{"forbidden by the edge", 403, "<html>Just a moment...</html>", Unknown, ""},
		{"unauthorized by a proxy", 401, "<html>Proxy sign-in</html>", Unknown, ""},
		{"not found", 404, `{"code":404,"message":"not found"}`, Unknown, "404"},
		{"server error", 500, object("", "The server had an error"), Unknown, ""},
		{"edge error", 502, sandbox.BadGateway, Unknown, ""},
		{"empty", 401, "", Unknown, ""},
		{"no answer", 0, "", Unknown, ""},
		{"redirect", 302, "", Unknown, ""},
		{"a portal's sign-in page", 200, "<html>Welcome</html>", Unknown, ""},
		{"an error with status 200", 200, object("invalid_api_key", ""), Unknown, "invalid_api_key"},
		{"nothing with status 200", 200, "", Unknown, ""},
		{"nothing to say", 204, "", Unknown, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, said := classify(tc.status, []byte(tc.body))
			if got != tc.want || string(said.Code) != tc.code {
				t.Errorf("%q with code %q, want %q with code %q", got, said.Code, tc.want, tc.code)
			}
		})
	}
}

// FuzzClassify asserts that a key is only ever called dead by a 401 that says
// invalid_api_key, and never called live by that, by a page, or by a status that
// says nothing about keys.
func FuzzClassify(f *testing.F) {
	for _, status := range []int{0, 200, 302, 401, 403, 404, 429, 500} {
		for _, code := range []string{"invalid_api_key", "mismatched_project", "insufficient_quota", "a_spend_limit_exceeded", ""} {
			f.Add(status, object(code, "Missing scopes: a.b"))
		}
		f.Add(status, sandbox.BareForbidden)
		f.Add(status, sandbox.BadGateway)
		f.Add(status, `{"object":"list","data":[]}`)
		f.Add(status, `{"error":[],"Error":{"CODE":"invalid_api_key"}}`)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		verdict, said := classify(status, []byte(body))
		html := strings.HasPrefix(strings.TrimSpace(body), "<")
		switch verdict {
		case Dead:
			if status != 401 || said.Code != "invalid_api_key" || html {
				t.Errorf("dead by %d %q", status, body)
			}
		case Live:
			if html || !slices.Contains([]int{200, 401, 403, 429}, status) || status == 401 && said.Code == "invalid_api_key" {
				t.Errorf("live by %d %q", status, body)
			}
		case Unknown:
		default:
			t.Errorf("%q is no verdict", verdict)
		}
	})
}

func TestProbe(t *testing.T) {
	leaked := made("sk-proj-", 74, "y3mA")
	sb := sandbox.NewOpenAI(adminKey)
	k := sb.AddProject("proj_a", "Alpha").AddKey("ci", leaked, sandbox.Person("Ada"))
	sb.AddProject("proj_b", "Beta")
	c := connect(t, sb)
	check := func(project, organization string, verdict Verdict, code string) {
		t.Helper()
		a, err := c.Probe(t.Context(), leaked, project, organization)
		if err != nil || a.Verdict != verdict || a.Code != code {
			t.Errorf("%q, %q: %+v, %v; want %s %q", project, organization, a, err, verdict, code)
		}
		if strings.Contains(a.Message, leaked[20:30]) {
			t.Errorf("the message holds the key: %s", a.Message)
		}
	}
	check("", "", Live, "")
	check("proj_a", sandbox.DefaultOrganization, Live, "")
	check("proj_b", "", Live, "mismatched_project")
	check("proj_a", "org-other", Live, "mismatched_organization")
	a, err := c.Probe(t.Context(), leaked, "proj_a", "")
	if err != nil || a.Project != "proj_a" || a.Organization != sandbox.DefaultOrganization {
		t.Errorf("the headers are lost: %+v, %v", a, err)
	}
	sb.Fail(sandbox.OpenAIFailure{Path: "/models", Times: 1, Status: 429})
	before := len(sb.Requests())
	check("", "", Live, "rate_limit_exceeded")
	sb.Fail(sandbox.OpenAIFailure{Path: "/models", Times: 1, Status: 502, Body: sandbox.BadGateway})
	check("", "", Unknown, "")
	if n := len(sb.Requests()) - before; n != 2 {
		t.Errorf("%d requests for two probes: one was repeated", n)
	}
	k.Refuse(sandbox.Refusal{Status: 403, Message: "Missing scopes: api.model.read"})
	check("proj_a", "", Live, "")
	check("proj_b", "", Live, "mismatched_project")
	k.Delete()
	check("proj_a", "", Dead, "invalid_api_key")
}

func TestProbeAdmin(t *testing.T) {
	leaked := made("sk-admin-", 58, "z1bA")
	sb := sandbox.NewOpenAI(adminKey)
	k := sb.AddAdminKey("old", leaked, sandbox.Person("Ada"))
	project := made("sk-proj-", 74, "y3mA")
	sb.AddProject("proj_a", "Alpha").AddKey("ci", project, sandbox.Person("Ada"))
	c := connect(t, sb)
	if a, err := c.ProbeAdmin(t.Context(), leaked); err != nil || a.Verdict != Live || a.Status != 200 {
		t.Errorf("alive: %+v, %v", a, err)
	}
	if a, err := c.ProbeAdmin(t.Context(), project); err != nil || a.Verdict != Live || a.Status != 403 {
		t.Errorf("a project's key: %+v, %v", a, err)
	}
	k.Delete()
	if a, err := c.ProbeAdmin(t.Context(), leaked); err != nil || a.Verdict != Dead {
		t.Errorf("deleted: %+v, %v", a, err)
	}
	if r := sb.Requests()[0]; r.Path != "/v1/organization/admin_api_keys" || r.Query.Get("limit") != "1" {
		t.Errorf("asked for %s %v", r.Path, r.Query)
	}
}

func TestProbeAsksTheRegions(t *testing.T) {
	leaked := made("sk-proj-", 74, "y3mA")
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	elsewhere := answer(401, object("incorrect_hostname", "use https://evil.example"))
	invalid := answer(401, object("invalid_api_key", ""))
	for _, tc := range []struct {
		name  string
		hosts map[string]http.HandlerFunc // others answer as if they had never seen the key
		want  Answer
	}{
		{"it lives in Europe", map[string]http.HandlerFunc{
			"api.openai.com": elsewhere, "us.api.openai.com": elsewhere, "eu.api.openai.com": answer(200, `{"data":[]}`),
		}, Answer{Verdict: Live, Status: 200}},
		{"another project in Japan", map[string]http.HandlerFunc{
			"api.openai.com": elsewhere, "jp.api.openai.com": answer(401, object("mismatched_project", "")),
		}, Answer{Verdict: Live, Status: 401, Code: "mismatched_project"}},
		{"no region knows it", map[string]http.HandlerFunc{
			"api.openai.com": elsewhere,
		}, Answer{Verdict: Live, Status: 401, Code: "incorrect_hostname", Message: "use https://evil.example"}},
		{"no region answers", map[string]http.HandlerFunc{
			"api.openai.com": elsewhere, "us.api.openai.com": answer(502, sandbox.BadGateway),
		}, Answer{Verdict: Live, Status: 401, Code: "incorrect_hostname", Message: "use https://evil.example"}},
		{"it is dead", map[string]http.HandlerFunc{}, Answer{Verdict: Dead, Status: 401, Code: "invalid_api_key"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []string
			c, err := New(Config{AdminKey: adminKey, Transport: sandbox.InMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Host+r.URL.Path)
				handler, ok := tc.hosts[r.Host]
				if !ok {
					handler = invalid
				}
				handler(w, r)
			}))})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Probe(t.Context(), leaked, "proj_a", "")
			if err != nil || got != tc.want {
				t.Errorf("%+v, %v; want %+v", got, err, tc.want)
			}
			for _, at := range asked {
				if !strings.HasSuffix(at, "api.openai.com/v1/models") {
					t.Errorf("the key went to %s", at)
				}
			}
		})
	}
}

func TestProbeStaysAtAGateway(t *testing.T) {
	asked := 0
	c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(401)
		fmt.Fprint(w, object("incorrect_hostname", ""))
	}))
	a, err := c.Probe(t.Context(), made("sk-proj-", 74, "y3mA"), "", "")
	if err != nil || a.Verdict != Live || asked != 1 {
		t.Errorf("%+v, %v after %d requests", a, err, asked)
	}
}

func TestProbeRefusesWhatCannotBeSent(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	c := connect(t, sb)
	for _, tc := range []struct{ key, project, organization string }{
		{"", "", ""}, {"a\nb", "", ""}, {"key", "proj\r\nX: y", ""}, {"key", "", "org a"},
	} {
		if a, err := c.Probe(t.Context(), tc.key, tc.project, tc.organization); err == nil || a.Verdict != Unknown {
			t.Errorf("%+v: %+v, %v", tc, a, err)
		}
	}
	if n := len(sb.Requests()); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestLongAnswer asserts that the size of an answer does not grow the process:
// what is longer than a list of models can be proves nothing.
func TestLongAnswer(t *testing.T) {
	for _, status := range []int{200, 401} {
		c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":"`)
			for range 100 {
				fmt.Fprint(w, strings.Repeat("x", 1<<20))
			}
		}))
		a, err := c.Probe(t.Context(), made("sk-proj-", 74, "y3mA"), "", "")
		if err != nil || a.Verdict != Unknown || len(a.Message) > maxMessage {
			t.Errorf("%d: %s, %d bytes of message, %v", status, a.Verdict, len(a.Message), err)
		}
	}
}
