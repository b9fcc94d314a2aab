package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	klauspost "github.com/klauspost/compress/flate"
)

// pack returns data as a stream of compress/flate.
func pack(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, w, &b, data)
}

// packKlauspost returns data as a stream of the other compressor.
func packKlauspost(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := klauspost.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, w, &b, data)
}

func written(t testing.TB, w io.WriteCloser, b *bytes.Buffer, data []byte) []byte {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// guarded inflates src into size bytes in the middle of others, and fails if
// these were written to.
func guarded(t testing.TB, d *Decoder, size int, src []byte) ([]byte, int, error) {
	t.Helper()
	const guard = 300 // more than a match
	b := bytes.Repeat([]byte{0xa5}, guard+size+guard)
	dst := b[guard : guard+size]
	n, err := d.Inflate(dst, src)
	for _, c := range append(b[:guard:guard], b[guard+size:]...) {
		if c != 0xa5 {
			t.Fatal("written outside of dst")
		}
	}
	return dst, n, err
}

// mustInflate asserts that src, whatever follows it, holds want.
func mustInflate(t testing.TB, d *Decoder, src, want []byte) {
	t.Helper()
	for _, behind := range []string{"", "\xff", "and more of it than a refill takes"} {
		got, n, err := guarded(t, d, len(want), slices.Concat(src, []byte(behind)))
		if err != nil {
			t.Fatalf("%d bytes behind: %v", len(behind), err)
		}
		if n != len(src) {
			t.Fatalf("%d bytes behind: %d bytes read, want %d", len(behind), n, len(src))
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes behind: content differs: %.100q, want %.100q", len(behind), got, want)
		}
	}
}

// A sample is content that compressors treat in their own ways.
type sample struct {
	name string
	data []byte
}

func samples() []sample {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	var text, rare []byte
	for i := range 3000 {
		text = fmt.Appendf(text, "if err := step%d(ctx, %q); err != nil {\n\treturn err\n}\n", i*i%977, string(rune('a'+i%26)))
	}
	// Each byte twice as often as the next: codes as long as they can be.
	for i := range 18 {
		rare = append(rare, bytes.Repeat([]byte{byte('a' + i)}, 1<<(17-i))...)
	}
	random.Shuffle(len(rare), func(i, j int) { rare[i], rare[j] = rare[j], rare[i] })
	s := []sample{
		{"empty", nil},
		{"one byte", []byte("x")},
		{"a delta", []byte("\x90\x1f\x85\x20\xb0\x03\x07package\x91\x04\x22")},
		{"text", text},
		{"noise", noise(100_000)},
		{"zeros", make([]byte, 300_000)},
		{"rare bytes", rare},
	}
	far := noise(32768)
	s = append(s, sample{"distance 32768", slices.Concat(far, far[:1000], far[1000:1258])})
	for distance := 1; distance <= 40; distance++ {
		b := noise(distance)
		for _, length := range []int{3, 8, 15, 16, 17, 258, 1000} {
			b = append(b, noise(distance)...)
			for range length {
				b = append(b, b[len(b)-distance])
			}
		}
		s = append(s, sample{fmt.Sprintf("distance %d", distance), append(b, noise(distance%20)...)})
	}
	return s
}

func TestCompressors(t *testing.T) {
	var d Decoder
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
				mustInflate(t, &d, pack(t, s.data, level), s.data)
			}
			for level := klauspost.HuffmanOnly; level <= klauspost.BestCompression; level++ {
				mustInflate(t, &d, packKlauspost(t, s.data, level), s.data)
			}
		})
	}
}

// TestTruncated cuts streams at every byte.
func TestTruncated(t *testing.T) {
	var d Decoder
	text := samples()[3].data[:2000]
	for name, src := range map[string][]byte{
		"stored":  pack(t, text, flate.NoCompression),
		"fixed":   pack(t, []byte("hello, hello"), flate.BestCompression),
		"dynamic": pack(t, text, flate.BestCompression),
		"huffman": pack(t, text, flate.HuffmanOnly),
	} {
		size := 2000
		if name == "fixed" {
			size = len("hello, hello")
		}
		if _, _, err := guarded(t, &d, size, src); err != nil {
			t.Fatalf("%s: whole: %v", name, err)
		}
		for n := range src {
			if _, read, err := guarded(t, &d, size, src[:n]); err != io.ErrUnexpectedEOF || read > n {
				t.Errorf("%s: cut to %d of %d: %d bytes read, error is %v", name, n, len(src), read, err)
			}
		}
	}
}

func TestWrongSize(t *testing.T) {
	var d Decoder
	for _, s := range samples() {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			src := pack(t, s.data, level)
			if _, _, err := guarded(t, &d, len(s.data)+1, src); err != ErrShort {
				t.Errorf("%s, level %d: a byte too much room: error is %v", s.name, level, err)
			}
			if len(s.data) == 0 {
				continue
			}
			if _, _, err := guarded(t, &d, len(s.data)-1, src); err != ErrLong {
				t.Errorf("%s, level %d: a byte too little room: error is %v", s.name, level, err)
			}
		}
	}
}

// A stream is built bit by bit.
type stream struct {
	b []byte
	n int // bits
}

// number adds a number of so many bits.
func (s *stream) number(v, bits int) *stream {
	for i := range bits {
		if s.n%8 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n/8] |= byte(v>>i&1) << (s.n % 8)
		s.n++
	}
	return s
}

// symbol adds the code of a symbol, for the code lengths given.
func (s *stream) symbol(symbol int, lengths []int) *stream {
	next := 0
	for n := 1; n <= maxBits; n++ {
		for i, length := range lengths {
			if length != n {
				continue
			}
			if i == symbol {
				for bit := n - 1; bit >= 0; bit-- {
					s.number(next>>bit&1, 1)
				}
				return s
			}
			next++
		}
		next <<= 1
	}
	panic("symbol has no code")
}

// dynamic begins a block with the codes given. Their lengths are sent as
// numbers of four bits.
func (s *stream) dynamic(lits, dists []int) *stream {
	s.number(1, 1).number(2, 2).number(len(lits)-257, 5).number(len(dists)-1, 5).number(maxClass-4, 4)
	var classes [maxClass]int
	for i := range 16 {
		classes[i] = 4
	}
	for _, c := range classOrder {
		s.number(classes[c], 3)
	}
	for _, n := range slices.Concat(lits, dists) {
		s.symbol(n, classes[:])
	}
	return s
}

// lengths returns the code lengths of an alphabet of n symbols.
func lengths(n int, of map[int]int) []int {
	l := make([]int, n)
	for symbol, length := range of {
		l[symbol] = length
	}
	return l
}

// ladder returns lengths for 16 symbols: 1, 2, 3, … 15, 15.
func ladder(n int, symbols ...int) []int {
	l := make([]int, n)
	for i, s := range symbols {
		l[s] = min(i+1, maxBits)
	}
	return l
}

func TestByHand(t *testing.T) {
	ab := lengths(286, map[int]int{'a': 2, 'b': 2, 256: 2, 257: 2}) // 257 is a length of 3
	one := []int{1}
	none := []int{0}
	steep := ladder(286, 256, 257, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n')
	steepDist := ladder(30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 0, 1, 2, 3)
	fixed := slices.Concat(slices.Repeat([]int{8}, 144), slices.Repeat([]int{9}, 112), slices.Repeat([]int{7}, 24), slices.Repeat([]int{8}, 8))
	empty := func() *stream { return new(stream).number(1, 1).number(1, 2).number(0, 7) }
	for _, tc := range []struct {
		name string
		src  *stream
		want string
		err  error
	}{
		{"fixed, empty", empty(), "", nil},
		{"stored, empty", new(stream).number(1, 8).number(0, 16).number(0xffff, 16), "", nil},
		{"stored, empty, then fixed", new(stream).number(0, 8).number(0, 16).number(0xffff, 16).
			number(3, 3).number(0, 7), "", nil},
		{"stored", new(stream).number(1, 8).number(1, 16).number(0xfffe, 16).number('x', 8), "x", nil},
		{"stored, with bits skipped that are not zero", new(stream).number(0xf9, 8).number(0, 16).number(0xffff, 16), "", nil},
		{"stored, lengths differ", new(stream).number(1, 8).number(1, 16).number(0xffff, 16).number('x', 8), "", ErrCorrupt},
		{"reserved kind of block", new(stream).number(7, 3), "", ErrCorrupt},
		{"fixed", new(stream).number(3, 3).symbol('a', fixed).symbol(257, fixed).number(0, 5).symbol(256, fixed), "aaaa", nil},
		{"fixed, symbol 286", new(stream).number(3, 3).symbol('a', fixed).symbol(286, fixed).number(0, 5).symbol(256, fixed), "a", ErrCorrupt},
		{"fixed, symbol 287", new(stream).number(3, 3).symbol('a', fixed).symbol(287, fixed).number(0, 5).symbol(256, fixed), "a", ErrCorrupt},
		{"fixed, distance 30", new(stream).number(3, 3).symbol('a', fixed).symbol(257, fixed).number(0b01111, 5).symbol(256, fixed), "aaaa", ErrCorrupt},
		{"fixed, distance 31", new(stream).number(3, 3).symbol('a', fixed).symbol(257, fixed).number(0b11111, 5).symbol(256, fixed), "aaaa", ErrCorrupt},
		{"fixed, nothing to copy", new(stream).number(3, 3).number(0b1000000, 7).number(0, 5).number(0, 7), "xxx", ErrCorrupt},

		{"one distance", new(stream).dynamic(ab, one).
			symbol('a', ab).symbol(257, ab).symbol(0, one).symbol(256, ab), "aaaa", nil},
		{"one distance, and the code that is none", new(stream).dynamic(ab, one).
			symbol('a', ab).symbol(257, ab).number(1, 1).symbol(256, ab), "aaaa", ErrCorrupt},
		{"one distance of two bits", new(stream).dynamic(ab, []int{2}).symbol('a', ab).symbol(256, ab), "a", ErrCorrupt},
		{"no distance", new(stream).dynamic(ab, none).symbol('a', ab).symbol('b', ab).symbol(256, ab), "ab", nil},
		{"no distance, but used", new(stream).dynamic(ab, none).symbol('a', ab).symbol(257, ab).number(0, 20), "aaaa", ErrCorrupt},
		{"distance too far", new(stream).dynamic(ab, []int{1, 1}).
			symbol('a', ab).symbol(257, ab).symbol(1, []int{1, 1}).symbol(256, ab), "aaaa", ErrCorrupt},
		{"only an end", new(stream).dynamic(lengths(257, map[int]int{256: 1}), none).number(0, 1), "", nil},
		{"only an end, and the code that is none", new(stream).dynamic(lengths(257, map[int]int{256: 1}), none).number(1, 1), "", ErrCorrupt},
		{"no code at all", new(stream).dynamic(lengths(257, nil), none).number(0, 40), "", ErrCorrupt},
		{"no end", new(stream).dynamic(lengths(257, map[int]int{'a': 1}), none).number(0, 5), "aaaa", ErrLong},
		{"too few codes", new(stream).dynamic(lengths(257, map[int]int{'a': 2, 256: 1}), none).number(0, 1), "", ErrCorrupt},
		{"too many codes", new(stream).dynamic(lengths(257, map[int]int{'a': 1, 'b': 1, 256: 1}), none).number(0, 8), "", ErrCorrupt},
		{"too many lengths", new(stream).dynamic(append(slices.Clone(ab), 0), none).symbol(256, ab), "", ErrCorrupt},
		{"too many distances", new(stream).dynamic(ab, make([]int, 31)).symbol(256, ab), "", ErrCorrupt},

		{"codes of 15 bits", new(stream).dynamic(steep, steepDist).
			symbol('a', steep).symbol('m', steep).symbol('n', steep).symbol('l', steep).symbol('j', steep).
			symbol(257, steep).symbol(3, steepDist).symbol(257, steep).symbol(0, steepDist).symbol('n', steep).
			symbol(256, steep), "amnljmnlllln", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d Decoder
			if tc.err == nil {
				mustInflate(t, &d, tc.src.b, []byte(tc.want))
			} else if _, _, err := guarded(t, &d, len(tc.want), tc.src.b); err != tc.err {
				t.Errorf("error is %v, want %v", err, tc.err)
			}
			compare(t, &d, tc.src.b)
		})
	}
}

// TestManyBits decodes a literal, a length and a distance that together have
// more bits than a refill brings, at every offset in a byte.
func TestManyBits(t *testing.T) {
	lits := ladder(286, 'a', 256, 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 283, 284)
	dists := ladder(30, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 29)
	var d Decoder
	for before := range 16 {
		s := new(stream).dynamic(lits, dists)
		var want []byte
		for range 24577/227 + 1 { // the longest distances begin there
			s.symbol('b', lits).symbol(284, lits).number(0, 5).symbol(0, dists)
			want = append(want, bytes.Repeat([]byte("b"), 1+227)...)
		}
		for range before {
			s.symbol('a', lits)
			want = append(want, 'a')
		}
		for extra := range 31 {
			s.symbol('i', lits).symbol(284, lits).number(extra, 5).symbol(29, dists).number(extra, 13)
			want = append(want, 'i')
			from := len(want) - 24577 - extra
			want = append(want, want[from:from+227+extra]...)
		}
		s.symbol(256, lits)
		mustInflate(t, &d, s.b, want)
		compare(t, &d, s.b)
	}
}

// TestRepeatedLengths sends code lengths with the symbols for repetition.
func TestRepeatedLengths(t *testing.T) {
	classes := lengths(maxClass, map[int]int{0: 3, 1: 3, 2: 3, 8: 3, 16: 3, 17: 3, 18: 3, 3: 3})
	abcd := lengths(257, map[int]int{'a': 3, 'b': 3, 'c': 3, 'd': 3, 256: 1})
	begin := func(dists int) *stream {
		s := new(stream).number(5, 3).number(0, 5).number(dists-1, 5).number(maxClass-4, 4)
		for _, c := range classOrder {
			s.number(classes[c], 3)
		}
		return s
	}
	zeros := func(s *stream, n int) *stream { return s.symbol(18, classes).number(n-11, 7) }
	for _, tc := range []struct {
		name string
		src  *stream
		want string
		err  error
	}{
		{"four letters and the end", zeros(zeros(zeros(begin(1), 97).symbol(3, classes).symbol(16, classes).number(0, 2), 138), 17).
			symbol(1, classes).symbol(0, classes).
			symbol('d', abcd).symbol('a', abcd).symbol('b', abcd).symbol('c', abcd).symbol(256, abcd), "dabc", nil},
		{"over the border to the distances", zeros(zeros(begin(1), 138), 118).symbol(1, classes).symbol(1, classes).number(0, 1), "", nil},
		{"nothing to repeat", begin(1).symbol(16, classes).number(0, 20), "", ErrCorrupt},
		{"one more than there are", zeros(zeros(begin(2), 138), 118).symbol(1, classes).symbol(17, classes).number(0, 3).number(0, 1), "", ErrCorrupt},
		{"more than there are", zeros(zeros(begin(1), 138), 138).number(0, 20), "", ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d Decoder
			if tc.err == nil {
				mustInflate(t, &d, tc.src.b, []byte(tc.want))
			} else if _, _, err := guarded(t, &d, len(tc.want), tc.src.b); err != tc.err {
				t.Errorf("error is %v, want %v", err, tc.err)
			}
			compare(t, &d, tc.src.b)
		})
	}
}

// randomCode returns the lengths of a complete code for some of n symbols. The
// steeper, the more its lengths differ.
func randomCode(random *rand.Rand, n, symbols, steep int) []int {
	leaves := []int{0}
	for len(leaves) < symbols {
		i := len(leaves) - 1 - random.IntN(min(len(leaves), 1+random.IntN(steep)))
		if leaves[i] == maxBits {
			i = random.IntN(len(leaves))
		}
		if leaves[i] < maxBits {
			leaves[i]++
			leaves = append(leaves, leaves[i])
		}
	}
	l := make([]int, n)
	for i, symbol := range random.Perm(n)[:symbols] {
		l[symbol] = leaves[i]
	}
	return l
}

// TestRandomCodes decodes random symbols of random codes, of any length.
func TestRandomCodes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var d Decoder
	for round := range 300 {
		var lits []int
		for lits == nil || lits[256] == 0 {
			lits = randomCode(random, 286, 2+random.IntN(285), 1+random.IntN(300))
		}
		dists := randomCode(random, 30, 2+random.IntN(29), 1+random.IntN(30))
		s := new(stream).dynamic(lits, dists)
		size, maxExtra := 0, entry(maxBits-2)
		for range 400 {
			i := random.IntN(286)
			if lits[i] == 0 || i == 256 {
				continue
			}
			if i < 256 {
				s.symbol(i, lits)
				size++
				continue
			}
			e, j := litSymbols[i], random.IntN(30)
			f := distSymbols[j]
			if dists[j] == 0 || f&63 > maxExtra || f.value()+1<<(f&63) > size {
				continue
			}
			extra := random.IntN(1 << (e & 63))
			s.symbol(i, lits).number(extra, int(e&63)).symbol(j, dists).number(random.IntN(1<<(f&63)), int(f&63))
			size += e.value() + extra
		}
		s.symbol(256, lits)
		if _, _, err := guarded(t, &d, size, s.b); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		compare(t, &d, s.b)
	}
}

// TestCanonical builds the example of RFC 1951, 3.2.2.
func TestCanonical(t *testing.T) {
	meaning := make([]entry, 8)
	var symbols []coded
	for i, n := range []uint16{3, 3, 3, 3, 3, 2, 4, 4} {
		meaning[i] = entry('A'+i) << valueShift
		symbols = append(symbols, coded{uint16(i), n})
	}
	for _, width := range []int{2, 3, 4, 7} { // with subtables, and without
		table := make([]entry, 1<<width+16)
		if !new(builder).build(table, width, meaning, symbols) {
			t.Fatal("code is not accepted")
		}
		for code, want := range map[string]byte{
			"010": 'A', "011": 'B', "100": 'C', "101": 'D', "110": 'E', "00": 'F', "1110": 'G', "1111": 'H',
		} {
			var buf uint64
			for i, bit := range code {
				buf |= uint64(bit-'0') << i
			}
			e, used := table[buf&(1<<width-1)], 0
			if e&link != 0 {
				e, used = table[e.value()+e.extra(buf>>width)], width
			}
			if got := byte(e.value()); got != want || used+int(e&63) != len(code) {
				t.Errorf("width %d: %s is %c of %d bits, want %c", width, code, got, used+int(e&63), want)
			}
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	var d Decoder
	text := samples()[3].data
	dst, src := make([]byte, len(text)), pack(t, text, flate.BestCompression)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := d.Inflate(dst, src); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a stream", n)
	}
}

// compare asserts that src is taken as compress/flate takes it.
func compare(t testing.TB, d *Decoder, src []byte) {
	t.Helper()
	const limit = 1 << 20
	r := bytes.NewReader(src)
	want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(r), limit))
	if len(want) == limit {
		return // it may go on
	}
	got, n, err := guarded(t, d, len(want), src)
	if wantErr != nil {
		if err == nil {
			t.Fatalf("accepted; compress/flate says: %v", wantErr)
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrLong) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error is %v; compress/flate says: %v", err, wantErr)
		}
		return
	}
	if err != nil {
		t.Fatalf("error is %v; compress/flate accepts", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("content differs: %.100q; compress/flate says: %.100q", got, want)
	}
	if used := len(src) - r.Len(); n != used {
		t.Fatalf("%d bytes read; compress/flate reads %d", n, used)
	}
	if _, _, err := guarded(t, d, len(want)+1, src); err != ErrShort {
		t.Fatalf("a byte too much room: error is %v", err)
	}
	if len(want) > 0 {
		if _, _, err := guarded(t, d, len(want)-1, src); err != ErrLong {
			t.Fatalf("a byte too little room: error is %v", err)
		}
	}
}

// FuzzHostile asserts that whatever compress/flate accepts gives the same bytes
// here, that whatever it rejects is rejected, and that nothing outside of dst is
// written.
func FuzzHostile(f *testing.F) {
	for _, s := range samples()[:4] {
		data := s.data[:min(len(s.data), 3000)]
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			f.Add(pack(f, data, level))
		}
	}
	rare := samples()[6].data
	f.Add(pack(f, rare[:4000], flate.HuffmanOnly))
	var d Decoder // one for all: what a stream leaves behind must not matter
	f.Fuzz(func(t *testing.T, src []byte) { compare(t, &d, src) })
}

// FuzzRoundTrip asserts that what was compressed comes back.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range samples()[:5] {
		f.Add(s.data[:min(len(s.data), 3000)], uint8(len(s.name)))
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, data []byte, level uint8) {
		mustInflate(t, &d, pack(t, data, int(level%12)-2), data)
		mustInflate(t, &d, packKlauspost(t, data, int(level%12)-2), data)
	})
}
