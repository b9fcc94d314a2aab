package rules

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/unleak/unleak/finding"
)

// halved searches for keys of two halves around a marker, for all rules that
// have the same one. The marker is rare: it is looked for first, then what
// stands on both sides of it.
type halved struct {
	marker string
	stem   string // what every prefix begins with
	rules  []halvedRule
	before int // the most bytes from the start of a key to its marker
	after  int // the most bytes from its marker to its end
}

// A halvedRule is a rule for halved, its expression taken apart.
type halvedRule struct {
	*Rule
	form
	literal string         // what the prefix begins with
	prefix  *regexp.Regexp // anchored; the longest prefix in what it is given
	known   []int          // lengths of a half that OpenAI has issued
}

// A candidate is one way to read a key around a marker.
type candidate struct {
	rule       *halvedRule
	order      int // of the rule
	start, end int
	left       int // characters in the left half
	tier       tier
	joined     bool // a letter or digit stands before start
}

// A tier says how well a candidate's halves fit, the best first.
type tier int

const (
	exact   tier = iota // a known length, and no character of a key follows
	known               // a known length; something that could go on follows
	equal               // an unknown length on both sides
	unequal             // two lengths
)

func (h *halved) add(r *Rule, f form, lengths []int) {
	literal := leadingLiteral(f.prefix)
	if len(h.rules) == 0 {
		h.marker, h.stem = f.marker, literal
	}
	for !strings.HasPrefix(literal, h.stem) {
		h.stem = h.stem[:len(h.stem)-1]
	}
	h.rules = append(h.rules, halvedRule{
		Rule:    r,
		form:    f,
		literal: literal,
		prefix:  regexp.MustCompile(`\A(?:` + f.prefix.String() + `)`),
		known:   lengths,
	})
	h.before = max(h.before, r.expression.max-len(f.marker)-f.max)
	h.after = max(h.after, len(f.marker)+f.max)
}

// reach is what [Set.Reach] promises: whatever decides about a key is at most
// one more key away, because a key may end where the next one begins.
func (h *halved) reach() int { return 2*(h.before+h.after) + 1 }

func (h *halved) relevant([]byte) bool { return true }

func (h *halved) next(data []byte, lo, hi int) (Match, bool) {
	for at := lo; ; at++ {
		i := bytes.Index(data[at:hi], []byte(h.marker))
		if i < 0 {
			return Match{}, false
		}
		at += i
		if m, ok := h.around(data, lo, hi, at); ok {
			return m, true
		}
	}
}

// around returns the key around the marker at data[at:].
func (h *halved) around(data []byte, lo, hi, at int) (Match, bool) {
	all := h.candidates(data, lo, hi, at)
	if len(all) == 0 {
		return Match{}, false
	}
	from := at + len(h.marker)
	following := h.following(data, from, hi)
	var implausible []candidate
	for _, c := range all {
		c, ok := c.cut(from, following)
		if !ok || slices.ContainsFunc(implausible, c.sameBody) {
			continue
		}
		if !c.rule.plausible(slices.Concat(data[at-c.left:at], data[from:c.end])) {
			implausible = append(implausible, c)
			continue
		}
		if whole := (span{c.start, c.end}); !c.rule.allowed(data, whole, whole) {
			return Match{c.rule.Rule, c.start, c.end, c.confidence()}, true
		}
	}
	return Match{}, false
}

// following returns the likeliest keys around the first marker behind from, if
// it is so near that its key may start within one whose right half starts at
// from.
func (h *halved) following(data []byte, from, hi int) []candidate {
	i := bytes.Index(data[from:min(hi, from+h.after+h.before)], []byte(h.marker))
	if i < 0 {
		return nil
	}
	return h.candidates(data, from, hi, from+i)
}

// candidates returns every way to read a key around the marker at data[at:],
// the likeliest first. A key starts at lo or later and ends at hi or before.
//
// The halves decide first, then whether the prefix begins a word, then how much
// of it is literal, because a random half or a name ("sk-desk-…") may well hold
// the letters of a short one. Of prefixes that are still equal the last one
// before the marker counts, but in the middle of a word the first one.
func (h *halved) candidates(data []byte, lo, hi, at int) []candidate {
	var all []candidate
	for start := max(lo, at-h.before); ; start++ {
		i := bytes.Index(data[start:at], []byte(h.stem))
		if i < 0 {
			break
		}
		start += i
		longest := 0
		for order := range h.rules {
			r := &h.rules[order]
			if len(r.literal) < longest || !bytes.HasPrefix(data[start:at], []byte(r.literal)) {
				continue
			}
			if len(r.literal) > longest {
				// Where sk-proj- stands, it is no user's key and no name.
				longest = len(r.literal)
				all = slices.DeleteFunc(all, func(c candidate) bool { return c.start == start })
			}
			if c, ok := r.read(data, start, hi, at); ok {
				c.order = order
				c.joined = start > 0 && letterOrDigit(data[start-1])
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.tier, b.tier),
			falseFirst(a.joined, b.joined),
			cmp.Compare(len(b.rule.literal), len(a.rule.literal)),
			laterFirst(a, b),
			cmp.Compare(a.order, b.order),
		)
	})
	return all
}

// read reads a key that starts at start and has its marker at at.
func (r *halvedRule) read(data []byte, start, hi, at int) (candidate, bool) {
	from := at + len(r.marker)
	if at-r.min <= start || from+r.min > hi || !r.all(data[at-r.min:at]) || !r.all(data[from:from+r.min]) {
		return candidate{}, false
	}
	loc := r.prefix.FindIndex(data[start : at-r.min])
	if loc == nil {
		return candidate{}, false
	}
	left := at - start - loc[1]
	if left > r.max || !r.all(data[at-left:at]) {
		return candidate{}, false
	}
	right := r.min
	for from+right < hi && right <= r.max && r.half[data[from+right]] {
		right++
	}
	c := candidate{rule: r, start: start, left: left}
	switch {
	case slices.Contains(r.known, left) && right >= left:
		c.end, c.tier = from+left, known
		if right == left {
			c.tier = exact
		}
	default:
		right = min(right, r.max)
		c.end, c.tier = from+right, unequal
		if right == left {
			c.tier = equal
		}
	}
	return c, true
}

// cut ends c, whose right half starts at from, where the likeliest of the keys
// that follow begins, if that is within c. It reports whether enough is left.
func (c candidate) cut(from int, following []candidate) (candidate, bool) {
	if len(following) == 0 {
		return c, true
	}
	next := following[0]
	if next.start >= c.end || c.tier <= known && next.tier > known {
		return c, true
	}
	c.end, c.tier = next.start, unequal
	right := c.end - from
	if right == c.left {
		c.tier = equal
	}
	return c, right >= c.rule.min
}

// sameBody reports whether a rule reads the same halves in both.
func (c candidate) sameBody(d candidate) bool {
	return c.rule == d.rule && c.left == d.left && c.end == d.end
}

func (c candidate) confidence() finding.Confidence {
	switch c.tier {
	case exact, known:
		return finding.High
	case equal:
		return finding.Medium
	}
	return finding.Low
}

// all reports whether every byte of half is in the class.
func (f *form) all(half []byte) bool {
	for _, b := range half {
		if !f.half[b] {
			return false
		}
	}
	return true
}

func letterOrDigit(b byte) bool {
	return '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
}

// laterFirst compares the starts of candidates that are joined, or not, alike.
func laterFirst(a, b candidate) int {
	if a.joined {
		return cmp.Compare(a.start, b.start)
	}
	return cmp.Compare(b.start, a.start)
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
