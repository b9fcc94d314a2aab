// Package responder carries out what has to be done about leaked keys: match
// each with the keys of the organization, confirm which one it is, revoke it,
// prove it dead, and file the issue.
//
// It deletes production credentials. So it acts only on what it has read in
// full and seen confirmed by an independent signal; whatever is missing,
// contradictory or not understood leaves the key alone and says why.
package responder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/github"
	"github.com/unleak/unleak/internal/openai"
)

// A Config says with whom a Responder talks and what it may do.
type Config struct {
	OpenAI    *openai.Client
	GitHub    *github.Client // nil: no issues
	Ledger    *Ledger        // may be nil where Mode is Plan, and is only read there
	Repo      string         // OWNER/NAME where the leak is; may be "" without GitHub
	IssueRepo string         // OWNER/NAME where issues go; "" means Repo

	Mode           Mode
	MaxRevocations int           // deletions that one call of Respond may try
	VerifyInterval time.Duration // between two questions whether a key is dead; 0 means 10 s
	VerifyTimeout  time.Duration // for the proof that a key is dead; 0 means 15 min

	AdminKey     finding.Secret // the admin key in use, which is never deleted; may be zero where Mode is Plan
	Organization string         // the pinned organization, or ""
	Policy       Policy
	Log          *slog.Logger // what is done, step by step; nil: nothing is logged
}

// A Mode says whether a Responder acts.
type Mode string

// The modes.
const (
	Act  Mode = "act"
	Plan Mode = "plan" // ask, and report what Act would do; nothing is changed anywhere
)

// A Policy is what the operator decides.
type Policy struct {
	AdminKeys         AdminKeyPolicy // "" means RevokeAdminKeys
	AlreadyDeadIssues bool           // file issues for keys that were dead when first seen, too
}

// An AdminKeyPolicy says what happens to a leaked admin key that is confirmed.
type AdminKeyPolicy string

// The policies for admin keys, spelled as in the configuration.
const (
	RevokeAdminKeys AdminKeyPolicy = "revoke"
	ReportAdminKeys AdminKeyPolicy = "report"
)

// A Responder responds to leaked keys of one repository. It is safe for
// concurrent use; calls that act take turns.
type Responder struct {
	cfg  Config
	list inventory
}

// New returns a Responder, or an error if cfg cannot be followed. It sends
// nothing.
func New(cfg Config) (*Responder, error) {
	cfg.IssueRepo = cmp.Or(cfg.IssueRepo, cfg.Repo)
	cfg.VerifyInterval = cmp.Or(cfg.VerifyInterval, 10*time.Second)
	cfg.VerifyTimeout = cmp.Or(cfg.VerifyTimeout, 15*time.Minute)
	cfg.Policy.AdminKeys = cmp.Or(cfg.Policy.AdminKeys, RevokeAdminKeys)
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	switch {
	case cfg.OpenAI == nil:
		return nil, errors.New("responder: a client for OpenAI is needed")
	case cfg.Mode != Act && cfg.Mode != Plan:
		return nil, fmt.Errorf("responder: %q is no mode: use %q or %q", cfg.Mode, Act, Plan)
	case cfg.Mode == Act && cfg.Ledger == nil:
		return nil, errors.New("responder: nothing is deleted without a ledger")
	case cfg.Mode == Act && cfg.AdminKey.Reveal() == "":
		return nil, errors.New("responder: the admin key in use must be known, so that it is never deleted")
	case cfg.GitHub != nil && cfg.IssueRepo == "":
		return nil, errors.New("responder: no repository to file issues in: name one with --issue-repo OWNER/NAME, or use --no-issue")
	case cfg.MaxRevocations < 0:
		return nil, fmt.Errorf("--max-revocations %d: it must not be negative", cfg.MaxRevocations)
	case cfg.VerifyInterval < 0 || cfg.VerifyTimeout < 0:
		return nil, errors.New("--verify-interval and --verify-timeout must not be negative")
	case cfg.Policy.AdminKeys != RevokeAdminKeys && cfg.Policy.AdminKeys != ReportAdminKeys:
		return nil, fmt.Errorf("[respond] admin_keys = %q: use %q or %q", cfg.Policy.AdminKeys, RevokeAdminKeys, ReportAdminKeys)
	}
	return &Responder{cfg: cfg}, nil
}

// Respond does what has to be done about the keys of findings, and returns a
// response for each, in the same order. It may be called again after any
// failure: each step first looks whether it is already done.
//
// What is to be done is decided for all keys before the first is deleted, so
// that a contradiction between two of them is seen. Then all are revoked, one
// after the other, before the first is proven dead: a live key does not wait for
// another's proof. Then all are proven dead side by side, and the issues are
// brought up to date.
//
// An error says that the answer is incomplete: the organization's keys could
// not be listed in full, an issue could not be filed, ctx was done. The
// responses are complete data all the same, and say what is known of each key.
func (r *Responder) Respond(ctx context.Context, findings []finding.Finding) ([]finding.Response, error) {
	if len(findings) == 0 {
		return nil, nil
	}
	run := &run{Responder: r, incidents: make([]*incident, len(findings))}
	for i, f := range findings {
		run.incidents[i] = &incident{
			Finding:  f,
			response: finding.Response{Status: finding.StatusUnconfirmed, Liveness: finding.NotKnown},
		}
	}
	err := run.do(ctx)

	responses := make([]finding.Response, len(findings))
	errs := []error{err}
	for i, inc := range run.incidents {
		if inc.response.Reason == "" && inc.response.Status != finding.StatusDead {
			inc.settle(inc.response.Status, "nothing was done about it: %v", err)
		}
		responses[i] = inc.response
		errs = append(errs, inc.errs...)
	}
	if err := errors.Join(errs...); err != nil {
		return responses, redactedError{err}
	}
	return responses, nil
}

// A redactedError prints without keys, whatever a server put into its words.
type redactedError struct{ error }

func (e redactedError) Error() string { return finding.Redact(e.error.Error()) }
func (e redactedError) Unwrap() error { return e.error }

// A run is one call of Respond.
type run struct {
	*Responder
	incidents []*incident
	issues    issueBook
	intents   int // deletions that were tried, or would be
}

// An incident is one leaked key on its way through the runbook.
type incident struct {
	finding.Finding
	response finding.Response
	known    memory // what the ledger knows of it from before

	answer     openai.Answer // to the first look
	candidates []openai.Key
	key        openai.Key // the key it is confirmed to be, or was when an earlier run deleted it; zero before
	tried      bool       // its deletion was tried
	unproven   bool       // what is left is to prove it dead
	errs       []error    // what makes the answer incomplete
}

// undecided settles an incident of which something could not be asked.
func (inc *incident) undecided(err error) {
	inc.settle(finding.StatusUnconfirmed, "%v", err)
	inc.incomplete("%w", err)
}

// disown takes back what was confirmed.
func (inc *incident) disown() {
	inc.key = openai.Key{}
	inc.response.Project, inc.response.Key, inc.response.ConfirmedBy = nil, nil, nil
}

// settle sets the outcome for now, and the reason for it.
func (inc *incident) settle(status finding.Status, format string, args ...any) {
	reason := oneLine(fmt.Sprintf(format, args...))
	if _, ok := inc.known.last(eventDead); ok && inc.response.Liveness == finding.Live {
		reason = "IT WAS PROVEN DEAD EARLIER AND IS ACCEPTED AGAIN: " + reason
	}
	inc.response.Status, inc.response.Reason = status, reason
}

// oneLine makes text fit for people: joined errors are several lines.
func oneLine(text string) string {
	return finding.Printable(strings.ReplaceAll(text, "\n", "; "))
}

// incomplete records why the answer is incomplete.
func (inc *incident) incomplete(format string, args ...any) {
	inc.errs = append(inc.errs, fmt.Errorf("%s: "+format, append([]any{inc.Secret.Redacted()}, args...)...))
}

// do carries out the runbook. The order is the product: nothing is sent before
// the ledger is ready, no key is asked before the list shows when it was last
// used, and no proof is waited for while another key lives.
func (r *run) do(ctx context.Context) error {
	if r.cfg.Mode == Act {
		release, err := r.cfg.Ledger.acquire(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	keys, listErr := r.list.read(ctx, r.cfg.OpenAI, r.cfg.Log)
	if errors.Is(listErr, openai.ErrOrganization) || ctx.Err() != nil {
		return listErr
	}
	if listErr != nil {
		listErr = fmt.Errorf("the organization's keys could not be listed in full, so no live key is deleted: %w", listErr)
	}
	for _, inc := range r.incidents {
		inc.known = r.cfg.Ledger.recall(inc.Secret.Fingerprint())
	}
	seen, err := r.lookAtAll(ctx)
	if err != nil {
		return errors.Join(listErr, err)
	}
	for _, inc := range seen {
		if err := r.decide(ctx, inc, keys, listErr); err != nil {
			inc.undecided(err)
		}
		if ctx.Err() != nil {
			return errors.Join(listErr, context.Cause(ctx))
		}
	}
	if err := r.revokeAll(ctx); err != nil {
		return errors.Join(listErr, err)
	}
	if r.cfg.Mode == Plan {
		return listErr
	}
	proofs := pool.New().WithMaxGoroutines(maxProofs)
	for _, inc := range r.incidents {
		if inc.unproven {
			proofs.Go(func() { r.prove(ctx, inc) })
		} else {
			r.remember(inc) // now: a crash while others are proven must not lose it
		}
	}
	proofs.Wait()
	for _, inc := range r.incidents {
		if inc.unproven {
			r.remember(inc)
		}
	}
	return errors.Join(listErr, r.fileIssues(ctx), context.Cause(ctx))
}

// maxProofs bounds how many keys are proven dead side by side.
const maxProofs = 64

// lookAtAll asks OpenAI about every key, and returns those of which it could be
// asked. One that is refused is asked again, with one pause for all of them: a
// stray refusal must not end the matter.
func (r *run) lookAtAll(ctx context.Context) ([]*incident, error) {
	var seen, refused []*incident
	for _, inc := range r.incidents {
		err := r.look(ctx, inc)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			inc.undecided(err)
			continue
		case inc.answer.Verdict == openai.Dead:
			refused = append(refused, inc)
		}
		seen = append(seen, inc)
	}
	if len(refused) == 0 {
		return seen, nil
	}
	if err := r.pause(ctx); err != nil {
		return nil, err
	}
	for _, inc := range refused {
		if err := r.look(ctx, inc); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// decide finds out what is to be done about one key that was looked at. It
// confirms which of the organization's keys it is, or settles the incident. An
// error says that it could not be decided.
func (r *run) decide(ctx context.Context, inc *incident, keys listing, listErr error) error {
	log := r.cfg.Log.With("key", inc.Secret)
	answer := inc.answer

	found := matchKeys(inc.Secret, keys.of(inc.Kind))
	inc.candidates = found.candidates
	inc.response.Candidates = len(found.candidates)
	log.Info("matched", "candidates", len(found.candidates), "unreadable", len(found.unreadable))

	inUse := r.cfg.AdminKey.Reveal() != "" && inc.Secret.Fingerprint() == r.cfg.AdminKey.Fingerprint()
	switch {
	case answer.Verdict == openai.Dead:
		return r.refused(ctx, inc, keys, listErr)
	case inUse:
		inc.settle(finding.StatusProtected, "THE LEAKED KEY IS THE ADMIN KEY IN USE (OPENAI_ADMIN_KEY): unleak does not cut the branch it sits on. "+
			"Make another admin key, export it as OPENAI_ADMIN_KEY and run again at once: whoever has this one owns the organization")
		return nil
	}
	if done, err := r.resume(ctx, inc, keys, listErr); done || err != nil {
		return err
	}
	state := "it is live, and "
	if answer.Verdict != openai.Live {
		state = fmt.Sprintf("OpenAI's answer says neither that it lives nor that it is dead (%s), and ", said(answer))
	}
	switch {
	case listErr != nil:
		inc.settle(finding.StatusUnconfirmed, "%s%v", state, listErr)
		return nil
	case len(found.unreadable) > 0:
		k := found.unreadable[0]
		inc.settle(finding.StatusUnconfirmed, "%sthe masked value of %s could be its, but has a form that unleak does not know: %q. Compare it by hand and delete the key at %s",
			state, place(k), outline(k.Redacted), keysPage)
		return nil
	case len(found.candidates) == 0:
		inc.settle(finding.StatusUnmatched, "%s%s", state, strangers(inc.Kind))
		return nil
	case answer.Verdict != openai.Live:
		inc.settle(finding.StatusUnconfirmed, "%sonly a key that answers can be told from another of its shape: run again later", state)
		return nil
	}
	confirmed, err := r.confirm(ctx, inc, found.candidates, keys)
	if err != nil || !confirmed {
		return err
	}
	if gone, ok := inc.vanished(); ok {
		inc.settle(finding.StatusUnconfirmed, "it is accepted where %s is now the only key of its shape, but key %s, which had that shape in an earlier run, is no longer listed. "+
			"If that was the leaked one, OpenAI will refuse it soon: run again. If it is still accepted then, %s is the leaked one: delete it by hand at %s",
			place(inc.key), gone.Key, place(inc.key), pageFor(inc.Kind))
		inc.disown()
		return nil
	}
	log.Info("confirmed", "by", inc.response.ConfirmedBy, "id", finding.Printable(inc.key.ID))
	return nil
}

// vanished returns a key that was a candidate beside the confirmed one in an
// earlier run and is none any more: it may have been the leaked one, because a
// deleted key is accepted for a while.
func (inc *incident) vanished() (recordedCandidate, bool) {
	for c := range inc.known.candidates {
		listed := slices.ContainsFunc(inc.candidates, func(k openai.Key) bool { return recordCandidate(k) == c })
		if !listed && c.Project == recordCandidate(inc.key).Project {
			return c, true
		}
	}
	return recordedCandidate{}, false
}

// Where people manage keys by hand.
const (
	keysPage      = "https://platform.openai.com/settings/organization/api-keys"
	adminKeysPage = "https://platform.openai.com/settings/organization/admin-keys"
)

// pageFor names the page for keys of a kind.
func pageFor(kind finding.Kind) string {
	if kind == finding.AdminKey {
		return adminKeysPage
	}
	return keysPage
}

// look asks OpenAI about the key, again if the answer proves nothing: a broken
// connection must not leave a live key alone.
func (r *run) look(ctx context.Context, inc *incident) error {
	for n := 1; ; n++ {
		asking, cancel := patience(ctx, lookTime)
		answer, err := r.probe(asking, inc)
		late := asking.Err() != nil
		cancel()
		switch {
		case err != nil && (!late || ctx.Err() != nil):
			return err
		case err != nil:
			answer.Message = err.Error()
		}
		inc.answer, inc.response.Liveness = answer, liveness(answer.Verdict)
		if answer.Verdict != openai.Unknown || n == attempts {
			r.cfg.Log.Info("asked with the leaked key", "key", inc.Secret, "verdict", answer.Verdict, "status", answer.Status, "code", finding.Printable(answer.Code))
			return nil
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

// attempts is how often a question is put whose answer proves nothing.
const attempts = 3

// probe asks OpenAI about the key, once.
func (r *run) probe(ctx context.Context, inc *incident) (openai.Answer, error) {
	if inc.Kind == finding.AdminKey {
		return r.cfg.OpenAI.ProbeAdmin(ctx, inc.Secret.Reveal())
	}
	return r.cfg.OpenAI.Probe(ctx, inc.Secret.Reveal(), "", "")
}

// pause waits before a question is put again.
func (r *run) pause(ctx context.Context) error {
	const longest = 2 * time.Second
	return sleep(ctx, min(r.cfg.VerifyInterval, longest))
}

// sleep waits for d, or returns why ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// refused settles a key that OpenAI refused before this run did anything. What
// an earlier run began, or left alive, is proven dead rather than believed.
func (r *run) refused(ctx context.Context, inc *incident, keys listing, listErr error) error {
	last, known := inc.known.standing()
	if known && last.Event != eventDead && r.cfg.Mode == Act {
		if done, err := r.resume(ctx, inc, keys, listErr); done || err != nil {
			return err
		}
		inc.settle(finding.StatusUnconfirmed, "OpenAI refuses it, and it is not yet proven that it is dead")
		inc.unproven = true
		return nil
	}
	inc.known.describe(&inc.response)
	inc.response.Status, inc.response.Reason = finding.StatusDead, ""
	inc.response.AlreadyDead = true
	inc.response.DeadAt = time.Now().UTC()
	if known && last.Event == eventDead {
		inc.response.DeadAt = last.Time
	}
	return nil
}

func liveness(v openai.Verdict) finding.Liveness {
	switch v {
	case openai.Live:
		return finding.Live
	case openai.Dead:
		return finding.NotLive
	}
	return finding.NotKnown
}

// said returns the server's words in one line.
func said(a openai.Answer) string {
	words := clip(finding.Printable(cmp.Or(a.Message, a.Code, "no words")), 200)
	if a.Status == 0 {
		return words
	}
	return fmt.Sprintf("%d: %s", a.Status, words)
}

// outline returns the ends of a masked value: one of unknown form may show more
// of a key than anybody should print.
func outline(masked string) string {
	const head, tail = 8, 4
	runes := []rune(finding.Printable(masked))
	if len(runes) <= 2*(head+tail) {
		return string(runes)
	}
	return string(runes[:head]) + "…" + string(runes[len(runes)-tail:])
}

// place names a key and where it is.
func place(k openai.Key) string {
	id := finding.Printable(k.ID)
	if k.ProjectID == "" {
		return "the admin key " + id
	}
	return fmt.Sprintf("key %s of project %s", id, finding.Printable(k.ProjectID))
}

// strangers says what to do about a key that is none of the organization's.
func strangers(kind finding.Kind) string {
	switch kind {
	case finding.SessionToken:
		return "dashboard sessions are in no list: log out of all devices at platform.openai.com, which ends them"
	case finding.EphemeralToken:
		return "client tokens of the realtime API are in no list: they end by themselves; revoke the key that made it if that leaked, too"
	}
	return "no key that OPENAI_ADMIN_KEY can list has its shape: it belongs to another organization. Run again with an admin key of that one, or have its owner revoke it"
}
