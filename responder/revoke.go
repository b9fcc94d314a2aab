package responder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// resume picks up a key that an earlier run has begun to delete. If it is gone
// from the organization, nothing is deleted a second time, whatever has the
// leaked key's shape now; what is left is the proof. Otherwise the runbook
// goes on as for any key.
func (r *run) resume(ctx context.Context, inc *incident) (done bool, err error) {
	intent, ok := inc.known.last(eventIntent)
	if !ok || intent.Key == nil {
		return false, nil
	}
	key := openai.Key{ID: intent.Key.ID}
	if intent.Project != nil {
		key.ProjectID = intent.Project.ID
	}
	_, err = r.lookUp(ctx, key)
	switch {
	case err == nil:
		return false, nil
	case !errors.Is(err, openai.ErrNotFound):
		return true, fmt.Errorf("look up %s, which an earlier run was about to delete: %w", place(key), err)
	}
	inc.key = key
	if outcome, ok := inc.known.last(eventIntent, eventDeleted, eventGone); ok && outcome.Event == eventIntent && r.cfg.Mode == Act {
		r.record(inc, entry{Event: eventDeleted, Detail: "an earlier run was cut short after it sent the deletion; looked up, the key is gone"})
	}
	inc.known.describe(&inc.response)
	inc.settle(finding.StatusRevoked, "an earlier run deleted %s, and it is not yet proven that the leaked key is dead", place(key))
	return true, nil
}

// revoke deletes the key that the leaked one is confirmed to be. An error says
// that it was not tried.
func (r *run) revoke(ctx context.Context, inc *incident) error {
	// The list is minutes old by now. Only a lookup that finds another key
	// stands in the way: one that finds none is no reason to leave it alone.
	fresh, err := r.lookUp(ctx, inc.key)
	switch {
	case errors.Is(err, openai.ErrNotFound):
	case err != nil:
		return fmt.Errorf("look up %s once more before it is deleted: %w", place(inc.key), err)
	case compare(fresh.Redacted, inc.Secret.Reveal()) != same:
		inc.settle(finding.StatusUnconfirmed, "looked up once more, %s has another masked value than in the list: nothing was deleted. Run again", place(inc.key))
		return nil
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
	r.intents++
	if !r.record(inc, intent) {
		inc.settle(finding.StatusFailed, "nothing was deleted, because the ledger could not record that it would be: %v", errors.Join(inc.errs...))
		return nil
	}
	r.announce(ctx, inc)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}

	outcome, err := r.delete(ctx, inc.key)
	switch {
	case err != nil:
		r.record(inc, entry{Event: eventDeleteFailed, Detail: err.Error()})
		inc.settle(finding.StatusFailed, "the deletion of %s failed: %v%s", place(inc.key), err, r.remedy(inc, err))
		return nil
	case outcome.Event == eventDeleted:
		inc.response.RevokedAt = time.Now().UTC()
	}
	r.record(inc, outcome)
	inc.known.describe(&inc.response)
	inc.settle(finding.StatusRevoked, "%s was deleted, and it is not yet proven that the leaked key is dead", place(inc.key))
	r.cfg.Log.Info("deleted", "key", inc.Secret, "id", finding.Printable(inc.key.ID), "outcome", outcome.Event)
	return nil
}

// delete deletes key and returns the entry that records how it went. A
// deletion that fails is looked up, because it may have taken effect, and
// repeated once if it was lost and has not.
func (r *run) delete(ctx context.Context, key openai.Key) (entry, error) {
	lost := false
	for {
		err := r.send(ctx, key)
		switch {
		case err == nil:
			return entry{Event: eventDeleted}, nil
		case errors.Is(err, openai.ErrNotFound) && lost:
			return entry{Event: eventDeleted, Detail: "the answer was lost; repeated, the deletion met a key that is gone"}, nil
		case errors.Is(err, openai.ErrNotFound):
			return entry{Event: eventGone, Detail: "the deletion met a key that was gone"}, nil
		case ctx.Err() != nil:
			return entry{}, fmt.Errorf("interrupted while it was under way, run again to learn its outcome: %w", err)
		}
		_, seen := r.lookUp(ctx, key)
		answer, answered := errors.AsType[*openai.Error](err)
		switch {
		case errors.Is(seen, openai.ErrNotFound):
			return entry{Event: eventDeleted, Detail: fmt.Sprintf("the answer was lost (%v); looked up, the key is gone", err)}, nil
		case seen != nil:
			return entry{}, fmt.Errorf("%w; and its outcome is not known: %w", err, seen)
		case lost || answered && answer.Status < 500:
			return entry{}, err
		}
		lost = true
	}
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
		_, recorded := inc.known.last(eventDead)
		if recorded || len(inc.known) == 0 && !r.cfg.Policy.AlreadyDeadIssues {
			return
		}
		if r.record(inc, entry{Event: eventDead, Status: finding.StatusDead, Detail: "it was dead before this run did anything"}) {
			inc.known.describe(&inc.response)
		}
	case finding.StatusRevoked, finding.StatusFailed: // recorded as it happened
	default:
		if e, ok := inc.known.last(eventLeft, eventIntent); ok && e.Status == inc.response.Status {
			return
		}
		r.record(inc, entry{Event: eventLeft, Status: inc.response.Status, Detail: inc.response.Reason})
	}
}

// lookUp asks for one key by its id.
func (r *run) lookUp(ctx context.Context, key openai.Key) (openai.Key, error) {
	if key.ProjectID == "" {
		return r.cfg.OpenAI.AdminKey(ctx, key.ID)
	}
	return r.cfg.OpenAI.ProjectKey(ctx, key.ProjectID, key.ID)
}

// send sends the deletion.
func (r *run) send(ctx context.Context, key openai.Key) error {
	if key.ProjectID == "" {
		return r.cfg.OpenAI.DeleteAdminKey(ctx, key.ID)
	}
	return r.cfg.OpenAI.DeleteProjectKey(ctx, key.ProjectID, key.ID)
}
