package responder

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/sandbox"
)

// Where the issues of several repositories go to one that leaks, too, its own
// issue is another than theirs.
func TestIssuesOfTwoRepositoriesInOneOfThem(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	w.github.AddRepo("acme/sec", sandbox.Private)
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	f := leak(finding.ProjectKey, v)
	w.cfg.IssueRepo = "acme/sec"
	for _, repo := range []string{"acme/app", "acme/sec", "acme/app", "acme/sec"} {
		w.cfg.Repo = repo
		w.mustRespond(t, f)
	}
	w.mustChangeNothing(t, f)
	issues := w.github.Issues("acme/sec")
	if len(issues) != 2 {
		t.Fatalf("%d issues, want one for each repository", len(issues))
	}
	for i, where := range []string{"stands in `acme/app`", "stands in this repository"} {
		if !strings.Contains(issues[i].Body, where) {
			t.Errorf("#%d does not say that the key %s:\n%s", i+1, where, issues[i].Body)
		}
	}
}

// An issue that never got its label is known by the number in the ledger, and
// gets the label as soon as GitHub takes it.
func TestAnIssueWithoutItsLabel(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	w.github.SetFaults(sandbox.GitHubFaults{DropLabels: true})
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	f := leak(finding.ProjectKey, v)
	for range 3 {
		_, err := w.respond(t, f)
		if err == nil || !strings.Contains(err.Error(), "lacks the label leaked-key") {
			t.Errorf("error %v does not say that the label is missing", err)
		}
		if issue := w.one(t); len(issue.Comments) != 1 || !strings.HasSuffix(issue.Title, ": dead") {
			t.Errorf("%q with comments %q", issue.Title, issue.Comments)
		}
	}
	w.github.SetFaults(sandbox.GitHubFaults{})
	w.mustRespond(t, f)
	if issue := w.one(t); len(issue.Labels) != 1 {
		t.Errorf("labels %q", issue.Labels)
	}
	w.mustChangeNothing(t, f)

	// One that was deleted, or given to something else, is not believed in.
	w.github.EditIssue("acme/app", 1, func(issue *sandbox.Issue) { issue.Labels, issue.Body = nil, "Taken over." })
	w.mustRespond(t, f)
	if issues := w.github.Issues("acme/app"); len(issues) != 2 || issues[0].Body != "Taken over." {
		t.Errorf("%+v", issues)
	}
}

// late returns a GitHub that files issues only after a while, whether somebody
// waits for it or not.
func (w *world) late(t *testing.T, while time.Duration) (posts *atomic.Int32) {
	posts = new(atomic.Int32)
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/issues") {
			posts.Add(1)
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			time.Sleep(while)
		}
		w.github.ServeHTTP(rw, r)
	}))
	t.Cleanup(slow.Close)
	w.server = slow.URL
	return posts
}

// Filing an issue that takes longer than the deletion waits for it is neither
// called off nor done twice.
func TestAnAnnouncementThatIsLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withGitHub(t, sandbox.Private)
	posts := w.late(t, announceTime+time.Second)
	v := projectKey("1b3A")
	k := w.alpha.AddKey("ci", v, person)
	deleted := make(chan time.Duration, 1)
	start := time.Now()
	w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
		if r.Method == http.MethodDelete {
			deleted <- time.Since(start)
		}
	}})
	f := leak(finding.ProjectKey, v)
	w.mustRespond(t, f)
	if took := <-deleted; took >= announceTime+time.Second || !k.Deleted() {
		t.Errorf("the deletion waited for the issue: %v", took)
	}
	if issue := w.one(t); posts.Load() != 1 || !strings.HasSuffix(issue.Title, ": dead") || len(issue.Comments) != 1 {
		t.Errorf("%d times filed; %q with comments %q", posts.Load(), issue.Title, issue.Comments)
	}
	w.mustChangeNothing(t, f)
}

// A comment that is late and lost does not keep the issue from saying more.
func TestALateCommentIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withGitHub(t, sandbox.Private)
	var comments atomic.Int32
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/comments") && comments.Add(1) == 1 {
			time.Sleep(announceTime + time.Second)
			panic(http.ErrAbortHandler) // net/http closes the connection
		}
		w.github.ServeHTTP(rw, r)
	}))
	defer slow.Close()
	w.server = slow.URL
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	f := leak(finding.ProjectKey, v)
	w.github.AddIssue("acme/app", sandbox.Issue{Title: "t", Body: marker(f.Secret.Fingerprint()), Labels: []string{issueLabel}})
	w.mustRespond(t, f)
	if issue := w.one(t); !strings.Contains(issue.Body, "Proven dead") || len(issue.Comments) != 1 {
		t.Errorf("comments %q, body:\n%s", issue.Comments, issue.Body)
	}
	w.mustChangeNothing(t, f)
}

// White space that people leave around our comments makes no second issue.
func TestWhiteSpaceAroundTheComments(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"behind the marker": func(body string) string { return body + " \t\n\n " },
		"before the marker": func(body string) string {
			return strings.Replace(body, "<!-- unleak fingerprint", " \t<!-- unleak fingerprint", 1)
		},
		"everywhere": func(body string) string { return strings.ReplaceAll(body, "\n", " \r\n ") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).withGitHub(t, sandbox.Private)
			v := projectKey("1b3A")
			w.alpha.AddKey("ci", v, person)
			f := leak(finding.ProjectKey, v)
			w.mustRespond(t, f)
			w.github.EditIssue("acme/app", 1, func(issue *sandbox.Issue) { issue.Body = edit(issue.Body) })
			w.mustRespond(t, f)
			if issue := w.one(t); strings.Contains(issue.Body, "Added by people") || strings.Count(issue.Body, "Proven dead") != 1 {
				t.Errorf("white space was taken for people's text:\n%s", issue.Body)
			}
			w.mustChangeNothing(t, f)
		})
	}
}

// What people write within our block moves below it; what they change there is
// put right, and their version kept.
func TestTextOfPeopleWithinTheBlock(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	twin := w.alpha.AddKey("twin", projectKey("1b3A"), person)
	f := leak(finding.ProjectKey, v)
	w.mustRespond(t, f)
	ambiguous := w.one(t).Body

	edit := func(pairs ...string) {
		t.Helper()
		w.github.EditIssue("acme/app", 1, func(issue *sandbox.Issue) {
			body := strings.NewReplacer(pairs...).Replace(issue.Body)
			if body == issue.Body {
				t.Fatalf("%q changes nothing in:\n%s", pairs, body)
			}
			issue.Body = body
		})
	}
	edit("### What to do now\n", "Grace asks the other team.\n\n- [x] Call them.\n### What to do now\n",
		", line 3,", ", line 3 (a test!),",
		"- [ ] Look through the organization's usage", "- [x] Look through the organization's usage")
	theirs := []string{"Grace asks the other team.", "- [x] Call them.", "line 3 (a test!)", "- [x] Look through the organization's usage"}
	w.mustRespond(t, f)
	if _, missing := contains(w.one(t).Body, append(theirs, ", line 3,", "Added by people:")...); len(missing) > 0 {
		t.Errorf("the body lacks %q:\n%s", missing, w.one(t).Body)
	}
	w.mustChangeNothing(t, f)

	edit("### Where it stands\n", "### Where it stands\nHere, too.\n")
	twin.Delete()
	w.respond(t, f)
	body := w.one(t).Body
	if _, missing := contains(body, append(theirs, "Here, too.")...); len(missing) > 0 {
		t.Errorf("the body lacks %q:\n%s", missing, body)
	}
	for line := range strings.Lines(body[strings.Index(body, "Added by people:"):]) {
		if !strings.HasPrefix(line, "<!--") && strings.TrimSpace(line) != "" && strings.Contains(ambiguous, line) {
			t.Errorf("unleak's own line is taken for people's: %q", line)
		}
	}
	w.respond(t, f)
	if again := w.one(t).Body; again != body {
		t.Errorf("the body went from:\n%s\nto:\n%s", body, again)
	}
}

// A server's words that are others each time change nothing.
func TestAReasonInOtherWords(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	f := leak(finding.ProjectKey, v)
	var n atomic.Int32
	inner := w.handler
	w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			rw.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(rw, `{"error":{"message":"sorry, request req_%d"}}`, n.Add(1))
			return
		}
		inner.ServeHTTP(rw, r)
	})
	first := w.mustRespond(t, f)[0]
	if first.Status != finding.StatusUnconfirmed || !strings.Contains(w.one(t).Body, "sorry, request req_") {
		t.Fatalf("%+v", first)
	}
	if again := w.mustChangeNothing(t, f)[0]; again.Reason == first.Reason {
		t.Errorf("the reason of this run is not reported: %s", again.Reason)
	}
}
