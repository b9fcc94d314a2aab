package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/unleak/unleak/scanner/internal/inflate"
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
	packed inflate.Decoder // deflate

	src     bytes.Reader
	checked io.ReadCloser // zlib with its checksum, for loose objects
}

// inflate fills dst from the zlib stream src, which must hold exactly
// len(dst) bytes. Its checksum is not looked at: packed entries are covered by
// the index's CRC.
func (f *inflater) inflate(dst, src []byte) error {
	// RFC 1950: the two bytes are a multiple of 31, method 8, no dictionary.
	if len(src) < 2 || src[0]&0x0f != 8 || (uint(src[0])<<8|uint(src[1]))%31 != 0 || src[1]&0x20 != 0 {
		return errors.New("inflate: not a zlib stream")
	}
	switch _, err := f.packed.Inflate(dst, src[2:]); err {
	case nil:
		return nil
	case inflate.ErrLong:
		return errors.New("inflate: longer than its header claims")
	case inflate.ErrShort:
		return errors.New("inflate: shorter than its header claims")
	default:
		return fmt.Errorf("inflate: %w", err)
	}
}

// noEOF turns the end of the input into an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
