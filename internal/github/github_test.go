package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/internal/sandbox"
)

const token = "ghp_madeUp"

// A listener hands out connections that never leave the process, so that
// servers and clients can live in a bubble of synctest, where waiting is free.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l listener) Close() error   { close(l.closed); return nil }
func (l listener) Addr() net.Addr { return &net.TCPAddr{} }

// networkOf returns a network that ends at handler, whatever the host.
func networkOf(t *testing.T, handler http.Handler) *http.Transport {
	l := listener{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	network := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		l.conns <- server
		return client, nil
	}}
	t.Cleanup(func() {
		network.CloseIdleConnections()
		server.Close()
	})
	return network
}

// serve returns a client that asks handler.
func serve(t *testing.T, handler http.Handler) *Client {
	t.Helper()
	c, err := newClient(Config{APIURL: "http://127.0.0.1", Token: token}, networkOf(t, handler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bubble runs test in a bubble, with a GitHub that has the repository acme/app.
func bubble(t *testing.T, test func(t *testing.T, gh *sandbox.GitHub, c *Client), options ...sandbox.RepoOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		gh := sandbox.NewGitHub(token)
		gh.AddRepo("acme/app", options...)
		test(t, gh, serve(t, gh))
	})
}

// sent counts the requests of a method whose path ends so.
func sent(gh *sandbox.GitHub, method, suffix string) int {
	n := 0
	for _, r := range gh.Requests() {
		if r.Method == method && strings.HasSuffix(r.Path, suffix) {
			n++
		}
	}
	return n
}

// wantError checks that err says every one of words, and not the token.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("error %q holds the token", err)
	}
}

var leak = IssueText{Title: "Leaked key", Body: "a body", Labels: []string{"leaked-key"}}

func TestNew(t *testing.T) {
	for _, tc := range []struct{ api, server, want string }{
		{"", "", "https://api.github.com/"},
		{"", "https://github.com", "https://api.github.com/"},
		{"", "https://octo.ghe.com/", "https://api.octo.ghe.com/"},
		{"", "https://ghe.example", "https://ghe.example/api/v3/"},
		{"https://api.github.com", "https://github.com", "https://api.github.com/"},
		{"https://ghe.example/api/v3", "https://ghe.example", "https://ghe.example/api/v3/"},
		{"https://ghe.example:8443/api/v3/", "", "https://ghe.example:8443/api/v3/"},
		{"http://127.0.0.1:8080", "", "http://127.0.0.1:8080/"},
		{"http://[::1]:8080", "", "http://[::1]:8080/"},
		{"http://localhost:8080/api/v3", "", "http://localhost:8080/api/v3/"},
	} {
		c, err := New(Config{APIURL: tc.api, ServerURL: tc.server, Token: token})
		if err != nil {
			t.Errorf("%q, %q: %v", tc.api, tc.server, err)
		} else if got := c.api.BaseURL.String(); got != tc.want {
			t.Errorf("%q, %q: the API is %s, want %s", tc.api, tc.server, got, tc.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"plain http", Config{APIURL: "http://ghe.example/api/v3"}, "GITHUB_API_URL must begin with https://"},
		{"plain http server", Config{ServerURL: "http://ghe.example"}, "GITHUB_SERVER_URL must begin with https://"},
		{"host that begins like loopback", Config{APIURL: "http://127.0.0.1.example"}, "https://"},
		{"no scheme", Config{APIURL: "ghe.example/api/v3"}, "names no host"},
		{"another scheme", Config{APIURL: "ftp://ghe.example"}, "https://"},
		{"no URL", Config{APIURL: "https://user:hunter2@ghe.example:port"}, "not a URL"},
		{"password", Config{APIURL: "https://user:hunter2@ghe.example"}, "must not hold a user"},
		{"query", Config{APIURL: "https://ghe.example?token=hunter2"}, "must not hold a user, a query"},
		{"token with a line break", Config{Token: "hunter2\n"}, "GITHUB_TOKEN"},
		{"token with an odd character", Config{Token: "hunter2é"}, "GITHUB_TOKEN"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.cfg)
			wantError(t, err, tc.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q repeats a secret", err)
			}
		})
	}
}

func TestClientPrintsNoToken(t *testing.T) {
	c, err := New(Config{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{c, *c, struct{ c Client }{*c}} {
			if got := fmt.Sprintf(format, value); strings.Contains(got, token) || strings.Contains(got, fmt.Sprintf("%x", token)) {
				t.Errorf("%s of %T holds the token: %s", format, value, got)
			}
		}
	}
}

func TestRepository(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.AddRepo("acme/Vault", sandbox.Private, sandbox.Archived, sandbox.NoIssues)
		gh.AddRepo("acme/old.name")
		gh.RenameRepo("acme/old.name", "acme/new-name")
		for _, tc := range []struct {
			repo string
			want Repository
		}{
			{"acme/app", Repository{Name: "acme/app", Public: true, HasIssues: true, URL: "http://127.0.0.1/acme/app"}},
			{"ACME/vault", Repository{Name: "acme/Vault", Archived: true, URL: "http://127.0.0.1/acme/Vault"}},
			{"acme/old.name", Repository{Name: "acme/new-name", Public: true, HasIssues: true, URL: "http://127.0.0.1/acme/new-name"}},
		} {
			got, err := c.Repository(t.Context(), tc.repo)
			if err != nil {
				t.Errorf("%s: %v", tc.repo, err)
			} else if diff := gocmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.repo, diff)
			}
		}
		for _, r := range gh.Requests() {
			if got := r.Header.Get("Authorization"); got != "Bearer "+token {
				t.Errorf("%s %s: Authorization is %q", r.Method, r.Path, got)
			}
		}
	})
}

func TestRepositoryThatIsNone(t *testing.T) {
	for name, body := range map[string]string{
		"empty":               "",
		"null":                "null",
		"another object":      `{"login":"acme"}`,
		"a name that is none": `{"full_name":"acme/../../user"}`,
		"a page":              "<html>Sign in to the guest network</html>",
		"broken off":          `{"full_name":"acme/ap`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
				_, err := c.Repository(t.Context(), "acme/app")
				wantError(t, err, "acme/app")
			})
		})
	}
}

func TestHostileNames(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		ctx := t.Context()
		for _, repo := range []string{"", "acme", "acme/", "/app", "acme/app/issues", "acme/..", "acme/.", "../app", "acme/app?a=b",
			"acme/app#", "acme/a%2fb", "acme/app\n", "acme/ap p", "-acme/app", "https://github.com/acme/app", "acme/" + strings.Repeat("a", 10_000)} {
			_, errRepository := c.Repository(ctx, repo)
			_, errIssues := c.Issues(ctx, repo, "leaked-key")
			_, errCreate := c.CreateIssue(ctx, repo, leak)
			_, errUpdate := c.UpdateIssue(ctx, repo, 1, leak)
			for _, err := range []error{errRepository, errIssues, errCreate, errUpdate, c.Comment(ctx, repo, 1, "text")} {
				wantError(t, err, "OWNER/NAME")
				if len(err.Error()) > 1000 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			}
		}
		for _, label := range []string{"", "..", "a,b", "a/b", "a?b", strings.Repeat("a", 51)} {
			text := IssueText{Title: "t", Labels: []string{"leaked-key", label}}
			_, errIssues := c.Issues(ctx, "acme/app", label)
			_, errCreate := c.CreateIssue(ctx, "acme/app", text)
			_, errUpdate := c.UpdateIssue(ctx, "acme/app", 1, text)
			for _, err := range []error{errIssues, errCreate, errUpdate} {
				wantError(t, err, "cannot be a label")
			}
		}
		if got := len(gh.Requests()); got != 0 {
			t.Errorf("%d requests were sent, want none", got)
		}
	})
}

func TestIssues(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		if got, err := c.Issues(t.Context(), "acme/app", "leaked-key"); err != nil || len(got) != 0 {
			t.Fatalf("in an empty repository: %v, %v", got, err)
		}
		// More than GitHub lists by the number of the page alone.
		var want []int
		for i := range 1250 {
			issue := sandbox.Issue{Title: fmt.Sprint(i), Labels: []string{"bug", "leaked-key"}, PullRequest: i%50 == 0}
			if i%3 == 0 {
				issue.State = "closed"
			}
			if i%7 == 0 {
				issue.Labels = []string{"bug"}
			}
			n := gh.AddIssue("acme/app", issue)
			if i%7 != 0 && !issue.PullRequest {
				want = append(want, n)
			}
		}
		slices.Reverse(want)
		issues, err := c.Issues(t.Context(), "acme/app", "leaked-key")
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, issue := range issues {
			got = append(got, issue.Number)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("numbers (-want +got):\n%s", diff)
		}
		first := Issue{Number: 1250, URL: "http://127.0.0.1/acme/app/issues/1250", State: "open", Title: "1249", Labels: []string{"bug", "leaked-key"}}
		if diff := gocmp.Diff(first, issues[0]); diff != "" {
			t.Errorf("the newest (-want +got):\n%s", diff)
		}
	})
}

// An issue is asked for by its number where its label is not to be had.
func TestIssue(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.AddIssue("acme/app", sandbox.Issue{Title: "t", Body: "b"})
		gh.AddIssue("acme/app", sandbox.Issue{Title: "t", PullRequest: true})
		issue, err := c.Issue(t.Context(), "acme/app", 1)
		if err != nil || issue.Number != 1 || issue.Body != "b" || issue.State != "open" {
			t.Errorf("%+v, %v", issue, err)
		}
		for _, number := range []int{2, 3} {
			if issue, err := c.Issue(t.Context(), "acme/app", number); !errors.Is(err, ErrNotFound) || issue.Number != 0 {
				t.Errorf("%d: %+v, %v", number, issue, err)
			}
		}
	})
	for name, answer := range map[string]http.HandlerFunc{
		"deleted": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"message":"This issue was deleted"}`, http.StatusGone)
		},
		"moved": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"number":7}`) },
	} {
		synctest.Test(t, func(t *testing.T) {
			if _, err := serve(t, answer).Issue(t.Context(), "acme/app", 1); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A list that never ends is an error, and soon.
func TestIssuesWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.Header().Set("Link", `<http://127.0.0.1/repos/acme/app/issues?page=2&after=x>; rel="next"`)
			fmt.Fprint(w, `[{"number":1}, null]`)
		}))
		issues, err := c.Issues(t.Context(), "acme/app", "leaked-key")
		wantError(t, err, "acme/app has more than 10000 issues labelled leaked-key")
		if issues != nil || requests != maxPages {
			t.Errorf("%d issues after %d requests, want none after %d", len(issues), requests, maxPages)
		}
	})
}

func TestCreateIssue(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		for n := 1; n <= 2; n++ {
			got, err := c.CreateIssue(t.Context(), "acme/app", leak)
			if err != nil {
				t.Fatal(err)
			}
			want := Issue{Number: n, URL: fmt.Sprintf("http://127.0.0.1/acme/app/issues/%d", n), State: "open",
				Title: leak.Title, Body: leak.Body, Labels: leak.Labels}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		if got := sent(gh, "POST", "/labels"); got != 1 {
			t.Errorf("the label was made %d times, want once", got)
		}
		if got := sent(gh, "POST", "/issues"); got != 2 {
			t.Errorf("%d issues sent, want 2", got)
		}
	})
}

// Somebody else makes the label between our look and our making it.
func TestCreateIssueLabelRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh := sandbox.NewGitHub(token)
		gh.AddRepo("acme/app")
		looked := false
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			gh.ServeHTTP(w, r)
			if strings.HasSuffix(r.URL.Path, "/labels/leaked-key") && !looked {
				looked = true
				gh.AddIssue("acme/app", sandbox.Issue{Labels: []string{"Leaked-Key"}})
			}
		}))
		if _, err := c.CreateIssue(t.Context(), "acme/app", leak); err != nil {
			t.Error(err)
		}
		if got := sent(gh, "POST", "/labels"); got != 1 {
			t.Errorf("%d labels sent, want 1: the race did not take place", got)
		}
	})
}

// What refuses an issue is an error that says what to do, and it is sure that
// nothing was filed.
func TestCreateIssueRefused(t *testing.T) {
	opts := func(o ...sandbox.RepoOption) []sandbox.RepoOption { return o }
	for _, tc := range []struct {
		name    string
		options []sandbox.RepoOption
		faults  sandbox.GitHubFaults
		repo    string
		text    IssueText
		status  int
		want    []string
	}{
		{name: "not visible", repo: "acme/other", status: 404, want: []string{"acme/other does not exist, or GITHUB_TOKEN may not see it", "Issues: write"}},
		{name: "read only", options: opts(sandbox.ReadOnly), status: 403,
			want: []string{"Resource not accessible", "GITHUB_TOKEN needs the permission Issues: write on acme/app"}},
		{name: "archived", options: opts(sandbox.Archived), status: 403, want: []string{"acme/app is archived", "--issue-repo"}},
		{name: "issues switched off", options: opts(sandbox.NoIssues), status: 410, want: []string{"issues are switched off in acme/app", "--issue-repo"}},
		{name: "too long", text: IssueText{Title: strings.Repeat("a", 257)}, status: 422, want: []string{"POST /repos/acme/app/issues", "Validation Failed; Issue title invalid"}},
		{name: "429", faults: sandbox.GitHubFaults{Method: "POST", TooMany: 9, RetryAfter: "1"}, text: IssueText{Title: "t"}, status: 429,
			want: []string{"lifted at 2000-01-01T00:00:01Z"}},
		{name: "secondary limit", faults: sandbox.GitHubFaults{Method: "POST", Secondary: 9}, text: IssueText{Title: "t"}, status: 403,
			want: []string{"secondary rate limit", "lifted at 2000-01-01T00:01:00Z"}},
		{name: "redirected", faults: sandbox.GitHubFaults{Method: "POST", RedirectTo: "http://127.0.0.1"}, text: IssueText{Title: "t"}, status: 307,
			want: []string{"renamed or moved"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
				gh.SetFaults(tc.faults)
				text := tc.text
				if text.Title == "" {
					text = leak
				}
				issue, err := c.CreateIssue(t.Context(), cmp.Or(tc.repo, "acme/app"), text)
				wantError(t, err, tc.want...)
				var e *Error
				if !errors.As(err, &e) || e.Status != tc.status {
					t.Errorf("error %#v, want an *Error of status %d", err, tc.status)
				}
				if errors.Is(err, ErrOutcomeUnknown) {
					t.Errorf("the outcome is known: %v", err)
				}
				if errors.Is(err, ErrNotFound) != (tc.status == 404) {
					t.Errorf("errors.Is(%v, ErrNotFound) is wrong", err)
				}
				if got := len(gh.Issues("acme/app")); got != 0 || issue.Number != 0 {
					t.Errorf("%d issues filed, and %+v returned", got, issue)
				}
				if got := sent(gh, "POST", "/issues"); got > 1 {
					t.Errorf("the issue was sent %d times", got)
				}
			}, tc.options...)
		})
	}
}

// An issue or a comment whose answer was lost is never sent again, and the
// error says that it may exist.
func TestLostAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		faults  sandbox.GitHubFaults
		unknown bool
		filed   int
	}{
		"error after it took effect": {sandbox.GitHubFaults{ErrorAfterCreate: 1}, true, 1},
		"reset after it took effect": {sandbox.GitHubFaults{ResetAfterCreate: 1}, true, 1},
		"error of a proxy":           {sandbox.GitHubFaults{Method: "POST", BadGateway: 9}, true, 0},
		"slow":                       {sandbox.GitHubFaults{Method: "POST", Delay: time.Hour}, true, 0},
		"rate limit":                 {sandbox.GitHubFaults{Method: "POST", TooMany: 9}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
				n := gh.AddIssue("acme/app", sandbox.Issue{Labels: []string{"leaked-key"}}) // so that the label is there
				gh.SetFaults(tc.faults)
				_, err := c.CreateIssue(t.Context(), "acme/app", leak)
				wantError(t, err, "POST /repos/acme/app/issues")
				if errors.Is(err, ErrOutcomeUnknown) != tc.unknown {
					t.Errorf("error %v: outcome unknown must be %v", err, tc.unknown)
				}
				if got := sent(gh, "POST", "/issues"); got != 1 {
					t.Errorf("the issue was sent %d times", got)
				}
				if got := len(gh.Issues("acme/app")) - n; got != tc.filed {
					t.Errorf("%d issues filed, want %d", got, tc.filed)
				}

				gh.SetFaults(tc.faults)
				err = c.Comment(t.Context(), "acme/app", n, "text")
				wantError(t, err, "comments")
				if errors.Is(err, ErrOutcomeUnknown) != tc.unknown {
					t.Errorf("error %v: outcome unknown must be %v", err, tc.unknown)
				}
				if got := sent(gh, "POST", "/comments"); got != 1 {
					t.Errorf("the comment was sent %d times", got)
				}
			})
		})
	}
}

func TestCreateIssueUnreadableAnswer(t *testing.T) {
	for _, body := range []string{"", "null", "<html>", `{"number":0}`} {
		synctest.Test(t, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusCreated)
				fmt.Fprint(w, body)
			}))
			_, err := c.CreateIssue(t.Context(), "acme/app", IssueText{Title: "t"})
			if !errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("answer %q: error %v, want ErrOutcomeUnknown", body, err)
			}
		})
	}
}

func TestNeverConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		c, err := newClient(Config{APIURL: "http://127.0.0.1", Token: token}, &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				dials++
				return nil, errors.New("connection refused")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.CreateIssue(t.Context(), "acme/app", IssueText{Title: "t"})
		wantError(t, err, "no answer from GitHub", "connection refused")
		if errors.Is(err, ErrOutcomeUnknown) || dials != 1 {
			t.Errorf("after %d attempts: %v; nothing was sent, so the outcome is known", dials, err)
		}
	})
}

func TestDroppedLabels(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.SetFaults(sandbox.GitHubFaults{DropLabels: true})
		issue, err := c.CreateIssue(t.Context(), "acme/app", leak)
		wantError(t, err, "acme/app#1 lacks the label leaked-key", "Issues: write", "by hand")
		if issue.Number != 1 || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("issue %+v, error %v; the issue was filed, and that is known", issue, err)
		}
		issue, err = c.UpdateIssue(t.Context(), "acme/app", 1, leak)
		wantError(t, err, "acme/app#1 lacks the label leaked-key")
		if issue.Number != 1 {
			t.Errorf("issue %+v", issue)
		}
	})
}

func TestUpdateIssue(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.AddIssue("acme/app", sandbox.Issue{Title: "old", Body: "old", State: "closed", Labels: []string{"bug", "Leaked-Key"}})
		gh.AddIssue("acme/app", sandbox.Issue{Title: "old", Body: "old", Labels: []string{"bug"}})
		want := []sandbox.Issue{
			{Number: 1, Title: leak.Title, Body: leak.Body, State: "closed", Labels: []string{"bug", "Leaked-Key"}},
			{Number: 2, Title: leak.Title, Body: leak.Body, State: "open", Labels: []string{"bug", "Leaked-Key"}},
		}
		for _, issue := range want {
			gh.SetFaults(sandbox.GitHubFaults{Method: "PATCH", BadGateway: 2})
			got, err := c.UpdateIssue(t.Context(), "acme/app", issue.Number, leak)
			if err != nil {
				t.Fatal(err)
			}
			if got.State != issue.State || got.Body != issue.Body || !slices.Equal(got.Labels, issue.Labels) {
				t.Errorf("returned %+v, want %+v", got, issue)
			}
		}
		if diff := gocmp.Diff(want, gh.Issues("acme/app")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := sent(gh, "POST", "/1/labels"); got != 0 {
			t.Errorf("labels were sent that were there: %d times", got)
		}
		_, err := c.UpdateIssue(t.Context(), "acme/app", 3, leak)
		wantError(t, err, "PATCH /repos/acme/app/issues/3", "404")
	})
}

func TestComment(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.AddIssue("acme/app", sandbox.Issue{})
		if err := c.Comment(t.Context(), "acme/app", 1, "dead"); err != nil {
			t.Fatal(err)
		}
		if got := gh.Issues("acme/app")[0].Comments; !slices.Equal(got, []string{"dead"}) {
			t.Errorf("comments %q", got)
		}
	})
}
