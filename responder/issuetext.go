package responder

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/unleak/unleak/finding"
)

// An issueState is what an issue says of its key: a [finding.Status], or that
// it is being revoked right now.
type issueState string

const stateRevoking issueState = "revoking"

// words returns the state for the title.
func (s issueState) words() string {
	switch finding.Status(s) {
	case finding.StatusDead:
		return "dead"
	case finding.StatusRevoked:
		return "revoked, not yet proven dead"
	case finding.StatusFailed:
		return "NOT revoked: the deletion failed"
	case finding.Status(stateRevoking):
		return "being revoked"
	}
	return fmt.Sprintf("NOT revoked (%s)", string(s))
}

// title returns the issue's title: nothing in it comes from outside but the
// redacted key.
func title(inc *incident, state issueState) string {
	return titlePrefix(inc) + state.words()
}

func titlePrefix(inc *incident) string {
	return "Leaked OpenAI key " + inc.Secret.Redacted() + ": "
}

// isTitle reports whether a title is one of ours.
func isTitle(inc *incident, title string) bool { return strings.HasPrefix(title, titlePrefix(inc)) }

// Bounds on what an issue holds. GitHub takes 65,536 characters.
const (
	maxPlaces   = 50
	maxPathText = 200
	maxNameText = 120
	maxReason   = 1500
)

// reasonStart is what the line with the reason begins with.
const reasonStart = "- Why it stands like this: "

// block returns our part of the issue, without the comment that ends it: the
// caller seals it. It depends on the finding and on what
// the ledger keeps, and on no clock: the same state makes the same text.
func (r *run) block(inc *incident, state issueState) string {
	var (
		b        strings.Builder
		response = inc.response
		private  = !r.issues.repo.Public
		foreign  = r.scope() != ""
		line     = func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	)
	line("<!-- unleak begin: %s -->", strings.TrimSpace(string(state)+" "+r.scope()))
	where := "in this repository"
	switch {
	case foreign && private:
		where = "in " + code(r.cfg.Repo, maxPathText)
	case foreign:
		where = "in a repository"
	}
	line("**An OpenAI key stands %s. %s**", where, headline(state))
	line("")
	line("- Key: %s (%s)", code(inc.Secret.Redacted(), maxNameText), kindWords(inc.Kind))
	if since, ok := firstTime(inc.Locations); ok {
		line("- First committed: %s, by the author's clock", timeText(since))
	}
	if private {
		if p := response.Project; p != nil {
			line("- OpenAI project: %s", named(p.Name, p.ID))
		}
		if k := response.Key; k != nil {
			line("- Listed as: %s", named(k.Name, k.ID))
			line("- Owner: %s", strings.Join(slices.DeleteFunc([]string{
				strings.ReplaceAll(cleanWord(k.Owner.Type), "_", " "), named(k.Owner.Name, cmp.Or(k.Owner.Email, k.Owner.ID)),
			}, func(s string) bool { return s == "" }), " "))
			if !k.CreatedAt.IsZero() {
				line("- Created: %s", timeText(k.CreatedAt))
			}
			// Only what the ledger kept: unleak's own questions count as use.
			if used := k.LastUsedAt; !used.IsZero() && lastUseIsKept(state) {
				line("- Last used before unleak asked: %s", timeText(used))
			}
		}
	}
	if !response.RevokedAt.IsZero() {
		line("- Deleted by unleak: %s", timeText(response.RevokedAt))
	}
	if !response.DeadAt.IsZero() {
		line("- Proven dead: %s. OpenAI refuses it as a key", timeText(response.DeadAt))
	}
	if private && response.Reason != "" && state != stateRevoking {
		line(reasonStart+"%s", code(response.Reason, maxReason))
	}
	if private || !foreign {
		line("")
		line("### Where it stands")
		line("")
		for i, l := range inc.Locations {
			if i == maxPlaces {
				line("- and in %d more places", len(inc.Locations)-maxPlaces)
				break
			}
			line("- %s", placeText(l, private))
		}
	}
	line("")
	line("### What to do now")
	line("")
	for _, task := range tasks(inc.Kind, state) {
		line(openTick+"%s", task)
	}
	return b.String()
}

func headline(state issueState) string {
	switch finding.Status(state) {
	case finding.StatusDead:
		return "It is dead: nobody can use it any more."
	case finding.StatusRevoked:
		return "It was deleted, but it is not proven dead yet."
	case finding.Status(stateRevoking):
		return "unleak is about to delete it."
	}
	return "It was NOT revoked: take it for live, and in the hands of whoever could read this repository."
}

// lastUseIsKept reports whether the key's data is from the moment before its
// deletion, as the ledger keeps it.
func lastUseIsKept(state issueState) bool {
	switch finding.Status(state) {
	case finding.StatusDead, finding.StatusRevoked, finding.Status(stateRevoking):
		return true
	}
	return false
}

func kindWords(kind finding.Kind) string {
	switch kind {
	case finding.ProjectKey:
		return "a project's key"
	case finding.ServiceAccountKey:
		return "a service account's key"
	case finding.AdminKey:
		return "an admin key: it governs the whole organization"
	case finding.UserKey:
		return "a user's key"
	case finding.NoneKey:
		return "a key without project"
	case finding.SessionToken:
		return "a dashboard session"
	case finding.EphemeralToken:
		return "a short-lived client token"
	}
	return "of a kind unknown to this version"
}

// tasks says what is left to people. It is fixed text, so that ticks can be
// carried over.
func tasks(kind finding.Kind, state issueState) []string {
	var out []string
	switch finding.Status(state) {
	case finding.StatusDead, finding.StatusRevoked, finding.Status(stateRevoking):
		out = append(out, "Give whatever used this key a new one, from a secret store and not from the repository.")
	default:
		page := keysPage
		if kind == finding.AdminKey {
			page = adminKeysPage
		}
		out = append(out,
			"Revoke the key now, at "+page+", or run `unleak respond` again once the reason above is removed.",
			"Give whatever used this key a new one, from a secret store and not from the repository.")
	}
	if finding.Status(state) == finding.StatusRevoked {
		out = append(out, "Make sure that the right key was deleted, and run `unleak respond` again to prove it.")
	}
	out = append(out, "Look through the organization's usage since the key was first committed for what its owner cannot explain.")
	if kind == finding.AdminKey {
		out = append(out, "Look through the organization's audit log for keys, projects and members that somebody made with it.")
	}
	return append(out, "Remove the key from the files that still hold it. Rewriting the history is no remedy: whoever has a copy keeps it.")
}

// comment says in one line what has changed.
func comment(state issueState, response finding.Response) string {
	switch finding.Status(state) {
	case finding.StatusDead:
		return "The key is **dead**: OpenAI refuses it as a key, proven " + timeText(response.DeadAt) + "."
	case finding.StatusRevoked:
		if response.RevokedAt.IsZero() {
			return "The key is **gone** from the organization, but the leaked key is not yet proven dead."
		}
		return "The key was **deleted** " + timeText(response.RevokedAt) + ", but it is not yet proven dead."
	}
	return fmt.Sprintf("The state of the key has changed: **%s**.", state.words())
}

func firstTime(locations []finding.Location) (time.Time, bool) {
	for _, l := range locations { // sorted by time
		if !l.Time.IsZero() {
			return l.Time, true
		}
	}
	return time.Time{}, false
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// placeText describes a place. People's names are left out where everybody
// reads it.
func placeText(l finding.Location, private bool) string {
	parts := []string{string(l.Where)}
	if l.Path != "" {
		parts[0] = code(l.Path, maxPathText)
		if l.Where != finding.InFile {
			parts[0] += " (" + string(l.Where) + ")"
		}
	}
	if l.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d", l.Line))
	}
	switch {
	case l.Commit != "":
		parts = append(parts, "commit "+code(l.Commit, maxNameText))
	case l.Blob != "":
		parts = append(parts, "object "+code(l.Blob, maxNameText))
	}
	if private && l.Author != "" {
		parts = append(parts, "by "+code(l.Author, maxNameText))
	}
	if !l.Time.IsZero() {
		parts = append(parts, timeText(l.Time))
	}
	if l.Encoding != "" {
		parts = append(parts, "encoded as "+code(l.Encoding, maxNameText))
	}
	if l.Present {
		parts = append(parts, "**still there**")
	}
	return strings.Join(parts, ", ")
}

// named shows a name and what stands behind it, both from outside.
func named(name, id string) string {
	switch {
	case name == "":
		return code(id, maxNameText)
	case id == "":
		return code(name, maxNameText)
	}
	return code(name, maxNameText) + " (" + code(id, maxNameText) + ")"
}

// cleanWord returns s if it is a plain word, and else nothing.
func cleanWord(s string) string {
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') {
			return ""
		}
	}
	return s
}

// code returns text from outside as a code span: one line, redacted, bounded,
// and fenced by more backticks than it holds in a row, so that no mention,
// link, image, HTML or comment can come out of it.
func code(s string, limit int) string {
	s = clip(finding.Printable(s), limit)
	if strings.TrimSpace(s) == "" {
		return "(empty)"
	}
	longest, row := 0, 0
	for _, r := range s {
		if r != '`' {
			row = 0
			continue
		}
		row++
		longest = max(longest, row)
	}
	fence := strings.Repeat("`", longest+1)
	if first, last := s[0], s[len(s)-1]; first == '`' || last == '`' || first == ' ' || last == ' ' {
		s = " " + s + " "
	}
	return fence + s + fence
}
