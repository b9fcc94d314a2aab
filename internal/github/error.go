package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// ErrNotFound is met by errors of answers with status 404. GitHub answers
	// so, too, where the token may not see that something exists.
	ErrNotFound = errors.New("not found")

	// ErrOutcomeUnknown is met by errors of a creation that was sent and whose
	// answer was lost: it may or may not have taken effect. Whoever meets it
	// looks before creating again.
	ErrOutcomeUnknown = errors.New("it is not known whether GitHub carried it out")
)

// An Error is a request that GitHub refused or did not answer.
type Error struct {
	Method  string
	Path    string
	Status  int    // 0 where no answer arrived
	Message string // GitHub's own words, at most 300 bytes; they may hold any character
	Remedy  string // what to do about it, or ""

	cause   error     // why no answer arrived
	until   time.Time // when the rate limit that refused the request is lifted; zero for other errors
	passing bool      // the same request may succeed later
	unclear bool      // the request may have taken effect
}

// Error names the request, what was answered, and what to do about it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, "GitHub answers %d %s", e.Status, http.StatusText(e.Status))
	} else {
		b.WriteString("no answer from GitHub")
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Remedy != "" {
		b.WriteString(" (" + e.Remedy + ")")
	}
	return b.String()
}

// Unwrap returns the reason why no answer arrived, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is [ErrNotFound] and e an answer that says so.
func (e *Error) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

// explain returns err with the remedy for its status. need is the permission
// that the call needs.
func explain(err error, repo, need string) error {
	var e *Error
	if !errors.As(err, &e) {
		// The context's error, or an answer that is not GitHub's JSON.
		return fmt.Errorf("asking GitHub about %s: %w", repo, err)
	}
	if e.Remedy == "" {
		e.Remedy = remedy(e, repo, need)
	}
	return e
}

func remedy(e *Error, repo, need string) string {
	switch e.Status {
	case http.StatusUnauthorized:
		return "the token is missing, wrong, expired or revoked: set GITHUB_TOKEN to one that has the permission " + need + " on " + repo
	case http.StatusForbidden:
		if strings.Contains(strings.ToLower(e.Message), "archived") {
			return repo + " is archived and takes no issues: unarchive it, or name another repository with --issue-repo"
		}
		return "GITHUB_TOKEN needs the permission " + need + " on " + repo + "; in a workflow it stands under permissions:"
	case http.StatusNotFound:
		return repo + " does not exist, or GITHUB_TOKEN may not see it: it must include the repository, with the permission " + need +
			"; for an Enterprise Server check GITHUB_API_URL, too"
	case http.StatusGone:
		return "issues are switched off in " + repo + ", or this one was deleted: switch them on in the repository's settings, or name another repository with --issue-repo"
	}
	return ""
}

// unknownOutcome returns the error of a creation, so that it meets
// [ErrOutcomeUnknown] unless it is sure that nothing was created.
func unknownOutcome(err error) error {
	var e *Error
	if errors.As(err, &e) && !e.unclear {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// clip returns the beginning of s that fits into a message.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	end := most - len("...")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}
