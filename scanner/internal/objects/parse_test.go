package objects

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseCommit(t *testing.T) {
	id := strings.Repeat("ab", 20)
	head := "tree " + id + "\nparent " + strings.Repeat("cd", 20) + "\n"
	for _, tc := range []struct {
		name, data string
		who        string
		when       time.Time
		fails      bool
	}{
		{"plain", head + "author A <a@b> 1735787045 +0100\ncommitter C <c@d> 1 +0000\n\nm", "A <a@b>", time.Unix(1735787045, 0).UTC(), false},
		{"no time", head + "author A <a@b>\ncommitter C <c@d> 1 +0000\n\nm", "A <a@b>", time.Time{}, false},
		{"time beyond all years", head + "author A <a@b> 99999999999999 +0000\n\nm", "A <a@b>", time.Time{}, false},
		{"negative time", head + "author A <a@b> -5 +0000\n\nm", "A <a@b>", time.Time{}, false},
		{"no address", head + "author nobody\n\nm", "nobody", time.Time{}, false},
		{"brackets in the name", head + "author A>B <a@b> 5 +0000\n\nm", "A>B <a@b>", time.Unix(5, 0).UTC(), false},
		{"no tree", "author A <a@b> 5 +0000\n\ntree " + id, "", time.Time{}, true},
		{"two trees", "tree " + id + "\n" + head + "\n", "", time.Time{}, true},
		{"bad parent", "tree " + id + "\nparent xyz\n\n", "", time.Time{}, true},
		{"empty", "", "", time.Time{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := parseCommit([]byte(tc.data))
			if (err != nil) != tc.fails {
				t.Fatalf("error is %v", err)
			}
			if c.author.who != tc.who || !c.author.time().Equal(tc.when) {
				t.Errorf("author is %q at %v, want %q at %v", c.author.who, c.author.time(), tc.who, tc.when)
			}
		})
	}
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree " + strings.Repeat("ab", 20) + "\nauthor A <a@b> 1735787045 +0100\n\nm"))
	f.Add([]byte("tree " + strings.Repeat("ab", 32) + "\nparent " + strings.Repeat("ab", 32) + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCommit(data)
		if err == nil && !bytes.Contains(data, []byte("tree "+c.tree.String())) && !bytes.Contains(bytes.ToLower(data), []byte("tree "+c.tree.String())) {
			t.Errorf("tree %s is not in the commit", c.tree)
		}
		if y := c.author.time().Year(); y > 9999 {
			t.Errorf("year %d", y)
		}
		if n := MessageStart(data); n < 0 || n > len(data) {
			t.Errorf("message begins at %d of %d", n, len(data))
		}
		if id, _, err := parseTag(data); err == nil && id.IsZero() {
			t.Error("a tag of nothing")
		}
	})
}

// FuzzTree asserts that the entries of a tree are its bytes, all of them in
// their order.
func FuzzTree(f *testing.F) {
	entry := "100644 name\x00" + strings.Repeat("i", 20)
	f.Add([]byte(entry+"040000 dir\x00"+strings.Repeat("j", 20)), true)
	f.Add([]byte("100644 "), false)
	f.Fuzz(func(t *testing.T, data []byte, sha1 bool) {
		hashLen := 32
		if sha1 {
			hashLen = 20
		}
		at := 0
		for rest := data; len(rest) > 0; {
			e, after, ok := nextEntry(rest, hashLen)
			if !ok {
				return
			}
			at = len(data) - len(after)
			tail := fmt.Sprintf(" %s\x00%s", e.name, e.id)
			if !bytes.HasSuffix(data[:at], []byte(tail)) || len(e.id) != hashLen || len(after) >= len(rest) {
				t.Fatalf("entry %q is not what stands before %d", tail, at)
			}
			rest = after
		}
		if at != len(data) {
			t.Fatalf("stopped at %d of %d", at, len(data))
		}
	})
}

// FuzzHeader asserts that a header is decoded to what it was made of, and that
// any other bytes give an error or a body inside the input.
func FuzzHeader(f *testing.F) {
	f.Add(byte(Blob), uint64(300), uint64(0), []byte("body"))
	f.Add(byte(ofsDelta), uint64(1<<40), uint64(1<<35), []byte{})
	f.Add(byte(refDelta), uint64(1), uint64(7), []byte{0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, typ byte, size, distance uint64, body []byte) {
		if h, err := parseHeader(body, 20); err == nil && len(h.body) >= len(body) {
			t.Fatal("a header of no bytes")
		}
		typ, size, distance = typ&7, size&(1<<60-1), distance&(1<<55-1)
		raw := appendHeader(nil, Type(typ), size)
		name := bytes.Repeat([]byte{byte(distance)}, 20)
		switch Type(typ) {
		case 0, 5:
			if _, err := parseHeader(append(raw, body...), 20); err == nil {
				t.Fatalf("type %d passed", typ)
			}
			return
		case ofsDelta:
			raw = appendDistance(raw, distance)
		case refDelta:
			raw = append(raw, name...)
		}
		h, err := parseHeader(append(raw, body...), 20)
		if err != nil {
			t.Fatal(err)
		}
		if h.typ != Type(typ) || h.size != size || !bytes.Equal(h.body, body) {
			t.Errorf("got %+v, want type %d, size %d, body %q", h, typ, size, body)
		}
		if h.typ == ofsDelta && h.baseOffset != distance {
			t.Errorf("distance is %d, want %d", h.baseOffset, distance)
		}
		if h.typ == refDelta && !bytes.Equal(h.baseName, name) {
			t.Errorf("base is %x, want %x", h.baseName, name)
		}
	})
}

func appendHeader(b []byte, typ Type, size uint64) []byte {
	first := byte(typ)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		b = append(b, first|0x80)
		first = byte(size & 0x7f)
	}
	return append(b, first)
}

func appendDistance(b []byte, distance uint64) []byte {
	digits := []byte{byte(distance & 0x7f)}
	for distance >>= 7; distance > 0; distance >>= 7 {
		distance--
		digits = append(digits, byte(distance&0x7f)|0x80)
	}
	for i := len(digits) - 1; i >= 0; i-- {
		b = append(b, digits[i])
	}
	return b
}

// FuzzIndex asserts that every object of an index that parses is found where
// it stands, and that nothing reads outside.
func FuzzIndex(f *testing.F) {
	f.Add(makeIndex(nil, make([]byte, 20)))
	f.Add(makeIndex([]packed{{id: testID(1), at: 12}, {id: testID(2), at: 1 << 33}}, make([]byte, 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data, 20)
		if err != nil {
			return
		}
		for pos := range min(x.count, 1000) {
			x.offset(pos)
			x.crc(pos)
			name := x.name(pos)
			if found, ok := x.find(name); ok && !bytes.Equal(x.name(found), name) {
				t.Fatalf("%x was found at %d, where %x stands", name, found, x.name(found))
			}
		}
	})
}

func TestIndexFind(t *testing.T) {
	var entries []packed
	for i := range 500 {
		entries = append(entries, packed{id: testID(i), at: uint64(12 + i), crc: uint32(i)})
	}
	entries[7].at = 1 << 40
	x, err := parseIndex(makeIndex(entries, make([]byte, 20)), 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pos, ok := x.find(e.id.Bytes())
		if !ok || x.id(pos) != e.id || x.offset(pos) != e.at || x.crc(pos) != e.crc {
			t.Fatalf("%s: found %v at %d: offset %d, crc %d; want %d, %d", e.id, ok, pos, x.offset(pos), x.crc(pos), e.at, e.crc)
		}
	}
	missing := testID(1000)
	if _, ok := x.find(missing.Bytes()); ok {
		t.Error("found what is not there")
	}
	if _, ok := x.find(missing.Bytes()[:5]); ok {
		t.Error("found a part of a name")
	}
}

func TestParseIndexRefuses(t *testing.T) {
	good := makeIndex([]packed{{id: testID(1), at: 12}}, make([]byte, 20))
	spoil := func(at int, b byte) []byte {
		bad := bytes.Clone(good)
		bad[at] = b
		return bad
	}
	for name, data := range map[string][]byte{
		"empty":          nil,
		"cut off":        good[:len(good)-30],
		"version 1":      good[8:],
		"version 3":      spoil(7, 3),
		"fan-out order":  spoil(11, 9),
		"too many":       spoil(8+255*4, 0x7f),
		"count negative": spoil(8+255*4, 0xff),
	} {
		if _, err := parseIndex(data, 20); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzLooseHeader(f *testing.F) {
	f.Add([]byte("blob 12\x00rest"))
	f.Add([]byte("tree 99999999999999999999\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		typ, size, err := looseHeader(bytes.NewReader(data))
		if err == nil && !bytes.HasPrefix(data, []byte(fmt.Sprintf("%s ", typ))) {
			t.Errorf("type %s of %q", typ, data)
		}
		if err == nil && size > 1<<63-1 {
			t.Errorf("size %d", size)
		}
	})
}

// testID returns a made-up id. Neighbours differ in their first bytes.
func testID(n int) ID {
	b := make([]byte, 20)
	binary.BigEndian.PutUint32(b, uint32(n)*2654435761)
	binary.BigEndian.PutUint32(b[16:], uint32(n))
	return NewID(b)
}
