package inflate

// reach is how many bytes behind its position a turn of the decoding loop may
// read: two loads of eight, the first of which moves on by up to seven.
const reach = 16

// A reader hands out the bits of src, the lowest of each byte first.
type reader struct {
	buf uint64 // the next bits; those from n on are right or zero
	n   uint64 // how many bits of buf count, at most 63
	pos int    // in window, of the first byte of which no bit counts

	window []byte // src, or tail
	base   int    // where in src window begins
	src    []byte
	tail   [tailSize]byte // the last bytes of src, and zeros
}

// tailSize has room for the less than reach bytes that are left when the tail
// is entered, for the eight that pos can be ahead of what was used, and for one
// reach more. Whoever comes closer to its end has used more than there was.
const tailSize = reach + 8 + reach

// reset begins to read src.
func (r *reader) reset(src []byte) {
	r.src = src
	r.seek(0)
}

// seek goes to the byte of src at a position not behind its end.
func (r *reader) seek(at int) {
	r.buf, r.n = 0, 0
	r.window, r.base, r.pos = r.src, 0, at
}

// enterTail makes the tail the window when less than reach of src is left. It
// returns false if more than that was used already.
func (r *reader) enterTail() bool {
	at := r.base + r.pos
	if at > len(r.src) {
		return false
	}
	n := copy(r.tail[:], r.src[at:])
	clear(r.tail[n:])
	r.window, r.base, r.pos = r.tail[:], at, 0
	return true
}

// refill makes at least 56 bits count. It returns false if src is used up;
// true does not mean that all of them are src's.
func (r *reader) refill() bool {
	if r.pos > len(r.window)-reach && !r.enterTail() {
		return false
	}
	r.buf |= load64(r.window, r.pos) << r.n
	r.pos += int(^r.n >> 3 & 7)
	r.n |= 56
	return true
}

// take returns the next k bits, which must count.
func (r *reader) take(k uint) uint {
	v := uint(r.buf & (1<<k - 1))
	r.buf >>= k
	r.n -= uint64(k)
	return v
}

// used returns how many bytes were used, the last of them perhaps in part. It
// is more than src has if zeros behind it were.
func (r *reader) used() int { return r.base + r.pos - int(r.n>>3) }
