package objects

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sourcegraph/conc/pool"
)

// The walk.
//
// Most objects of a pack are deltas: instructions to build them from another
// object. Resolving them one object at a time unpacks the same bases over and
// over. So the walk goes the other way: a root is inflated once, each delta on
// it is applied while the root is in memory, then the deltas on those, and
// nothing is ever unpacked twice. That is a walk through the trees of a
// forest, in depth, with a stack of its own (chains may be thousands deep).
//
// Memory is what the stack still needs. Of an entry's children the one with
// most under it is built last, when its base is of no further use: so at most
// one buffer for each halving of the tree is alive, not one for each level.
//
// Workers take roots in the order of the pack, so that it is read from front
// to back. One that runs out is given the bottom of another's stack, the
// largest part of what that one still has to do, or a part of it.
//
// What a delta copies has been handed out with its base, so a visitor that
// looks for something may look at the new spans only, unless the base held
// what it looks for: then the object that copied it holds it, too. So a visitor
// reports a hit, and what hangs under a hit is handed out as wholly new.

// A Visitor is called with each object, by worker numbers from 0 up to, but
// not including, the number of jobs: never at the same time with the same
// number. It reports whether the object is a hit; an error ends the walk.
type Visitor func(worker int, o Object) (hit bool, err error)

// Walk hands out every object of the given types once, in no certain order,
// with jobs workers. It returns what could not be read; the error is the
// visitor's or the context's.
func (s *Store) Walk(ctx context.Context, jobs int, types []Type, progress *Progress, visit Visitor) ([]Unread, error) {
	w := &walk{store: s, types: types, visit: visit, progress: progress, jobs: jobs, unread: slices.Clone(s.unread)}
	w.wake.L = &w.mu
	for i, p := range s.packs {
		f := plant(p, types, jobs)
		w.forests = append(w.forests, f)
		w.covered = append(w.covered, s.covered(i))
		for _, entry := range f.orphans {
			w.failed = append(w.failed, p.id(int(entry)))
		}
	}
	stop := context.AfterFunc(ctx, func() { // wake those that wait for work
		w.mu.Lock()
		defer w.mu.Unlock()
		w.wake.Broadcast()
	})
	defer stop()
	workers := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for i := range jobs {
		workers.Go(func(ctx context.Context) error { return (&worker{walk: w, number: i}).run(ctx) })
	}
	err := workers.Wait()
	if err == nil {
		err = w.retry(ctx)
	}
	return w.unread, err
}

// Progress counts what a walk has done. It may be read at any time.
type Progress struct {
	Objects atomic.Int64 // handed out
	Packed  atomic.Int64 // bytes of the packs that are done with
}

type walk struct {
	store    *Store
	types    []Type
	visit    Visitor
	progress *Progress
	jobs     int
	forests  []*forest
	covered  [][]bool // by forest, then by index position; nil: none

	nextRoot  atomic.Int64 // over the roots of all forests, one after the other
	nextLoose atomic.Int64
	hungry    atomic.Int32 // workers that wait for a gift

	mu     sync.Mutex
	wake   sync.Cond
	gifts  []task
	ended  bool // by an error
	unread []Unread
	failed []ID // tried again elsewhere at the end
}

// A task is to build the children of an entry: those from next on in the list
// of siblings, and then first, which has most under it. It owns its base.
type task struct {
	forest      int
	first, next uint32
	base        buffer
}

// A buffer is an unpacked object on which others are built.
type buffer struct {
	data []byte
	typ  Type

	// unsearched says that what is copied from it must be handed out as new:
	// it was a hit, or has not been handed out.
	unsearched bool
}

type worker struct {
	*walk
	number int
	stack  []task
	z      inflater
	delta  []byte // the instructions being applied
	spans  []Span // of the object being handed out
	free   freeList
}

// run works until nothing is left to do for any worker.
func (w *worker) run(ctx context.Context) (err error) {
	// A mapped file that shrinks under us must be an error, not a crash: of the
	// object where a pack was read, of the walk where an index was.
	debug.SetPanicOnFault(true)
	defer func() {
		if err != nil {
			w.end()
		}
	}()
	defer recoverFault(&err)
	for ctx.Err() == nil {
		more, err := w.step()
		if err != nil {
			return err
		}
		if !more && !w.wait(ctx) {
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// step does one piece of work, and reports whether there was any.
func (w *worker) step() (bool, error) {
	if n := len(w.stack); n > 0 {
		if w.hungry.Load() > 0 {
			w.give()
		}
		return true, w.child()
	}
	if f, entry, ok := w.root(); ok {
		return true, w.build(f, entry, nil)
	}
	if i := w.nextLoose.Add(1) - 1; i < int64(len(w.store.loose)) {
		return true, w.loose(int(i))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(), nil
}

// root returns the next root that nobody has taken.
func (w *worker) root() (forest int, entry uint32, ok bool) {
	n := w.nextRoot.Add(1) - 1
	for i, f := range w.forests {
		if n < int64(len(f.roots)) {
			return i, f.roots[n], true
		}
		n -= int64(len(f.roots))
	}
	return 0, 0, false
}

// give puts work where a hungry worker finds it: the bottom of the stack, or,
// where that is all there is, the heaviest child of it with a copy of the base.
func (w *worker) give() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.gifts) >= int(w.hungry.Load()) {
		return
	}
	gift := w.stack[0]
	switch t := &w.stack[0]; {
	case len(w.stack) > 1:
		w.stack = slices.Delete(w.stack, 0, 1)
	case t.next != none:
		gift.next = none
		gift.base.data = w.free.get(len(t.base.data))
		copy(gift.base.data, t.base.data)
		t.first, t.next = t.next, w.forests[t.forest].sibling[t.next]
	default:
		return // one chain cannot be shared
	}
	w.gifts = append(w.gifts, gift)
	w.wake.Signal()
}

// take moves a gift to the stack. The caller holds mu.
func (w *worker) take() bool {
	n := len(w.gifts)
	if n == 0 {
		return false
	}
	w.stack = append(w.stack, w.gifts[n-1])
	w.gifts = w.gifts[:n-1]
	return true
}

// wait waits for a gift. It returns false when every worker waits, or when the
// walk has ended: then there is nothing more to do.
func (w *worker) wait(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int(w.hungry.Add(1)) == w.jobs {
		w.wake.Broadcast()
	}
	for !w.take() {
		if int(w.hungry.Load()) == w.jobs || w.ended || ctx.Err() != nil {
			return false // and stays hungry, so that the others see it, too
		}
		w.wake.Wait()
	}
	w.hungry.Add(-1)
	return true
}

func (w *worker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.wake.Broadcast()
}

// child builds the next child of the task on top of the stack.
func (w *worker) child() error {
	top := len(w.stack) - 1
	t := &w.stack[top]
	if entry := t.next; entry != none {
		t.next = w.forests[t.forest].sibling[entry]
		base := t.base // the stack may move
		return w.build(t.forest, entry, &base)
	}
	last := *t
	w.stack[top] = task{}
	w.stack = w.stack[:top]
	err := w.build(last.forest, last.first, &last.base)
	w.free.put(last.base.data)
	return err
}

// build unpacks an entry, hands it out, and puts its children on the stack.
// Base is nil for a root.
func (w *worker) build(forest int, entry uint32, base *buffer) error {
	f := w.forests[forest]
	first := f.child[entry]
	covered := w.covered[forest] != nil && w.covered[forest][f.pack.pos[entry]]
	if covered && first == none {
		return nil
	}
	if base == nil && first == none && w.store.maxObject > 0 {
		if h, err := f.pack.header(int(entry)); err == nil {
			if err := w.checkLimit(h.typ, h.size); err != nil {
				w.skip(Unread{f.pack.id(int(entry)).String(), err.Error()})
				return nil // without unpacking it for nobody
			}
		}
	}
	b, err := w.unpack(f.pack, int(entry), base)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		for e := range f.under(entry) {
			w.failed = append(w.failed, f.pack.id(int(e)))
		}
		return nil
	}
	b.unsearched = true
	if !covered {
		pos := f.pack.pos[entry]
		o := Object{ID: f.pack.index.id(int(pos)), Ordinal: f.pack.base + pos, Type: b.typ, Data: b.data, New: w.spans}
		if base == nil || base.unsearched {
			o.New = nil
		}
		if b.unsearched, err = w.handOut(o); err != nil {
			return err
		}
	}
	if first == none {
		w.free.put(b.data)
		return nil
	}
	w.stack = append(w.stack, task{forest, first, f.sibling[first], b})
	return nil
}

// unpack builds an entry, and fills w.spans if it is a delta on base.
func (w *worker) unpack(p *pack, entry int, base *buffer) (b buffer, err error) {
	defer recoverFault(&err)
	h, err := p.checked(entry)
	if err != nil {
		return buffer{}, err
	}
	w.progress.Packed.Add(int64(len(h.body)))
	if base == nil {
		b = buffer{data: w.free.get(int(h.size)), typ: h.typ}
		return b, w.z.inflate(b.data, h.body)
	}
	w.delta = slices.Grow(w.delta[:0], int(h.size))[:h.size]
	if err := w.z.inflate(w.delta, h.body); err != nil {
		return buffer{}, err
	}
	ops, size, err := checkDelta(w.delta, len(base.data))
	if err != nil {
		return buffer{}, err
	}
	b = buffer{data: w.free.get(size), typ: base.typ}
	w.spans, err = applyDelta(b.data, base.data, ops, w.spans[:0])
	return b, err
}

// handOut visits an object, and reports whether what copies from it must be
// handed out as new.
func (w *worker) handOut(o Object) (unsearched bool, err error) {
	if err := w.checkLimit(o.Type, uint64(len(o.Data))); err != nil {
		w.skip(Unread{o.ID.String(), err.Error()})
		return true, nil
	}
	w.progress.Objects.Add(1)
	return w.visit(w.number, o)
}

func (w *walk) skip(u Unread) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread = append(w.unread, u)
}

func (w *worker) loose(number int) error {
	l := w.store.loose[number]
	typ, data, err := w.z.loose(l.file, func(typ Type, size uint64) error {
		if !slices.Contains(w.types, typ) {
			return errUnwanted
		}
		return w.checkLimit(typ, size)
	})
	switch {
	case err == errUnwanted:
		return nil
	case err != nil:
		w.skip(Unread{l.id.String(), plain(err)})
		return nil
	}
	_, err = w.handOut(Object{ID: l.id, Ordinal: w.store.packed + uint32(number), Type: typ, Data: data})
	return err
}

var errUnwanted = errors.New("not of a type that was asked for")

// An overLimit says that an object was left out for its size.
type overLimit struct {
	size  uint64
	limit int64
}

func (e overLimit) Error() string {
	return fmt.Sprintf("its %d bytes are over the limit of %d", e.size, e.limit)
}

// checkLimit returns an overLimit for a blob that is too large to be handed
// out. Commits, trees and tags are what places are found by, and have no limit.
func (w *walk) checkLimit(typ Type, size uint64) error {
	if limit := w.store.maxObject; limit > 0 && typ == Blob && size > uint64(limit) {
		return overLimit{size, limit}
	}
	return nil
}

// retry hands out from elsewhere what failed in its pack.
func (w *walk) retry(ctx context.Context) error {
	slices.SortFunc(w.failed, ID.Compare)
	last := &worker{walk: w}
	r := newReader(w.store) // one for all, because it remembers what is bad
	for _, id := range slices.Compact(w.failed) {
		if err := ctx.Err(); err != nil {
			return err
		}
		typ, data, err := r.read(id)
		if err != nil {
			w.skip(Unread{id.String(), plain(err)})
			continue
		}
		if !slices.Contains(w.types, typ) {
			continue
		}
		ordinal, _ := w.store.Ordinal(id)
		if _, err := last.handOut(Object{ID: id, Ordinal: ordinal, Type: typ, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// covered returns which positions of a pack hold objects that an earlier pack
// has, nil if there are no earlier ones.
func (s *Store) covered(number int) []bool {
	if number == 0 {
		return nil
	}
	x := s.packs[number].index
	covered := make([]bool, x.count)
	for pos := range covered {
		covered[pos] = slices.ContainsFunc(s.packs[:number], func(earlier *pack) bool {
			_, ok := earlier.index.find(x.name(pos))
			return ok
		})
	}
	return covered
}

// A freeList keeps buffers for reuse, by the power of two that their capacity
// is: only what get returned may be put.
type freeList struct {
	lists [bits.UintSize][][]byte
	held  int // bytes
}

// maxHeld bounds the bytes that one worker keeps for reuse.
const maxHeld = 16 << 20

func (l *freeList) get(size int) []byte {
	class := bits.Len(uint(max(size, 64) - 1))
	if n := len(l.lists[class]); n > 0 {
		b := l.lists[class][n-1]
		l.lists[class] = l.lists[class][:n-1]
		l.held -= cap(b)
		return b[:size]
	}
	return make([]byte, size, 1<<class)
}

func (l *freeList) put(b []byte) {
	if l.held+cap(b) > maxHeld {
		return
	}
	class := bits.Len(uint(cap(b) - 1))
	l.lists[class] = append(l.lists[class], b)
	l.held += cap(b)
}
