package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/github"
	"github.com/unleak/unleak/internal/openai"
	"github.com/unleak/unleak/internal/report"
	"github.com/unleak/unleak/responder"
)

// respondFlags are what respond may be told besides what scan may.
type respondFlags struct {
	scan           scanFlags
	repo           repoName
	issueRepo      repoName
	dryRun         bool
	noIssue        bool
	maxRevocations count
	verifyInterval span
	verifyTimeout  span
	ledger         fileName
}

func (f *respondFlags) register(flags *pflag.FlagSet) {
	f.maxRevocations = count{value: 10}
	f.verifyInterval = span(10 * time.Second)
	f.verifyTimeout = span(15 * time.Minute)
	flags.SortFlags = false
	flags.BoolVar(&f.dryRun, "dry-run", false, "change nothing, and report what would be done")
	flags.Var(&f.repo, "repo", "the leak is in the GitHub repository `OWNER/NAME` (default that of the origin remote)")
	flags.Var(&f.issueRepo, "issue-repo", "file issues in the GitHub repository `OWNER/NAME` (default that of the leak)")
	flags.BoolVar(&f.noIssue, "no-issue", false, "file no issues")
	flags.Var(&f.maxRevocations, "max-revocations", "revoke at most `N` keys")
	flags.Var(&f.verifyInterval, "verify-interval", "ask every `TIME` whether a revoked key is dead")
	flags.Var(&f.verifyTimeout, "verify-timeout", "stop asking after `TIME`")
	flags.Var(&f.ledger, "ledger", "keep the record of what was done in `FILE` (default in the user's directory for state)")
	f.scan.register(flags)
}

func (a *app) respondCommand() *cobra.Command {
	var f respondFlags
	cmd := &cobra.Command{
		Use:   "respond [TARGET]",
		Short: "Find leaked OpenAI keys, revoke them, prove them dead, file the issue",
		Long: `Respond scans TARGET as 'unleak scan' does. For each key that it finds it looks up
which key of the organization that is, confirms it, revokes it, asks OpenAI until
the key is refused, and files an issue on GitHub. No question is asked.

It needs OPENAI_ADMIN_KEY, and GITHUB_TOKEN or GH_TOKEN, in the environment. The
API is asked at OPENAI_BASE_URL, else at base_url of [openai] in the
configuration, else at https://api.openai.com/v1. Where OPENAI_BASE_URL names
another host than api.openai.com or this machine, base_url must name it, too.

It ends with 0 if every key found is proven dead, with 1 if one is not, with 2 if
something could not be read, listed or filed.`,
		Example: `  unleak respond --dry-run
  unleak respond
  unleak respond ~/src/app --repo acme/app --issue-repo acme/security`,
		Args: oneTarget,
		RunE: func(cmd *cobra.Command, args []string) error { return a.respond(cmd, targetOf(args), f) },
	}
	f.register(cmd.Flags())
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) && unknown.GetSpecifiedName() == "baseline" {
			return mistake(cmd, "there is no --baseline here: a known leak is a leak, and respond answers every one; leave it out")
		}
		return flagMistake(cmd, err)
	})
	return cmd
}

// respond checks everything that could stop it half way before it begins.
func (a *app) respond(cmd *cobra.Command, target string, f respondFlags) error {
	// Whoever stops reading what respond prints does not stop the response. It
	// stays so until the process ends: its last words may go there, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	conf, err := a.configuration(string(f.scan.config))
	if err != nil {
		return err
	}
	repo, err := openTarget(target, f.scan)
	if err != nil {
		return err
	}
	defer repo.Close()
	cfg, err := a.responderConfig(cmd, conf, target, repo.Origin(), f)
	if err != nil {
		return err
	}
	steps := &witness{w: a.stderr}
	cfg.Log = a.stepLog(steps, f.scan)
	cfg.Ledger, err = a.openLedger(f)
	if err != nil {
		return err
	}
	if cfg.Ledger != nil {
		defer cfg.Ledger.Close()
		cfg.Ledger.Waiting = func(path string) {
			const words = "another unleak is writing the ledger; this one waits until that is done"
			switch {
			case cfg.Log.Enabled(cmd.Context(), slog.LevelWarn):
				cfg.Log.Warn(words, "ledger", path)
			case !f.scan.quiet:
				fmt.Fprintf(steps, "unleak: %s: %s\n", finding.Printable(path), words)
			}
		}
	}
	r, err := responder.New(cfg)
	if err != nil {
		return err
	}
	out, err := a.openOutput(f.scan)
	if err != nil {
		return err
	}
	defer out.discard()

	// A key that was found is answered even if the scan came to no good end,
	// unless somebody wants it all to stop.
	result, err := a.scan(cmd.Context(), repo, target, f.scan)
	if cmd.Context().Err() == nil {
		err = errors.Join(err, answer(cmd.Context(), r, &result))
	}
	return errors.Join(err, a.deliver(result, out), steps.err)
}

// A witness writes to w and remembers the first error, because a log does not.
type witness struct {
	w   io.Writer
	err error
}

func (s *witness) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("cannot write what is done to standard error: %w", err)
	}
	return n, err
}

// answer lets r respond to the findings of result, and adds the responses.
func answer(ctx context.Context, r *responder.Responder, result *report.Report) error {
	findings := make([]finding.Finding, len(result.Findings))
	for i, e := range result.Findings {
		findings[i] = e.Finding
	}
	responses, err := r.Respond(ctx, findings)
	for i := range responses {
		result.Findings[i].Response = &responses[i]
	}
	result.Finished = time.Now()
	result.Complete = result.Complete && err == nil
	return err
}

// responderConfig returns what flags, configuration and environment say; the
// ledger and the log are left out.
func (a *app) responderConfig(cmd *cobra.Command, conf configuration, target, origin string, f respondFlags) (responder.Config, error) {
	cfg := responder.Config{
		Mode:           responder.Act,
		MaxRevocations: f.maxRevocations.value,
		VerifyInterval: time.Duration(f.verifyInterval),
		VerifyTimeout:  time.Duration(f.verifyTimeout),
		AdminKey:       finding.NewSecret(a.getenv("OPENAI_ADMIN_KEY")),
		Organization:   a.getenv("OPENAI_ORG_ID"),
		Policy: responder.Policy{
			AdminKeys:         responder.AdminKeyPolicy(conf.Respond.AdminKeys),
			AlreadyDeadIssues: conf.Issue.AlreadyDead,
		},
	}
	if f.dryRun {
		cfg.Mode = responder.Plan
	}
	if max := conf.Respond.MaxRevocations; max != nil && !cmd.Flags().Changed("max-revocations") {
		cfg.MaxRevocations = *max
	}
	var err error
	cfg.OpenAI, err = openai.New(openai.Config{
		BaseURL:      a.getenv("OPENAI_BASE_URL"),
		OperatorURL:  conf.OpenAI.BaseURL,
		KeysPath:     conf.OpenAI.KeysPath,
		AdminKey:     a.getenv("OPENAI_ADMIN_KEY"),
		Organization: cfg.Organization,
	})
	if err != nil {
		return cfg, err
	}
	cfg.Repo, err = a.leakRepository(string(f.repo), target, origin)
	if f.noIssue {
		return cfg, nil
	}
	if err != nil {
		return cfg, err
	}
	cfg.IssueRepo = cmp.Or(string(f.issueRepo), conf.Issue.Repo, cfg.Repo)
	token := cmp.Or(a.getenv("GITHUB_TOKEN"), a.getenv("GH_TOKEN"))
	switch {
	case token == "" && f.dryRun:
		return cfg, nil // what there is to say about the keys needs no GitHub
	case token == "":
		return cfg, errors.New("GITHUB_TOKEN is not set, nor is GH_TOKEN: export a token that may write issues, or file none with --no-issue")
	}
	cfg.GitHub, err = github.New(github.Config{
		APIURL:    a.getenv("GITHUB_API_URL"),
		ServerURL: a.getenv("GITHUB_SERVER_URL"),
		Token:     token,
	})
	return cfg, err
}

// leakRepository returns the GitHub repository that the target is a copy of:
// what the flag says, else what a workflow of that repository says of its
// workspace, else what the remote called origin says.
func (a *app) leakRepository(flag, target, origin string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if name := a.getenv("GITHUB_REPOSITORY"); name != "" && sameDirectory(target, cmp.Or(a.getenv("GITHUB_WORKSPACE"), ".")) {
		if !repository.MatchString(name) {
			return "", fmt.Errorf("GITHUB_REPOSITORY is %q: must be OWNER/NAME", name)
		}
		return name, nil
	}
	if name := repositoryAt(origin, cmp.Or(a.getenv("GITHUB_SERVER_URL"), "https://github.com")); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("%s: it is not known which GitHub repository this is: name it with --repo OWNER/NAME, or file no issues with --no-issue", target)
}

func sameDirectory(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// repositoryAt returns the OWNER/NAME that a remote's address names on the
// server, or "". An address is a URL, or HOST:PATH as ssh has it.
func repositoryAt(remote, server string) string {
	if !strings.Contains(remote, "://") {
		host, path, ok := strings.Cut(remote, ":")
		if !ok || strings.Contains(host, "/") {
			return "" // a path on this machine
		}
		remote = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(remote)
	if err != nil {
		return ""
	}
	s, err := url.Parse(server)
	if err != nil {
		return ""
	}
	host, at := strings.ToLower(u.Hostname()), strings.ToLower(s.Hostname())
	if host != at && host != "ssh."+at { // the latter is GitHub's way through firewalls
		return ""
	}
	name := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if !repository.MatchString(name) {
		return ""
	}
	return name
}

// openLedger opens the ledger. A dry run writes none, so it has one only if
// there is one.
func (a *app) openLedger(f respondFlags) (*responder.Ledger, error) {
	path := string(f.ledger)
	if path == "" {
		var err error
		if path, err = responder.DefaultLedgerPath(a.getenv); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(path); f.dryRun && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return responder.OpenLedger(path)
}

// stepLog returns where the steps are told while they are done: to whoever
// asked for it, and to whoever would stare at a terminal for minutes.
func (a *app) stepLog(w io.Writer, f scanFlags) *slog.Logger {
	if !f.verbose && (f.quiet || terminal(a.stderr) == nil) {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
			switch value := attr.Value.Resolve(); {
			case attr.Key == slog.LevelKey:
				return slog.Attr{}
			case attr.Key == slog.TimeKey:
				return slog.String(attr.Key, value.Time().UTC().Format(time.TimeOnly))
			default:
				return slog.String(attr.Key, finding.Printable(value.String()))
			}
		},
	}))
}
