package objects

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sort"
)

// A packIndex is a mapped .idx file of version 2 (gitformat-pack(5)): names in
// order, and for each the CRC-32 of its packed entry and its offset. Positions
// in it stand for the objects of its pack.
type packIndex struct {
	hashLen int
	count   int
	fanout  []byte // 256 × 4 bytes
	names   []byte // count × hashLen
	crcs    []byte // count × 4
	offsets []byte // count × 4; the high bit leads to large
	large   []byte // n × 8
	pack    []byte // the checksum of the pack it belongs to
}

func parseIndex(data []byte, hashLen int) (*packIndex, error) {
	const header = 8 + 256*4
	if len(data) < header+2*hashLen {
		return nil, errors.New("index is cut off")
	}
	if !bytes.Equal(data[:4], []byte("\xfftOc")) {
		return nil, errors.New("index is not of version 2; rewrite it with: git index-pack")
	}
	if v := binary.BigEndian.Uint32(data[4:]); v != 2 {
		return nil, fmt.Errorf("index is of version %d, not 2", v)
	}
	x := &packIndex{hashLen: hashLen, fanout: data[8:header]}
	var previous uint32
	for i := range 256 {
		n := binary.BigEndian.Uint32(x.fanout[4*i:])
		if n < previous {
			return nil, errors.New("index is damaged: its fan-out table is not in order")
		}
		previous = n
	}
	rest := data[header : len(data)-2*hashLen]
	if uint64(previous)*uint64(hashLen+8) > uint64(len(rest)) || previous >= 1<<31 {
		return nil, errors.New("index is cut off")
	}
	x.count = int(previous)
	x.names, rest = rest[:x.count*hashLen], rest[x.count*hashLen:]
	x.crcs, rest = rest[:x.count*4], rest[x.count*4:]
	x.offsets, x.large = rest[:x.count*4], rest[x.count*4:]
	x.pack = data[len(data)-2*hashLen : len(data)-hashLen]
	return x, nil
}

func (x *packIndex) name(pos int) []byte { return x.names[pos*x.hashLen : (pos+1)*x.hashLen] }

func (x *packIndex) id(pos int) ID { return NewID(x.name(pos)) }

func (x *packIndex) crc(pos int) uint32 { return binary.BigEndian.Uint32(x.crcs[4*pos:]) }

// offset returns where the entry begins in the pack, or a number beyond every
// pack where the index does not say.
func (x *packIndex) offset(pos int) uint64 {
	n := binary.BigEndian.Uint32(x.offsets[4*pos:])
	if n&(1<<31) == 0 {
		return uint64(n)
	}
	i := uint64(n&^(1<<31)) * 8
	if i+8 > uint64(len(x.large)) {
		return 1<<64 - 1
	}
	return binary.BigEndian.Uint64(x.large[i:])
}

// find returns the position of the object, and whether the index has it.
func (x *packIndex) find(name []byte) (int, bool) {
	if len(name) != x.hashLen {
		return 0, false
	}
	lo := 0
	if name[0] > 0 {
		lo = int(binary.BigEndian.Uint32(x.fanout[4*(int(name[0])-1):]))
	}
	hi := int(binary.BigEndian.Uint32(x.fanout[4*int(name[0]):]))

	// Names are hashes, so spread evenly: the next four bytes tell nearly where
	// one stands. Two looks from there and halving what is between them miss
	// the cache half as often as halving all. For forged names nothing is won.
	n, key := hi-lo, prefix(name)
	guess := lo + int(uint64(key)*uint64(n)>>32)
	slack := 2 << (bits.Len(uint(n)) / 2) // about twice the root, four standard deviations
	if below := guess - slack; below > lo && prefix(x.name(below)) < key {
		lo = below
	}
	if above := guess + slack; above < hi && prefix(x.name(above)) > key {
		hi = above
	}
	pos := lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(x.name(lo+i), name) >= 0 })
	return pos, pos < hi && bytes.Equal(x.name(pos), name)
}

// prefix returns the four bytes of a name behind the first.
func prefix(name []byte) uint32 { return binary.BigEndian.Uint32(name[1:]) }
