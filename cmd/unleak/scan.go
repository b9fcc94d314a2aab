package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/report"
	"github.com/unleak/unleak/rules"
	"github.com/unleak/unleak/scanner"
)

func (a *app) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan [TARGET]",
		Short: "Find leaked OpenAI keys",
		Long: `Scan reads everything that the git repository at TARGET holds, and reports the
OpenAI keys in it. TARGET is a directory inside the repository; the default is
the current one. Nothing is written there, and nothing is sent anywhere.

It ends with 0 if there is no key, with 1 if there is one, with 2 if something
could not be read.`,
		Example: `  unleak scan
  unleak scan ~/src/app --format json --output leaks.json`,
		Args: oneTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			target := targetOf(args)
			if _, err := a.configuration(string(f.config)); err != nil {
				return err
			}
			repo, err := openTarget(target, f)
			if err != nil {
				return err
			}
			defer repo.Close()
			out, err := a.openOutput(f)
			if err != nil {
				return err
			}
			defer out.discard()
			r, err := a.scan(cmd.Context(), repo, target, f)
			return errors.Join(err, a.deliver(r, out))
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// oneTarget accepts a TARGET or none.
func oneTarget(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return mistake(cmd, "%d targets were given; scan one at a time", len(args))
	}
	return nil
}

func targetOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// openTarget opens the repository at target. Its errors say what a target can be.
func openTarget(target string, f scanFlags) (*scanner.Repository, error) {
	const possible = "this version reads a git repository on this machine: name a directory inside one"
	if target == "-" {
		return nil, errors.New("standard input cannot be scanned; " + possible)
	}
	info, err := os.Stat(target)
	switch {
	case err != nil && (strings.Contains(target, "://") || strings.HasPrefix(target, "git@")):
		return nil, fmt.Errorf("%s: a remote cannot be scanned; %s, such as a clone", target, possible)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such directory", target)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s: a single file cannot be scanned; %s", target, possible)
	}
	repo, err := scanner.OpenRepository(target, f.jobs.value, int64(f.maxObject))
	if errors.Is(err, scanner.ErrNotRepository) {
		return nil, fmt.Errorf("%s: not inside a git repository; %s", target, possible)
	}
	return repo, err
}

// scan reads repo and returns what there is to report, complete or not: after
// an error, too.
func (a *app) scan(ctx context.Context, repo *scanner.Repository, target string, f scanFlags) (report.Report, error) {
	r := report.Report{Version: version(), Target: target, Started: time.Now()}
	stop := a.showProgress(repo.Progress, f)
	result, err := scanner.Scan(ctx, repo, rules.Default(), scanner.Options{
		MinConfidence: finding.Confidence(f.minConfidence.value),
	})
	stop()
	r.Finished = time.Now()
	result = cmp.Or(result, &scanner.Result{})
	for _, found := range result.Findings {
		r.Findings = append(r.Findings, report.Entry{Finding: found})
	}
	r.Skipped, r.Objects, r.Bytes = result.Skipped, result.Objects, result.Bytes
	r.Complete = err == nil && len(r.Skipped) == 0
	return r, err
}

// deliver writes r to out and makes it the result of the command.
func (a *app) deliver(r report.Report, out *output) error {
	a.result = &r
	return out.write(r)
}
