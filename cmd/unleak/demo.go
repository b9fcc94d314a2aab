package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
	"github.com/unleak/unleak/internal/report"
)

func (a *app) demoCommand() *cobra.Command {
	var serve bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole job on stand-ins for OpenAI and GitHub",
		Long: `Demo leaks two made-up keys into a repository of its own, and lets 'unleak scan'
and 'unleak respond' deal with them. OpenAI and GitHub are stand-ins on this
machine: it needs no network, no account, no other program, and leaves nothing
behind.

It ends with 0 if everything went as it should.`,
		Example: `  unleak demo
  unleak demo --serve`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			// Whoever closes the terminal or the pipe must not leave files behind.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			s, err := newStage()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.close()) }()
			d := &demo{stage: s, w: a.stdout}
			if serve {
				return d.serve(ctx)
			}
			return d.play(ctx)
		},
	}
	cmd.Flags().BoolVar(&serve, "serve", false, "only set the stage, and keep it until ^C, to try the commands by hand")
	return cmd
}

// A demo tells what happens on a stage. Its steps return an error if that is
// not what should have happened.
type demo struct {
	*stage
	w   io.Writer
	err error // the first of w

	responses map[finding.Fingerprint]finding.Response // to the leaked keys
}

func (d *demo) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

// prose prints text, broken into lines.
func (d *demo) prose(text string) { d.printf("%s", report.Wrap("", text, columns)) }

// columns is the width that the demo is written for.
const columns = 80

// play tells the whole story.
func (d *demo) play(ctx context.Context) error {
	start := time.Now()
	d.prose("OpenAI and GitHub are stand-ins on this machine, and the keys are made up. The rest is real.")
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"What is planted", d.planted},
		{"'unleak scan' finds both keys", d.scanned},
		{"'unleak respond' finds out which keys they are", d.confirmed},
		{"It deletes these two", d.deleted},
		{"They are refused", d.refused},
		{"The issues, as they read on GitHub", d.filed},
		{"The organization afterwards", d.spared},
	}
	for i, step := range steps {
		d.printf("\n%d. %s\n\n", i+1, step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("the demo failed at step %d: %w", i+1, err)
		}
		if err := errors.Join(d.err, ctx.Err()); err != nil {
			return err
		}
	}
	d.printf("\nDone in %.1f s.\n", time.Since(start).Seconds())
	d.prose("'unleak demo --serve' keeps the stand-ins up to try each command by hand; 'unleak scan' reads a repository of yours.")
	return d.err
}

func (d *demo) planted(context.Context) error {
	d.printf("A git repository, %s on GitHub, with these commits:\n\n", demoRepo)
	for _, c := range d.commits {
		d.printf("  %.8s  %-34s %s\n", c.id, c.subject, c.note)
	}
	d.printf("\nAn organization at OpenAI, with these keys in two projects:\n\n")
	d.organization(func(k demoKey) string {
		switch {
		case k.leaked:
			return "leaked"
		case slices.ContainsFunc(d.leaked(), func(l demoKey) bool { return l.secret.String() == k.secret.String() }):
			return "ends like a leaked one"
		}
		return ""
	})
	return nil
}

// organization prints a table of the keys, with a word about each.
func (d *demo) organization(word func(demoKey) string) {
	for _, k := range d.keys {
		line := fmt.Sprintf("  %-11s %-9s %-10s %-20s %s", k.project, k.ID, k.name, k.secret.String(), word(k))
		d.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// unleak runs the program against the stand-ins, as run does against the world.
func (d *demo) unleak(ctx context.Context, want int, args ...string) (printed string, result report.Report, err error) {
	environment := map[string]string{}
	for _, v := range d.environment() {
		environment[v[0]] = v[1]
	}
	var stdout, stderr bytes.Buffer
	inner := &app{getenv: func(name string) string { return environment[name] }, stdout: &stdout, stderr: &stderr}
	code := inner.run(ctx, args, strings.NewReader(""))
	if ctx.Err() != nil {
		return "", report.Report{}, ctx.Err()
	}
	if code != want || inner.result == nil {
		return "", report.Report{}, fmt.Errorf("'unleak %s' ended with %d instead of %d:\n%s%s", args[0], code, want, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), *inner.result, nil
}

func (d *demo) scanned(ctx context.Context) error {
	printed, result, err := d.unleak(ctx, exitLeak, "scan", d.repository)
	if err != nil {
		return err
	}
	d.printf("%s", printed)
	for _, k := range d.leaked() {
		if !slices.ContainsFunc(result.Findings, func(e report.Entry) bool {
			return e.Finding.Secret.Fingerprint() == k.secret.Fingerprint()
		}) {
			return fmt.Errorf("%s was not found", k.secret)
		}
	}
	if want := len(d.leaked()); len(result.Findings) != want {
		return fmt.Errorf("%d keys were found instead of %d", len(result.Findings), want)
	}
	return nil
}

// leaked returns the keys that leaked.
func (d *demo) leaked() []demoKey {
	return slices.DeleteFunc(slices.Clone(d.keys), func(k demoKey) bool { return !k.leaked })
}

func (d *demo) confirmed(ctx context.Context) error {
	_, result, err := d.unleak(ctx, exitClean, "respond", d.repository, "--verify-interval", "100ms", "--verify-timeout", "10s")
	if err != nil {
		return err
	}
	d.responses = make(map[finding.Fingerprint]finding.Response)
	for _, e := range result.Findings {
		d.responses[e.Finding.Secret.Fingerprint()] = *e.Response
	}
	for _, k := range d.leaked() {
		response := d.responses[k.secret.Fingerprint()]
		if response.Key == nil || response.Key.ID != k.ID || !slices.Contains(response.ConfirmedBy, finding.ProjectProbe) {
			return fmt.Errorf("%s is %s, and that was not confirmed: %s", k.secret, k.ID, response.Reason)
		}
		look := "1 key looks"
		if n := response.Candidates; n > 1 {
			look = fmt.Sprintf("%d keys look", n)
		}
		d.printf("%s", report.Wrap("  ", fmt.Sprintf("%s: masked as OpenAI lists them, %s like it. It is accepted in the name of project %s and refused in that of another: it is %s.",
			k.secret, look, response.Project.Name, response.Key.ID), columns))
	}
	return nil
}

func (d *demo) deleted(context.Context) error {
	var sent []string
	for _, r := range d.openAI.Requests() {
		if r.Method != http.MethodGet {
			sent = append(sent, r.Method+" "+r.Path)
		}
	}
	d.prose("All that OpenAI was asked to change:")
	d.printf("\n")
	for _, s := range sent {
		d.printf("  %s\n", finding.Printable(s))
	}
	if want := len(d.leaked()); len(sent) != want {
		return fmt.Errorf("OpenAI was sent %d changes instead of %d", len(sent), want)
	}
	for _, k := range d.leaked() {
		if !k.Deleted() {
			return fmt.Errorf("%s was not deleted", k.ID)
		}
	}
	return nil
}

func (d *demo) refused(ctx context.Context) error {
	d.prose("unleak has asked with each key until OpenAI refused it three times in a row. Asked once more:")
	d.printf("\n")
	for _, k := range d.leaked() {
		answer, err := d.ask(ctx, k.secret)
		if err != nil {
			return err
		}
		d.printf("  %-20s %d %s\n", k.secret.String(), answer.Status, answer.Code)
		if answer.Verdict != openai.Dead || d.responses[k.secret.Fingerprint()].DeadAt.IsZero() {
			return fmt.Errorf("%s is not proven dead", k.secret)
		}
	}
	return nil
}

func (d *demo) filed(context.Context) error {
	issues := d.gitHub.Issues(demoRepo)
	for i, issue := range issues {
		d.printf("%s\n%s#%d, %s, label %s\n", finding.Printable(issue.Title), demoRepo, issue.Number, issue.State, strings.Join(issue.Labels, ", "))
		if i == 0 {
			d.printf("\n%s\n", asRead(issue.Body))
		}
	}
	if want := len(d.leaked()); len(issues) != want {
		return fmt.Errorf("there are %d issues instead of %d", len(issues), want)
	}
	for _, k := range d.leaked() {
		filed := d.responses[k.secret.Fingerprint()].Issue
		if filed == nil || !strings.Contains(issues[filed.Number-1].Body, string(k.secret.Fingerprint())) {
			return fmt.Errorf("there is no issue about %s", k.secret)
		}
	}
	return nil
}

// listMark is what a list's entry begins with in Markdown.
var listMark = regexp.MustCompile(`^- (\[.\] )?`)

// asRead returns the Markdown of an issue as a person reads it: without its
// comments, and broken into lines, with a line along its left side.
func asRead(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "<!--") {
			continue
		}
		mark := listMark.FindString(line)
		wrapped := report.Wrap(mark, finding.Printable(strings.TrimPrefix(line, mark)), columns-len("  | "))
		for part := range strings.Lines(wrapped) {
			b.WriteString(strings.TrimRight("  | "+part, " \n") + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "  |\n")
}

func (d *demo) spared(ctx context.Context) error {
	var errs []error
	d.organization(func(k demoKey) string {
		answer, err := d.ask(ctx, k.secret)
		switch gone := k.Deleted(); {
		case k.leaked && gone && answer.Verdict == openai.Dead:
			return "deleted, dead"
		case !k.leaked && !gone && answer.Verdict == openai.Live:
			return "untouched, works"
		}
		errs = append(errs, cmp.Or(err, fmt.Errorf("%s is not as it should be", k.ID)))
		return "?"
	})
	return errors.Join(errs...)
}

// serve keeps the stage until ctx is done, and says how to play on it.
func (d *demo) serve(ctx context.Context) error {
	if err := d.planted(ctx); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("it is not known where unleak stands: %w", err)
	}
	d.printf("\nOpenAI and GitHub are stand-ins on this machine. ^C ends them, and removes the\nrepository. In another shell, say\n\n")
	for _, v := range d.environment() {
		d.printf("  export %s=%s\n", v[0], shellWord(v[1]))
	}
	d.printf("  export PATH=%s:\"$PATH\"\n", shellWord(filepath.Dir(program)))
	repository := shellWord(d.repository)
	d.printf(`
Then try

  unleak scan %[1]s
  unleak respond --dry-run %[1]s
  unleak respond --verify-interval 1s %[1]s

The last one deletes the leaked keys, waits a few seconds for the proof, and
files two issues. Open them in a browser:

  %[2]s/%[3]s/issues/1
  %[2]s/%[3]s/issues/2

A second 'unleak respond' changes nothing.
`, repository, d.gitHubURL, demoRepo)
	if d.err != nil {
		return d.err
	}
	<-ctx.Done() // as it is meant to end
	return nil
}

// plainWord matches what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// shellWord returns s as one word of a POSIX shell.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
