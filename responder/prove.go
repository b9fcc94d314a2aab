package responder

import (
	"context"
	"errors"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// deadInARow is how many answers in a row must call a key dead. After a
// deletion servers have been seen to disagree for a while.
const deadInARow = 3

// grace is how long the last question may take beyond the time for the proof.
const grace = 2 * time.Second

// prove asks until the leaked key is refused as a key, several times in a row
// and some time apart, and the deleted key, if there is one, is gone from the
// organization; or until the time for that is over. It does not return without
// having asked.
func (r *run) prove(ctx context.Context, inc *incident) {
	deadline := time.Now().Add(r.cfg.VerifyTimeout)
	deleted := inc.key.ID != ""
	var (
		answer openai.Answer
		row    int
		gone   = !deleted
		lost   error // why it is not known whether the key is gone
	)
	for {
		asking, cancel := patience(ctx, time.Until(deadline)+grace)
		a, err := r.probe(asking, inc)
		if err == nil {
			answer = a
			inc.response.Liveness = liveness(answer.Verdict)
			row++
			if answer.Verdict != openai.Dead {
				row = 0
			}
		}
		if !gone {
			_, lost = r.lookUp(asking, inc.key)
			gone = errors.Is(lost, openai.ErrNotFound)
		}
		cancel()
		if ctx.Err() == nil {
			r.cfg.Log.Info("asked whether it is dead", "key", inc.Secret, "verdict", answer.Verdict, "in a row", row, "gone", gone)
		}
		left := time.Until(deadline)
		switch {
		case ctx.Err() != nil:
			inc.settle(inc.response.Status, "the proof that the leaked key is dead was interrupted: run again")
			return
		case row >= deadInARow && gone:
			inc.response.DeadAt = time.Now().UTC()
			if r.record(inc, entry{Event: eventDead, Status: finding.StatusDead}) {
				inc.known.describe(&inc.response)
				inc.response.DeadAt = inc.known[len(inc.known)-1].Time
			}
			inc.response.AlreadyDead = inc.answer.Verdict == openai.Dead
			inc.response.Status, inc.response.Reason = finding.StatusDead, ""
			return
		case !deleted && answer.Verdict == openai.Live:
			inc.settle(finding.StatusUnconfirmed, "OpenAI refused it at first and accepts it now: run again")
			return
		case left <= 0 && !deleted:
			inc.settle(finding.StatusUnconfirmed, "OpenAI refused it at first, but not %d times in a row within %v: run again", deadInARow, r.cfg.VerifyTimeout)
			return
		case left <= 0:
			r.outlived(inc, answer, gone, lost)
			return
		}
		// An error of sleep is ctx's, which the next round sees.
		_ = sleep(ctx, min(r.cfg.VerifyInterval, left))
	}
}

// outlived settles a key that was deleted and not proven dead in time.
func (r *run) outlived(inc *incident, last openai.Answer, gone bool, err error) {
	const lives = "THE LEAKED KEY IS STILL ACCEPTED %v after %s was deleted: the wrong key may have been deleted. " +
		"Look up now who used it and whether a service has stopped, and search for the leaked key at %s"
	switch {
	case last.Verdict == openai.Live && !gone && err == nil:
		inc.settle(finding.StatusRevoked, "THE LEAKED KEY IS STILL ACCEPTED after %v: OpenAI answered the deletion of %s with a success, but it had no effect, the key is still there. Delete it by hand at %s, or run again",
			r.cfg.VerifyTimeout, place(inc.key), pageFor(inc.Kind))
	case last.Verdict == openai.Live && inc.response.RevokedAt.IsZero():
		inc.settle(finding.StatusRevoked, "THE LEAKED KEY IS STILL ACCEPTED %v after %s was found to be gone, which unleak did not delete: it was another key, or OPENAI_ADMIN_KEY is another organization's. Search for the leaked key at %s, or run again with the right admin key",
			r.cfg.VerifyTimeout, place(inc.key), pageFor(inc.Kind))
	case last.Verdict == openai.Live:
		inc.settle(finding.StatusRevoked, lives, r.cfg.VerifyTimeout, place(inc.key), pageFor(inc.Kind))
	case last.Verdict == openai.Unknown:
		inc.settle(finding.StatusRevoked, "%s was deleted, but for %v OpenAI did not prove that the leaked key is dead (%s): run again", place(inc.key), r.cfg.VerifyTimeout, said(last))
	case !gone && err != nil:
		inc.settle(finding.StatusRevoked, "%s was deleted and the leaked key is refused, but the key could not be looked up for %v: %v. Run again", place(inc.key), r.cfg.VerifyTimeout, err)
	case !gone:
		inc.settle(finding.StatusRevoked, "%s was deleted and the leaked key is refused, but the key is still listed after %v: run again", place(inc.key), r.cfg.VerifyTimeout)
	default:
		inc.settle(finding.StatusRevoked, "%s was deleted and the leaked key is refused, but not yet %d times in a row within %v: run again", place(inc.key), deadInARow, r.cfg.VerifyTimeout)
	}
	if e, ok := inc.known.last(eventAlive, eventIntent, eventDead); !ok || e.Event != eventAlive {
		r.record(inc, entry{Event: eventAlive, Status: finding.StatusRevoked, Detail: inc.response.Reason})
	}
}
