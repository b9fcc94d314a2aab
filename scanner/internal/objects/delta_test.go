package objects

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// makeDelta turns ops, which may be any bytes, into a well-formed delta on
// base that the fuzzer steers, and returns it with its result.
func makeDelta(base, ops []byte) (delta, result []byte) {
	var body []byte
	for len(ops) >= 3 {
		kind, a, b := ops[0], int(ops[1]), int(ops[2])
		ops = ops[3:]
		if kind&1 == 0 && len(base) > 0 {
			offset := a * len(base) / 256
			if kind&2 != 0 { // begin or go on at the beginning
				offset = 0
			}
			size := min(1+b, len(base)-offset)
			if kind&4 != 0 {
				size = len(base) - offset
			}
			body = append(body, 0x80|0x0f|0x70,
				byte(offset), byte(offset>>8), byte(offset>>16), byte(offset>>24), byte(size), byte(size>>8), byte(size>>16))
			result = append(result, base[offset:offset+size]...)
			continue
		}
		n := min(1+b%20, len(ops))
		if n == 0 {
			break
		}
		body = append(append(body, byte(n)), ops[:n]...)
		result = append(result, ops[:n]...)
		ops = ops[n:]
	}
	delta = binary.AppendUvarint(nil, uint64(len(base)))
	delta = binary.AppendUvarint(delta, uint64(len(result)))
	return append(delta, body...), result
}

// FuzzDelta asserts that a delta gives its result, and that whatever stands
// between two new spans stands in the base just so, with the same beginning or
// end where it has one: else a search of the new spans would miss something.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("the base, which has some length"), []byte("\x02\x00\x08\x01\x00\x03abcd\x00\x80\x10\x04\xf0\x00"))
	f.Add([]byte("0123456789"), []byte("\x00\x00\x03\x00\x80\x03"))
	f.Add([]byte(""), []byte("\x01\x00\x05hello"))
	f.Fuzz(func(t *testing.T, base, ops []byte) {
		delta, want := makeDelta(base, ops)
		body, size, err := checkDelta(delta, len(base))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := deltaResult(body); err != nil || n != uint64(size) {
			t.Fatalf("deltaResult is %d, %v; want %d", n, err, size)
		}
		got := make([]byte, size)
		spans, err := applyDelta(got, base, body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("result is %q, want %q", got, want)
		}
		at := 0
		atStart := true // nothing new before
		for _, s := range spans {
			if s.Start < at || s.End < s.Start || s.End > size {
				t.Fatalf("spans %v are not in order in %d bytes", spans, size)
			}
			if !inBase(base, got[at:s.Start], atStart, false) {
				t.Fatalf("%q is not in the base %q, spans %v of %q", got[at:s.Start], base, spans, got)
			}
			at, atStart = s.End, false
		}
		if !inBase(base, got[at:], atStart, true) {
			t.Fatalf("%q is not at the end of the base %q, spans %v of %q", got[at:], base, spans, got)
		}
	})
}

func inBase(base, piece []byte, start, end bool) bool {
	switch {
	case start && end:
		return bytes.Equal(base, piece)
	case start:
		return bytes.HasPrefix(base, piece)
	case end:
		return bytes.HasSuffix(base, piece)
	}
	return bytes.Contains(base, piece)
}

// FuzzHostileDelta asserts that no delta reads or writes outside, or is taken
// for good when it does not fill its result.
func FuzzHostileDelta(f *testing.F) {
	f.Add([]byte("base"), []byte{4, 4, 0x90, 4})
	f.Add([]byte("base"), []byte{4, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x80})
	f.Add([]byte("base"), []byte{4, 1, 0})
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		ops, size, err := checkDelta(delta, len(base))
		if err != nil || size > 1<<20 {
			return
		}
		guarded := bytes.Repeat([]byte{0xa5}, size+16)
		dst := guarded[8 : 8+size : 8+size]
		if _, err := applyDelta(dst, base, ops, nil); err == nil {
			if n, err := deltaResult(ops); err != nil || n != uint64(size) {
				t.Errorf("a delta that makes %d bytes (%v) was taken for one that makes %d", n, err, size)
			}
		}
		for _, b := range append(guarded[:8:8], guarded[8+size:]...) {
			if b != 0xa5 {
				t.Fatal("written outside")
			}
		}
	})
}
