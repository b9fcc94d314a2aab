// Package finding holds what unleak is about: which key leaked, where it
// stands, and what was done about it. It is data that every other package
// agrees on, and the one place that decides how a key may be printed.
package finding

import (
	"cmp"
	"time"
)

// A Finding is one leaked key: one per distinct key, however often it stands.
type Finding struct {
	Rule       string // id of the rule that found it
	Kind       Kind
	Secret     Secret
	Confidence Confidence
	Locations  []Location // sorted by CompareLocations, never empty
}

// Compare orders findings by rule, then by fingerprint.
func Compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.Rule, b.Rule),
		cmp.Compare(a.Secret.Fingerprint(), b.Secret.Fingerprint()),
	)
}

// A Kind says what sort of key it is.
type Kind string

// The kinds of keys that OpenAI issues or has issued.
const (
	ProjectKey        Kind = "project"
	ServiceAccountKey Kind = "service-account"
	AdminKey          Kind = "admin"
	UserKey           Kind = "user"
	NoneKey           Kind = "none" // sk-None-…, issued for a while to keys without a project
	SessionToken      Kind = "session"
	EphemeralToken    Kind = "ephemeral"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{ProjectKey, ServiceAccountKey, AdminKey, UserKey, NoneKey, SessionToken, EphemeralToken}
}

// A Confidence says how sure it is that a finding is a key.
type Confidence string

// The confidences, from the surest.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low"
)

// AtLeast reports whether c is as sure as least, or surer. The zero Confidence
// is below every other.
func (c Confidence) AtLeast(least Confidence) bool { return c.level() >= least.level() }

func (c Confidence) level() int {
	switch c {
	case High:
		return 3
	case Medium:
		return 2
	case Low:
		return 1
	}
	return 0
}

// A Location is one place where a key stands. Strings are the bytes of the
// repository, unescaped: a report passes them through [Redact] and escapes
// them for its format.
type Location struct {
	Where    Where
	Commit   string    // hex id of the first commit that has it, or ""
	Path     string    // slash-separated from the root of the tree, or ""
	Blob     string    // hex id of the object that holds it, or ""
	Line     int       // 1-based
	Column   int       // 1-based, in bytes
	Author   string    // "Name <email>" of the commit, or ""
	Time     time.Time // the author's, in UTC; zero where there is no commit
	Encoding string    // what had to be undone to read the key, joined by ">"; "" for plain text
	Present  bool      // HEAD's file at Path still holds the key
}

// CompareLocations orders locations by time, commit, path and line; what is
// still equal, by column and blob, so that the order never depends on chance.
func CompareLocations(a, b Location) int {
	return cmp.Or(
		a.Time.Compare(b.Time),
		cmp.Compare(a.Commit, b.Commit),
		cmp.Compare(a.Path, b.Path),
		cmp.Compare(a.Line, b.Line),
		cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Blob, b.Blob),
		cmp.Compare(a.Where, b.Where),
	)
}

// Where says in what sort of place a key stands.
type Where string

// The places that unleak reads.
const (
	InFile          Where = "file"
	InCommitMessage Where = "commit-message"
	InCommitHeader  Where = "commit-header" // author, committer, mergetag, any other header
	InTagMessage    Where = "tag-message"
	InNote          Where = "note"
	InPath          Where = "path" // the name of a file or of a ref
	Staged          Where = "staged"
	Unreachable     Where = "unreachable" // in an object that no ref, HEAD or index leads to
	InStdin         Where = "stdin"
)

// A Skip is something that could not be read, and why. A scan with a Skip is
// not complete.
type Skip struct {
	Object string // hex id, path or name
	Reason string
}

// CompareSkips orders skips by object, then by reason.
func CompareSkips(a, b Skip) int {
	return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason))
}
