package finding

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// keyShaped matches whatever could be a key in a string that is about to be
// printed. It is wider than the rules on purpose: a file name that is redacted
// needlessly is a nuisance, a key that is printed is a leak.
var keyShaped = regexp.MustCompile(
	`[A-Za-z0-9_-]*` + marker + `[A-Za-z0-9_-]*` + // every key since 2023
		`|sk-(?:[A-Za-z0-9]+-)?[A-Za-z0-9]{40,}` + // the oldest, without the marker
		`|sess-[A-Za-z0-9]{32,}` +
		`|ek_[A-Za-z0-9]{24,}`)

// Redact returns s with everything that could be a key replaced by its
// redacted form. Every string that unleak prints, logs, stores or sends passes
// it: a file may be named by a key, and a server may repeat one in an error.
func Redact(s string) string {
	return keyShaped.ReplaceAllStringFunc(s, func(run string) string {
		// What stands before the prefix belongs to the text around the key,
		// unless a key of another shape stands there.
		start := len(run)
		for _, p := range publicPrefixes {
			if i := strings.Index(run, p); i >= 0 {
				start = min(start, i)
			}
		}
		if start == len(run) || strings.Contains(run[:start], marker) {
			start = 0
		}
		end := start + keyLength(run[start:])
		return run[:start] + redact(run[start:end]) + run[end:]
	})
}

// marker stands in the middle of every key since 2023: base64 for "OpenAI".
const marker = "T3BlbkFJ"

// keyLength returns how much of run is the key that it begins with. What
// follows a key whose halves have a length that OpenAI issues, and is too short
// to be of use to anybody, belongs to the text around it: a file may be called
// by a key and "-old".
func keyLength(run string) int {
	const harmless = 8
	prefix := publicPrefix(run)
	at := strings.Index(run, marker)
	if half := at - len(prefix); prefix != "" && slices.Contains([]int{20, 46, 58, 74}, half) {
		if n := at + len(marker) + half; n <= len(run) && len(run)-n <= harmless {
			return n
		}
	}
	return len(run)
}

// Printable returns s fit for a terminal and for people: redacted, control and
// bidirectional characters escaped as \u001b, bytes that are not UTF-8 as %FF.
// Line feeds and tabs are escaped, too.
func Printable(s string) string {
	s = Redact(s)
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "%%%02X", s[i])
		case Deceptive(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func clean(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || Deceptive(r) {
			return false
		}
	}
	return true
}

// Deceptive reports whether a terminal or a page could obey r instead of
// showing it: control characters, and the marks that turn the direction of
// text, join or hide it.
func Deceptive(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' ||
		r == '\u200b' || r == '\ufeff'
}
