package responder

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/github"
	"github.com/unleak/unleak/internal/sandbox"
)

// written returns the requests to GitHub that are not GET.
func (w *world) written() []string {
	var out []string
	for _, r := range w.github.Requests() {
		if r.Method != http.MethodGet {
			out = append(out, r.Method+" "+r.Path)
		}
	}
	return out
}

// one returns the only issue of acme/app.
func (w *world) one(t *testing.T) sandbox.Issue {
	t.Helper()
	issues := w.github.Issues("acme/app")
	if len(issues) != 1 {
		t.Fatalf("%d issues, want 1", len(issues))
	}
	return issues[0]
}

// mustRespond fails the test if the answer is incomplete.
func (w *world) mustRespond(t *testing.T, findings ...finding.Finding) []finding.Response {
	t.Helper()
	responses, err := w.respond(t, findings...)
	if err != nil {
		t.Fatal(err)
	}
	return responses
}

// mustChangeNothing runs again and fails the test if anything is written
// anywhere.
func (w *world) mustChangeNothing(t *testing.T, findings ...finding.Finding) []finding.Response {
	t.Helper()
	before := [2]int{len(w.changes()), len(w.written())}
	ledger := readFile(t, w.ledger)
	responses := w.mustRespond(t, findings...)
	if after := [2]int{len(w.changes()), len(w.written())}; after != before {
		t.Errorf("running again sent %v to OpenAI and %v to GitHub", w.changes()[before[0]:], w.written()[before[1]:])
	}
	if diff := cmp.Diff(string(ledger), string(readFile(t, w.ledger))); diff != "" {
		t.Errorf("running again wrote into the ledger:\n%s", diff)
	}
	return responses
}

// contains reports which of the words stand in text.
func contains(text string, words ...string) (in, out []string) {
	for _, word := range words {
		if strings.Contains(text, word) {
			in = append(in, word)
		} else {
			out = append(out, word)
		}
	}
	return in, out
}

func TestPrivateIssue(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	k := w.alpha.AddKey("ci-deploy", v, person)
	var announced []sandbox.Issue
	w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
		if r.Method == http.MethodDelete {
			announced = w.github.Issues("acme/app")
		}
	}})
	f := leak(finding.ProjectKey, v)
	response := w.mustRespond(t, f)[0]

	if len(announced) != 1 || announced[0].Title != "Leaked OpenAI key sk-proj-...1b3A: being revoked" {
		t.Errorf("at the deletion: %+v", announced)
	}
	issue := w.one(t)
	if issue.Title != "Leaked OpenAI key sk-proj-...1b3A: dead" {
		t.Errorf("title %q", issue.Title)
	}
	marker := "<!-- unleak fingerprint: " + string(f.Secret.Fingerprint()) + " -->"
	if !strings.HasSuffix(issue.Body, "\n"+marker) {
		t.Errorf("the body does not end with the marker:\n%s", issue.Body)
	}
	_, missing := contains(issue.Body, "Alpha", "proj_alpha", "ci-deploy", k.ID, "Grace Hopper", person.Email, "app/config.py", "line 3", "Ada", "still there", "- [ ] ")
	if len(missing) > 0 {
		t.Errorf("the body lacks %q:\n%s", missing, issue.Body)
	}
	if diff := cmp.Diff([]string{"leaked-key"}, issue.Labels); diff != "" {
		t.Error(diff)
	}
	if len(issue.Comments) != 1 || !strings.Contains(issue.Comments[0], "dead") {
		t.Errorf("comments %q, want one that says that it is dead", issue.Comments)
	}
	if response.Issue == nil || response.Issue.Repo != "acme/app" || response.Issue.Number != 1 || !strings.HasSuffix(response.Issue.URL, "/acme/app/issues/1") {
		t.Errorf("response names issue %+v", response.Issue)
	}

	again := w.mustChangeNothing(t, f)[0]
	if !again.AlreadyDead || again.Status != finding.StatusDead || again.Issue == nil || again.Issue.Number != 1 {
		t.Errorf("again: %+v", again)
	}
	if !again.RevokedAt.Equal(response.RevokedAt) || !again.DeadAt.Equal(response.DeadAt) || again.Key == nil || again.Key.ID != k.ID {
		t.Errorf("again, the response forgot what was done: %+v", again)
	}
}

func TestPublicIssue(t *testing.T) {
	w := newWorld(t).withGitHub(t)
	v := projectKey("1b3A")
	k := w.alpha.AddKey("ci-deploy", v, person)
	var (
		mu    sync.Mutex // the lists are asked for side by side
		early []string
	)
	w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 5, Before: func(*http.Request) {
		mu.Lock()
		defer mu.Unlock()
		early = append(early, w.written()...)
	}})
	f := leak(finding.ProjectKey, v)
	w.mustRespond(t, f)
	if len(early) > 0 {
		t.Errorf("before the key was dead GitHub was sent %v", early)
	}
	issue := w.one(t)
	text := issue.Title + issue.Body + strings.Join(issue.Comments, "")
	if told, _ := contains(text, "Alpha", "proj_alpha", "ci-deploy", k.ID, "Grace", "example.com", "Ada", "Last used", "Created"); len(told) > 0 {
		t.Errorf("a public issue tells %q:\n%s", told, text)
	}
	if _, missing := contains(text, "sk-proj-...1b3A", "app/config.py", "line 3", "Deleted by unleak", "Proven dead"); len(missing) > 0 {
		t.Errorf("the issue lacks %q:\n%s", missing, text)
	}
	w.mustChangeNothing(t, f)
}

// Nothing that points at a live key is written where everybody reads it.
func TestPublicIssueWaitsForDeath(t *testing.T) {
	w := newWorld(t).withGitHub(t)
	v := projectKey("1b3A")
	k := w.alpha.AddKey("ci", v, person)
	twin := w.alpha.AddKey("twin", projectKey("1b3A"), person)
	f := leak(finding.ProjectKey, v)
	if response := w.mustRespond(t, f)[0]; response.Status != finding.StatusAmbiguous || response.Issue != nil {
		t.Errorf("%+v", response)
	}
	if n := len(w.written()); n != 0 {
		t.Errorf("GitHub was sent %v", w.written())
	}
	w.mustChangeNothing(t, f)

	// Somebody deletes both by hand. The ledger knows the key: it gets its issue.
	k.Delete()
	twin.Delete()
	if response := w.mustRespond(t, f)[0]; !response.AlreadyDead || response.Issue == nil {
		t.Errorf("%+v", response)
	}
	if issue := w.one(t); !strings.HasSuffix(issue.Title, ": dead") {
		t.Errorf("title %q", issue.Title)
	}
	w.mustChangeNothing(t, f)
}

func TestOneCommentForEachChange(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	w.cfg.MaxRevocations = 0
	f := leak(finding.ProjectKey, v)
	w.mustRespond(t, f)
	if issue := w.one(t); issue.Title != "Leaked OpenAI key sk-proj-...1b3A: NOT revoked (limit)" || len(issue.Comments) != 0 {
		t.Errorf("%q with comments %q", issue.Title, issue.Comments)
	}
	w.mustChangeNothing(t, f)

	// A new place is no new state.
	moved := f
	moved.Locations = append(moved.Locations[:1:1], finding.Location{Where: finding.InFile, Path: "again.txt", Line: 1})
	w.mustRespond(t, moved)
	if issue := w.one(t); !strings.Contains(issue.Body, "again.txt") || len(issue.Comments) != 0 {
		t.Errorf("comments %q, body:\n%s", issue.Comments, issue.Body)
	}

	w.cfg.MaxRevocations = 10
	w.mustRespond(t, moved)
	issue := w.one(t)
	if !strings.HasSuffix(issue.Title, ": dead") || len(issue.Comments) != 2 { // being revoked, dead
		t.Errorf("%q with comments %q", issue.Title, issue.Comments)
	}
	w.mustChangeNothing(t, moved)
}

func TestTextOfPeopleIsKept(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	w.cfg.MaxRevocations = 0
	f := leak(finding.ProjectKey, v)
	w.mustRespond(t, f)

	const task = "- [ ] Look through the organization's usage"
	w.github.EditIssue("acme/app", 1, func(issue *sandbox.Issue) {
		mark := marker(f.Secret.Fingerprint())
		body := strings.Replace(issue.Body, task, strings.Replace(task, "[ ]", "[x]", 1), 1)
		body = strings.Replace(body, mark, "Between the two.\n\n"+mark, 1)
		issue.Body = strings.ReplaceAll("First of all:\nask Grace.\n\n"+body+"\nAfter all that.", "\n", "\r\n")
		issue.Title = "[P1] " + issue.Title
		issue.State = "closed"
		issue.Labels = append(issue.Labels, "urgent")
	})
	w.mustChangeNothing(t, f)

	w.cfg.MaxRevocations = 10
	w.mustRespond(t, f)
	issue := w.one(t)
	if _, missing := contains(issue.Body, "First of all:\nask Grace.\n", "\nBetween the two.\n", "\nAfter all that.\n", strings.Replace(task, "[ ]", "[x]", 1), "Proven dead"); len(missing) > 0 {
		t.Errorf("the body lacks %q:\n%s", missing, issue.Body)
	}
	if !strings.HasSuffix(issue.Body, marker(f.Secret.Fingerprint())) || strings.Count(issue.Body, "<!-- unleak fingerprint") != 1 {
		t.Errorf("the body does not end with its one marker:\n%s", issue.Body)
	}
	if !strings.HasPrefix(issue.Title, "[P1] ") || issue.State != "closed" || len(issue.Labels) != 2 {
		t.Errorf("title %q, %s, labels %q", issue.Title, issue.State, issue.Labels)
	}
	w.mustChangeNothing(t, f)
}

// An issue that holds only the marker is ours, too, and all else in it theirs.
func TestMarker(t *testing.T) {
	v := projectKey("1b3A")
	f := leak(finding.ProjectKey, v)
	mark := marker(f.Secret.Fingerprint())
	for _, tt := range []struct {
		name   string
		issue  sandbox.Issue
		counts bool
	}{
		{"with the label", sandbox.Issue{Title: "Filed by hand", Body: "Words.\n\n" + mark, Labels: []string{"Leaked-Key"}}, true},
		{"closed", sandbox.Issue{Title: "t", Body: mark, Labels: []string{"leaked-key"}, State: "closed"}, true},
		{"without the label", sandbox.Issue{Title: "t", Body: mark}, false},
		{"another label", sandbox.Issue{Title: "t", Body: mark, Labels: []string{"leaked-keys"}}, false},
		{"within a line", sandbox.Issue{Title: "t", Body: "> " + mark, Labels: []string{"leaked-key"}}, false},
		{"another key's", sandbox.Issue{Title: "t", Body: marker("0123"), Labels: []string{"leaked-key"}}, false},
		{"a pull request", sandbox.Issue{Title: "t", Body: mark, Labels: []string{"leaked-key"}, PullRequest: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).withGitHub(t, sandbox.Private)
			w.alpha.AddKey("ci", v, person)
			w.github.AddIssue("acme/app", tt.issue)
			w.mustRespond(t, f)
			issues := w.github.Issues("acme/app")
			if counts := len(issues) == 1; counts != tt.counts {
				t.Fatalf("%d issues", len(issues))
			}
			if tt.counts && (!strings.Contains(issues[0].Body, "Proven dead") || !strings.HasPrefix(issues[0].Body, strings.TrimSuffix(tt.issue.Body, mark))) {
				t.Errorf("body:\n%s", issues[0].Body)
			}
			if !tt.counts && issues[0].Body != tt.issue.Body {
				t.Errorf("another's issue was changed:\n%s", issues[0].Body)
			}
			w.mustChangeNothing(t, f)
		})
	}
}

func TestAlreadyDeadIssues(t *testing.T) {
	f := leak(finding.ProjectKey, projectKey("1b3A"))
	w := newWorld(t).withGitHub(t, sandbox.Private)
	if response := w.mustRespond(t, f)[0]; response.Issue != nil || !response.AlreadyDead {
		t.Errorf("%+v", response)
	}
	if n := len(w.github.Requests()); n != 0 {
		t.Errorf("GitHub was asked %d times for nothing", n)
	}
	w.mustChangeNothing(t, f)

	w.cfg.Policy.AlreadyDeadIssues = true
	if response := w.mustRespond(t, f)[0]; response.Issue == nil {
		t.Errorf("%+v", response)
	}
	w.mustChangeNothing(t, f)
	w.cfg.Policy.AlreadyDeadIssues = false
	w.mustChangeNothing(t, f)
	w.one(t)
}

func TestNoMoreThanTwentyNewIssues(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	w.cfg.MaxRevocations = 3
	var findings []finding.Finding
	for i := range 25 {
		v := projectKey(fmt.Sprintf("%02dxA", i))
		w.alpha.AddKey("ci", v, person)
		findings = append(findings, leak(finding.ProjectKey, v))
	}
	_, err := w.respond(t, findings...)
	if n := len(w.github.Issues("acme/app")); n != 20 {
		t.Errorf("%d issues", n)
	}
	if err == nil || !strings.Contains(err.Error(), "24xA") || strings.Contains(err.Error(), "19xA") {
		t.Errorf("error %v does not name those without issue", err)
	}
	w.mustRespond(t, findings...)
	if n := len(w.github.Issues("acme/app")); n != 25 {
		t.Errorf("%d issues after the second run", n)
	}
}

// An answer that is lost makes no second issue.
func TestLostAnswers(t *testing.T) {
	for name, options := range map[string][]sandbox.RepoOption{"private": {sandbox.Private}, "public": nil} {
		for fault, faults := range map[string]sandbox.GitHubFaults{"error": {ErrorAfterCreate: 1}, "reset": {ResetAfterCreate: 1}} {
			t.Run(name+" "+fault, func(t *testing.T) {
				w := newWorld(t).withGitHub(t, options...)
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.github.SetFaults(faults)
				f := leak(finding.ProjectKey, v)
				w.mustRespond(t, f)
				w.one(t)
				w.mustChangeNothing(t, f)
			})
		}
	}
}

// Whatever GitHub does, the key is revoked; and that no issue was filed is
// said.
func TestGitHubFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		option sandbox.RepoOption
		faults sandbox.GitHubFaults
		says   string
	}{
		{"no issues", sandbox.NoIssues, sandbox.GitHubFaults{}, "--issue-repo"},
		{"archived", sandbox.Archived, sandbox.GitHubFaults{}, "archived"},
		{"read only", sandbox.ReadOnly, sandbox.GitHubFaults{}, "Issues: write"},
		{"labels dropped", sandbox.Private, sandbox.GitHubFaults{DropLabels: true}, "leaked-key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).withGitHub(t, tt.option, sandbox.Private)
			w.github.SetFaults(tt.faults)
			v := projectKey("1b3A")
			k := w.alpha.AddKey("ci", v, person)
			responses, err := w.respond(t, leak(finding.ProjectKey, v))
			if !k.Deleted() || responses[0].Status != finding.StatusDead {
				t.Errorf("%+v", responses[0])
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v does not say %q", err, tt.says)
			}
			if n := len(w.github.Issues("acme/app")); n > 1 {
				t.Errorf("%d issues", n)
			}
		})
	}
}

// A GitHub that does not answer holds up all the deletions of a run for no
// more than five seconds.
func TestASlowGitHubDelaysNoDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withGitHub(t, sandbox.Private)
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		<-release
		w.github.ServeHTTP(rw, r)
	}))
	defer slow.Close()
	w.server = slow.URL
	var findings []finding.Finding
	for _, tail := range []string{"1b3A", "2c4A", "3d5A"} {
		v := projectKey(tail)
		w.alpha.AddKey("ci", v, person)
		findings = append(findings, leak(finding.ProjectKey, v))
	}
	start := time.Now()
	var took time.Duration
	var once sync.Once
	w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
		if len(w.changes()) == len(findings) {
			once.Do(func() {
				took = time.Since(start)
				close(release)
			})
		}
	}})
	w.mustRespond(t, findings...)
	if took > announceTime+3*time.Second {
		t.Errorf("the deletions took %v", took)
	}
	if n := len(w.github.Issues("acme/app")); n != len(findings) {
		t.Errorf("%d issues", n)
	}
}

// Where the answer to a late announcement is lost, the issue is looked for, and
// none is filed on the chance that there is none.
func TestAnAnnouncementWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, filed := range map[string]bool{"filed": true, "not filed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withGitHub(t, sandbox.Private)
			var posts atomic.Int32
			slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/issues") || posts.Add(1) > 1 {
					w.github.ServeHTTP(rw, r)
					return
				}
				if filed {
					w.github.ServeHTTP(httptest.NewRecorder(), r)
				}
				time.Sleep(announceTime + time.Second)
				panic(http.ErrAbortHandler) // net/http closes the connection
			}))
			defer slow.Close()
			w.server = slow.URL
			v := projectKey("1b3A")
			w.alpha.AddKey("ci", v, person)
			f := leak(finding.ProjectKey, v)
			responses, err := w.respond(t, f)
			if responses[0].Status != finding.StatusDead || posts.Load() != 1 {
				t.Errorf("filed %d times, %+v", posts.Load(), responses[0])
			}
			if unknown := errors.Is(err, github.ErrOutcomeUnknown); unknown == filed {
				t.Errorf("error: %v", err)
			}
			if !filed {
				w.mustRespond(t, f)
			}
			if issue := w.one(t); !strings.HasSuffix(issue.Title, ": dead") {
				t.Errorf("title %q", issue.Title)
			}
			w.mustChangeNothing(t, f)
		})
	}
}

// Of two issues about one key the older one is kept up to date.
func TestTheOlderIssueCounts(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	f := leak(finding.ProjectKey, v)
	copied := sandbox.Issue{Title: "t", Body: marker(f.Secret.Fingerprint()), Labels: []string{issueLabel}}
	w.github.AddIssue("acme/app", copied)
	w.github.AddIssue("acme/app", copied)
	w.mustRespond(t, f)
	if issues := w.github.Issues("acme/app"); len(issues) != 2 || issues[0].Body == copied.Body || issues[1].Body != copied.Body {
		t.Errorf("%+v", issues)
	}
}

// When a key was used last changes because unleak asks with it: an issue about
// a key that is left alone does not tell.
func TestTheIssueOfAProtectedKeyStays(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	w.cfg.Policy.AdminKeys = ReportAdminKeys
	v := adminKey("1b3A")
	w.openai.AddAdminKey("leaked", v, person)
	f := leak(finding.AdminKey, v)
	w.mustRespond(t, f)
	if again := w.mustChangeNothing(t, f)[0]; again.Status != finding.StatusProtected || again.Key.LastUsedAt.IsZero() {
		t.Errorf("%+v", again)
	}
}

// A deletion that fails each time is told once.
func TestARepeatedFailureIsToldOnce(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	w.openai.SetFaults(sandbox.OpenAIFaults{KeepServiceKeys: true})
	v := madeUpKey("sk-"+"svcacct-", 74, "1b3A")
	w.alpha.AddKey("ci", v, sandbox.ServiceAccount("robot"))
	f := leak(finding.ServiceAccountKey, v)
	w.mustRespond(t, f)
	before := len(w.written())
	for range 2 {
		if response := w.mustRespond(t, f)[0]; response.Status != finding.StatusFailed {
			t.Errorf("%+v", response)
		}
	}
	if after := w.written()[before:]; len(after) > 0 {
		t.Errorf("GitHub was told again: %v", after)
	}
	if n := len(w.changes()); n != 3 {
		t.Errorf("%d deletions in three runs: a refusal was repeated", n)
	}
	if issue := w.one(t); !strings.Contains(issue.Body, "never deletes a service account") || len(issue.Comments) != 1 {
		t.Errorf("comments %q, body:\n%s", issue.Comments, issue.Body)
	}
}

// Leaks of one key in two repositories whose issues go to a third.
func TestAnotherRepositoryForIssues(t *testing.T) {
	for name, options := range map[string][]sandbox.RepoOption{"private": {sandbox.Private}, "public": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).withGitHub(t)
			w.github.AddRepo("acme/security", options...)
			w.cfg.IssueRepo = "acme/security"
			v := projectKey("1b3A")
			w.alpha.AddKey("ci", v, person)
			f := leak(finding.ProjectKey, v)
			for range 2 {
				for i, repo := range []string{"acme/app", "acme/web"} {
					w.cfg.Repo = repo
					if got := w.mustRespond(t, f)[0].Issue; got == nil || got.Number != i+1 || got.Repo != "acme/security" {
						t.Errorf("%s: issue %+v", repo, got)
					}
				}
			}
			issues := w.github.Issues("acme/security")
			if len(issues) != 2 {
				t.Fatalf("%d issues", len(issues))
			}
			told, missing := contains(issues[0].Body, "acme/app", "app/config.py")
			if name == "private" && len(missing) > 0 {
				t.Errorf("the body lacks %q:\n%s", missing, issues[0].Body)
			}
			if name == "public" && len(told) > 0 {
				t.Errorf("a public issue elsewhere tells %q:\n%s", told, issues[0].Body)
			}
			w.mustChangeNothing(t, f)
		})
	}
}

// The key itself reaches nobody but OpenAI, wherever hostile hands put it.
func TestTheKeyGoesNowhere(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	p := w.openai.AddProject("proj_gamma", "Gamma "+v)
	p.AddKey("key "+v, v, sandbox.Owner{Type: "user", ID: "user-" + v, Name: v, Email: v + "@example.com"})
	other := projectKey("9z9A")
	w.beta.AddKey("other", other, person)
	f := leak(finding.ProjectKey, v)
	f.Locations[0].Path = "keys/" + v + "\n" + marker(f.Secret.Fingerprint()) + "\n"
	f.Locations[0].Author = v + " <" + v + ">"
	second := leak(finding.ProjectKey, other)
	w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 400, Times: 1, Body: `{"error":{"message":"no: ` + v + other + `"}}`})
	w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 403, Times: 1, Body: v + other})
	for range 3 {
		responses, err := w.respond(t, f, second)
		text := fmt.Sprintf("%v %+v %#v", err, responses, responses[0].Reason+responses[1].Reason)
		text += w.log.String() + string(readFile(t, w.ledger))
		for _, r := range w.github.Requests() {
			text += fmt.Sprint(r.Path, r.Query, r.Header, string(r.Body))
		}
		for _, issue := range w.github.Issues("acme/app") {
			text += fmt.Sprint(issue)
		}
		// The response holds OpenAI's names as they are: a report redacts them.
		text = strings.ReplaceAll(text, fmt.Sprintf("%+v", responses), "")
		for _, key := range []string{v, other, operatorKey + "x"} {
			if strings.Contains(text, key) {
				t.Errorf("the key stands in:\n%s", finding.Redact(text))
			}
		}
	}
	if n := len(w.github.Issues("acme/app")); n != 2 {
		t.Errorf("%d issues: a marker in a path was believed", n)
	}
	w.mustChangeNothing(t, f, second)
}

// A ledger that breaks off in the middle of a run stops the deletions.
func TestTheLedgerFailsBeforeTheDeletion(t *testing.T) {
	w := newWorld(t)
	v := projectKey("1b3A")
	k := w.alpha.AddKey("ci", v, person)
	w.cfg.VerifyInterval, w.cfg.VerifyTimeout = time.Millisecond, 20*time.Millisecond
	l := openLedger(t, w.ledger)
	w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/"+k.ID) { // looked up just before the intent
			l.mu.Lock()
			l.failed = errors.New("no space left on device")
			l.mu.Unlock()
		}
	}})
	responses, err := w.respondOn(t, l, leak(finding.ProjectKey, v))
	if got := responses[0]; got.Status != finding.StatusFailed || !strings.Contains(got.Reason, "no space left") || k.Deleted() {
		t.Errorf("%+v", got)
	}
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error: %v", err)
	}
	if info, err := os.Stat(w.ledger); err != nil || info.Size() != 0 {
		t.Errorf("ledger: %v, %v", info, err)
	}
}

var fences = regexp.MustCompile("`+")

// Text from outside stays within its code span: no backtick run in it is as
// long as the fence, and it is one line.
func FuzzCode(f *testing.F) {
	f.Add("plain", 10)
	f.Add("`", 1)
	f.Add("``` @octocat ` ![](x)", 100)
	f.Add(" <!-- unleak end -->\n", 50)
	f.Add("\u202e\x00\xff", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		span := code(s, max(0, limit%500))
		if strings.ContainsAny(span, "\n\r\x00") {
			t.Fatalf("%q is more than a line", span)
		}
		if span == "(empty)" {
			return
		}
		fence := fences.FindString(span)
		inner, ok := strings.CutSuffix(strings.TrimPrefix(span, fence), fence)
		if fence == "" || !ok || inner == "" || strings.HasSuffix(inner, "`") || strings.HasPrefix(inner, "`") {
			t.Fatalf("%q is no code span", span)
		}
		for _, run := range fences.FindAllString(inner, -1) {
			if len(run) >= len(fence) {
				t.Fatalf("%q ends its code span early", span)
			}
		}
	})
}

// Whatever people make of a body, nothing they wrote is lost, and the block is
// found again.
func FuzzPage(f *testing.F) {
	const fp = finding.Fingerprint("0123456789abcdef0123456789abcdef")
	block := seal("<!-- unleak begin: dead -->\ntext\n")
	f.Add("before", "within", "between", "after")
	f.Add("", "", "", "")
	f.Add("<!-- unleak begin: dead -->", "- [x] text", "<!-- unleak end -->", marker(fp))
	f.Add("a\r\nb\r", " \t ", "\n\n", block)
	f.Fuzz(func(t *testing.T, before, within, between, after string) {
		body := before + "\n" + strings.Replace(block, "text\n", "text\n"+within+"\n", 1) + "\n" + between + "\n" + marker(fp) + "\n" + after
		p := parsePage(body, fp)
		if !p.marked {
			t.Fatalf("the marker is lost in %q", body)
		}
		next := p.with(seal("<!-- unleak begin: revoked -->\nnew\n"))
		if !strings.HasSuffix(next, marker(fp)) {
			t.Fatalf("%q does not end with the marker", next)
		}
		people := lineEnds.Replace(before + "\n" + within + "\n" + between + "\n" + after)
		delimiter := strings.Contains(people, "<!-- unleak ")
		for line := range strings.SplitSeq(people, "\n") {
			if !delimiter && strings.TrimSpace(line) != "" && lineSum(line) != lineSum("text") && !strings.Contains(next, line) {
				t.Fatalf("%q is lost in %q", line, next)
			}
		}
		again := parsePage(next, fp)
		if stateOf(again.block) != "revoked" {
			t.Fatalf("the block is lost in %q", next)
		}
		if third := again.with(again.block); third != next {
			t.Fatalf("%q becomes %q", next, third)
		}
	})
}
