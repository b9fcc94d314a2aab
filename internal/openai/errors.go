package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Answers of the Admin API that a caller has to tell apart. They are wrapped
// in an [*Error].
var (
	ErrNotFound     = errors.New("not found")
	ErrOrganization = errors.New("OPENAI_ADMIN_KEY belongs to another organization than OPENAI_ORG_ID names")
)

// ErrOutcomeUnknown is wrapped in the error of a deletion that may have taken
// effect.
var ErrOutcomeUnknown = errors.New("whether it took effect is not known")

// An Error is an answer of the Admin API that is not the one asked for.
// Broken connections are other errors. Its strings never hold the key that was
// asked with, nor a run of characters that could be another; they are the
// server's words all the same, bounded in length and not otherwise clean: redact
// and escape them before printing.
type Error struct {
	Method, Path string // what was asked, below the base URL and without the query
	Status       int
	Code, Type   string // as the server names the error; "" if it does not
	Message      string

	role string        // whose key was refused
	wait time.Duration // what the server asks to wait; 0 if it does not say
}

// Error names the call, the status, the server's words and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		fmt.Fprintf(&b, " (%s)", e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + strings.TrimRight(e.Message, ". "))
	}
	if r := e.remedy(); r != "" {
		b.WriteString("; " + r)
	}
	return b.String()
}

// Is reports whether e is one of the answers that this package names.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrOrganization:
		// A leaked key of another organization is no mistake of the operator's.
		return e.Code == codeMismatchedOrganization && e.role == roleOperator
	}
	return false
}

// scope matches a scope as the API spells it.
var scope = regexp.MustCompile(`\b[a-z_]+(?:\.[a-z_]+)+\b`)

// remedy says what a person has to do about e, where there is something.
func (e *Error) remedy() string {
	switch {
	case errors.Is(e, ErrOrganization):
		return ErrOrganization.Error() + ": correct one of the two"
	case e.Status == http.StatusTooManyRequests && e.wait > 0:
		return fmt.Sprintf("the server asks to wait %v: run again after that", e.wait)
	case e.Status == http.StatusTooManyRequests:
		return "it went on for the whole time that calls are repeated: run again later"
	case e.Status >= 300 && e.Status < 400:
		return "no redirect is followed, because the key would go there: correct OPENAI_BASE_URL"
	case e.role != roleOperator:
		return ""
	case e.Status == http.StatusUnauthorized:
		return "OPENAI_ADMIN_KEY is not accepted: export a live admin key (sk-admin-…) made by an owner of the organization"
	case e.Status == http.StatusForbidden:
		need := "api.management.read, and api.management.write to delete keys"
		if _, list, ok := strings.Cut(e.Message, "issing scopes:"); ok {
			if named := scope.FindAllString(list, -1); len(named) > 0 {
				need = strings.Join(named, ", ")
			}
		}
		return "OPENAI_ADMIN_KEY may not do this: use an admin key that has " + need
	}
	return ""
}

// maxMessage bounds, in bytes, what of an answer's words is kept.
const maxMessage = 500

// A refusal is what an answer says about an error.
type refusal struct {
	Message text `json:"message"`
	Code    text `json:"code"`
	Type    text `json:"type"`
}

// decodeRefusal reads the body of an answer that is an error. There are four
// shapes: an object under "error", a bare string there, code and message at
// the top level, and an HTML page from a machine in front of the API. What is
// none of these becomes the message.
func decodeRefusal(body []byte) refusal {
	body = bytes.TrimSpace(body)
	var envelope struct {
		refusal
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &envelope) == nil {
		var words string
		var inner refusal
		switch {
		case len(envelope.Error) == 0 || string(envelope.Error) == "null":
			return envelope.refusal
		case json.Unmarshal(envelope.Error, &words) == nil:
			return refusal{Message: text(words), Code: envelope.Code, Type: envelope.Type}
		case json.Unmarshal(envelope.Error, &inner) == nil:
			return inner
		}
	}
	switch {
	case len(body) == 0:
		return refusal{Message: "the answer is empty"}
	case body[0] == '<':
		return refusal{Message: "the answer is an HTML page, not from the API"}
	}
	return refusal{Message: text(body)}
}

// text decodes a JSON string. Some servers write a number where a string
// belongs, which is kept, or an object, which is not.
type text string

// UnmarshalJSON never fails: an error of another shape is still an error.
func (t *text) UnmarshalJSON(data []byte) error {
	*t = ""
	switch c := data[0]; {
	case c == '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*t = text(s)
	case c == '-' || c >= '0' && c <= '9':
		*t = text(data)
	}
	return nil
}

// bounded returns s as one line of valid UTF-8 that is not longer than limit
// bytes, marked where it was cut. It cuts between words: a piece of one could be
// a piece of something that is redacted only when it is whole.
func bounded(s string, limit int) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\ufffd")
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	cut := limit - len(mark)
	for cut > 0 && wordCharacter(s[cut-1]) && wordCharacter(s[cut]) {
		cut--
	}
	return strings.ToValidUTF8(s[:cut], "") + mark
}

func wordCharacter(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-'
}

// shown returns what an answer says in place of an id, fit for an error.
func shown(id string) string { return bounded(hideRuns(id), 60) }
