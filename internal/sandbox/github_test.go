package sandbox_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/internal/sandbox"
)

// newGitHub serves a GitHub with the repository acme/app.
func newGitHub(t *testing.T, options ...sandbox.RepoOption) (gh *sandbox.GitHub, address string) {
	gh = sandbox.NewGitHub("token")
	gh.AddRepo("acme/app", options...)
	server := httptest.NewServer(gh)
	t.Cleanup(server.Close)
	return gh, server.URL
}

// send returns status and body of the answer.
func send(t *testing.T, method, address, token, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

func TestGitHubRights(t *testing.T) {
	const issue = `{"title":"t"}`
	for _, tc := range []struct {
		name                string
		options             []sandbox.RepoOption
		method, path, token string
		body                string
		want                int
	}{
		{"public, anonymous", nil, "GET", "/repos/acme/app", "", "", 200},
		{"public, another case", nil, "GET", "/repos/ACME/App", "", "", 200},
		{"Enterprise Server's root", nil, "GET", "/api/v3/repos/acme/app", "token", "", 200},
		{"public, wrong token", nil, "GET", "/repos/acme/app", "guess", "", 401},
		{"private, anonymous", []sandbox.RepoOption{sandbox.Private}, "GET", "/repos/acme/app", "", "", 404},
		{"private, token", []sandbox.RepoOption{sandbox.Private}, "GET", "/repos/acme/app", "token", "", 200},
		{"no such repository", nil, "GET", "/repos/acme/other", "token", "", 404},
		{"no such path", nil, "GET", "/repos/acme/app/pulls", "token", "", 404},
		{"user", nil, "GET", "/user", "token", "", 200},
		{"no user", nil, "GET", "/user", "", "", 401},
		{"create", nil, "POST", "/repos/acme/app/issues", "token", issue, 201},
		{"create, anonymous", nil, "POST", "/repos/acme/app/issues", "", issue, 401},
		{"create, read only", []sandbox.RepoOption{sandbox.ReadOnly}, "POST", "/repos/acme/app/issues", "token", issue, 403},
		{"create, archived", []sandbox.RepoOption{sandbox.Archived}, "POST", "/repos/acme/app/issues", "token", issue, 403},
		{"create, no issues", []sandbox.RepoOption{sandbox.NoIssues}, "POST", "/repos/acme/app/issues", "token", issue, 410},
		{"list, no issues", []sandbox.RepoOption{sandbox.NoIssues}, "GET", "/repos/acme/app/issues", "token", "", 410},
		{"create, no title", nil, "POST", "/repos/acme/app/issues", "token", `{}`, 422},
		{"create, too long", nil, "POST", "/repos/acme/app/issues", "token", `{"title":"t","body":"` + strings.Repeat("a", 65537) + `"}`, 422},
		{"create, no JSON", nil, "POST", "/repos/acme/app/issues", "token", `{`, 400},
		{"no such issue", nil, "GET", "/repos/acme/app/issues/1", "token", "", 404},
		{"no such label", nil, "GET", "/repos/acme/app/labels/leaked-key", "token", "", 404},
		{"not a cursor", nil, "GET", "/repos/acme/app/issues?after=*", "token", "", 422},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, address := newGitHub(t, tc.options...)
			resp, body := send(t, tc.method, address+tc.path, tc.token, tc.body)
			if resp.StatusCode != tc.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tc.want, body)
			}
		})
	}
}

func TestGitHubKeepsState(t *testing.T) {
	gh, address := newGitHub(t)
	issues := address + "/repos/acme/app/issues"
	send(t, "POST", issues, "token", `{"title":"one","body":"b","labels":["bug"]}`)
	send(t, "PATCH", issues+"/1", "token", `{"body":"changed","state":"closed"}`)
	send(t, "POST", issues+"/1/labels", "token", `["bug","leaked-key"]`)
	send(t, "POST", issues+"/1/comments", "token", `{"body":"seen"}`)
	gh.AddIssue("acme/app", sandbox.Issue{Title: "two", PullRequest: true})
	gh.EditIssue("acme/app", 2, func(i *sandbox.Issue) { i.Labels = []string{"by hand"} })

	want := []sandbox.Issue{
		{Number: 1, Title: "one", Body: "changed", State: "closed", Labels: []string{"bug", "leaked-key"}, Comments: []string{"seen"}},
		{Number: 2, Title: "two", State: "open", Labels: []string{"by hand"}, PullRequest: true},
	}
	if diff := cmp.Diff(want, gh.Issues("acme/app")); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
	if _, body := send(t, "GET", issues+"?labels=leaked-key", "token", ""); strings.TrimSpace(body) != "[]" {
		t.Errorf("open issues labelled leaked-key: %s, want none: it is closed", body)
	}
	if _, body := send(t, "GET", issues+"?labels=Leaked-Key,BUG&state=all", "token", ""); !strings.Contains(body, `"number":1`) {
		t.Errorf("all issues with both labels: %s, want issue 1", body)
	}
	if _, body := send(t, "GET", issues+"/1/comments", "token", ""); !strings.Contains(body, `"body":"seen"`) {
		t.Errorf("comments: %s", body)
	}
	if resp, body := send(t, "POST", address+"/repos/acme/app/labels", "token", `{"name":"BUG"}`); resp.StatusCode != 422 || !strings.Contains(body, "already_exists") {
		t.Errorf("a label for the second time: %d %s", resp.StatusCode, body)
	}
}

func TestGitHubRecords(t *testing.T) {
	gh, address := newGitHub(t)
	send(t, "POST", address+"/api/v3/repos/acme/app/issues?a=b", "token", `{"title":"t"}`)
	requests := gh.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests recorded, want 1", len(requests))
	}
	r := requests[0]
	if r.Method != "POST" || r.Path != "/api/v3/repos/acme/app/issues" || r.Query.Get("a") != "b" ||
		r.Header.Get("Authorization") != "Bearer token" || string(r.Body) != `{"title":"t"}` {
		t.Errorf("recorded %+v", r)
	}
}

func TestGitHubPage(t *testing.T) {
	gh, address := newGitHub(t)
	gh.AddIssue("acme/app", sandbox.Issue{Title: "<script>1", Body: "<img src=x> & more", Labels: []string{"leaked-key"}, Comments: []string{"<b>c"}})
	resp, body := send(t, "GET", address+"/acme/app/issues/1", "", "")
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("status %d, type %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{"&lt;script&gt;1", "&lt;img src=x&gt; &amp; more", "&lt;b&gt;c", "leaked-key", "open"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<script>") || strings.Contains(body, "<img") {
		t.Error("the page holds markup of an issue")
	}
	for _, path := range []string{"/acme/app/issues/2", "/acme/app/issues/x", "/acme/other/issues/1"} {
		if resp, _ := send(t, "GET", address+path, "", ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, resp.StatusCode)
		}
	}
}

func TestGitHubRename(t *testing.T) {
	gh, address := newGitHub(t)
	gh.RenameRepo("acme/app", "acme/new")
	for _, tc := range []struct {
		method, path, want string
		status             int
	}{
		{"GET", "/repos/acme/app/issues?state=all", "/repos/acme/new/issues?state=all", 301},
		{"POST", "/api/v3/repos/acme/app/issues", "/api/v3/repos/acme/new/issues", 307},
	} {
		resp, _ := send(t, tc.method, address+tc.path, "token", "")
		if got := resp.Header.Get("Location"); resp.StatusCode != tc.status || got != address+tc.want {
			t.Errorf("%s %s: %d to %s", tc.method, tc.path, resp.StatusCode, got)
		}
	}
}

func TestGitHubFaults(t *testing.T) {
	const issues = "/repos/acme/app/issues"
	for _, tc := range []struct {
		name   string
		faults sandbox.GitHubFaults
		status int    // 0: no answer
		header string // of the answer, "Name: value"
		issues int    // filed by one POST
	}{
		{"none", sandbox.GitHubFaults{}, 201, "X-Ratelimit-Remaining: 4999", 1},
		{"of another method", sandbox.GitHubFaults{Method: "GET", TooMany: 1}, 201, "", 1},
		{"429", sandbox.GitHubFaults{TooMany: 1, RetryAfter: "7"}, 429, "Retry-After: 7", 0},
		{"secondary limit", sandbox.GitHubFaults{Secondary: 1}, 403, "", 0},
		{"exhausted", sandbox.GitHubFaults{Exhausted: 1}, 403, "X-Ratelimit-Remaining: 0", 0},
		{"none left", sandbox.GitHubFaults{NoneLeft: true}, 201, "X-Ratelimit-Remaining: 0", 1},
		{"a proxy's page", sandbox.GitHubFaults{BadGateway: 1}, 502, "Content-Type: text/html", 0},
		{"error after creation", sandbox.GitHubFaults{ErrorAfterCreate: 1}, 502, "", 1},
		{"reset after creation", sandbox.GitHubFaults{ResetAfterCreate: 1}, 0, "", 1},
		{"elsewhere", sandbox.GitHubFaults{RedirectTo: "http://elsewhere.example"}, 307, "Location: http://elsewhere.example" + issues, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gh, address := newGitHub(t)
			gh.SetFaults(tc.faults)
			req, err := http.NewRequestWithContext(t.Context(), "POST", address+issues, strings.NewReader(`{"title":"t"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer token")
			status := 0
			if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
				resp.Body.Close()
				status = resp.StatusCode
				if name, value, _ := strings.Cut(tc.header, ": "); resp.Header.Get(name) != value {
					t.Errorf("%s: %q, want %q", name, resp.Header.Get(name), value)
				}
			}
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			if got := len(gh.Issues("acme/app")); got != tc.issues {
				t.Errorf("%d issues filed, want %d", got, tc.issues)
			}
		})
	}
}
