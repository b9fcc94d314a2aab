package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/internal/sandbox"
)

// made returns a made-up key of an OpenAI key's form: halves of n characters.
func made(prefix string, n int, tail string) string {
	half := strings.Repeat("aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0z", n/31+1)
	return prefix + half[:n] + "T3Blbk" + "FJ" + half[1:n+1-len(tail)] + tail
}

// call sends a request in memory and returns status, headers and body.
func call(t *testing.T, o *sandbox.OpenAI, method, path, key string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/v1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := sandbox.InMemory(o).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

// listed returns the ids on one page, and whether there is more.
func listed(t *testing.T, o *sandbox.OpenAI, path, key string) ([]string, bool) {
	t.Helper()
	status, _, body := call(t, o, http.MethodGet, path, key)
	var page struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
		HasMore bool `json:"has_more"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	ids := []string{}
	for _, e := range page.Data {
		ids = append(ids, e.ID)
	}
	return ids, page.HasMore
}

func TestOpenAIMasksAsOpenAIDoes(t *testing.T) {
	o := sandbox.NewOpenAI("demo-admin")
	p := o.AddProject("proj_a", "Alpha")
	for _, tc := range []struct {
		value, mask string
	}{
		{made("sk-proj-", 74, "y3mA"), "sk-proj-" + strings.Repeat("*", 152) + "y3mA"},
		{made("sk-svcacct-", 74, "k8xA"), "sk-svcac" + strings.Repeat("*", 155) + "k8xA"},
	} {
		k := p.AddKey("ci", tc.value, sandbox.Person("Ada"))
		if _, _, body := call(t, o, http.MethodGet, "/organization/projects/proj_a/api_keys/"+k.ID, "demo-admin"); !strings.Contains(body, `"redacted_value":"`+tc.mask+`"`) {
			t.Errorf("no %s in %s", tc.mask, body)
		}
		_, _, body := call(t, o, http.MethodGet, "/models", tc.value+"x")
		if strings.Contains(body, tc.value) {
			t.Errorf("a key is repeated: %s", body)
		}
	}
	if _, _, body := call(t, o, http.MethodGet, "/organization/admin_api_keys", "demo-admin"); !strings.Contains(body, "sk-admin"+strings.Repeat("*", 121)+"dmin") {
		t.Errorf("the admin key is not listed as one: %s", body)
	}
}

func TestOpenAIJudgesKeys(t *testing.T) {
	value, restricted, dead := made("sk-proj-", 74, "y3mA"), made("sk-proj-", 74, "p1qA"), made("sk-proj-", 74, "d0eA")
	o := sandbox.NewOpenAI("demo-admin")
	other := o.AddOrganization("org-other", "other-admin")
	p := o.AddProject("proj_a", "Alpha")
	p.AddKey("ci", value, sandbox.Person("Ada"))
	p.AddKey("ro", restricted, sandbox.Person("Ada")).Refuse(sandbox.Refusal{Status: 403, Message: "Missing scopes: api.model.read", First: true})
	p.AddKey("old", dead, sandbox.Person("Ada")).Delete()
	other.AddProject("proj_x", "Other")
	for _, tc := range []struct {
		name, path, key string
		header          []string
		status          int
		body            string
	}{
		{"live", "/models", value, nil, 200, `"object":"list"`},
		{"its project", "/models", value, []string{"OpenAI-Project", "proj_a"}, 200, ""},
		{"another project", "/models", value, []string{"OpenAI-Project", "proj_b"}, 401, `"code":"mismatched_project"`},
		{"another organization", "/models", value, []string{"OpenAI-Organization", "org-other"}, 401, `"code":"mismatched_organization"`},
		{"restricted, asked in another project's name", "/models", restricted, []string{"OpenAI-Project", "proj_b"}, 403, "Missing scopes"},
		{"deleted", "/models", dead, nil, 401, `"code":"invalid_api_key"`},
		{"never seen", "/models", "x", nil, 401, `"code":"invalid_api_key"`},
		{"none", "/models", "", nil, 401, `"code":"invalid_api_key"`},
		{"an admin key asks for models", "/models", "demo-admin", nil, 403, "Missing scopes"},
		{"an admin key lists", "/organization/projects", "demo-admin", nil, 200, "proj_a"},
		{"a project's key lists", "/organization/projects", value, nil, 403, `{"error":"You have insufficient`},
		{"nobody lists", "/organization/projects", "x", nil, 401, `"code":"invalid_api_key"`},
		{"another organization's project", "/organization/projects/proj_x/api_keys", "demo-admin", nil, 404, "not_found"},
		{"its own project", "/organization/projects/proj_x/api_keys", "other-admin", nil, 200, ""},
		{"pinned to another organization", "/organization/projects", "demo-admin", []string{"OpenAI-Organization", "org-other"}, 401, "mismatched_organization"},
		{"tutorial path", "/organizations/org-sandbox/projects/proj_a/apikeys", "demo-admin", nil, 404, "Invalid URL"},
		{"limit out of range", "/organization/projects?limit=101", "demo-admin", nil, 400, "limit"},
		{"after nothing", "/organization/projects?after=proj_zz", "demo-admin", nil, 400, "after"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, _, body := call(t, o, http.MethodGet, tc.path, tc.key, tc.header...)
			if status != tc.status || !strings.Contains(body, tc.body) {
				t.Errorf("%d %s, want %d with %s", status, body, tc.status, tc.body)
			}
		})
	}
	if _, header, _ := call(t, o, http.MethodGet, "/models", value); header.Get("openai-project") != "proj_a" || header.Get("openai-organization") != sandbox.DefaultOrganization {
		t.Errorf("the headers are %v", header)
	}
}

func TestOpenAILists(t *testing.T) {
	o := sandbox.NewOpenAI("demo-admin")
	a, b := o.AddProject("proj_a", "Alpha"), o.AddProject("proj_b", "Beta")
	b.Archive()
	left := sandbox.Person("Bob")
	left.Left = true
	const keys = "/organization/projects/proj_a/api_keys"
	var want []string
	for range 25 {
		want = append(want, a.AddKey("", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada")).ID)
	}
	gone := a.AddKey("", made("sk-proj-", 74, "y3mA"), left)

	for path, want := range map[string][]string{
		"/organization/projects":                       {"proj_a"},
		"/organization/projects?include_archived=true": {"proj_a", "proj_b"},
		keys:                want[:20],
		keys + "?limit=100": want,
		keys + "?limit=100&owner_project_access=any":       append(want[:25:25], gone.ID),
		keys + "?limit=10&after=" + want[9]:                want[10:20],
		keys + "?limit=100&after=" + want[24]:              {},
		"/organization/projects/proj_b/api_keys?limit=100": {},
	} {
		got, more := listed(t, o, path, "demo-admin")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if wantMore := path == keys || strings.Contains(path, "limit=10&"); more != wantMore {
			t.Errorf("%s: has_more is %v", path, more)
		}
	}
}

func TestOpenAIDeletes(t *testing.T) {
	value := made("sk-svcacct-", 74, "k8xA")
	o := sandbox.NewOpenAI("demo-admin")
	k := o.AddProject("proj_a", "Alpha").AddKey("ci", value, sandbox.ServiceAccount("ci"))
	const keys = "/organization/projects/proj_a/api_keys"
	path := keys + "/" + k.ID

	o.SetFaults(sandbox.OpenAIFaults{KeepServiceKeys: true})
	if status, _, _ := call(t, o, http.MethodDelete, path, "demo-admin"); status != 400 || k.Deleted() {
		t.Errorf("an old server deleted a service account's key: %d", status)
	}
	o.SetFaults(sandbox.OpenAIFaults{LivesOn: 2, StaleLists: 1})
	if status, _, body := call(t, o, http.MethodDelete, path, "demo-admin"); status != 200 || !k.Deleted() ||
		!strings.Contains(body, `"deleted":true`) || !strings.Contains(body, "organization.project.api_key.deleted") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := call(t, o, http.MethodDelete, path, "demo-admin"); status != 404 {
		t.Errorf("a second deletion is answered %d", status)
	}
	for i, want := range []int{200, 200, 401, 401} {
		if status, _, _ := call(t, o, http.MethodGet, "/models", value); status != want {
			t.Errorf("probe %d after the deletion is answered %d, want %d", i+1, status, want)
		}
	}
	for i, want := range []int{1, 0, 0} {
		if ids, _ := listed(t, o, keys, "demo-admin"); len(ids) != want {
			t.Errorf("list %d after the deletion shows %v, want %d", i+1, ids, want)
		}
	}
}

func TestOpenAIFails(t *testing.T) {
	o := sandbox.NewOpenAI("demo-admin")
	p := o.AddProject("proj_a", "Alpha")
	k := p.AddKey("ci", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada"))
	p.AddKey("ci", made("sk-proj-", 74, "p1qA"), sandbox.Person("Ada"))
	const keys = "/organization/projects/proj_a/api_keys"

	o.Fail(sandbox.OpenAIFailure{Path: keys, Page: 2, Times: 1, Status: 403, Body: sandbox.BareForbidden})
	o.Fail(sandbox.OpenAIFailure{Path: "/models", Times: 2, Status: 429, RetryAfter: "7"})
	for _, tc := range []struct {
		path   string
		status int
	}{
		{keys + "?limit=1", 200},
		{keys + "?limit=1&after=" + k.ID, 403},
		{keys + "?limit=1&after=" + k.ID, 200},
		{"/models", 429},
		{"/models", 429},
		{"/models", 403},
	} {
		status, header, _ := call(t, o, http.MethodGet, tc.path, "demo-admin")
		if status != tc.status || (status == 429) != (header.Get("Retry-After") == "7") {
			t.Errorf("%s: %d, want %d; %v", tc.path, status, tc.status, header)
		}
	}

	o.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Times: 1, TookEffect: true, Reset: true})
	server := httptest.NewServer(o)
	defer server.Close()
	for _, transport := range []http.RoundTripper{http.DefaultTransport, sandbox.InMemory(o)} {
		o.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Times: 1, Reset: true})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, server.URL+"/v1"+keys+"/"+k.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer demo-admin")
		if response, err := transport.RoundTrip(r); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%T: %v, %v", transport, response, err)
		}
	}
	if !k.Deleted() {
		t.Error("the deletion took no effect")
	}
}

func TestOpenAIRecordsWhereKeysStand(t *testing.T) {
	value := made("sk-proj-", 74, "y3mA")
	o := sandbox.NewOpenAI("demo-admin")
	call(t, o, http.MethodGet, "/models", value)
	call(t, o, http.MethodGet, "/models?key="+value, "")
	call(t, o, http.MethodGet, "/"+value, "")
	call(t, o, http.MethodGet, "/models", "", "X-Key", value)
	if n := len(o.Seen(value)); n != 3 {
		t.Errorf("%d requests hold the key, want 3", n)
	}
	if n := len(o.Requests()); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}
