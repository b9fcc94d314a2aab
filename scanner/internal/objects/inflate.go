package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// maxRatio bounds what deflate can make of one byte: 258 bytes for a two-bit
// code. A header that claims more than that lies, and allocates nothing.
const maxRatio = 1032

// maxObjectSize is the largest object that is unpacked. Larger ones are
// listed as unread.
const maxObjectSize = 2 << 30

var errTooLarge = errors.New("object is larger than 2 GiB")

// checkSize reports whether size can come out of n compressed bytes.
func checkSize(size uint64, n int) error {
	if size > maxObjectSize {
		return errTooLarge
	}
	if size > uint64(n)*maxRatio {
		return fmt.Errorf("%d compressed bytes cannot hold the %d that the header claims", n, size)
	}
	return nil
}

// An inflater unpacks zlib streams. It is kept by one goroutine and reused,
// because its tables and window cost more to allocate than most objects to
// inflate.
type inflater struct {
	src     bytes.Reader
	z       io.ReadCloser // deflate
	checked io.ReadCloser // zlib with its checksum, for loose objects
}

// inflate fills dst from the zlib stream src, which must hold exactly
// len(dst) bytes. Its checksum is not looked at: packed entries are covered by
// the index's CRC.
func (f *inflater) inflate(dst, src []byte) error {
	if err := f.open(src); err != nil {
		return err
	}
	if _, err := io.ReadFull(f.z, dst); err != nil {
		return fmt.Errorf("inflate: %w", noEOF(err))
	}
	// Go on to the end of the stream: it may hold more than was claimed.
	var more [1]byte
	n, err := f.z.Read(more[:])
	switch {
	case n > 0:
		return errors.New("inflate: longer than its header claims")
	case err != nil && err != io.EOF:
		return fmt.Errorf("inflate: %w", err)
	}
	return nil
}

// open starts to inflate the zlib stream src.
func (f *inflater) open(src []byte) error {
	// RFC 1950: the two bytes are a multiple of 31, method 8, no dictionary.
	if len(src) < 2 || src[0]&0x0f != 8 || (uint(src[0])<<8|uint(src[1]))%31 != 0 || src[1]&0x20 != 0 {
		return errors.New("inflate: not a zlib stream")
	}
	f.src.Reset(src[2:])
	if f.z == nil {
		f.z = flate.NewReader(&f.src)
		return nil
	}
	return f.z.(flate.Resetter).Reset(&f.src, nil)
}

// noEOF turns the end of the input into an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
