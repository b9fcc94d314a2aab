package objects

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A packed is an entry of a pack made for a test. Its bytes may be anything,
// and so may its id: nothing looks at hashes.
type packed struct {
	id  ID
	raw []byte
	at  uint64
	crc uint32
}

// deflate returns data, of less than 64 kB, as a zlib stream of one stored
// block: a compressor would take most of the tests' time.
func deflate(data []byte) []byte {
	b := []byte{0x78, 0x01, 0x01}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	b = binary.LittleEndian.AppendUint16(b, ^uint16(len(data)))
	b = append(b, data...)
	return binary.BigEndian.AppendUint32(b, adler32.Checksum(data))
}

func whole(id ID, typ Type, data string) packed {
	return packed{id: id, raw: append(appendHeader(nil, typ, uint64(len(data))), deflate([]byte(data))...)}
}

// onName returns a delta that appends text to a base of the given size.
func onName(id, base ID, size int, text string) packed {
	delta := appending(size, text)
	raw := append(appendHeader(nil, refDelta, uint64(len(delta))), base.Bytes()...)
	return packed{id: id, raw: append(raw, deflate(delta)...)}
}

func appending(size int, text string) []byte {
	delta := binary.AppendUvarint(nil, uint64(size))
	delta = binary.AppendUvarint(delta, uint64(size+len(text)))
	if size > 0 {
		delta = append(delta, 0x80|0x10|0x20|0x40, byte(size), byte(size>>8), byte(size>>16))
	}
	return append(append(delta, byte(len(text))), text...)
}

// writePack writes a pack and its index, and returns the object directory.
func writePack(t *testing.T, entries []packed) string {
	t.Helper()
	dir := t.TempDir()
	pack := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(entries)))
	for i := range entries {
		entries[i].at = uint64(len(pack))
		entries[i].crc = crc32.ChecksumIEEE(entries[i].raw)
		pack = append(pack, entries[i].raw...)
	}
	trailer := bytes.Repeat([]byte{7}, 20)
	pack = append(pack, trailer...)
	if err := os.MkdirAll(filepath.Join(dir, "pack"), 0o777); err != nil {
		t.Fatal(err)
	}
	for ext, data := range map[string][]byte{".pack": pack, ".idx": makeIndex(entries, trailer)} {
		if err := os.WriteFile(filepath.Join(dir, "pack", "pack-1"+ext), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// makeIndex returns the index of a pack.
func makeIndex(entries []packed, trailer []byte) []byte {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b packed) int { return a.id.Compare(b.id) })
	x := []byte("\xfftOc\x00\x00\x00\x02")
	for first := range 256 {
		n := 0
		for _, e := range entries {
			if int(e.id.b[0]) <= first {
				n++
			}
		}
		x = binary.BigEndian.AppendUint32(x, uint32(n))
	}
	for _, e := range entries {
		x = append(x, e.id.Bytes()...)
	}
	for _, e := range entries {
		x = binary.BigEndian.AppendUint32(x, e.crc)
	}
	var large []byte
	for _, e := range entries {
		if e.at < 1<<31 {
			x = binary.BigEndian.AppendUint32(x, uint32(e.at))
			continue
		}
		x = binary.BigEndian.AppendUint32(x, 1<<31|uint32(len(large)/8))
		large = binary.BigEndian.AppendUint64(large, e.at)
	}
	x = append(append(x, large...), trailer...)
	return append(x, make([]byte, 20)...)
}

// walkAll walks a store and returns the blobs it handed out, and what was
// unread, by id.
func walkAll(t *testing.T, dir string) (seen, unread map[string]string) {
	t.Helper()
	s, err := openStore(dir, 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen, unread = map[string]string{}, map[string]string{}
	var mu sync.Mutex
	list, err := s.Walk(t.Context(), 3, []Type{Commit, Tree, Blob, Tag}, new(Progress), func(_ int, o Object) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if _, again := seen[o.ID.String()]; again {
			t.Errorf("%s was handed out twice", o.ID)
		}
		seen[o.ID.String()] = string(o.Data)
		if id := s.ID(o.Ordinal); id != o.ID {
			t.Errorf("ordinal %d is of %s, not of %s", o.Ordinal, id, o.ID)
		}
		return false, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list {
		unread[u.Object] = u.Reason
	}
	return seen, unread
}

// TestHostilePacks asserts that what cannot be read is listed with a reason,
// and that the rest is handed out.
func TestHostilePacks(t *testing.T) {
	good := whole(testID(1), Blob, "good")
	id := testID
	terabyte := append(binary.AppendUvarint(binary.AppendUvarint(nil, 4), 1<<40), 0x90, 4)
	bomb := binary.AppendUvarint(binary.AppendUvarint(nil, 4), 1<<30)
	for range 64 {
		bomb = append(bomb, 0x90, 4)
	}
	for _, tc := range []struct {
		name    string
		entries []packed
		seen    map[int]string // besides the good one
		unread  map[int]string // id to a part of the reason
	}{
		{"delta on a name", []packed{onName(id(2), id(1), 4, "!")}, map[int]string{2: "good!"}, nil},
		{"base after its delta", []packed{onName(id(2), id(3), 2, "!"), whole(id(3), Blob, "ok")}, map[int]string{2: "ok!", 3: "ok"}, nil},
		{"two deltas on each other", []packed{onName(id(2), id(3), 4, "a"), onName(id(3), id(2), 4, "b")}, nil,
			map[int]string{2: "circle", 3: "circle"}},
		{"delta on itself, and one on that", []packed{onName(id(2), id(2), 4, "a"), onName(id(3), id(2), 5, "b")}, nil,
			map[int]string{2: "circle", 3: "circle"}},
		{"base that is nowhere", []packed{onName(id(2), id(9), 4, "a"), onName(id(3), id(2), 5, "b")}, nil,
			map[int]string{2: "missing", 3: "missing"}},
		{"offset before the pack", []packed{{id: id(2), raw: append(appendDistance(appendHeader(nil, ofsDelta, 5), 1<<40), deflate([]byte("delta"))...)}}, nil,
			map[int]string{2: "base is not in the pack"}},
		{"offset between entries", []packed{{id: id(2), raw: append(appendDistance(appendHeader(nil, ofsDelta, 5), 3), deflate([]byte("delta"))...)}}, nil,
			map[int]string{2: "base is not in the pack"}},
		{"type that does not exist", []packed{{id: id(2), raw: append(appendHeader(nil, 5, 4), deflate([]byte("good"))...)}}, nil,
			map[int]string{2: "type 5"}},
		{"size that cannot be", []packed{{id: id(2), raw: append(appendHeader(nil, Blob, 1<<30), deflate([]byte("good"))...)}}, nil,
			map[int]string{2: "cannot hold"}},
		{"size of more than memory", []packed{{id: id(2), raw: append(appendHeader(nil, Blob, 1<<50), deflate([]byte("good"))...)}}, nil,
			map[int]string{2: "larger than"}},
		{"size too small", []packed{{id: id(2), raw: append(appendHeader(nil, Blob, 3), deflate([]byte("good"))...)}}, nil,
			map[int]string{2: "longer than its header claims"}},
		{"size too large", []packed{{id: id(2), raw: append(appendHeader(nil, Blob, 5), deflate([]byte("good"))...)}}, nil,
			map[int]string{2: "shorter than its header claims"}},
		{"stream cut off", []packed{{id: id(2), raw: append(appendHeader(nil, Blob, 4), deflate([]byte("good"))[:10]...)}}, nil,
			map[int]string{2: "unexpected EOF"}},
		{"no zlib stream", []packed{{id: id(2), raw: append(appendHeader(nil, Blob, 4), "good"...)}}, nil,
			map[int]string{2: "not a zlib stream"}},
		{"delta that claims a terabyte", []packed{deltaOn(id(2), id(1), terabyte)}, nil, map[int]string{2: "larger than"}},
		{"delta that claims a gigabyte", []packed{deltaOn(id(2), id(1), bomb)}, nil, map[int]string{2: "malformed"}},
		{"delta of another base", []packed{onName(id(2), id(1), 3, "!")}, nil, map[int]string{2: "another base"}},
		{"damaged base, and what hangs under it", []packed{
			{id: id(2), raw: append(appendHeader(nil, Blob, 4), "xxxxxxxxxxxx"...)},
			onName(id(3), id(2), 4, "a"), onName(id(4), id(3), 5, "b")}, nil,
			map[int]string{2: "not a zlib stream", 3: "not a zlib stream", 4: "not a zlib stream"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seen, unread := walkAll(t, writePack(t, append([]packed{good}, tc.entries...)))
			if seen[id(1).String()] != "good" {
				t.Errorf("the good object was not handed out: %q", seen)
			}
			if len(seen) != len(tc.seen)+1 || len(unread) != len(tc.unread) {
				t.Errorf("handed out %q, unread %q", seen, unread)
			}
			for n, want := range tc.seen {
				if got := seen[id(n).String()]; got != want {
					t.Errorf("object %d is %q, want %q", n, got, want)
				}
			}
			for n, want := range tc.unread {
				if got := unread[id(n).String()]; !strings.Contains(got, want) {
					t.Errorf("object %d is unread because %q, want …%s…", n, got, want)
				}
			}
		})
	}
}

func deltaOn(id, base ID, delta []byte) packed {
	raw := append(appendHeader(nil, refDelta, uint64(len(delta))), base.Bytes()...)
	return packed{id: id, raw: append(raw, deflate(delta)...)}
}

// TestDeepAndWide walks a chain of 9,000 deltas, and a base with 3,000.
func TestDeepAndWide(t *testing.T) {
	entries := []packed{whole(testID(0), Blob, "")}
	for i := range 9000 {
		entries = append(entries, onName(testID(i+1), testID(i), i, "x"))
	}
	for i := range 3000 {
		entries = append(entries, onName(testID(10_000+i), testID(5000), 5000, fmt.Sprint(i)))
	}
	seen, unread := walkAll(t, writePack(t, entries))
	if len(unread) != 0 || len(seen) != len(entries) {
		t.Fatalf("%d of %d handed out, %d unread", len(seen), len(entries), len(unread))
	}
	for i := range 9001 {
		if got := seen[testID(i).String()]; len(got) != i {
			t.Fatalf("object %d has %d bytes", i, len(got))
		}
	}
}

// TestDamage flips each byte of a pack in turn: no flip may go unnoticed, and
// no entry may suffer that does not hang under the flipped one.
func TestDamage(t *testing.T) {
	dir := writePack(t, []packed{whole(testID(1), Blob, "one"), whole(testID(2), Blob, "two"), onName(testID(3), testID(2), 3, "more")})
	file := filepath.Join(dir, "pack", "pack-1.pack")
	pack, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 12; i < len(pack); i++ {
		bad := bytes.Clone(pack)
		bad[i] ^= 0x10
		if err := os.WriteFile(file, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		seen, unread := walkAll(t, dir)
		if len(unread) == 0 {
			t.Fatalf("byte %d of %d was flipped and nothing is unread", i, len(pack))
		}
		for id, data := range seen {
			if want := map[string]string{testID(1).String(): "one", testID(2).String(): "two", testID(3).String(): "twomore"}[id]; data != want {
				t.Fatalf("byte %d was flipped, and %s is %q", i, id, data)
			}
		}
		if len(seen)+len(unread) < 3 {
			t.Fatalf("byte %d: %q and %q are not all objects", i, seen, unread)
		}
	}
}

// TestCutOff cuts a pack at every length.
func TestCutOff(t *testing.T) {
	dir := writePack(t, []packed{whole(testID(1), Blob, "one"), whole(testID(2), Blob, "two"), whole(testID(3), Blob, "three")})
	file := filepath.Join(dir, "pack", "pack-1.pack")
	pack, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n := range pack {
		if err := os.WriteFile(file, pack[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if seen, unread := walkAll(t, dir); len(unread) == 0 {
			t.Fatalf("cut to %d of %d bytes, and nothing is unread; handed out %q", n, len(pack), seen)
		}
	}
}

// TestSecondCopy damages an object that another pack has whole.
func TestSecondCopy(t *testing.T) {
	dir := writePack(t, []packed{{id: testID(1), raw: append(appendHeader(nil, Blob, 3), "broken"...)}, onName(testID(2), testID(1), 3, "!")})
	other := writePack(t, []packed{whole(testID(1), Blob, "one")})
	if err := os.MkdirAll(filepath.Join(dir, "info"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "info", "alternates"), []byte(other+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	seen, unread := walkAll(t, dir)
	if len(unread) != 0 || seen[testID(1).String()] != "one" || seen[testID(2).String()] != "one!" {
		t.Errorf("handed out %q, unread %q", seen, unread)
	}
}

// TestShrink cuts the file while it is mapped: an error, not a crash.
func TestShrink(t *testing.T) {
	var entries []packed
	for i := range 4000 {
		entries = append(entries, whole(testID(i), Blob, fmt.Sprint("object ", i)))
	}
	dir := writePack(t, entries)
	s, err := openStore(dir, 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Truncate(filepath.Join(dir, "pack", "pack-1.pack"), 50_000); err != nil {
		t.Fatal(err)
	}
	unread, err := s.Walk(t.Context(), 2, []Type{Blob}, new(Progress), func(int, Object) (bool, error) { return false, nil })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(unread, func(u Unread) bool { return strings.Contains(u.Reason, "shorter") }) {
		t.Errorf("%d unread, none because the file became shorter", len(unread))
	}
}

func TestWalkStops(t *testing.T) {
	var entries []packed
	for i := range 2000 {
		entries = append(entries, whole(testID(i), Blob, fmt.Sprint(i)))
	}
	s, err := openStore(writePack(t, entries), 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wrong := fmt.Errorf("enough")
	if _, err := s.Walk(t.Context(), 4, []Type{Blob}, new(Progress), func(int, Object) (bool, error) { return false, wrong }); err != wrong {
		t.Errorf("error is %v, want the visitor's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Walk(ctx, 4, []Type{Blob}, new(Progress), func(int, Object) (bool, error) { cancel(); return false, nil }); err != context.Canceled {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}
