package objects

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// MessageStart returns where the message of a commit or a tag begins: behind
// the first empty line. Without one, all of it is header.
func MessageStart(data []byte) int {
	if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	return len(data)
}

// A commit is what a commit object says about itself, but for its message.
type commit struct {
	tree      ID
	parents   []ID
	author    signature
	committer signature
}

// A signature is the value of an author, committer or tagger header.
type signature struct {
	who  string // "Name <email>"
	when int64  // seconds since 1970; 0 where it makes no sense
}

// time returns when it was signed, in UTC; the zero time where that makes no
// sense.
func (s signature) time() time.Time {
	if s.when == 0 {
		return time.Time{}
	}
	return time.Unix(s.when, 0).UTC()
}

var (
	errCommit = errors.New("commit is malformed")
	errTag    = errors.New("tag is malformed")
	errTree   = errors.New("tree is malformed")
)

// parseCommit decodes the headers of a commit.
func parseCommit(data []byte) (commit, error) {
	var c commit
	for line := range headerLines(data) {
		key, value, _ := bytes.Cut(line, []byte(" "))
		switch string(key) {
		case "tree":
			id, ok := ParseID(string(value))
			if !ok || !c.tree.IsZero() {
				return commit{}, errCommit
			}
			c.tree = id
		case "parent":
			id, ok := ParseID(string(value))
			if !ok {
				return commit{}, errCommit
			}
			c.parents = append(c.parents, id)
		case "author":
			c.author = parseSignature(value)
		case "committer":
			c.committer = parseSignature(value)
		}
	}
	if c.tree.IsZero() {
		return commit{}, errCommit
	}
	return c, nil
}

// parseTag returns what a tag object points to, and who tagged it.
func parseTag(data []byte) (target ID, tagger signature, err error) {
	for line := range headerLines(data) {
		switch key, value, _ := bytes.Cut(line, []byte(" ")); string(key) {
		case "object":
			target, _ = ParseID(string(value))
		case "tagger":
			tagger = parseSignature(value)
		}
	}
	if target.IsZero() {
		return ID{}, signature{}, errTag
	}
	return target, tagger, nil
}

// headerLines yields the lines before the first empty one.
func headerLines(data []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			line, rest, _ := bytes.Cut(data, []byte("\n"))
			if len(line) == 0 || !yield(line) {
				return
			}
			data = rest
		}
	}
}

// parseSignature decodes "Name <email> 1136239445 -0700".
func parseSignature(value []byte) signature {
	end := bytes.LastIndexByte(value, '>')
	if end < 0 {
		return signature{who: string(value)}
	}
	s := signature{who: string(value[:end+1])}
	seconds, _, _ := bytes.Cut(bytes.TrimLeft(value[end+1:], " "), []byte(" "))
	// Years beyond 9999 have no form in RFC 3339.
	if n, err := strconv.ParseInt(string(seconds), 10, 64); err == nil && n > 0 && n < 253402300800 {
		s.when = n
	}
	return s
}

// A treeEntry is one entry of a tree. Its slices are of the tree's data.
type treeEntry struct {
	name []byte
	id   []byte
	mode byte // the first digit of its mode without leading zeros, and for '1' the second
}

// What a treeEntry is, by its mode.
const (
	modeTree    = '4' // 40000
	modeGitlink = '6' // 160000: a commit of another repository
)

// nextEntry splits the first entry from the data of a tree: mode in octal, a
// space, the name, a zero byte, hashLen bytes.
func nextEntry(data []byte, hashLen int) (e treeEntry, rest []byte, ok bool) {
	zero := bytes.IndexByte(data, 0)
	if zero < 0 || len(data)-zero-1 < hashLen {
		return treeEntry{}, nil, false
	}
	space := bytes.IndexByte(data[:zero], ' ')
	if space < 0 {
		return treeEntry{}, nil, false
	}
	mode := bytes.TrimLeft(data[:space], "0") // early tools wrote 040000
	if len(mode) == 0 {
		return treeEntry{}, nil, false
	}
	e = treeEntry{name: data[space+1 : zero], id: data[zero+1 : zero+1+hashLen], mode: mode[0]}
	if mode[0] == '1' && len(mode) > 1 {
		e.mode = mode[1]
	}
	return e, data[zero+1+hashLen:], true
}

// entryEnd returns where the entry ends that begins at an offset, without
// looking at it: before its zero byte stand five digits at least, a space and
// a name.
func entryEnd(data []byte, at, hashLen int) (end int, ok bool) {
	const shortest = len("40000 a")
	if len(data)-at <= shortest+hashLen {
		return 0, false
	}
	zero := bytes.IndexByte(data[at+shortest:], 0)
	end = at + shortest + zero + 1 + hashLen
	return end, zero >= 0 && end <= len(data)
}
