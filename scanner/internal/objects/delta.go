package objects

import (
	"encoding/binary"
	"errors"
)

var errDelta = errors.New("delta is malformed")

// deltaSizes returns the sizes of base and result that a delta claims, and
// what follows them.
func deltaSizes(delta []byte) (base, result uint64, rest []byte, err error) {
	base, n := binary.Uvarint(delta)
	if n <= 0 {
		return 0, 0, nil, errDelta
	}
	delta = delta[n:]
	result, n = binary.Uvarint(delta)
	if n <= 0 {
		return 0, 0, nil, errDelta
	}
	return base, result, delta[n:], nil
}

// copyOp decodes a copy instruction whose first byte is op: seven bits say
// which bytes of offset and size follow.
func copyOp(op byte, p []byte) (offset, size uint, rest []byte, ok bool) {
	for i := range 4 {
		if op&(1<<i) != 0 {
			if len(p) == 0 {
				return 0, 0, nil, false
			}
			offset |= uint(p[0]) << (8 * i)
			p = p[1:]
		}
	}
	for i := range 3 {
		if op&(0x10<<i) != 0 {
			if len(p) == 0 {
				return 0, 0, nil, false
			}
			size |= uint(p[0]) << (8 * i)
			p = p[1:]
		}
	}
	if size == 0 {
		size = 0x10000
	}
	return offset, size, p, true
}

// applyDelta fills dst, which has the size that the delta claims for its
// result, from base by the instructions ops, and appends to spans what of it
// is new (see [Object]).
func applyDelta(dst, base, ops []byte, spans []Span) ([]Span, error) {
	at := 0   // where the next piece goes in dst
	next := 0 // where a copy would go on in base without a seam; -1 after an insertion
	for len(ops) > 0 {
		op := ops[0]
		ops = ops[1:]
		switch {
		case op&0x80 != 0:
			from, n, rest, ok := copyOp(op, ops)
			if !ok || from > uint(len(base)) || n > uint(len(base))-from || n > uint(len(dst)-at) {
				return spans, errDelta
			}
			ops = rest
			offset, size := int(from), int(n)
			if next >= 0 && offset != next {
				spans = append(spans, Span{at, at})
			}
			copy(dst[at:at+size], base[offset:])
			at += size
			next = offset + size
		case op == 0 || int(op) > len(ops) || int(op) > len(dst)-at:
			return spans, errDelta
		default:
			n := int(op)
			copy(dst[at:at+n], ops)
			ops = ops[n:]
			if next < 0 { // goes on where the last insertion ended
				spans[len(spans)-1].End = at + n
			} else {
				spans = append(spans, Span{at, at + n})
			}
			at += n
			next = -1
		}
	}
	if at != len(dst) {
		return spans, errDelta
	}
	if next >= 0 && next != len(base) { // the object's end was not one before
		spans = append(spans, Span{at, at})
	}
	return spans, nil
}

// deltaResult returns how many bytes the instructions make, so that a claim
// can be checked before memory is taken for it.
func deltaResult(ops []byte) (uint64, error) {
	var total uint64
	for len(ops) > 0 {
		op := ops[0]
		ops = ops[1:]
		switch {
		case op&0x80 != 0:
			_, size, rest, ok := copyOp(op, ops)
			if !ok {
				return 0, errDelta
			}
			ops = rest
			total += uint64(size)
		case op == 0 || int(op) > len(ops):
			return 0, errDelta
		default:
			ops = ops[op:]
			total += uint64(op)
		}
	}
	return total, nil
}

// checkDelta returns the instructions of a delta and the size of its result,
// if they fit each other and the size of the base.
func checkDelta(delta []byte, baseSize int) (ops []byte, size int, err error) {
	base, result, ops, err := deltaSizes(delta)
	if err != nil {
		return nil, 0, err
	}
	if base != uint64(baseSize) {
		return nil, 0, errors.New("delta belongs to another base")
	}
	if result > maxObjectSize {
		return nil, 0, errTooLarge
	}
	// Counting costs a pass over the instructions; a small lie is harmless.
	if result > 1<<20 {
		if made, err := deltaResult(ops); err != nil || made != result {
			return nil, 0, errDelta
		}
	}
	return ops, int(result), nil
}
