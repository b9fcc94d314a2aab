// Package objects reads a git repository: every distinct object of its object
// database once, and where an object stands in its history. It knows objects,
// not secrets.
//
// go-git opens the repository and reads refs, index and configuration. The
// walk over the objects is our own, because its speed is what unleak exists
// for; walk.go explains it.
//
// Formats are those of git's own documentation: gitformat-pack(5),
// gitformat-index(5), gitrepository-layout(5).
package objects

import (
	"bytes"
	"encoding/hex"
)

// An ID is the name of an object: 20 bytes of SHA-1 or 32 of SHA-256. IDs are
// comparable. The zero ID names nothing.
type ID struct {
	n byte
	b [32]byte
}

// NewID returns the ID with the given bytes. It returns the zero ID unless
// there are 20 or 32 of them.
func NewID(b []byte) ID {
	if len(b) != 20 && len(b) != 32 {
		return ID{}
	}
	id := ID{n: byte(len(b))}
	copy(id.b[:], b)
	return id
}

// ParseID returns the ID with the given hexadecimal form, and whether it is one.
func ParseID(s string) (ID, bool) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return ID{}, false
	}
	id := NewID(b)
	return id, !id.IsZero()
}

// Bytes returns the 20 or 32 bytes of the ID.
func (id *ID) Bytes() []byte { return id.b[:id.n] }

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id.n == 0 }

// String returns the hexadecimal form, "" for the zero ID.
func (id ID) String() string { return hex.EncodeToString(id.Bytes()) }

// Compare orders IDs by their bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id.Bytes(), other.Bytes()) }

// A Type is the type of an object, as packs number it.
type Type byte

// The types of objects.
const (
	Commit Type = 1
	Tree   Type = 2
	Blob   Type = 3
	Tag    Type = 4

	ofsDelta Type = 6
	refDelta Type = 7
)

// String returns git's name for the type.
func (t Type) String() string {
	switch t {
	case Commit:
		return "commit"
	case Tree:
		return "tree"
	case Blob:
		return "blob"
	case Tag:
		return "tag"
	}
	return "unknown"
}

func parseType(name string) (Type, bool) {
	switch name {
	case "commit":
		return Commit, true
	case "tree":
		return Tree, true
	case "blob":
		return Blob, true
	case "tag":
		return Tag, true
	}
	return 0, false
}

// An Object is handed out by [Store.Walk]. It is valid only during the call.
type Object struct {
	ID      ID
	Ordinal uint32 // see [Store]
	Type    Type
	Data    []byte

	// New says which spans of Data are not copied from the object that Data
	// was built from, which was handed out before: inserted bytes, and empty
	// spans at seams, where two pieces meet that did not meet there. Sorted,
	// not overlapping. Nil means that all of it is new.
	New []Span
}

// A Span is the bytes from Start up to, but not including, End.
type Span struct{ Start, End int }

// An Unread is something that could not be read, and why.
type Unread struct {
	Object string // hex id, or a path inside the repository
	Reason string
}
