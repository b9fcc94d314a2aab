package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// A Store is a git object database: packs and loose objects of one or more
// object directories. It is safe for concurrent use.
//
// Every object has an ordinal, by which large tables know it: first come the
// objects of the packs, pack by pack in the order of the index, then the loose
// ones in the order of their ids. An object that stands in several places is
// read from the first.
type Store struct {
	hashLen   int
	maxObject int64
	packs     []*pack
	loose     []looseObject // sorted by id, none that a pack has
	spare     []looseObject // sorted by id, those that a pack has: it may be damaged
	packed    uint32        // number of ordinals in packs
	unread    []Unread      // found while opening
	readers   sync.Pool     // of *reader
}

type looseObject struct {
	id   ID
	file string
}

// maxAlternates bounds how long a chain of alternates is followed, as git
// does.
const maxAlternates = 6

// openStore opens the object directory and its alternates. Objects have names
// of hashLen bytes; blobs larger than maxObject are not handed out (0: no
// limit). What cannot be opened is kept as unread; that the directory itself
// cannot be read is an error.
func openStore(dir string, hashLen int, maxObject int64) (*Store, error) {
	s := &Store{hashLen: hashLen, maxObject: maxObject}
	s.readers.New = func() any { return newReader(s) }
	if _, err := os.ReadDir(dir); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	s.addDir(dir, seen, 0)
	for _, p := range s.packs {
		p.base = s.packed
		s.packed += uint32(p.index.count)
	}
	slices.SortFunc(s.loose, func(a, b looseObject) int { return a.id.Compare(b.id) })
	s.loose = slices.CompactFunc(s.loose, func(a, b looseObject) bool { return a.id == b.id })
	all := s.loose
	s.loose = nil
	for _, o := range all {
		if _, _, ok := s.findPacked(o.id); ok {
			s.spare = append(s.spare, o)
		} else {
			s.loose = append(s.loose, o)
		}
	}
	return s, nil
}

// Close releases the mapped files. No data handed out before may be used after.
func (s *Store) Close() error {
	var errs []error
	for _, p := range s.packs {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

func (s *Store) skip(object string, err error) {
	s.unread = append(s.unread, Unread{object, plain(err)})
}

// plain returns the message of err without the operation and the path of a
// file: an Unread names its object itself.
func plain(err error) string {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func (s *Store) addDir(dir string, seen map[string]bool, depth int) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if seen[dir] {
		return
	}
	seen[dir] = true
	s.addPacks(filepath.Join(dir, "pack"))
	s.addLoose(dir)
	s.addAlternates(dir, seen, depth)
}

func (s *Store) addPacks(dir string) {
	files, err := os.ReadDir(dir) // in the order of names, so ordinals do not depend on chance
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.skip("objects/pack", err)
		}
		return
	}
	names := map[string]bool{}
	for _, f := range files {
		names[f.Name()] = true
	}
	for _, f := range files {
		name := f.Name()
		switch stem, ext := strings.TrimSuffix(name, filepath.Ext(name)), filepath.Ext(name); {
		case ext == ".idx":
			p, err := openPack(filepath.Join(dir, name), s.hashLen)
			if err != nil {
				s.skip("objects/pack/"+name, err)
				continue
			}
			if what := p.damage(); what != "" {
				s.skip("objects/pack/"+p.name, errors.New(what))
			}
			s.packs = append(s.packs, p)
		case ext == ".pack" && !names[stem+".idx"]:
			s.skip("objects/pack/"+name, errors.New("it has no index; make one with: git index-pack"))
		}
	}
}

func (s *Store) addLoose(dir string) {
	for i := range 256 {
		sub := fmt.Sprintf("%02x", i)
		files, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.skip("objects/"+sub, err)
			}
			continue
		}
		for _, f := range files {
			if id, ok := ParseID(sub + f.Name()); ok && len(id.Bytes()) == s.hashLen {
				s.loose = append(s.loose, looseObject{id, filepath.Join(dir, sub, f.Name())})
			}
		}
	}
}

func (s *Store) addAlternates(dir string, seen map[string]bool, depth int) {
	const file = "objects/info/alternates"
	list, err := os.ReadFile(filepath.Join(dir, "info", "alternates"))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.skip(file, err)
		}
		return
	}
	for line := range strings.Lines(string(list)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		other := line
		if unquoted, err := strconv.Unquote(line); err == nil { // as git quotes odd names
			other = unquoted
		}
		if !filepath.IsAbs(other) {
			other = filepath.Join(dir, other)
		}
		if depth == maxAlternates {
			s.skip(file, fmt.Errorf("more than %d alternates follow each other, and git itself stops there: %s", maxAlternates, line))
			continue
		}
		if _, err := os.ReadDir(other); err != nil {
			s.skip(file, fmt.Errorf("the alternate %s: %s", line, plain(err)))
			continue
		}
		s.addDir(other, seen, depth+1)
	}
}

// Len returns the number of ordinals: at least that of distinct objects.
func (s *Store) Len() int { return int(s.packed) + len(s.loose) }

// findPacked returns the first pack that has the object, and where.
func (s *Store) findPacked(id ID) (p *pack, pos int, ok bool) {
	for _, p := range s.packs {
		if pos, ok := p.index.find(id.Bytes()); ok {
			return p, pos, true
		}
	}
	return nil, 0, false
}

// Ordinal returns the ordinal of the object, and whether the store has it.
func (s *Store) Ordinal(id ID) (uint32, bool) {
	if p, pos, ok := s.findPacked(id); ok {
		return p.base + uint32(pos), true
	}
	i, ok := findLoose(s.loose, id)
	return s.packed + uint32(i), ok
}

func findLoose(list []looseObject, id ID) (int, bool) {
	return slices.BinarySearchFunc(list, id, func(o looseObject, id ID) int { return o.id.Compare(id) })
}

// An ordinalCache remembers ordinals by id. It is used by one goroutine.
// Versions of a tree share most of their entries, so most questions are asked
// again soon.
type ordinalCache [1 << 13]struct {
	id      ID
	ordinal uint32
}

// ordinal is [Store.Ordinal] for the bytes of an id.
func (c *ordinalCache) ordinal(s *Store, name []byte) (uint32, bool) {
	slot := &c[(int(name[0])|int(name[1])<<8)%len(c)]
	if bytes.Equal(slot.id.Bytes(), name) {
		return slot.ordinal, true
	}
	id := NewID(name)
	n, ok := s.Ordinal(id)
	if ok {
		slot.id, slot.ordinal = id, n
	}
	return n, ok
}

// ID returns the id of the object with the ordinal.
func (s *Store) ID(ordinal uint32) ID {
	if ordinal >= s.packed {
		return s.loose[ordinal-s.packed].id
	}
	i, _ := slices.BinarySearchFunc(s.packs, ordinal, func(p *pack, n uint32) int {
		if n < p.base {
			return 1
		} else if n >= p.base+uint32(p.index.count) {
			return -1
		}
		return 0
	})
	return s.packs[i].index.id(int(ordinal - s.packs[i].base))
}

var errMissing = errors.New("object is missing")

// Read returns the type and the content of one object. The data belong to the
// caller. An object that fails in one place is tried in the next.
func (s *Store) Read(id ID) (Type, []byte, error) {
	r := s.readers.Get().(*reader)
	defer s.readers.Put(r)
	clear(r.bad)
	return r.read(id)
}

// A reader reads single objects by resolving their chains of deltas. It is
// used by one goroutine.
type reader struct {
	store *Store
	z     inflater
	bad   map[ID]error // objects that were tried in every place
	steps int          // entries that were looked at for the object asked for
}

func newReader(s *Store) *reader { return &reader{store: s, bad: map[ID]error{}} }

// maxReadSteps bounds how many entries one object may be built of: packs can be
// made so that following all copies of all bases takes for ever. git makes
// chains of up to 4,095 deltas.
const maxReadSteps = 20_000

var errSteps = errors.New("its deltas lead in a circle, or through more than 20,000 objects")

// read returns an object, and remembers those that cannot be read.
func (r *reader) read(id ID) (typ Type, data []byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverFault(&err)
	r.steps = 0
	return r.anywhere(id)
}

// anywhere reads an object from the first place where it can be read.
func (r *reader) anywhere(id ID) (Type, []byte, error) {
	err, known := r.bad[id]
	if known {
		return 0, nil, err
	}
	err = errMissing
	for _, p := range r.store.packs {
		pos, ok := p.index.find(id.Bytes())
		if !ok {
			continue
		}
		if entry, ok := p.entryOf(pos); ok {
			typ, data, packedErr := r.packed(p, entry)
			if packedErr == nil {
				return typ, data, nil
			}
			if err == errMissing {
				err = packedErr
			}
		}
	}
	for _, list := range [][]looseObject{r.store.loose, r.store.spare} {
		i, ok := findLoose(list, id)
		if !ok {
			continue
		}
		typ, data, looseErr := r.z.loose(list[i].file, func(Type, uint64) error { return nil })
		if looseErr == nil {
			return typ, data, nil
		}
		if err == errMissing {
			err = looseErr
		}
	}
	r.bad[id] = err
	return 0, nil, err
}

// packed builds the object of an entry.
func (r *reader) packed(p *pack, entry int) (Type, []byte, error) {
	if r.steps++; r.steps > maxReadSteps {
		return 0, nil, errSteps
	}
	h, err := p.checked(entry)
	if err != nil {
		return 0, nil, err
	}
	body := make([]byte, h.size)
	if err := r.z.inflate(body, h.body); err != nil {
		return 0, nil, err
	}
	if h.typ != ofsDelta && h.typ != refDelta {
		return h.typ, body, nil
	}
	typ, base, err := r.base(p, entry, h)
	if err != nil {
		return 0, nil, err
	}
	ops, size, err := checkDelta(body, len(base))
	if err != nil {
		return 0, nil, err
	}
	data := make([]byte, size)
	if _, err := applyDelta(data, base, ops, nil); err != nil {
		return 0, nil, err
	}
	return typ, data, nil
}

// base returns what the delta at an entry is built on: from the same pack, or
// else from wherever it can be read.
func (r *reader) base(p *pack, entry int, h header) (Type, []byte, error) {
	id := NewID(h.baseName)
	if base, ok := p.baseEntry(entry, h); ok {
		id = p.id(base)
		if _, bad := r.bad[id]; !bad {
			if typ, data, err := r.packed(p, base); err == nil || err == errSteps {
				return typ, data, err
			}
		}
	} else if h.typ == ofsDelta {
		return 0, nil, errors.New("its base is not in the pack")
	}
	typ, data, err := r.anywhere(id)
	if err != nil && !errors.Is(err, errSteps) {
		err = baseError{id, err}
	}
	return typ, data, err
}

// A baseError says that an object cannot be built because its base, or a base
// of that, cannot be read.
type baseError struct {
	id  ID
	err error
}

func (e baseError) Error() string {
	if inner, ok := e.err.(baseError); ok { // the one at the bottom says it all
		return inner.Error()
	}
	return fmt.Sprintf("its base %s: %v", e.id, e.err)
}

// loose reads a loose object, unless accept, which sees its type and size
// before it is unpacked, returns an error. Its checksum is verified.
func (f *inflater) loose(file string, accept func(Type, uint64) error) (Type, []byte, error) {
	if info, err := os.Lstat(file); err != nil {
		return 0, nil, err
	} else if !info.Mode().IsRegular() {
		return 0, nil, errors.New("not a regular file")
	} else if info.Size() > maxObjectSize {
		return 0, nil, errTooLarge
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return 0, nil, err
	}
	f.src.Reset(src)
	if f.checked == nil {
		f.checked, err = zlib.NewReader(&f.src)
	} else {
		err = f.checked.(zlib.Resetter).Reset(&f.src, nil)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("inflate: %w", noEOF(err))
	}
	typ, size, err := looseHeader(f.checked)
	if err != nil {
		return 0, nil, err
	}
	if err := checkSize(size, len(src)); err != nil {
		return 0, nil, err
	}
	if err := accept(typ, size); err != nil {
		return 0, nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f.checked, data); err != nil {
		return 0, nil, fmt.Errorf("inflate: %w", noEOF(err))
	}
	switch n, err := f.checked.Read(make([]byte, 1)); {
	case n > 0:
		return 0, nil, errors.New("inflate: longer than its header claims")
	case err != nil && err != io.EOF: // a wrong checksum among them
		return 0, nil, fmt.Errorf("inflate: %w", err)
	}
	return typ, data, nil
}

// looseHeader reads "blob 123\x00".
func looseHeader(r io.Reader) (Type, uint64, error) {
	var b [32]byte
	for i := range b {
		if _, err := io.ReadFull(r, b[i:i+1]); err != nil {
			return 0, 0, fmt.Errorf("inflate: %w", noEOF(err))
		}
		if b[i] != 0 {
			continue
		}
		name, digits, _ := strings.Cut(string(b[:i]), " ")
		typ, ok := parseType(name)
		size, err := strconv.ParseUint(digits, 10, 63)
		if !ok || err != nil {
			break
		}
		return typ, size, nil
	}
	return 0, 0, errors.New("loose object has a malformed header")
}
