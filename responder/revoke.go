package responder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// revokeAll revokes every key that is confirmed, in order. What fails is tried
// once more after all others: no key waits for the trouble of another.
func (r *run) revokeAll(ctx context.Context) error {
	r.contradictions()
	var due []*incident
	for _, inc := range r.incidents {
		if len(inc.response.ConfirmedBy) > 0 {
			due = append(due, inc)
		}
	}
	for range 2 {
		var again []*incident
		for _, inc := range due {
			if !r.mayRevoke(inc) {
				continue
			}
			inc.errs = nil // of the first time
			if worthwhile := r.revoke(ctx, inc); worthwhile {
				again = append(again, inc)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		due = again
	}
	return nil
}

// contradictions settles the keys that were confirmed as one and the same: a
// project that accepts both and lists one of their shape is not listed as it is.
func (r *run) contradictions() {
	type id struct{ project, key string }
	are := make(map[id]int)
	for _, inc := range r.incidents {
		are[id{inc.key.ProjectID, inc.key.ID}]++
	}
	for _, inc := range r.incidents {
		k := inc.key
		if len(inc.response.ConfirmedBy) > 0 && are[id{k.ProjectID, k.ID}] > 1 {
			inc.disown()
			inc.settle(finding.StatusUnconfirmed, "two leaked keys seem to be %s: one of them is not in the list, and nothing tells which. Run again, or delete it by hand at %s", place(k), pageFor(inc.Kind))
		}
	}
}

// mayRevoke reports whether a confirmed key is to be deleted now; if not, the
// incident is settled.
func (r *run) mayRevoke(inc *incident) bool {
	switch {
	case inc.Kind == finding.AdminKey && r.cfg.Policy.AdminKeys == ReportAdminKeys:
		inc.settle(finding.StatusProtected, "the operator's configuration says admin_keys = %q: delete it by hand at %s", ReportAdminKeys, adminKeysPage)
		return false
	case !inc.tried && r.intents >= r.cfg.MaxRevocations:
		inc.settle(finding.StatusLimit, "this run may revoke no more than %d (--max-revocations): look at the others, then run again", r.cfg.MaxRevocations)
		return false
	case r.cfg.Mode == Plan:
		r.intents++
		inc.settle(finding.StatusPlanned, "it would be revoked: this is a dry run")
		return false
	}
	return true
}

// resume picks up a key that an earlier run has begun to delete. If it is gone
// from the organization, nothing is deleted a second time, whatever has the
// leaked key's shape now; what is left is the proof. Otherwise the runbook
// goes on as for any key.
func (r *run) resume(ctx context.Context, inc *incident, keys listing, listErr error) (done bool, err error) {
	intent, ok := inc.known.last(eventIntent)
	if !ok || intent.Key == nil {
		return false, nil
	}
	key := openai.Key{ID: intent.Key.ID}
	if intent.Project != nil {
		key.ProjectID = intent.Project.ID
	}
	outcome, _ := inc.known.last(eventIntent, eventDeleted, eventGone, eventDeleteFailed, eventDeleteLost)
	ended := outcome.Event == eventDeleted || outcome.Event == eventGone
	refused := inc.answer.Verdict == openai.Dead
	_, err = r.lookUp(ctx, key)
	if errors.Is(err, openai.ErrNotFound) {
		inc.known.describe(&inc.response)
	}
	switch {
	case err != nil && !errors.Is(err, openai.ErrNotFound):
		return true, fmt.Errorf("look up %s, which an earlier run was about to delete: %w", place(key), err)
	case err == nil && !(ended && refused):
		return false, nil
	case ended, refused: // a second sign beside the lookup
	case listErr != nil:
		inc.settle(finding.StatusUnconfirmed, "looked up, %s, which an earlier run was about to delete, is gone, but that it is in no list either is not known: %v", place(key), listErr)
		return true, nil
	case keys.hold(key):
		inc.settle(finding.StatusUnconfirmed, "looked up, %s, which an earlier run was about to delete, is gone, but it is still listed: nothing was deleted. Run again", place(key))
		return true, nil
	}
	inc.key, inc.unproven = key, true
	if !ended && r.cfg.Mode == Act {
		e := entry{Event: eventDeleted, Detail: "an earlier run was cut short after it sent the deletion; looked up, the key is gone"}
		if outcome.Event == eventDeleteFailed {
			e = entry{Event: eventGone, Detail: "an earlier run's deletion was refused; looked up, the key is gone: somebody else deleted it"}
		}
		r.record(inc, e)
	}
	inc.known.describe(&inc.response)
	inc.settle(finding.StatusRevoked, "%s was deleted before this run, and it is not yet proven that the leaked key is dead", place(key))
	return true, nil
}

// revoke deletes the key that the leaked one is confirmed to be, and reports
// whether it is worth trying again.
func (r *run) revoke(ctx context.Context, inc *incident) (again bool) {
	if reason, err := r.recheck(ctx, inc); err != nil {
		inc.undecided(err)
		return true
	} else if reason != "" {
		inc.settle(finding.StatusUnconfirmed, "%s: nothing was deleted. Run again", reason)
		return false
	}
	k := inc.response.Key
	intent := entry{
		Event: eventIntent,
		Key: &recordedKey{
			ID: k.ID, Name: k.Name, Owner: recordedOwner(k.Owner), CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt,
		},
	}
	if p := inc.response.Project; p != nil {
		recorded := recordedProject(*p)
		intent.Project = &recorded
	}
	if !inc.tried {
		inc.tried = true
		r.intents++
	}
	if !r.record(inc, intent) {
		inc.settle(finding.StatusFailed, "nothing was deleted, because the ledger could not record that it would be: %v", errors.Join(inc.errs...))
		return false
	}
	r.announce(ctx, inc)
	if ctx.Err() != nil {
		inc.settle(finding.StatusUnconfirmed, "interrupted before it was deleted: run again")
		return false
	}

	outcome, err := r.delete(ctx, inc.key)
	if err != nil {
		outcome.Detail = err.Error()
		r.record(inc, outcome)
		if ctx.Err() != nil {
			inc.settle(finding.StatusFailed, "the deletion of %s was interrupted while it was under way: run again to learn its outcome", place(inc.key))
			return false
		}
		inc.settle(finding.StatusFailed, "the deletion of %s failed: %v%s", place(inc.key), err, r.remedy(inc, err))
		return !refusedForGood(err)
	}
	if outcome.Event == eventDeleted {
		inc.response.RevokedAt = time.Now().UTC()
	}
	r.record(inc, outcome)
	inc.known.describe(&inc.response)
	inc.unproven = true
	inc.settle(finding.StatusRevoked, "%s was deleted, and it is not yet proven that the leaked key is dead", place(inc.key))
	r.cfg.Log.Info("deleted", "key", inc.Secret, "id", finding.Printable(inc.key.ID), "outcome", outcome.Event)
	return false
}

// recheck looks at the key and asks with the leaked one, right before the
// deletion: the list and what confirmed it are minutes old by now. It returns
// what speaks against the deletion, or "".
func (r *run) recheck(ctx context.Context, inc *incident) (reason string, err error) {
	// Only a lookup that finds another key stands in the way: one that finds
	// none is no reason to leave it alone.
	fresh, err := r.lookUp(ctx, inc.key)
	switch {
	case errors.Is(err, openai.ErrNotFound):
	case err != nil:
		return "", fmt.Errorf("look up %s once more before it is deleted: %w", place(inc.key), err)
	case compare(fresh.Redacted, inc.Secret.Reveal()) != same:
		return fmt.Sprintf("looked up once more, %s has another masked value than in the list", place(inc.key)), nil
	}
	a, err := r.probeAgain(ctx, inc, inc.key.ProjectID)
	switch {
	case err != nil:
		return "", err
	case a.Verdict == openai.Unknown:
		return "", fmt.Errorf("ask once more before %s is deleted: the answer proves nothing (%s)", place(inc.key), said(a))
	case a.Verdict == openai.Dead, a.Code == mismatchedProject, a.Code == mismatchedOrganization:
		return fmt.Sprintf("asked once more, OpenAI no longer accepts it where %s is (%s)", place(inc.key), said(a)), nil
	}
	return "", nil
}

// probeIn asks OpenAI about the key in the name of a project, once and not for
// long. An admin key has none.
func (r *run) probeIn(ctx context.Context, inc *incident, project string) (openai.Answer, error) {
	ctx, cancel := patience(ctx, lookTime)
	defer cancel()
	if inc.Kind == finding.AdminKey {
		return r.cfg.OpenAI.ProbeAdmin(ctx, inc.Secret.Reveal())
	}
	return r.cfg.OpenAI.Probe(ctx, inc.Secret.Reveal(), project, r.cfg.Organization)
}

// Bounds on how long one key may hold up the others.
const (
	lookTime     = 10 * time.Second // for one lookup
	deleteTime   = 10 * time.Second // for all deletions that are sent for one key
	maxDeletions = 3
)

// patience returns ctx with an end that says why it came.
func patience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("no answer within %v", d.Round(time.Second)))
}

// delete deletes key and returns the entry that records how it went. A
// deletion whose answer was lost is looked up, because it may have taken
// effect, and repeated a few times if it has not.
func (r *run) delete(ctx context.Context, key openai.Key) (entry, error) {
	const pause = time.Second
	end := time.Now().Add(deleteTime)
	lost := false
	for n := 1; ; n++ {
		err := r.send(ctx, key, time.Until(end))
		unknown := errors.Is(err, openai.ErrOutcomeUnknown)
		switch {
		case err == nil:
			return entry{Event: eventDeleted}, nil
		case errors.Is(err, openai.ErrNotFound) && lost:
			return entry{Event: eventDeleted, Detail: "the answer was lost; repeated, the deletion met a key that is gone"}, nil
		case errors.Is(err, openai.ErrNotFound):
			return entry{Event: eventGone, Detail: "the deletion met a key that was gone"}, nil
		case !unknown && !lost:
			return entry{Event: eventDeleteFailed}, err
		case ctx.Err() != nil:
			return entry{Event: eventDeleteLost}, err
		}
		lost = true
		_, seen := r.lookUp(ctx, key)
		switch {
		case errors.Is(seen, openai.ErrNotFound):
			return entry{Event: eventDeleted, Detail: fmt.Sprintf("the answer was lost (%v); looked up, the key is gone", err)}, nil
		case seen != nil:
			return entry{Event: eventDeleteLost}, fmt.Errorf("%w; and it could not be looked up: %w", err, seen)
		case !unknown, n == maxDeletions, time.Until(end) <= pause:
			return entry{Event: eventDeleteLost}, fmt.Errorf("%w; looked up, the key is still there", err)
		}
		if err := sleep(ctx, pause); err != nil {
			return entry{Event: eventDeleteLost}, err
		}
	}
}

// refusedForGood reports whether a deletion was answered in a way that asking
// again does not change.
func refusedForGood(err error) bool {
	answer, ok := errors.AsType[*openai.Error](err)
	return ok && answer.Status < 500 && answer.Status != http.StatusTooManyRequests
}

// remedy says what a person has to do about a deletion that failed.
func (r *run) remedy(inc *incident, err error) string {
	answer, ok := errors.AsType[*openai.Error](err)
	if ok && answer.Status == 400 && inc.response.Key.Owner.Type == "service_account" {
		owner := inc.response.Key.Owner
		return fmt.Sprintf(". This server does not delete single keys of service accounts: replace the key, then delete it, or the service account %s (%s) with all its keys, by hand at %s. unleak never deletes a service account",
			finding.Printable(owner.Name), finding.Printable(owner.ID), keysPage)
	}
	return ". The key is live: delete it by hand at " + keysPage + ", or run again"
}

// record adds an entry about the key to the ledger. An entry that cannot be
// added makes the answer incomplete; record reports whether it was.
func (r *run) record(inc *incident, e entry) bool {
	e.Fingerprint = inc.Secret.Fingerprint()
	e.Redacted = inc.Secret.Redacted()
	e.Repo = r.cfg.Repo
	e, err := r.cfg.Ledger.add(e)
	if err != nil {
		inc.incomplete("%w", err)
		return false
	}
	inc.known = append(inc.known, e)
	return true
}

// remember records what this run leaves behind, unless the ledger says so
// already: a key that was seen once is a key whose issue is kept up to date.
func (r *run) remember(inc *incident) {
	switch inc.response.Status {
	case finding.StatusDead:
		last, _ := inc.known.standing()
		if last.Event == eventDead || len(inc.known) == 0 && !r.cfg.Policy.AlreadyDeadIssues {
			return
		}
		if r.record(inc, entry{Event: eventDead, Status: finding.StatusDead, Detail: "it was dead before this run did anything"}) {
			inc.response.DeadAt = inc.known[len(inc.known)-1].Time
		}
	case finding.StatusRevoked, finding.StatusFailed: // recorded as it happened
	default:
		e, _ := inc.known.last(eventLeft, eventIntent, eventDead)
		candidates := inc.left()
		if e.Status == inc.response.Status && len(candidates) == 0 {
			return
		}
		r.record(inc, entry{Event: eventLeft, Status: inc.response.Status, Candidates: candidates, Detail: inc.response.Reason})
	}
}

// left returns the candidates that the ledger does not know yet: should one of
// them vanish before the next run, the leaked key may have been that one.
func (inc *incident) left() []recordedCandidate {
	known := slices.Collect(inc.known.candidates)
	var left []recordedCandidate
	for _, k := range inc.candidates {
		if c := recordCandidate(k); !slices.Contains(known, c) && len(left) < maxCandidates {
			left = append(left, c)
		}
	}
	return left
}

// lookUp asks for one key by its id, for no longer than lookTime.
func (r *run) lookUp(ctx context.Context, key openai.Key) (openai.Key, error) {
	ctx, cancel := patience(ctx, lookTime)
	defer cancel()
	if key.ProjectID == "" {
		return r.cfg.OpenAI.AdminKey(ctx, key.ID)
	}
	return r.cfg.OpenAI.ProjectKey(ctx, key.ProjectID, key.ID)
}

// send sends the deletion, and waits for the answer no longer than within.
func (r *run) send(ctx context.Context, key openai.Key, within time.Duration) error {
	ctx, cancel := patience(ctx, within)
	defer cancel()
	if key.ProjectID == "" {
		return r.cfg.OpenAI.DeleteAdminKey(ctx, key.ID)
	}
	return r.cfg.OpenAI.DeleteProjectKey(ctx, key.ProjectID, key.ID)
}
