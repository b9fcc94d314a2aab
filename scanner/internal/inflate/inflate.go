// Package inflate unpacks raw DEFLATE streams (RFC 1951) that lie in memory
// whole, into memory that is as large as what they hold.
//
// # Why not a streaming decoder
//
// The entries of a git pack are such streams: many, small, in a mapped file,
// of a size that is known beforehand. A decoder behind an io.Reader keeps a
// window of 32 kB and copies out of it, asks for its input byte by byte, and
// is ready to stop after every byte. Here the output is the window, and the
// input can be looked at eight bytes at a time.
//
// # Bits
//
// The next bits of the input are in a 64-bit number, the first of them lowest.
// A refill loads the next eight bytes without asking how many fit: they are
// or-ed in above the bits that are left, and only those that fit whole are
// counted. The others lie there already when the next refill brings them
// again, which changes nothing. After a refill there are 56 bits at least:
// enough for a literal, another symbol and nearly always a distance.
//
// There is one loop for everything, not a fast one and a careful one for the
// end. Before it could read past the input, it goes on in a copy of the last
// bytes with zeros behind. What it makes of the zeros does no harm, and is
// noticed, since more was used than there is. Near the end of the output only
// the copying of matches is another.
//
// # Tables
//
// Every symbol is one look-up in a table by the next bits, two if its code is
// longer than the table is wide: then the first entry leads to a smaller table
// behind it. An entry is one number that holds all there is to know of a
// symbol. It could hold two literals, but their codes mostly have six or seven
// bits, and a table wide enough for many pairs takes long to build: most
// streams here are smaller than it.
//
// A table is built by doubling: codes come in the order of their lengths, and
// what is known for n bits is, copied behind itself, known for n+1. So each
// code is written once, copies are long, and nothing is cleared first. All
// tables have their full width, however short the codes, so that the mask is a
// constant and an index needs no check; the last doublings cost less than that.
//
// # What is accepted
//
// What compress/flate accepts: a code must be complete, but for one of a single
// symbol with one bit, or of none, which fail when what is missing is used. No
// distance leads before the beginning. What follows the last block is not
// looked at.
package inflate

import (
	"encoding/binary"
	"errors"
	"io"
)

var (
	// ErrCorrupt says that the bytes are no DEFLATE stream.
	ErrCorrupt = errors.New("corrupt deflate stream")

	// ErrLong says that the stream holds more than was asked for.
	ErrLong = errors.New("longer than expected")

	// ErrShort says that the stream ends before it holds what was asked for.
	ErrShort = errors.New("shorter than expected")
)

// A Decoder unpacks streams, one after the other. It holds the tables, so that
// nothing is allocated for a stream. The zero Decoder is ready. It must not be
// used by two goroutines at the same time, and not be copied.
type Decoder struct {
	bits    reader
	dynamic tables
	fixed   tables // empty until a block needs it
	builder builder
}

// Inflate unpacks the stream at the beginning of src, which must fill dst
// exactly, and returns how many bytes of src it takes. After an error the
// content of dst is undefined. The error is [io.ErrUnexpectedEOF] if src ends
// before the stream, [ErrLong], [ErrShort] or [ErrCorrupt]; if several hold,
// any of them. Dst and src must not overlap.
func (d *Decoder) Inflate(dst, src []byte) (read int, err error) {
	d.bits.reset(src)
	out, err := d.blocks(dst)
	read = d.bits.used()
	switch {
	case read > len(src):
		read, err = len(src), io.ErrUnexpectedEOF
	case err == nil && out < len(dst):
		err = ErrShort
	}
	d.bits.src, d.bits.window = nil, nil // not ours to keep
	return read, err
}

// blocks decodes all blocks, and returns how many bytes of dst they fill.
func (d *Decoder) blocks(dst []byte) (out int, err error) {
	for final := false; !final; {
		if !d.bits.refill() {
			return out, io.ErrUnexpectedEOF
		}
		final = d.bits.take(1) != 0
		switch d.bits.take(2) {
		case 0:
			out, err = d.stored(dst, out)
		case 1:
			if d.fixed.lit[0] == 0 {
				d.builder.fixed(&d.fixed)
			}
			out, err = d.compressed(dst, out, &d.fixed)
		case 2:
			if err = d.builder.read(&d.bits, &d.dynamic); err == nil {
				out, err = d.compressed(dst, out, &d.dynamic)
			}
		default:
			err = ErrCorrupt
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// stored copies a block that is not compressed to dst[out:], and returns the
// new out.
func (d *Decoder) stored(dst []byte, out int) (int, error) {
	src, at := d.bits.src, d.bits.used()
	if len(src)-at < 4 {
		return out, io.ErrUnexpectedEOF
	}
	n := int(binary.LittleEndian.Uint16(src[at:]))
	if binary.LittleEndian.Uint16(src[at+2:]) != ^uint16(n) {
		return out, ErrCorrupt
	}
	at += 4
	switch {
	case n > len(src)-at:
		return out, io.ErrUnexpectedEOF
	case n > len(dst)-out:
		return out, ErrLong
	}
	copy(dst[out:], src[at:at+n])
	d.bits.seek(at + n)
	return out + n, nil
}

// compressed decodes the symbols of a block to dst[out:], and returns the new
// out.
func (d *Decoder) compressed(dst []byte, out int, t *tables) (int, error) {
	for {
		var why stop
		switch out, why = d.bits.symbols(dst, out, t); why {
		case atEnd:
			return out, nil
		case full:
			return out, ErrLong
		case nonsense:
			return out, ErrCorrupt
		}
		if !d.bits.enterTail() {
			return out, io.ErrUnexpectedEOF
		}
	}
}

// A stop says why no more symbols were decoded.
type stop int

const (
	atEnd    stop = iota // of the block
	full                 // no room for the next symbol
	nonsense             // no symbol, or a distance that leads nowhere
	nearEnd              // of the window
)

// symbols decodes symbols to dst[out:], and returns the new out.
func (r *reader) symbols(dst []byte, out int, t *tables) (_ int, why stop) {
	// What the loop works on is in variables: so it stays in registers. Only the
	// lowest six bits of n count: so an entry can be subtracted as it is, and
	// where n is used, the mask costs nothing.
	window, pos, buf, n := r.window, r.pos, r.buf, r.n
	for {
		if pos > len(window)-reach {
			why = nearEnd
			break
		}
		buf |= load64(window, pos) << (n & 63)
		pos += int(^n >> 3 & 7)
		n |= 56

		// A literal if there is one, and then whatever comes: mostly another.
		e := t.lit[buf&(1<<litBits-1)]
		if e&literal != 0 {
			buf >>= e & 63
			n -= uint64(e)
			if uint(out) >= uint(len(dst)) {
				why = full
				break
			}
			dst[out] = byte(e >> valueShift)
			out++
			e = t.lit[buf&(1<<litBits-1)]
		}
		if e&link != 0 {
			buf >>= litBits
			n -= litBits
			e = t.lit[e.value()+e.extra(buf)]
		}
		if e&literal != 0 {
			buf >>= e & 63
			n -= uint64(e)
			if uint(out) >= uint(len(dst)) {
				why = full
				break
			}
			dst[out] = byte(e >> valueShift)
			out++
			continue
		}
		if e&special != 0 {
			buf >>= e & 63
			n -= uint64(e)
			if e&endOfBlock == 0 {
				why = nonsense
			}
			break
		}
		length := e.value() + e.extra(buf)
		buf >>= e & 63
		n -= uint64(e)

		if n&63 < maxBits+13 { // a distance may need more; but hardly ever
			buf |= load64(window, pos) << (n & 63)
			pos += int(^n >> 3 & 7)
			n |= 56
		}
		e = t.dist[buf&(1<<distBits-1)]
		if e&link != 0 {
			buf >>= distBits
			n -= distBits
			e = t.dist[e.value()+e.extra(buf)]
		}
		if e&special != 0 {
			why = nonsense
			break
		}
		distance := e.value() + e.extra(buf)
		buf >>= e & 63
		n -= uint64(e)
		from, end := out-distance, out+length
		if from < 0 {
			why = nonsense
			break
		}
		if end > len(dst)-16 || distance < 8 {
			if end > len(dst) {
				why = full
				break
			}
			repeat(dst[from:end], distance)
			out = end
			continue
		}
		// Eight bytes at a time. There may be too many, which will be written
		// over. Most matches have no more than 16: so the processor can guess that
		// the loop is not entered.
		store64(dst, out, load64(dst, from))
		store64(dst, out+8, load64(dst, from+8))
		for out += 16; out < end; out += 8 {
			store64(dst, out, load64(dst, out-distance))
		}
		out = end
	}
	r.pos, r.buf, r.n = pos, buf, n&63
	return out, why
}

// load64 returns the eight bytes at a position, the first of them lowest. The
// third index spares the code that keeps an empty slice from pointing outside.
func load64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at : at+8 : at+8]) }

// store64 writes what load64 reads.
func store64(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:at+8:at+8], v) }

// repeat fills b with its first n bytes, over and over.
func repeat(b []byte, n int) {
	for n < len(b) {
		n += copy(b[n:], b[:n])
	}
}
