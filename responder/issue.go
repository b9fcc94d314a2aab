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

	// The longest that GitHub is given to carry out an announcement while the
	// run goes on.
	dispatchTime = 30 * time.Second
)

// An issueBook is what a run knows of the repository that issues go to. Its
// zero value knows nothing.
type issueBook struct {
	repo    github.Repository
	issues  []github.Issue // those with our label
	loaded  bool
	created int
	late    bool // an announcement failed: the next key does not wait for another

	dispatched *dispatch // the announcement that was late, until it arrives
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
	soon, cancel := context.WithTimeout(ctx, announceTime)
	defer cancel()
	l, due, err := r.announcement(soon, inc)
	if err == nil && due {
		// It is not called back when the time is up: GitHub may carry out what
		// nobody waits for any more, and nobody would know.
		d := &dispatch{inc: inc, letter: l, reply: make(chan reply, 1)}
		go func() {
			ctx, cancel := context.WithTimeout(ctx, dispatchTime)
			defer cancel()
			d.reply <- l.send(ctx, r.cfg.GitHub)
		}()
		select {
		case got := <-d.reply:
			err = r.receive(soon, inc, l, got)
		case <-soon.Done():
			r.issues.dispatched = d
			err = context.Cause(soon)
		}
	}
	if err != nil {
		r.issues.late = true
		r.issues.loaded = false // an issue whose answer was lost is only seen by asking again
		r.cfg.Log.Warn("the issue could not be filed before the deletion; it will be seen to after it", "key", inc.Secret, "error", finding.Printable(err.Error()))
	}
}

// announcement returns the letter that says that the key is being revoked, and
// whether it is due: not in public, and not where the issue says so already. A
// deletion that fails in every run is not announced in every run.
func (r *run) announcement(ctx context.Context, inc *incident) (l letter, due bool, err error) {
	if err := r.load(ctx); err != nil || r.issues.repo.Public {
		return letter{}, false, err
	}
	issue, _, err := r.lookFor(ctx, inc)
	if err != nil {
		return letter{}, false, err
	}
	switch stateOf(parsePage(issue.Body, inc.Secret.Fingerprint()).block) {
	case stateRevoking, issueState(finding.StatusFailed):
		return letter{}, false, nil
	}
	return r.compose(ctx, inc, stateRevoking)
}

// arrive waits for the announcement about the key, if that is still on its
// way. The error says that it is not known whether there is an issue now.
func (r *run) arrive(ctx context.Context, inc *incident) error {
	d := r.issues.dispatched
	if d == nil || d.inc != inc {
		return nil
	}
	r.issues.dispatched = nil
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case got := <-d.reply:
		if err := r.receive(ctx, inc, d.letter, got); d.letter.number == 0 && errors.Is(err, github.ErrOutcomeUnknown) {
			return fmt.Errorf("%w; run again: it is looked for before another one is filed", err)
		}
		return nil // any other error is met again
	}
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
		err := r.arrive(ctx, inc)
		if err == nil {
			err = r.put(ctx, inc, issueState(inc.response.Status))
		}
		switch {
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

// A letter is what GitHub is to be told about a key. It holds all that is
// needed to send it, so that it can be on its way while the run goes on.
type letter struct {
	repo    string
	number  int // of the issue; 0 files a new one
	text    github.IssueText
	comment string     // "" where the state is the same
	state   issueState // that the text tells
	relabel bool       // the text is the same, and only the label is missing
}

// A reply is what GitHub made of a letter. It may hold both: an issue that
// lacks its label comes with an error.
type reply struct {
	issue github.Issue
	err   error
}

// A dispatch is a letter on its way.
type dispatch struct {
	inc    *incident
	letter letter
	reply  chan reply // gets one
}

func (l letter) send(ctx context.Context, c *github.Client) (got reply) {
	if l.number == 0 {
		got.issue, got.err = c.CreateIssue(ctx, l.repo, l.text)
		return got
	}
	got.issue, got.err = c.UpdateIssue(ctx, l.repo, l.number, l.text)
	if got.issue.Number != 0 && l.comment != "" {
		got.err = errors.Join(got.err, c.Comment(ctx, l.repo, l.number, l.comment))
	}
	return got
}

// put makes the issue about a key say what is true now: it updates the issue
// if there is one, and files one if there is none. Nothing is sent if nothing
// changes.
func (r *run) put(ctx context.Context, inc *incident, state issueState) error {
	l, due, err := r.compose(ctx, inc, state)
	if err != nil || !due {
		return err
	}
	return r.receive(ctx, inc, l, l.send(ctx, r.cfg.GitHub))
}

// compose returns the letter that makes the issue about a key tell the state,
// and whether it is due.
func (r *run) compose(ctx context.Context, inc *incident, state issueState) (l letter, due bool, err error) {
	old, ok, err := r.lookFor(ctx, inc)
	if err != nil {
		return letter{}, false, err
	}
	l = letter{repo: r.issues.repo.Name, number: old.Number, state: state}
	l.text = github.IssueText{Title: title(inc, state), Labels: []string{issueLabel}}
	block := r.block(inc, state)
	if !ok {
		if r.issues.created >= maxNewIssues {
			return letter{}, false, errTooManyIssues
		}
		r.issues.created++
		l.text.Body = page{marker: marker(inc.Secret.Fingerprint())}.with(seal(block))
		return l, true, nil
	}
	inc.response.Issue = r.reference(old)
	if !isTitle(inc, old.Title) {
		l.text.Title = old.Title // people have named it
	}
	page := parsePage(old.Body, inc.Secret.Fingerprint())
	changed := stateOf(page.block) != state
	if changed {
		l.comment = comment(state, inc.response)
	} else {
		block = keepReason(block, page.block)
	}
	block = keepTicks(seal(block), page.block)
	l.relabel = block == page.block && l.text.Title == old.Title
	l.text.Body = old.Body
	if block != page.block {
		l.text.Body = page.with(block)
	}
	return l, !l.relabel || !labelled(old), nil
}

// labelled reports whether the issue has our label.
func labelled(issue github.Issue) bool {
	return slices.ContainsFunc(issue.Labels, func(l string) bool { return strings.EqualFold(l, issueLabel) })
}

// receive takes note of what came of a letter.
func (r *run) receive(ctx context.Context, inc *incident, l letter, got reply) error {
	if l.number == 0 && errors.Is(got.err, github.ErrOutcomeUnknown) && ctx.Err() == nil {
		// It may be there: look before anybody files a second one.
		r.issues.loaded = false
		if r.load(ctx) == nil {
			if issue, ok := r.find(inc); ok {
				got = reply{issue: issue}
			}
		}
	}
	if got.issue.Number == 0 {
		return got.err
	}
	r.issues.keep(got.issue)
	inc.response.Issue = r.reference(got.issue)
	switch e := (entry{Event: eventIssue, IssueRepo: r.issues.repo.Name, Issue: got.issue.Number}); {
	case l.number == 0:
		e.Detail = "filed: " + string(l.state)
		r.record(inc, e)
	case !l.relabel:
		e.Detail = "updated: " + string(l.state)
		r.record(inc, e)
	}
	return got.err
}

// keep puts the issue in the place of what was known of it.
func (b *issueBook) keep(issue github.Issue) {
	b.issues = append(slices.DeleteFunc(b.issues, func(old github.Issue) bool { return old.Number == issue.Number }), issue)
}

func (r *run) reference(issue github.Issue) *finding.Issue {
	return &finding.Issue{Repo: r.issues.repo.Name, Number: issue.Number, URL: issue.URL}
}

// lookFor returns the issue about the key: one that has our label, else the one
// that the ledger remembers, which may have lost its label or never got it.
func (r *run) lookFor(ctx context.Context, inc *incident) (issue github.Issue, ok bool, err error) {
	if issue, ok := r.find(inc); ok {
		return issue, true, nil
	}
	for _, e := range slices.Backward(inc.known) {
		if e.Event != eventIssue || !strings.EqualFold(e.Repo, r.cfg.Repo) || !strings.EqualFold(e.IssueRepo, r.issues.repo.Name) {
			continue
		}
		issue, err := r.cfg.GitHub.Issue(ctx, r.issues.repo.Name, e.Issue)
		switch {
		case errors.Is(err, github.ErrNotFound):
			return github.Issue{}, false, nil
		case err != nil:
			return github.Issue{}, false, err
		case !r.isAbout(issue, inc):
			return github.Issue{}, false, nil
		}
		r.issues.keep(issue)
		return issue, true, nil
	}
	return github.Issue{}, false, nil
}

// find returns the oldest issue about the key that is known. Only issues that
// have our label were asked for: anybody may write a marker, but not set a
// label.
func (r *run) find(inc *incident) (github.Issue, bool) {
	var found github.Issue
	for _, issue := range r.issues.issues {
		if r.isAbout(issue, inc) && (found.Number == 0 || issue.Number < found.Number) {
			found = issue
		}
	}
	return found, found.Number != 0
}

// isAbout reports whether the issue is that about the key in this repository.
// One without a block, filed by hand, is about the key wherever it leaked.
func (r *run) isAbout(issue github.Issue, inc *incident) bool {
	page := parsePage(issue.Body, inc.Secret.Fingerprint())
	return page.marked && (page.block == "" || scopeOf(page.block) == r.scope())
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

// The comments that delimit our part of an issue. The first tells the state and
// the scope, the second the sum of each line that unleak wrote, so that those
// that people wrote in between can be told. The one with the fingerprint is the
// body's last line. White space around them does not count.
var (
	beginMarker = regexp.MustCompile(`^\s*<!-- unleak begin: ([a-z]+)(?: ([0-9a-f]{16}))? -->\s*$`)
	endMarker   = regexp.MustCompile(`^\s*<!-- unleak end((?: [0-9a-f]{8})*) -->\s*$`)
)

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
		if strings.TrimSpace(line) == p.marker {
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
		if begin >= 0 && endMarker.MatchString(line) {
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
// stood behind the marker now stands in front of it, and what stood within the
// old block behind the new one.
func (p page) with(block string) string {
	parts := []string{p.before, block, p.after, p.marker}
	if added := theirs(p.block, block); added != "" {
		parts = []string{p.before, block, p.after, "Added by people:", added, p.marker}
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "\n\n")
}

// seal ends a block with the sums of its lines.
func seal(block string) string {
	var b strings.Builder
	b.WriteString(block + "<!-- unleak end")
	for line := range strings.Lines(block) {
		b.WriteString(" " + lineSum(line))
	}
	b.WriteString(" -->")
	return b.String()
}

// lineSum returns the sum of a line, whether it is ticked or not.
func lineSum(line string) string {
	line = strings.TrimSpace(line)
	for _, tick := range ticks {
		if task, ok := strings.CutPrefix(line, tick); ok {
			line = openTick + task
		}
	}
	sum := sha256.Sum256([]byte(line))
	return hex.EncodeToString(sum[:4])
}

// sums returns those that a block ends with.
func sums(block string) []string {
	last := block[strings.LastIndexByte(block, '\n')+1:]
	if m := endMarker.FindStringSubmatch(last); m != nil {
		return strings.Fields(m[1])
	}
	return nil
}

// theirs returns what people wrote in the old block: the lines that unleak
// wrote neither in it nor in the new one.
func theirs(old, block string) string {
	ours := append(sums(old), sums(block)...)
	var kept []string
	for line := range strings.SplitSeq(old, "\n") {
		if strings.TrimSpace(line) == "" || beginMarker.MatchString(line) || endMarker.MatchString(line) || slices.Contains(ours, lineSum(line)) {
			line = "" // what stood apart stays apart
		}
		kept = append(kept, line)
	}
	return trimLines(slices.CompactFunc(kept, func(a, b string) bool { return a == "" && b == "" }))
}

// keepReason leaves the reason as it stands in the old block, about the same
// state: a server's words change from one answer to the next.
func keepReason(block, old string) string {
	known := sums(old)
	for was := range strings.SplitSeq(old, "\n") {
		if !strings.HasPrefix(was, reasonStart) || !slices.Contains(known, lineSum(was)) {
			continue
		}
		lines := strings.Split(block, "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, reasonStart) {
				lines[i] = was
			}
		}
		return strings.Join(lines, "\n")
	}
	return block
}

// How the tasks of a list begin.
const openTick = "- [ ] "

var ticks = [...]string{"- [x] ", "- [X] "}

// keepTicks ticks the tasks in block that people have ticked in old.
func keepTicks(block, old string) string {
	ticked := make(map[string]string)
	for line := range strings.Lines(old) {
		line = strings.TrimSuffix(line, "\n")
		for _, tick := range ticks {
			if task, ok := strings.CutPrefix(line, tick); ok {
				ticked[openTick+task] = line
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
