package rules

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLength is the longest match, in bytes, that a search still treats as
// local. An expression that may match more is searched like any other, but
// [Set.Reach] promises nothing for it.
const maxLength = 4096

// unbounded is the length of a match that has no limit, or one past maxLength.
const unbounded = maxLength + 1

// A class is a set of bytes.
type class [256]bool

// holdsText reports whether c has a byte that ends words in text: white space,
// control characters, quotes. Runs of such a class are as long as the text.
func (c *class) holdsText() bool {
	for b, in := range c {
		if in && (b <= ' ' || b == 0x7f || b == '"' || b == '\'' || b == '`') {
			return true
		}
	}
	return false
}

// An expression is a compiled regular expression and what can be known of its
// matches before looking for them.
type expression struct {
	// Both have the expression as group 1. inner consumes the character before
	// a match, so that \b and ^ see it; package regexp cannot be told to start
	// in the middle. With a literal, both match at the start only.
	begin, inner *regexp.Regexp

	literal  string // every match begins with it; "" where nothing is known or max is unbounded
	bytes    class  // every match consists of these
	ascii    bool   // bytes is complete: no match has a byte of 0x80 or above
	min, max int    // bytes in a match; max may be unbounded
	groups   int
}

// compile derives an expression from tree, which must not be empty.
func compile(tree *syntax.Regexp) (*expression, error) {
	x := &expression{groups: tree.MaxCap(), ascii: true}
	x.min, x.max = x.measure(tree)
	if x.min == 0 {
		return nil, errors.New("it matches nothing or the empty string; it must ask for at least one character")
	}
	anchor := ""
	if x.max != unbounded {
		if x.literal = leadingLiteral(tree); x.literal != "" {
			anchor = `\A`
		}
	}
	// The tree's own spelling is balanced, whatever the source's was.
	var err error
	if x.begin, err = regexp.Compile(anchor + `(` + tree.String() + `)`); err != nil {
		return nil, err
	}
	if x.inner, err = regexp.Compile(anchor + `(?s:.)(` + tree.String() + `)`); err != nil {
		return nil, err
	}
	return x, nil
}

// find returns the index pairs of the first match that lies in data[from:end]
// and of its groups, or nil. With a literal, the match starts at from. What
// stands before from counts for \b and ^.
func (x *expression) find(data []byte, from, end int) []int {
	re, offset := x.begin, 0
	if from > 0 {
		re, offset = x.inner, from-1
	}
	loc := re.FindSubmatchIndex(data[offset:end])
	if loc == nil {
		return nil
	}
	loc = loc[2:]
	for i := range loc {
		if loc[i] >= 0 {
			loc[i] += offset
		}
	}
	return loc
}

// measure returns the least and the greatest number of bytes that re matches,
// and adds those bytes to x.bytes.
func (x *expression) measure(re *syntax.Regexp) (least, most int) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				l, m := x.fold(r)
				least, most = least+l, most+m
				continue
			}
			x.add(r, r)
			least, most = least+width(r), most+width(r)
		}
	case syntax.OpCharClass:
		least, most = utf8.UTFMax, 0
		for i := 0; i < len(re.Rune); i += 2 {
			l, m := x.add(re.Rune[i], re.Rune[i+1])
			least, most = min(least, l), max(most, m)
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return x.add(0, utf8.MaxRune)
	case syntax.OpCapture:
		return x.measure(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		from, to := repeats(re)
		l, m := x.measure(re.Sub[0])
		if to < 0 {
			to = unbounded
		}
		return min(l*from, unbounded), min(m*to, unbounded)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			l, m := x.measure(sub)
			least, most = least+l, most+m
		}
	case syntax.OpAlternate:
		least = unbounded
		for _, sub := range re.Sub {
			l, m := x.measure(sub)
			least, most = min(least, l), max(most, m)
		}
	}
	return min(least, unbounded), min(most, unbounded)
}

// repeats returns how often re repeats its operand; to is -1 for no limit.
func repeats(re *syntax.Regexp) (from, to int) {
	switch re.Op {
	case syntax.OpStar:
		return 0, -1
	case syntax.OpPlus:
		return 1, -1
	case syntax.OpQuest:
		return 0, 1
	}
	return re.Min, re.Max
}

// add adds the bytes of the characters from lo to hi and returns their least
// and greatest length. A byte that is no UTF-8 matches as U+FFFD.
func (x *expression) add(lo, hi rune) (least, most int) {
	for r := lo; r <= min(hi, utf8.RuneSelf-1); r++ {
		x.bytes[r] = true
	}
	if hi >= utf8.RuneSelf {
		x.ascii = false
	}
	if lo <= utf8.RuneError && utf8.RuneError <= hi {
		return 1, width(hi)
	}
	return width(lo), width(hi)
}

// width is utf8.RuneLen that knows where surrogates would stand.
func width(r rune) int {
	if n := utf8.RuneLen(r); n > 0 {
		return n
	}
	return 3
}

// cases returns r in all its cases.
func cases(r rune) []rune {
	all := []rune{r}
	for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
		all = append(all, c)
	}
	return all
}

// fold adds r in all its cases.
func (x *expression) fold(r rune) (least, most int) {
	least = utf8.UTFMax
	for _, c := range cases(r) {
		l, m := x.add(c, c)
		least, most = min(least, l), max(most, m)
	}
	return least, most
}

// leadingLiteral returns what every match of re begins with, or "".
func leadingLiteral(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return string(re.Rune)
		}
	case syntax.OpCapture:
		return leadingLiteral(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			switch sub.Op {
			case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
				syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpEmptyMatch:
				continue // matches no character
			}
			return leadingLiteral(sub)
		}
	}
	return ""
}

// implies reports whether every match of re surely holds one of keywords, which
// are ASCII in lower case, in any case.
func implies(re *syntax.Regexp, keywords []string) bool {
	switch re.Op {
	case syntax.OpLiteral:
		text := strings.ToLower(string(re.Rune))
		for _, k := range keywords {
			if strings.Contains(text, k) {
				return true
			}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return implies(re.Sub[0], keywords)
	case syntax.OpRepeat:
		return re.Min > 0 && implies(re.Sub[0], keywords)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if implies(sub, keywords) {
				return true
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if !implies(sub, keywords) {
				return false
			}
		}
		return true
	}
	return false
}

// size returns about how many instructions re compiles to. Repetitions are
// written out, so a short expression may need a lot of memory.
func size(re *syntax.Regexp) int {
	const enough = 1 << 30
	n := 1 + len(re.Rune)
	if re.Op == syntax.OpCharClass {
		n = 1
	}
	for _, sub := range re.Sub {
		n = min(n+size(sub), enough)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), enough)
	}
	return n
}

// A form is an expression taken apart: a prefix, then two halves of one class
// with a literal between them.
type form struct {
	prefix   *syntax.Regexp
	half     class
	min, max int // characters in a half
	marker   string
}

// takeApart returns the form of tree, or an error if it has none.
func takeApart(tree *syntax.Regexp) (form, error) {
	wrong := errors.New("with halves it must have the form PREFIX[CLASS]{m,n}MARKER[CLASS]{m,n}: two equal classes without spaces and quotes, equal limits up to 256, a literal between them and a prefix that begins with a literal")
	n := len(tree.Sub)
	if tree.Op != syntax.OpConcat || n < 4 {
		return form{}, wrong
	}
	left, middle, right := tree.Sub[n-3], tree.Sub[n-2], tree.Sub[n-1]
	if left.Op != syntax.OpRepeat || left.Sub[0].Op != syntax.OpCharClass || !left.Equal(right) ||
		left.Min < 1 || left.Max < 0 || left.Max > 256 ||
		middle.Op != syntax.OpLiteral || middle.Flags&syntax.FoldCase != 0 {
		return form{}, wrong
	}
	f := form{
		prefix: &syntax.Regexp{Op: syntax.OpConcat, Sub: tree.Sub[:n-3], Flags: tree.Flags},
		min:    left.Min,
		max:    left.Max,
		marker: string(middle.Rune),
	}
	x := &expression{ascii: true}
	x.measure(left)
	if !x.ascii || x.bytes.holdsText() || leadingLiteral(f.prefix) == "" || tree.MaxCap() > 0 {
		return form{}, wrong
	}
	f.half = x.bytes
	return f, nil
}

// parseExpression parses the source of a rule's expression.
func parseExpression(source string) (*syntax.Regexp, error) {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		// Only the code: the fragment is the file's text.
		var bad *syntax.Error
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("%s; the syntax is that of Go's package regexp (RE2): no lookaround, no backreferences", bad.Code)
		}
		return nil, err
	}
	return tree, nil
}
