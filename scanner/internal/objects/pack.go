package objects

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// A pack is a mapped pack with its index.
type pack struct {
	name    string // the file, for messages
	data    []byte
	index   *packIndex
	offsets []uint64 // of all entries, in order
	pos     []uint32 // pos[i] is the index position of the entry at offsets[i]
	base    uint32   // ordinal of the object at position 0
	close   func() error
}

// openPack maps the pack beside the index file. Close releases it.
func openPack(indexFile string, hashLen int) (_ *pack, err error) {
	packFile := strings.TrimSuffix(indexFile, ".idx") + ".pack"
	idx, closeIndex, err := mapFile(indexFile)
	if err != nil {
		return nil, err
	}
	data, closeData, err := mapFile(packFile)
	if err != nil {
		return nil, errors.Join(err, closeIndex())
	}
	p := &pack{
		name:  filepath.Base(packFile),
		data:  data,
		close: func() error { return errors.Join(closeData(), closeIndex()) },
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.index, err = parseIndex(idx, hashLen); err != nil {
		return nil, err
	}
	if len(data) < 12+hashLen || !bytes.Equal(data[:4], []byte("PACK")) {
		return nil, errors.New("not a pack")
	}
	if v := binary.BigEndian.Uint32(data[4:]); v != 2 && v != 3 {
		return nil, fmt.Errorf("pack is of version %d, which is not known", v)
	}
	p.sortOffsets()
	return p, nil
}

// damage says what is wrong with the pack as a whole, "" if nothing is. Its
// entries are worth reading all the same: each has its own CRC.
func (p *pack) damage() string {
	if n := binary.BigEndian.Uint32(p.data[8:]); int64(n) != int64(p.index.count) {
		return fmt.Sprintf("the pack holds %d objects, its index %d", n, p.index.count)
	}
	if !bytes.Equal(p.data[len(p.data)-p.index.hashLen:], p.index.pack) {
		return "the pack is cut off or is not the one that its index describes"
	}
	return ""
}

// sortOffsets fills offsets and pos.
func (p *pack) sortOffsets() {
	type entry struct {
		offset uint64
		pos    uint32
	}
	entries := make([]entry, p.index.count)
	for i := range entries {
		entries[i] = entry{p.index.offset(i), uint32(i)}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		switch {
		case a.offset < b.offset:
			return -1
		case a.offset > b.offset:
			return 1
		}
		return int(int64(a.pos) - int64(b.pos))
	})
	p.offsets = make([]uint64, len(entries))
	p.pos = make([]uint32, len(entries))
	for i, e := range entries {
		p.offsets[i], p.pos[i] = e.offset, e.pos
	}
}

// at returns the number of the entry that begins at offset.
func (p *pack) at(offset uint64) (int, bool) {
	i := sort.Search(len(p.offsets), func(i int) bool { return p.offsets[i] >= offset })
	return i, i < len(p.offsets) && p.offsets[i] == offset
}

// entryOf returns the number of the entry of the object at an index position.
func (p *pack) entryOf(pos int) (int, bool) { return p.at(p.index.offset(pos)) }

func (p *pack) id(entry int) ID { return p.index.id(int(p.pos[entry])) }

// raw returns the bytes of an entry: up to the next one, or to the trailer.
func (p *pack) raw(entry int) ([]byte, error) {
	end := uint64(len(p.data) - p.index.hashLen)
	start := p.offsets[entry]
	if entry+1 < len(p.offsets) {
		end = min(end, p.offsets[entry+1])
	}
	if start < 12 || start >= end {
		return nil, errors.New("its offset lies outside the pack")
	}
	return p.data[start:end], nil
}

// A header is the beginning of a packed entry.
type header struct {
	typ        Type
	size       uint64 // unpacked; of a delta, the delta itself
	baseOffset uint64 // how far before the entry its base is, for ofsDelta
	baseName   []byte // for refDelta
	body       []byte // the zlib stream
}

var errHeader = errors.New("entry header is malformed")

// parseHeader decodes the header of the entry that raw holds.
func parseHeader(raw []byte, hashLen int) (header, error) {
	if len(raw) == 0 {
		return header{}, errHeader
	}
	h := header{typ: Type(raw[0] >> 4 & 7), size: uint64(raw[0] & 15)}
	shift := 4
	i := 1
	for more := raw[0]&0x80 != 0; more; i++ {
		if i == len(raw) || shift > 57 {
			return header{}, errHeader
		}
		h.size |= uint64(raw[i]&0x7f) << shift
		shift += 7
		more = raw[i]&0x80 != 0
	}
	raw = raw[i:]
	switch h.typ {
	case Commit, Tree, Blob, Tag:
	case ofsDelta:
		// Unlike other numbers, each continuation adds one, so that no
		// distance has two spellings.
		if len(raw) == 0 {
			return header{}, errHeader
		}
		h.baseOffset = uint64(raw[0] & 0x7f)
		i := 1
		for more := raw[0]&0x80 != 0; more; i++ {
			if i == len(raw) || h.baseOffset >= 1<<56 {
				return header{}, errHeader
			}
			h.baseOffset = (h.baseOffset+1)<<7 | uint64(raw[i]&0x7f)
			more = raw[i]&0x80 != 0
		}
		raw = raw[i:]
	case refDelta:
		if len(raw) < hashLen {
			return header{}, errHeader
		}
		h.baseName, raw = raw[:hashLen], raw[hashLen:]
	default:
		return header{}, fmt.Errorf("entry is of type %d, which does not exist", h.typ)
	}
	h.body = raw
	return h, nil
}

// header returns the header of an entry without checking its CRC.
func (p *pack) header(entry int) (header, error) {
	raw, err := p.raw(entry)
	if err != nil {
		return header{}, err
	}
	return parseHeader(raw, p.index.hashLen)
}

// checked returns the header of an entry whose bytes are as the index's CRC
// says, and whose size is possible.
func (p *pack) checked(entry int) (header, error) {
	raw, err := p.raw(entry)
	if err != nil {
		return header{}, err
	}
	if crc32.ChecksumIEEE(raw) != p.index.crc(int(p.pos[entry])) {
		return header{}, errors.New("its bytes differ from the index's CRC: the pack is damaged")
	}
	h, err := parseHeader(raw, p.index.hashLen)
	if err != nil {
		return header{}, err
	}
	return h, checkSize(h.size, len(h.body))
}

// baseEntry returns the number of the entry that a delta is built on, and
// whether it is in this pack.
func (p *pack) baseEntry(entry int, h header) (int, bool) {
	switch h.typ {
	case ofsDelta:
		offset := p.offsets[entry]
		if h.baseOffset == 0 || h.baseOffset > offset {
			return 0, false
		}
		return p.at(offset - h.baseOffset)
	case refDelta:
		pos, ok := p.index.find(h.baseName)
		if !ok {
			return 0, false
		}
		return p.entryOf(pos)
	}
	return 0, false
}
