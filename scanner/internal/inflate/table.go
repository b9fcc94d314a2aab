package inflate

import (
	"io"
	"math/bits"
)

// An entry says what the next bits mean. From the lowest:
//
//	bits 0–5    how many bits the symbol takes, the extra ones included
//	bits 8–11   how many of these are the code
//	bit  12     special: nothing to copy, look at the others
//	bit  13     link: a longer code, look again
//	bit  14     the end of the block
//	bits 16–30  the literal, or what the extra bits are added to
//	bit  31     a literal
//
// A link's value is where its table begins, its extra bits are the index. An
// entry that is special and nothing else stands for no symbol.
type entry uint32

const (
	special    entry = 1 << 12
	link       entry = 1 << 13
	endOfBlock entry = 1 << 14
	literal    entry = 1 << 31

	valueShift = 16

	// code, times the length of a code, adds it to what an entry says of its
	// extra bits.
	code entry = 1<<8 | 1
)

func (e entry) value() int { return int(e >> valueShift) }

// extra returns the extra bits when buf begins with the symbol.
func (e entry) extra(buf uint64) int {
	return int(buf & (1<<(e&63) - 1) >> (e >> 8 & 15))
}

const (
	maxBits = 15 // of a code

	maxLit   = 288 // literals, lengths, the end of block, and two that are none
	maxDist  = 32  // two of which are none
	maxClass = 19  // symbols for code lengths

	// Widths of the tables.
	litBits   = 10
	distBits  = 8
	classBits = 7

	// How much room subtables need. One of 1<<n entries holds n+1 symbols or
	// more, because the code is complete. The larger n, the more entries that is
	// for a symbol. So they are most if all are of the largest.
	litLinked  = maxLit * (1 << (maxBits - litBits)) / (maxBits - litBits + 1)
	distLinked = maxDist * (1 << (maxBits - distBits)) / (maxBits - distBits + 1)
)

// tables decode the symbols of a block.
type tables struct {
	lit  [1<<litBits + litLinked]entry
	dist [1<<distBits + distLinked]entry
}

// What symbols mean, as entries that lack the length of the code (RFC 1951,
// 3.2.5).
var (
	litSymbols   = makeLitSymbols()
	distSymbols  = makeDistSymbols()
	classSymbols = makeClassSymbols()
)

func makeLitSymbols() (s [maxLit]entry) {
	for i := range 256 {
		s[i] = literal | entry(i)<<valueShift
	}
	s[256] = special | endOfBlock
	length := 3
	for i := 257; i < 285; i++ {
		extra := max(0, (i-261)/4)
		s[i] = entry(length)<<valueShift | entry(extra)
		length += 1 << extra
	}
	s[285] = 258 << valueShift
	s[286], s[287] = special, special
	return s
}

func makeDistSymbols() (s [maxDist]entry) {
	distance := 1
	for i := range 30 {
		extra := max(0, (i-2)/2)
		s[i] = entry(distance)<<valueShift | entry(extra)
		distance += 1 << extra
	}
	s[30], s[31] = special, special
	return s
}

func makeClassSymbols() (s [maxClass]entry) {
	for i := range s {
		s[i] = entry(i) << valueShift
	}
	return s
}

// A builder makes tables out of code lengths.
type builder struct {
	class  [1 << classBits]entry
	coded  [maxLit + maxDist]coded
	sorted [maxLit]entry
}

// coded is a symbol that has a code.
type coded struct {
	symbol uint16
	bits   uint16 // of its code
}

// classOrder is the order in which the lengths of the codes for code lengths
// come.
var classOrder = [maxClass]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// read makes the tables that the beginning of a block describes (RFC 1951,
// 3.2.7).
func (b *builder) read(r *reader, t *tables) error {
	if !r.refill() {
		return io.ErrUnexpectedEOF
	}
	nlit, ndist, nclass := int(r.take(5))+257, int(r.take(5))+1, int(r.take(4))+4
	if nlit > 286 || ndist > 30 {
		return ErrCorrupt
	}
	var lengths [maxClass]uint16
	for i, symbol := range classOrder[:nclass] {
		if i == 14 && !r.refill() { // 14 + 14 × 3 bits are used by now
			return io.ErrUnexpectedEOF
		}
		lengths[symbol] = uint16(r.take(3))
	}
	classes := b.coded[:0]
	for symbol, n := range lengths {
		if n != 0 {
			classes = append(classes, coded{uint16(symbol), n})
		}
	}
	if !b.build(b.class[:], classBits, classSymbols[:], classes) {
		return ErrCorrupt
	}

	// The lengths of both alphabets come in one run. Those that are zero are
	// just not noted.
	all := b.coded[:0]
	total := nlit + ndist
	var previous uint16
	for i := 0; i < total; {
		if r.n < classBits+7 && !r.refill() {
			return io.ErrUnexpectedEOF
		}
		e := b.class[r.buf&(1<<classBits-1)]
		if e&special != 0 {
			return ErrCorrupt
		}
		r.take(uint(e & 63))
		n := uint16(e.value())
		if n < 16 {
			if n != 0 {
				all = append(all, coded{uint16(i), n})
			}
			previous = n
			i++
			continue
		}
		var repeat int
		switch n {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			repeat = 3 + int(r.take(2))
		case 17:
			repeat = 3 + int(r.take(3))
			previous = 0
		case 18:
			repeat = 11 + int(r.take(7))
			previous = 0
		}
		if repeat > total-i {
			return ErrCorrupt
		}
		if previous != 0 {
			for k := range repeat {
				all = append(all, coded{uint16(i + k), previous})
			}
		}
		i += repeat
	}
	split := len(all)
	for split > 0 && int(all[split-1].symbol) >= nlit {
		split--
		all[split].symbol -= uint16(nlit)
	}
	if !b.build(t.lit[:], litBits, litSymbols[:], all[:split]) || !b.build(t.dist[:], distBits, distSymbols[:], all[split:]) {
		return ErrCorrupt
	}
	return nil
}

// fixed makes the tables of RFC 1951, 3.2.6.
func (b *builder) fixed(t *tables) {
	all := b.coded[:0]
	for i := range uint16(maxLit) {
		n := uint16(8)
		switch {
		case i >= 144 && i < 256:
			n = 9
		case i >= 256 && i < 280:
			n = 7
		}
		all = append(all, coded{i, n})
	}
	b.build(t.lit[:], litBits, litSymbols[:], all)
	all = b.coded[:0]
	for i := range uint16(maxDist) {
		all = append(all, coded{i, 5})
	}
	b.build(t.dist[:], distBits, distSymbols[:], all)
}

// build fills a table of 1<<width entries, and subtables behind it, for the
// codes of symbols, which are in ascending order (RFC 1951, 3.2.2). It reports
// whether their lengths make a code that is accepted.
func (b *builder) build(table []entry, width int, meaning []entry, symbols []coded) bool {
	var count [maxBits + 1]int
	for _, s := range symbols {
		count[s.bits&maxBits]++
	}
	shortest, longest := maxBits, 0
	used := 0 // of all 1<<maxBits strings of bits
	var start [maxBits + 2]int
	for n := 1; n <= maxBits; n++ {
		if count[n] != 0 {
			shortest, longest = min(shortest, n), n
		}
		used += count[n] << (maxBits - n)
		start[n+1] = start[n] + count[n]
	}
	if used != 1<<maxBits {
		return incomplete(table[:1<<width], meaning, symbols)
	}
	for _, s := range symbols {
		i := &start[s.bits&maxBits]
		b.sorted[*i] = meaning[s.symbol] + entry(s.bits)*code
		*i++
	}

	// Codes are sent from their highest bit on, so they count from there:
	// reversed is the code as it stands in the input. Another zero at its end
	// makes no difference. Some code is no longer than the table is wide: else
	// there would have to be more symbols.
	reversed, sorted := 0, b.sorted[:len(symbols)]
	for n := shortest; n <= width; n++ {
		half := 1 << (n - 1)
		if n > shortest {
			copy(table[half:2*half], table[:half])
		}
		if n > longest {
			continue
		}
		for _, e := range sorted[:count[n]] {
			table[reversed] = e
			// Add one: of the bits that are zero, the highest becomes one, those
			// above it zero.
			zeros := reversed ^ (2*half - 1)
			top := 1 << ((bits.Len(uint(zeros)) - 1) & 31)
			reversed = reversed&(top-1) | top
		}
		sorted = sorted[count[n]:]
	}
	linkAll(table, width, sorted)
	return true
}

// linkAll makes the subtables for long, the symbols whose codes are longer than
// width, in ascending order of their codes. It goes from the last code, which
// is all ones, to the first: so the first one met of a subtable is the longest,
// and says how large the subtable must be.
func linkAll(table []entry, width int, long []entry) {
	free := 1 << width
	value, length := 1<<maxBits-1, maxBits // of a code; ones may be shortened at will
	var sub []entry
	last := -1 // the entry that leads to sub
	for i := len(long) - 1; i >= 0; i-- {
		n := int(long[i] >> 8 & maxBits)
		value = (value+1)>>(length-n) - 1 // the one before the first of length bits
		length = n
		reversed := int(bits.Reverse16(uint16(value)) >> (16 - n))
		value--
		if at := reversed & (1<<width - 1); at != last {
			last = at
			table[at] = special | link | entry(free)<<valueShift | entry(n-width)
			sub = table[free : free+1<<(n-width)]
			free += len(sub)
		}
		e := long[i] - entry(width)*code
		for k := reversed >> width; k < len(sub); k += 1 << (n - width) {
			sub[k] = e
		}
	}
}

// incomplete fills a table for the codes that are accepted though they are not
// complete: of one symbol with one bit, or of none.
func incomplete(table []entry, meaning []entry, symbols []coded) bool {
	for i := range table {
		table[i] = special
	}
	switch {
	case len(symbols) == 0:
		return true
	case len(symbols) == 1 && symbols[0].bits == 1:
		for i := 0; i < len(table); i += 2 {
			table[i] = meaning[symbols[0].symbol] + code
		}
		return true
	}
	return false
}
