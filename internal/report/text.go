package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/unleak/unleak/finding"
)

// Style says how [Text] may look. Nothing in the text depends on colour.
type Style struct {
	Color   bool // use ANSI escape sequences
	Verbose bool // leave nothing out of long lists
	Width   int  // columns that prose is broken to; 0 means 80
}

// Text writes r for a person at a terminal: each key and where it stands, what
// to do, what could not be read, and in the last line the sum of it. Long lists
// end after ten entries unless s is verbose.
func Text(w io.Writer, r Report, s Style) error {
	p := printer{bufio.NewWriter(w), s}
	entries, skips := inOrder(r)
	for _, e := range entries {
		p.entry(e)
	}
	p.advice(entries)
	p.skips(skips)
	p.summary(r)
	return p.Flush()
}

// A printer keeps the first error of what it writes to; Flush returns it.
type printer struct {
	*bufio.Writer
	Style
}

func (p printer) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// An ink is a parameter of the escape sequence that sets it. A library for this
// would more than double what unleak takes to start.
type ink string

const (
	bold   ink = "1"
	faint  ink = "2"
	red    ink = "1;31"
	green  ink = "1;32"
	yellow ink = "1;33"
)

func (p printer) paint(i ink, s string) string {
	if !p.Color {
		return s
	}
	return "\x1b[" + string(i) + "m" + s + "\x1b[0m"
}

// prose writes s, broken into lines, behind first.
func (p printer) prose(first, s string) {
	p.WriteString(Wrap(first, s, cmp.Or(p.Width, 80)))
}

// Wrap returns s behind first, broken at its spaces into lines of at most width
// columns; the lines that follow are indented as deep as first is wide. A word
// that is too long for a line has one of its own. Every line has its end.
func Wrap(first, s string, width int) string {
	var b strings.Builder
	indent := utf8.RuneCountInString(first)
	b.WriteString(first)
	column := indent
	for i, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
	return b.String()
}

func (p printer) entry(e Entry) {
	f := e.Finding
	p.printf("%s %s (%s confidence)\n", kindName(f), p.paint(bold, f.Secret.Redacted()), finding.Printable(string(f.Confidence)))
	if e.Response == nil {
		p.locations("  ", f.Locations)
	} else {
		p.response(*e.Response)
		p.printf("  It stands in\n")
		p.locations("    ", f.Locations)
	}
	p.WriteByte('\n')
}

func kindName(f finding.Finding) string {
	switch f.Kind {
	case finding.ProjectKey:
		return "OpenAI project key"
	case finding.ServiceAccountKey:
		return "OpenAI service account key"
	case finding.AdminKey:
		return "OpenAI admin key"
	case finding.UserKey, finding.NoneKey:
		return "OpenAI user key"
	case finding.SessionToken:
		return "OpenAI session token"
	case finding.EphemeralToken:
		return "OpenAI ephemeral token"
	}
	return "Secret of rule " + finding.Printable(f.Rule)
}

// listed is how much of a long list is shown to those who did not ask for all.
const listed = 10

// shown returns the part of a list that is to be shown.
func shown[T any](p printer, list []T) []T {
	if p.Verbose {
		return list
	}
	return list[:min(len(list), listed)]
}

// rest says how many entries of a list were not shown, if any.
func (p printer) rest(indent string, all int) {
	if n := all - listed; n > 0 && !p.Verbose {
		p.printf("%sand %s more (--verbose shows all)\n", indent, Count(int64(n)))
	}
}

func (p printer) locations(indent string, list []finding.Location) {
	for _, l := range shown(p, list) {
		p.printf("%s%s\n", indent, place(l))
		if line := history(l); line != "" {
			p.WriteString(p.paint(faint, Wrap(indent+"    ", line, cmp.Or(p.Width, 80))))
		}
	}
	p.rest(indent, len(list))
}

// place names where a key stands; for a file in the form that editors and
// terminals open: path:line:column.
func place(l finding.Location) string {
	at := fmt.Sprintf(":%d:%d", l.Line, l.Column)
	commit := "commit " + short(l.Commit)
	name := finding.Printable(cmp.Or(l.Path, "object "+short(l.Blob)))
	switch l.Where {
	case finding.InCommitMessage:
		return "message of " + commit + at
	case finding.InCommitHeader:
		return "header of " + commit + at
	case finding.InTagMessage:
		return "message of tag " + name + at
	case finding.InNote:
		return "note " + name + at
	case finding.InPath:
		return "in the name " + name
	case finding.Staged:
		return name + at + " (staged)"
	case finding.InStdin:
		return "standard input" + at
	}
	return name + at
}

// history says in which commit a key came and whether it is still there.
func history(l finding.Location) string {
	var parts []string
	switch {
	case l.Where == finding.Unreachable:
		parts = append(parts, "in no branch or tag, but still in the repository")
	case l.Present:
		parts = append(parts, "still in HEAD")
	case l.Where == finding.InFile || l.Where == finding.InPath:
		parts = append(parts, "only in history")
	}
	if l.Encoding != "" {
		parts = append(parts, "encoded as "+finding.Printable(l.Encoding))
	}
	if l.Commit != "" {
		since := "since commit " + short(l.Commit)
		if !l.Time.IsZero() {
			since += " of " + l.Time.UTC().Format(time.DateOnly)
		}
		if l.Author != "" {
			since += " by " + finding.Printable(l.Author)
		}
		parts = append(parts, since)
	}
	return strings.Join(parts, ", ")
}

// short returns what is usually shown of an object's id.
func short(id string) string {
	return finding.Printable(id[:min(len(id), 12)])
}

func (p printer) response(r finding.Response) {
	i, words := statusWords(r)
	p.printf("  %s%s\n", p.paint(i, words), livenessWords(r))
	if k := r.Key; k != nil {
		p.field("key", named(k.Name, k.ID)+owner(k.Owner))
	}
	if r.Project != nil {
		p.field("project", named(r.Project.Name, r.Project.ID))
	}
	if k := r.Key; k != nil {
		p.field("created", moment(k.CreatedAt))
		p.field("last used", moment(k.LastUsedAt))
	}
	p.field("revoked", moment(r.RevokedAt))
	p.field("dead", moment(r.DeadAt))
	if r.Issue != nil {
		p.field("issue", r.Issue.URL)
	}
	p.field("reason", r.Reason)
}

// field writes one named value of a response; none at all if it is unknown.
func (p printer) field(name, value string) {
	if value != "" {
		p.prose(fmt.Sprintf("    %-10s ", name), finding.Printable(value))
	}
}

func statusWords(r finding.Response) (ink, string) {
	switch r.Status {
	case finding.StatusDead:
		if r.AlreadyDead {
			return green, "DEAD: OpenAI refuses it, and did before this run."
		}
		return green, "DEAD: revoked, and OpenAI refuses it."
	case finding.StatusRevoked:
		return red, "REVOKED, NOT PROVEN DEAD: it was deleted, but not seen to be refused for good."
	case finding.StatusPlanned:
		return red, "NOT REVOKED: it is only planned."
	case finding.StatusProtected:
		return red, "NOT REVOKED: it is protected."
	case finding.StatusLimit:
		return red, "NOT REVOKED: this run had used up its revocations."
	case finding.StatusAmbiguous:
		return red, "NOT REVOKED: two or more keys could be it."
	case finding.StatusUnconfirmed:
		return red, "NOT REVOKED: it is not certain which key it is."
	case finding.StatusUnmatched:
		return red, "NOT REVOKED: no key of the organization looks like it."
	case finding.StatusFailed:
		return red, "FAILED: an attempt ended in an error."
	}
	return red, "NOT REVOKED: status " + finding.Printable(string(r.Status)) + "."
}

// livenessWords says of a key that is not dead what else OpenAI answered.
func livenessWords(r finding.Response) string {
	switch {
	case r.Status == finding.StatusDead:
		return ""
	case r.Liveness == finding.Live:
		return " It is live."
	case r.Liveness == finding.NotLive:
		return " It was refused when last asked for."
	}
	return " Whether it is live is not known."
}

func named(name, id string) string {
	if name == "" {
		return id
	}
	return fmt.Sprintf("%s (%s)", name, id)
}

func owner(o finding.Owner) string {
	who := cmp.Or(o.Name, o.ID)
	if o.Email != "" {
		who += " <" + o.Email + ">"
	}
	if who == "" {
		return ""
	}
	if o.Type != "" {
		who = strings.ReplaceAll(o.Type, "_", " ") + " " + who
	}
	return " of " + who
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// advice says what to do about keys that were found and not responded to.
func (p printer) advice(entries []Entry) {
	found := slices.ContainsFunc(entries, func(e Entry) bool { return e.Response == nil })
	if !found {
		return
	}
	admin := slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Response == nil && e.Finding.Kind == finding.AdminKey
	})
	p.printf("%s\n", p.paint(bold, "What to do now"))
	if admin {
		p.prose("  - ", "The admin key first: whoever has it can make and delete keys of the whole organization. "+
			"https://platform.openai.com/settings/organization/admin-keys")
	}
	p.prose("  - ", "Revoke: 'unleak respond' does it and proves it; with --dry-run it only shows what it would do. "+
		"By hand: https://platform.openai.com/api-keys")
	p.prose("  - ", "Put a new key where the old one is in use: that stops working at once.")
	p.prose("  - ", "Taking a key out of the files is not enough. It stays in the history and in every copy "+
		"of it; only a revoked key does no harm.")
	p.WriteByte('\n')
}

func (p printer) skips(list []finding.Skip) {
	if len(list) == 0 {
		return
	}
	p.printf("%s\n", p.paint(yellow, "Could not be read"))
	for _, s := range shown(p, list) {
		p.prose("  ", finding.Printable(s.Object)+": "+finding.Printable(s.Reason))
	}
	p.rest("  ", len(list))
	p.WriteByte('\n')
}

func (p printer) summary(r Report) {
	switch {
	case r.Complete:
	case len(r.Skipped) > 0:
		p.printf("%s %s could not be read: there may be more keys. ",
			p.paint(yellow, "INCOMPLETE:"), plural(int64(len(r.Skipped)), "thing"))
	default:
		p.printf("%s the run did not get to its end. ", p.paint(yellow, "INCOMPLETE:"))
	}
	took := "read in %s.\n"
	if slices.ContainsFunc(r.Findings, func(e Entry) bool { return e.Response != nil }) {
		took = "read; %s in all.\n" // most of it was waiting for a key to die
	}
	p.printf("%s %s, %s "+took, p.verdict(r), plural(r.Objects, "object"), Size(r.Bytes),
		elapsed(r.Finished.Sub(r.Started)))
}

// verdict says how many keys there are and, after a response, what became of them.
func (p printer) verdict(r Report) string {
	if len(r.Findings) == 0 {
		i := green
		if !r.Complete {
			i = yellow
		}
		return p.paint(i, "No keys found.")
	}
	places := 0
	outcomes := map[finding.Status]int{}
	for _, e := range r.Findings {
		places += len(e.Finding.Locations)
		if e.Response != nil {
			outcomes[e.Response.Status]++
		}
	}
	words := plural(int64(len(r.Findings)), "key") + " in " + plural(int64(places), "place")
	i := red
	if len(outcomes) > 0 {
		var parts []string
		for _, s := range slices.Sorted(maps.Keys(outcomes)) {
			parts = append(parts, fmt.Sprintf("%d %s", outcomes[s], finding.Printable(string(s))))
		}
		words += ": " + strings.Join(parts, ", ")
		if outcomes[finding.StatusDead] == len(r.Findings) {
			i = green
		}
	}
	return p.paint(i, words+".")
}

// elapsed returns d as a person would say it.
func elapsed(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
