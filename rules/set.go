package rules

import (
	"bytes"
	"iter"
	"regexp"
	"slices"

	"github.com/unleak/unleak/finding"
)

// A Set is rules that are searched for together. It never changes and is safe
// for concurrent use.
type Set struct {
	inside  []searcher // of rules whose matches lie in runs
	runs    runs
	outside []searcher // of the other rules
	reach   int
	bounded bool
}

// A Rule says what a key looks like.
type Rule struct {
	ID          string
	Description string
	Kind        finding.Kind // "" where the key is not one of OpenAI's

	expression *expression
	keywords   []string // one of them stands in the content, in any case; in lower case
	implied    bool     // the expression itself asks for one of keywords
	group      int      // that is the secret; 0 means the first that is not empty, or all
	entropy    float64  // the body's is above it; 0 means any
	allow      []allowlist
}

// A Match is a place where a key stands: data[Start:End] is the key.
type Match struct {
	Rule       *Rule
	Start, End int
	Confidence finding.Confidence
}

// A searcher finds the matches of one rule, or of rules that are searched for
// together.
type searcher interface {
	// relevant reports whether data can have a match at all.
	relevant(data []byte) bool
	// next returns the first match that starts at lo or later and lies in
	// data[lo:hi]. It sees what stands around.
	next(data []byte, lo, hi int) (Match, bool)
}

// minRun is the length from which runs are rare enough to be looked for.
const minRun = 16

// newSet returns the Set of rules, in the order of precedence.
func newSet(rules []loaded) *Set {
	s := &Set{bounded: true}
	s.runs.min = unbounded
	var halves []*halved
	for _, r := range rules {
		if !r.local() {
			s.bounded = false
		}
		if !r.expression.narrow() || len(r.keywords) > 0 {
			s.outside = append(s.outside, r.Rule)
			s.reach = max(s.reach, r.expression.max+1)
			continue
		}
		for b, in := range r.expression.bytes {
			s.runs.class[b] = s.runs.class[b] || in
		}
		s.runs.min = min(s.runs.min, r.expression.min)
		if r.form == nil {
			s.inside = append(s.inside, r.Rule)
			s.reach = max(s.reach, r.expression.max+1)
			continue
		}
		i := slices.IndexFunc(halves, func(h *halved) bool { return h.marker == r.form.marker })
		if i < 0 {
			i = len(halves)
			halves = append(halves, &halved{})
			s.inside = append(s.inside, halves[i])
		}
		halves[i].add(r.Rule, *r.form, r.halves)
		s.reach = max(s.reach, halves[i].reach())
	}
	return s
}

// narrow reports whether matches lie in runs that are rare in text.
func (x *expression) narrow() bool { return x.ascii && !x.bytes.holdsText() && x.min >= minRun }

// local reports whether the bytes around a match decide about it.
func (r *Rule) local() bool {
	return r.expression.max != unbounded && (len(r.keywords) == 0 || r.implied) &&
		!slices.ContainsFunc(r.allow, func(a allowlist) bool { return a.target == targetLine })
}

// Reach returns how far around a match Find looks, in bytes, if that is
// bounded.
//
// Then, for every data, every m in Find(data) and every p with
// m.Start ≤ p ≤ m.End, Find(data[max(0,p-n):min(len(data),p+n)]) yields at
// least one match. A cut at the window's edge may make a match that data does
// not have; it never loses all that data has. So whoever knows which parts of
// data are new has to search only those, and n bytes around them, to learn
// whether a search of the whole could find anything new.
//
// It is not bounded if a rule may match more than 4 kB, has keywords that its
// expression does not ask for, or an allow-list for lines.
func (s *Set) Reach() (n int, bounded bool) {
	if !s.bounded {
		return 0, false
	}
	return s.reach, true
}

// Find yields the keys in data, in order. They do not overlap. It allocates
// nothing as long as there is nothing that looks like a key.
func (s *Set) Find(data []byte) iter.Seq[Match] {
	return func(yield func(Match) bool) { s.find(data, yield) }
}

func (s *Set) find(data []byte, yield func(Match) bool) {
	outside := newMerge(s.outside, data, 0, len(data))
	for lo, hi := s.runs.next(data, 0); lo >= 0; lo, hi = s.runs.next(data, hi) {
		inside := newMerge(s.inside, data, lo, hi)
		for m, ok := inside.first(); ok; m, ok = inside.first() {
			// What describes the whole key wins over what describes its surroundings.
			for o, ok := outside.first(); ok && o.Start < m.End; o, ok = outside.first() {
				if o.End > m.Start {
					outside.drop(m.End)
					continue
				}
				if !yield(o) {
					return
				}
				outside.take()
			}
			if !yield(m) {
				return
			}
			inside.take()
		}
	}
	for o, ok := outside.first(); ok; o, ok = outside.first() {
		if !yield(o) {
			return
		}
		outside.take()
	}
}

// A merge brings the matches of several searchers in order, and decides which
// one has a piece of bytes: a searcher that stands before another wins.
type merge struct {
	data  []byte
	hi    int
	heads []head // in the order of the searchers, without those that are done

	current int // the head that first returned
}

// A head is the next match of a searcher.
type head struct {
	searcher
	Match
}

func newMerge(searchers []searcher, data []byte, lo, hi int) merge {
	g := merge{data: data, hi: hi}
	for _, s := range searchers {
		if !s.relevant(data) {
			continue
		}
		if m, ok := s.next(data, lo, hi); ok {
			g.heads = append(g.heads, head{s, m})
		}
	}
	return g
}

// first returns the next match, which take or drop disposes of.
func (g *merge) first() (Match, bool) {
	for len(g.heads) > 0 {
		g.current = 0
		for i, h := range g.heads {
			if h.Start < g.heads[g.current].Start {
				g.current = i
			}
		}
		m := g.heads[g.current].Match
		better := slices.IndexFunc(g.heads[:g.current], func(h head) bool { return h.Start < m.End })
		if better < 0 {
			return m, true
		}
		g.drop(g.heads[better].End)
	}
	return Match{}, false
}

// take goes on behind the match that first returned.
func (g *merge) take() {
	end := g.heads[g.current].End
	for i := len(g.heads) - 1; i >= 0; i-- {
		if g.heads[i].Start < end {
			g.forward(i, end)
		}
	}
}

// drop gives up the match that first returned; its searcher goes on at to.
func (g *merge) drop(to int) { g.forward(g.current, to) }

// forward moves head i to its first match from to on.
func (g *merge) forward(i, to int) {
	h := &g.heads[i]
	m, ok := h.next(g.data, to, g.hi)
	if !ok {
		g.heads = slices.Delete(g.heads, i, i+1)
		return
	}
	h.Match = m
}

func (r *Rule) relevant(data []byte) bool {
	return len(r.keywords) == 0 ||
		slices.ContainsFunc(r.keywords, func(k string) bool { return containsFold(data, k) })
}

// next goes on right behind the start of a candidate that is none: a true key
// may overlap it. Only where a candidate may be of any length, it goes on
// behind its end, because all starts times all lengths would take too long.
func (r *Rule) next(data []byte, lo, hi int) (Match, bool) {
	x := r.expression
	for lo < hi {
		end := min(hi+1, len(data)) // one more for \b and $
		if x.literal != "" {
			i := bytes.Index(data[lo:hi], []byte(x.literal))
			if i < 0 {
				break
			}
			lo += i
			end = min(end, lo+x.max+1)
		}
		loc := x.find(data, lo, end)
		switch {
		case loc == nil && x.literal == "":
			return Match{}, false
		case loc == nil:
			lo++
			continue
		}
		whole := span{loc[0], loc[1]}
		if secret := r.secret(loc); secret.start < secret.end &&
			r.plausible(r.body(data[secret.start:secret.end])) && !r.allowed(data, whole, secret) {
			return Match{r, secret.start, secret.end, finding.Medium}, true
		}
		lo = whole.start + 1
		if x.max == unbounded {
			lo = whole.end
		}
	}
	return Match{}, false
}

// A span is data[start:end].
type span struct{ start, end int }

// secret returns which part of a match is the secret. It is empty if the
// rule's group takes no part in the match.
func (r *Rule) secret(loc []int) span {
	if r.group > 0 {
		return span{loc[2*r.group], loc[2*r.group+1]}
	}
	for i := 2; i < len(loc); i += 2 {
		if loc[i] < loc[i+1] {
			return span{loc[i], loc[i+1]}
		}
	}
	return span{loc[0], loc[1]}
}

// body returns the part of secret that is random. Only the prefixes of kinds
// that we know are left out: gitleaks' rules count on them.
func (r *Rule) body(secret []byte) []byte {
	if r.Kind == "" {
		return secret
	}
	return bytes.TrimPrefix(secret, []byte(r.expression.literal))
}

// plausible reports whether body may be that of a key.
func (r *Rule) plausible(body []byte) bool {
	return (r.entropy == 0 || entropy(body) > r.entropy) && (r.Kind == "" || !placeholder(body))
}

func (r *Rule) allowed(data []byte, whole, secret span) bool {
	return slices.ContainsFunc(r.allow, func(a allowlist) bool { return a.allows(data, whole, secret) })
}

// An allowlist says which matches are none.
type allowlist struct {
	both      bool // regexes and stopwords both have to match, where there are both
	target    target
	regexes   []*regexp.Regexp
	stopwords []string // in lower case
}

// A target is what an allowlist's regexes are searched in.
type target int

const (
	targetSecret target = iota
	targetMatch
	targetLine
)

func (a *allowlist) allows(data []byte, whole, secret span) bool {
	text := data[secret.start:secret.end]
	byWord := slices.ContainsFunc(a.stopwords, func(w string) bool { return containsFold(text, w) })
	switch a.target {
	case targetMatch:
		text = data[whole.start:whole.end]
	case targetLine:
		start := bytes.LastIndexByte(data[:whole.start], '\n') + 1
		end := len(data)
		if i := bytes.IndexByte(data[whole.end:], '\n'); i >= 0 {
			end = whole.end + i
		}
		text = data[start:end]
	}
	byRegex := slices.ContainsFunc(a.regexes, func(re *regexp.Regexp) bool { return re.Match(text) })
	if a.both {
		return (byWord || len(a.stopwords) == 0) && (byRegex || len(a.regexes) == 0)
	}
	return byWord || byRegex
}

// containsFold reports whether data holds keyword, which is in lower case. It
// does so for all that (?i) would take for the keyword, U+017F for s and U+212A
// for k included.
func containsFold(data []byte, keyword string) bool {
	for i, b := range data {
		if (lower(b) == keyword[0] || b >= 0x80) && foldPrefix(data[i:], keyword) {
			return true
		}
	}
	return false
}

func foldPrefix(data []byte, keyword string) bool {
	for i := range len(keyword) {
		n := 0
		switch c := keyword[i]; {
		case len(data) > 0 && lower(data[0]) == c:
			n = 1
		case c == 's' && bytes.HasPrefix(data, []byte("\u017f")):
			n = len("\u017f")
		case c == 'k' && bytes.HasPrefix(data, []byte("\u212a")):
			n = len("\u212a")
		default:
			return false
		}
		data = data[n:]
	}
	return true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + ('a' - 'A')
	}
	return b
}
