package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/unleak/unleak/finding"
)

// JSON writes r as one JSON object in which every field is always present: an
// unknown string is "", an unknown object null, an empty list [].
func JSON(w io.Writer, r Report) error {
	entries, skips := inOrder(r)
	doc := jsonReport{
		Tool:     jsonTool{"unleak", text(r.Version)},
		Target:   text(r.Target),
		Started:  stamp(r.Started),
		Finished: stamp(r.Finished),
		Complete: r.Complete,
		Findings: make([]jsonFinding, 0, len(entries)),
		Skipped:  make([]jsonSkip, 0, len(skips)),
		Ignored:  r.Ignored,
		Stats:    jsonStats{r.Objects, r.Bytes, r.Finished.Sub(r.Started).Milliseconds()},
	}
	for _, e := range entries {
		doc.Findings = append(doc.Findings, encodeEntry(e))
	}
	for _, s := range skips {
		doc.Skipped = append(doc.Skipped, jsonSkip{text(s.Object), text(s.Reason)})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

type (
	jsonReport struct {
		Tool     jsonTool      `json:"tool"`
		Target   text          `json:"target"`
		Started  stamp         `json:"started"`
		Finished stamp         `json:"finished"`
		Complete bool          `json:"complete"`
		Findings []jsonFinding `json:"findings"`
		Skipped  []jsonSkip    `json:"skipped"`
		Ignored  int           `json:"ignored"`
		Stats    jsonStats     `json:"stats"`
	}
	jsonTool struct {
		Name    text `json:"name"`
		Version text `json:"version"`
	}
	jsonFinding struct {
		Rule        text           `json:"rule"`
		Kind        text           `json:"kind"`
		Fingerprint text           `json:"fingerprint"`
		Redacted    text           `json:"redacted"`
		Confidence  text           `json:"confidence"`
		Locations   []jsonLocation `json:"locations"`
		Response    *jsonResponse  `json:"response"`
	}
	jsonLocation struct {
		Where    text  `json:"where"`
		Commit   text  `json:"commit"`
		Path     text  `json:"path"`
		Blob     text  `json:"blob"`
		Line     int   `json:"line"`
		Column   int   `json:"column"`
		Author   text  `json:"author"`
		Time     stamp `json:"time"`
		Encoding text  `json:"encoding"`
		Present  bool  `json:"present"`
	}
	jsonResponse struct {
		Status      text         `json:"status"`
		Liveness    text         `json:"liveness"`
		AlreadyDead bool         `json:"already_dead"`
		Project     *jsonProject `json:"project"`
		Key         *jsonKey     `json:"key"`
		Candidates  int          `json:"candidates"`
		ConfirmedBy []text       `json:"confirmed_by"`
		RevokedAt   stamp        `json:"revoked_at"`
		DeadAt      stamp        `json:"dead_at"`
		Issue       *jsonIssue   `json:"issue"`
		Reason      text         `json:"reason"`
	}
	jsonProject struct {
		ID   text `json:"id"`
		Name text `json:"name"`
	}
	jsonKey struct {
		ID         text      `json:"id"`
		Name       text      `json:"name"`
		Owner      jsonOwner `json:"owner"`
		CreatedAt  stamp     `json:"created_at"`
		LastUsedAt stamp     `json:"last_used_at"`
	}
	jsonOwner struct {
		Type  text `json:"type"`
		ID    text `json:"id"`
		Name  text `json:"name"`
		Email text `json:"email"`
	}
	jsonIssue struct {
		Repo   text `json:"repo"`
		Number int  `json:"number"`
		URL    text `json:"url"`
	}
	jsonSkip struct {
		Object text `json:"object"`
		Reason text `json:"reason"`
	}
	jsonStats struct {
		Objects    int64 `json:"objects"`
		Bytes      int64 `json:"bytes"`
		DurationMS int64 `json:"duration_ms"`
	}
)

func encodeEntry(e Entry) jsonFinding {
	f := e.Finding
	out := jsonFinding{
		Rule:        text(f.Rule),
		Kind:        text(f.Kind),
		Fingerprint: text(f.Secret.Fingerprint()),
		Redacted:    text(f.Secret.Redacted()),
		Confidence:  text(f.Confidence),
		Locations:   make([]jsonLocation, 0, len(f.Locations)),
	}
	for _, l := range f.Locations {
		out.Locations = append(out.Locations, jsonLocation{
			text(l.Where), text(l.Commit), text(l.Path), text(l.Blob), l.Line, l.Column,
			text(l.Author), stamp(l.Time), text(l.Encoding), l.Present,
		})
	}
	if e.Response != nil {
		out.Response = encodeResponse(*e.Response)
	}
	return out
}

func encodeResponse(r finding.Response) *jsonResponse {
	out := &jsonResponse{
		Status:      text(r.Status),
		Liveness:    text(r.Liveness),
		AlreadyDead: r.AlreadyDead,
		Candidates:  r.Candidates,
		ConfirmedBy: make([]text, 0, len(r.ConfirmedBy)),
		RevokedAt:   stamp(r.RevokedAt),
		DeadAt:      stamp(r.DeadAt),
		Reason:      text(r.Reason),
	}
	for _, s := range r.ConfirmedBy {
		out.ConfirmedBy = append(out.ConfirmedBy, text(s))
	}
	if p := r.Project; p != nil {
		out.Project = &jsonProject{text(p.ID), text(p.Name)}
	}
	if k := r.Key; k != nil {
		out.Key = &jsonKey{
			ID:   text(k.ID),
			Name: text(k.Name),
			Owner: jsonOwner{
				text(k.Owner.Type), text(k.Owner.ID), text(k.Owner.Name), text(k.Owner.Email),
			},
			CreatedAt:  stamp(k.CreatedAt),
			LastUsedAt: stamp(k.LastUsedAt),
		}
	}
	if i := r.Issue; i != nil {
		out.Issue = &jsonIssue{text(i.Repo), i.Number, text(i.URL)}
	}
	return out
}

// A text is a string from anywhere. It is marshalled redacted, with bytes that
// are no UTF-8 as %FF and whatever a terminal could obey as \u001b; encoding/json
// would make U+FFFD of the former and leave most of the latter as it is.
type text string

func (t text) MarshalJSON() ([]byte, error) {
	s := finding.Redact(string(t))
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, "%%%02X", s[i])
		case finding.Deceptive(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		case r == '"' || r == '\\':
			out = append(out, '\\', s[i])
		default:
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return append(out, '"'), nil
}

// A stamp is marshalled as RFC 3339 in UTC, to the second. The zero time is "",
// and so is a year that RFC 3339 cannot write: a commit may claim any.
type stamp time.Time

func (s stamp) MarshalJSON() ([]byte, error) {
	t := time.Time(s).UTC()
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return []byte(`""`), nil
	}
	return t.AppendFormat(nil, `"`+time.RFC3339+`"`), nil
}
