package objects

import (
	"iter"
	"runtime/debug"
	"slices"
	"sync/atomic"

	conciter "github.com/sourcegraph/conc/iter"
)

// none is the number of no entry.
const none = ^uint32(0)

// A forest is how the entries of a pack are built from each other: every delta
// hangs under its base. Entries are numbered in the order of their offsets.
type forest struct {
	pack    *pack
	child   []uint32 // child[i] is the child of i with most entries under it, or none
	sibling []uint32 // sibling[i] is another child of i's base, or none
	roots   []uint32 // entries that are no deltas, of the types asked for, in order

	// orphans cannot be built from this pack alone: their header or that of an
	// entry that they are built on is broken, a base is elsewhere, or following
	// the bases leads in a circle.
	orphans []uint32
}

// What stands in the place of a base's number.
const (
	wanted   = none     // is no delta, and of a type asked for
	unwanted = none - 1 // is no delta, and of another type
	baseless = none - 2 // cannot be built
)

// plant reads the header of every entry of the pack and returns its forest.
func plant(p *pack, types []Type, jobs int) *forest {
	bases, byName := readBases(p, types, jobs)
	n := len(bases)
	f := &forest{pack: p, child: make([]uint32, n), sibling: make([]uint32, n)}
	for i := range n {
		f.child[i], f.sibling[i] = none, none
	}
	// From behind, because a base at an offset stands before its deltas: an
	// entry's weight is known when it is hung. (A base by name may stand
	// behind; then the order of siblings is only less good.)
	weight := make([]uint32, n)
	orphaned := byName
	for i := n - 1; i >= 0; i-- {
		weight[i]++
		switch base := bases[i]; base {
		case wanted:
			f.roots = append(f.roots, uint32(i))
		case unwanted:
		case baseless:
			orphaned = true
		default:
			weight[base] += weight[i]
			switch first := f.child[base]; {
			case first == none:
				f.child[base] = uint32(i)
			case weight[i] > weight[first]:
				f.child[base], f.sibling[i] = uint32(i), first
			default:
				f.sibling[i], f.sibling[first] = f.sibling[first], uint32(i)
			}
		}
	}
	slices.Reverse(f.roots)
	if orphaned {
		f.orphans = f.unreached(bases)
	}
	return f
}

// readBases returns the number of each entry's base, and whether any delta
// names its base instead of saying where it is.
func readBases(p *pack, types []Type, jobs int) (bases []uint32, byName bool) {
	// The headers are scattered over the whole pack, so reading them is mostly
	// waiting for memory: worth all workers.
	bases = make([]uint32, len(p.offsets))
	size := len(bases)/jobs + 1
	var saw atomic.Bool
	chunks := slices.Collect(slices.Chunk(bases, size))
	conciter.Iterator[[]uint32]{MaxGoroutines: jobs}.ForEachIdx(chunks, func(n int, chunk *[]uint32) {
		for i := range *chunk {
			(*chunk)[i] = baseless // what a fault leaves behind
		}
		debug.SetPanicOnFault(true)
		defer recoverFault(new(error)) // the walk meets it again, entry by entry
		for i := range *chunk {
			(*chunk)[i] = readBase(p, n*size+i, types, &saw)
		}
	})
	return bases, saw.Load()
}

func readBase(p *pack, entry int, types []Type, byName *atomic.Bool) uint32 {
	h, err := p.header(entry)
	if err != nil {
		return baseless
	}
	switch h.typ {
	case refDelta:
		byName.Store(true)
		fallthrough
	case ofsDelta:
		if base, ok := p.baseEntry(entry, h); ok {
			return uint32(base)
		}
		return baseless
	}
	if slices.Contains(types, h.typ) {
		return wanted
	}
	return unwanted
}

// unreached returns the entries that hang under no root.
func (f *forest) unreached(bases []uint32) []uint32 {
	reached := make([]bool, len(bases))
	for i, base := range bases {
		if base == wanted || base == unwanted {
			for entry := range f.under(uint32(i)) {
				reached[entry] = true
			}
		}
	}
	var found []uint32
	for i, ok := range reached {
		if !ok {
			found = append(found, uint32(i))
		}
	}
	return found
}

// under yields an entry and all that hang under it. It must hang under a root.
func (f *forest) under(entry uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		stack := []uint32{entry}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if !yield(i) {
				return
			}
			for c := f.child[i]; c != none; c = f.sibling[c] {
				stack = append(stack, c)
			}
		}
	}
}
