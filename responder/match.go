package responder

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// A match is what the list of an organization's keys says about one leaked
// key. Only the masked values are compared: no call maps a key to its id.
type match struct {
	candidates []openai.Key // their masked value is the leaked key's
	unreadable []openai.Key // masked in a way unleak does not know, and nothing of it speaks against the leaked key
}

// matchKeys compares a leaked key with the masked values of listed.
func matchKeys(leaked finding.Secret, listed []openai.Key) match {
	var m match
	for _, k := range listed {
		switch compare(k.Redacted, leaked.Reveal()) {
		case same:
			m.candidates = append(m.candidates, k)
		case unclear:
			m.unreadable = append(m.unreadable, k)
		}
	}
	return m
}

// A likeness says how a masked value stands to a key.
type likeness int

const (
	different likeness = iota // the masked value is another key's
	same                      // a known form, and everything it shows is the key's
	unclear                   // not a known form, and nothing it shows is not the key's
)

// knownMask is every form in which a masked value has been seen: a beginning,
// a filler, and an end of at least three characters. OpenAI's documentation
// shows "sk-abc...def"; its servers answer with the first eight characters,
// one asterisk for each hidden one, and the last four.
var knownMask = regexp.MustCompile(`^([A-Za-z0-9_-]*)(\*+|\.\.\.|…)([A-Za-z0-9_-]{3,})$`)

// trustedFiller is the number of asterisks from which they are taken to stand
// for one hidden character each. Fewer may be an ellipsis.
const trustedFiller = 5

// keyLengths are the lengths of keys that OpenAI is known to have issued. A row
// of asterisks that makes another one may be as wide for every key, and says
// nothing of a key's length.
var keyLengths = [...]int{51, 56, 111, 132, 133, 135, 164, 167}

// compare tells whether masked can be the masked value of key.
func compare(masked, key string) likeness {
	form := knownMask.FindStringSubmatch(masked)
	if form == nil {
		return compareUnknown(masked, key)
	}
	head, filler, tail := form[1], form[2], form[3]
	switch {
	case !strings.HasPrefix(key, head), !strings.HasSuffix(key, tail), len(head)+len(tail) >= len(key):
		return different
	case filler[0] != '*' || len(filler) < trustedFiller || len(masked) == len(key):
		return same
	case slices.Contains(keyLengths[:], len(masked)):
		return different
	}
	return unclear
}

// compareUnknown judges a masked value of unknown form by the ends it shows.
// It says [different] only where one of them is certainly not the key's: what
// is not understood must not make a key look like a stranger's.
func compareUnknown(masked, key string) likeness {
	head, tail, hidden := ends(masked)
	if !hidden {
		// A word, or ends that were put together: only the public beginning
		// can be told apart from that.
		head, tail = head[:min(len(head), publicHead)], ""
	}
	isKey := startsLikeKey(head)
	switch {
	case isKey && !strings.HasPrefix(key, head):
		return different
	case isKey && !strings.HasSuffix(key, tail):
		return different
	case head == "" && !strings.Contains(masked, " ") && !strings.HasSuffix(key, tail):
		return different
	}
	return unclear
}

// publicHead is how much of a key's beginning is the same for a whole kind.
const publicHead = 8

// startsLikeKey reports whether s begins as OpenAI's secrets do, and not as
// some word that stands for a hidden value does.
func startsLikeKey(s string) bool {
	return strings.HasPrefix(s, "sk-") || strings.HasPrefix(s, "sess-") || strings.HasPrefix(s, "ek_")
}

// ends returns what stands before the first and after the last filler of a
// masked value, and whether there is a filler: a character that no key has, or
// one that is repeated three times.
func ends(masked string) (head, tail string, hidden bool) {
	first, last := len(masked), 0
	for i := 0; i < len(masked); {
		r, size := utf8.DecodeRuneInString(masked[i:])
		filler := size
		if keyCharacter(r) {
			filler = 0
			if strings.HasPrefix(masked[i:], strings.Repeat(string(r), 3)) {
				filler = 3
			}
		}
		if filler > 0 {
			first, last = min(first, i), i+filler
		}
		i += size
	}
	return masked[:first], masked[last:], first < len(masked)
}

func keyCharacter(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '_' || r == '-'
}
