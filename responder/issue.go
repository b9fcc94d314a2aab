package responder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/github"
)

const (
	issueLabel   = "leaked-key"
	maxNewIssues = 20              // in one run: a flood of issues is read by nobody
	announceTime = 5 * time.Second // the longest that an issue may hold up a deletion
)

// An issueBook is what a run knows of the repository that issues go to. Its
// zero value knows nothing.
type issueBook struct {
	repo    github.Repository
	issues  []github.Issue // those with our label
	loaded  bool
	created int
	late    bool // an announcement failed: the next key does not wait for another
}

// load asks for the repository and its issues, unless that is known.
func (r *run) load(ctx context.Context) error {
	if r.issues.loaded {
		return nil
	}
	repo, err := r.cfg.GitHub.Repository(ctx, r.cfg.IssueRepo)
	if err != nil {
		return err
	}
	issues, err := r.cfg.GitHub.Issues(ctx, repo.Name, issueLabel)
	if err != nil {
		return err
	}
	r.issues.repo, r.issues.issues, r.issues.loaded = repo, issues, true
	return nil
}

// announce files the issue before the deletion, in a private repository. It
// is a courtesy: whatever keeps it from being filed in a few seconds is met
// again, and reported, when the issue is due.
func (r *run) announce(ctx context.Context, inc *incident) {
	if r.cfg.GitHub == nil || r.issues.late {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, announceTime)
	defer cancel()
	err := r.load(ctx)
	if err == nil && !r.issues.repo.Public && !r.tried(inc) {
		err = r.put(ctx, inc, stateRevoking)
	}
	if err != nil {
		r.issues.late = true
		// An issue whose answer was lost is only seen by asking again.
		r.issues.loaded = inc.response.Issue != nil
		r.cfg.Log.Warn("the issue could not be filed before the deletion; it will be tried again after it", "key", inc.Secret, "error", finding.Printable(err.Error()))
	}
}

// tried reports whether the issue says that the key was to be revoked already:
// a deletion that fails in every run is not announced in every run.
func (r *run) tried(inc *incident) bool {
	issue, _ := r.find(inc)
	switch stateOf(parsePage(issue.Body, inc.Secret.Fingerprint()).block) {
	case stateRevoking, issueState(finding.StatusFailed):
		return true
	}
	return false
}

// fileIssues brings the issues of all keys up to date.
func (r *run) fileIssues(ctx context.Context) error {
	if r.cfg.GitHub == nil || ctx.Err() != nil {
		return nil
	}
	var due []*incident
	for _, inc := range r.incidents {
		// A key that was dead before, and that nobody asked for, is history.
		if !inc.response.AlreadyDead || len(inc.known) > 0 {
			due = append(due, inc)
		}
	}
	if len(due) == 0 {
		return nil
	}
	if err := r.load(ctx); err != nil {
		return fmt.Errorf("no issue could be filed or updated in %s, about %s: %w", finding.Printable(r.cfg.IssueRepo), redactedForms(due), err)
	}
	var overdue []*incident
	for _, inc := range due {
		if r.issues.repo.Public && inc.response.Status != finding.StatusDead {
			// Nothing that points at a live key is written where everybody
			// reads it. What is there already is shown.
			if issue, ok := r.find(inc); ok {
				inc.response.Issue = r.reference(issue)
			}
			continue
		}
		switch err := r.put(ctx, inc, issueState(inc.response.Status)); {
		case errors.Is(err, errTooManyIssues):
			overdue = append(overdue, inc)
		case err != nil:
			inc.incomplete("the issue in %s: %w", r.issues.repo.Name, err)
		}
	}
	if len(overdue) > 0 {
		return fmt.Errorf("%w: none was filed about %s; run again to file the next", errTooManyIssues, redactedForms(overdue))
	}
	return nil
}

var errTooManyIssues = fmt.Errorf("a run files no more than %d new issues", maxNewIssues)

// redactedForms names keys for people.
func redactedForms(incidents []*incident) string {
	var names []string
	for _, inc := range incidents {
		names = append(names, fmt.Sprintf("%s (%s)", inc.Secret.Redacted(), inc.Secret.Fingerprint()))
	}
	return strings.Join(names, ", ")
}

// put makes the issue about a key say what is true now: it updates the issue
// if there is one, and files one if there is none. Nothing is sent if nothing
// changes.
func (r *run) put(ctx context.Context, inc *incident, state issueState) error {
	block := r.block(inc, state)
	old, ok := r.find(inc)
	if !ok {
		return r.create(ctx, inc, state, block)
	}
	inc.response.Issue = r.reference(old)
	page := parsePage(old.Body, inc.Secret.Fingerprint())
	title := title(inc, state)
	if !isTitle(inc, old.Title) {
		title = old.Title // people have named it
	}
	block = keepTicks(block, page.block)
	if block == page.block && title == old.Title {
		return nil
	}
	changed := stateOf(page.block) != state
	updated, err := r.cfg.GitHub.UpdateIssue(ctx, r.issues.repo.Name, old.Number, github.IssueText{
		Title:  title,
		Body:   page.with(block),
		Labels: []string{issueLabel},
	})
	if updated.Number != 0 {
		r.issues.replace(updated)
		r.record(inc, entry{Event: eventIssue, Issue: updated.Number, Detail: "updated: " + string(state)})
	}
	if err == nil && changed {
		err = r.cfg.GitHub.Comment(ctx, r.issues.repo.Name, old.Number, comment(state, inc.response))
	}
	return err
}

func (r *run) create(ctx context.Context, inc *incident, state issueState, block string) error {
	if r.issues.created >= maxNewIssues {
		return errTooManyIssues
	}
	r.issues.created++
	created, err := r.cfg.GitHub.CreateIssue(ctx, r.issues.repo.Name, github.IssueText{
		Title:  title(inc, state),
		Body:   page{marker: marker(inc.Secret.Fingerprint())}.with(block),
		Labels: []string{issueLabel},
	})
	if errors.Is(err, github.ErrOutcomeUnknown) && ctx.Err() == nil {
		// It may be there: look before anybody files a second one.
		r.issues.loaded = false
		if r.load(ctx) == nil {
			if issue, ok := r.find(inc); ok {
				created, err = issue, nil
			}
		}
	}
	if created.Number != 0 {
		r.issues.issues = append(r.issues.issues, created)
		inc.response.Issue = r.reference(created)
		r.record(inc, entry{Event: eventIssue, Issue: created.Number, Detail: "filed: " + string(state)})
	}
	return err
}

func (b *issueBook) replace(issue github.Issue) {
	for i := range b.issues {
		if b.issues[i].Number == issue.Number {
			b.issues[i] = issue
		}
	}
}

func (r *run) reference(issue github.Issue) *finding.Issue {
	return &finding.Issue{Repo: r.issues.repo.Name, Number: issue.Number, URL: issue.URL}
}

// find returns the oldest issue about the key. Only issues that have our label
// were asked for: anybody may write a marker, but not set a label.
func (r *run) find(inc *incident) (github.Issue, bool) {
	var found github.Issue
	for _, issue := range r.issues.issues {
		page := parsePage(issue.Body, inc.Secret.Fingerprint())
		if !page.marked || r.scope() != "" && page.block != "" && scopeOf(page.block) != r.scope() {
			continue
		}
		if found.Number == 0 || issue.Number < found.Number {
			found = issue
		}
	}
	return found, found.Number != 0
}

// scope tells apart the issues about leaks of one key in several repositories
// whose issues go to one. It gives the repository's name to nobody who does
// not know it. It is "" where issues go to the repository of the leak.
func (r *run) scope() string {
	leak := strings.ToLower(r.cfg.Repo)
	if leak == strings.ToLower(r.cfg.IssueRepo) {
		return ""
	}
	sum := sha256.Sum256([]byte("unleak repository:" + leak))
	return hex.EncodeToString(sum[:8])
}

// The comments that delimit our part of an issue. The one with the fingerprint
// is the body's last line.
const endMarker = "<!-- unleak end -->"

var beginMarker = regexp.MustCompile(`^<!-- unleak begin: ([a-z]+)(?: ([0-9a-f]{16}))? -->$`)

func marker(fp finding.Fingerprint) string {
	return fmt.Sprintf("<!-- unleak fingerprint: %s -->", fp)
}

// stateOf returns the state that a block tells, or "".
func stateOf(block string) issueState {
	return issueState(beginField(block, 1))
}

func scopeOf(block string) string { return beginField(block, 2) }

func beginField(block string, n int) string {
	first, _, _ := strings.Cut(block, "\n")
	if m := beginMarker.FindStringSubmatch(first); m != nil {
		return m[n]
	}
	return ""
}

// A page is an issue's body taken apart: our block, and what people wrote
// around it.
type page struct {
	before, block, after string
	marker               string
	marked               bool // the marker stands in the body
}

// lineEnds makes all line ends alike: GitHub's editor writes CRLF.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// parsePage takes body apart. A block of which a delimiter is missing counts
// as people's: better to keep a line too many.
func parsePage(body string, fp finding.Fingerprint) page {
	p := page{marker: marker(fp)}
	lines := strings.Split(lineEnds.Replace(body), "\n")
	at := -1
	for i, line := range lines {
		if line == p.marker {
			at = i
		}
	}
	if at < 0 {
		return p
	}
	p.marked = true
	rest := slices.Clone(lines[at+1:])
	lines = lines[:at]
	begin, end := -1, -1
	for i, line := range lines {
		if beginMarker.MatchString(line) {
			begin = i
		}
		if line == endMarker && begin >= 0 {
			end = i
			break // what looks like a second block is a copy that people made
		}
	}
	if end < 0 {
		p.before = trimLines(append(lines, rest...))
		return p
	}
	p.before = trimLines(lines[:begin])
	p.block = strings.Join(lines[begin:end+1], "\n")
	p.after = trimLines(append(slices.Clone(lines[end+1:]), rest...))
	return p
}

func trimLines(lines []string) string { return strings.Trim(strings.Join(lines, "\n"), "\n") }

// with returns the body with another block. What people wrote stays; what
// stood behind the marker now stands in front of it.
func (p page) with(block string) string {
	parts := []string{p.before, block, p.after, p.marker}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "\n\n")
}

// keepTicks ticks the tasks in block that people have ticked in old.
func keepTicks(block, old string) string {
	ticked := make(map[string]string)
	for line := range strings.Lines(old) {
		line = strings.TrimSuffix(line, "\n")
		for _, tick := range []string{"- [x] ", "- [X] "} {
			if task, ok := strings.CutPrefix(line, tick); ok {
				ticked["- [ ] "+task] = line
			}
		}
	}
	lines := strings.Split(block, "\n")
	for i, line := range lines {
		if t, ok := ticked[line]; ok {
			lines[i] = t
		}
	}
	return strings.Join(lines, "\n")
}
