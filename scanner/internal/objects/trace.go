package objects

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The trace.
//
// Which commit brought a blob is not written in the blob: it follows from the
// commits, their trees, and the trees in those. It is only asked for the few
// objects that matched, and answered in one pass over commits and trees,
// whatever their number:
//
//  1. The pass keeps, of each tree, which trees are in it and which of the
//     objects asked for; of each commit, its tree, parents and time.
//  2. From the trees that hold what is asked for, up: which trees lead there.
//     All others are forgotten.
//  3. Each commit's tree is compared with its parents', going only where
//     something is that is asked for and that no parent has just so. What is
//     left are the commits that brought a key to a path.
//  4. Of these, those that come after none of the others, and of these, the
//     earliest.

// A Hit is an object that holds something to be traced.
type Hit struct {
	ID     ID
	Key    int // what it holds, as a number from 0; several objects may hold the same
	Offset int // where in the object
}

// A Place is where a hit stands.
type Place struct {
	Hit     int // index into the hits asked for
	Kind    PlaceKind
	Commit  ID     // the first that has it there; zero where none has
	Path    string // from the root of the tree, or the name of a ref
	Object  ID     // that holds it: the blob, or what a name is the name of
	Column  int    // for Name: where in Path it begins, from 1
	Author  string // of the commit
	Time    time.Time
	Present bool // HEAD has it at the same path
}

// A PlaceKind says what sort of place it is.
type PlaceKind byte

// The kinds of places.
const (
	Unreachable PlaceKind = iota // no ref, HEAD or index leads there
	File
	Note       // in the tree of a notes ref
	Name       // in the name of a file, directory or ref
	Index      // in the index only
	Message    // of a commit
	Header     // of a commit or a tag
	TagMessage // of an annotated tag
)

// Trace returns where the hits stand: of each key, one place per path, the
// first commit whose file there holds it; of each object that nothing leads
// to, one place. The order is not defined. It also returns what could not be
// read on the way.
func (r *Repository) Trace(ctx context.Context, jobs int, hits []Hit) ([]Place, []Unread, error) {
	t := &trace{
		repo: r, store: r.store, hits: hits, wanted: map[ID][]int{}, workers: make([]traceWorker, jobs),
		reached: make([]bool, len(hits)), pairs: map[pair][]intro{}, strays: map[int][]intro{}, authors: map[uint32]commit{},
	}
	for i, h := range hits {
		t.wanted[h.ID] = append(t.wanted[h.ID], i)
		if b := h.ID.Bytes(); len(b) > 1 {
			t.filter[b[0]] |= 1 << (b[1] & 63)
		}
	}
	unread, err := r.store.Walk(ctx, jobs, []Type{Commit, Tree, Tag}, new(Progress), t.visit)
	if err != nil {
		return nil, unread, err
	}
	t.sortCommits()
	t.buildTrees()
	t.reach()
	if err := t.introduce(ctx); err != nil {
		return nil, unread, err
	}
	t.staged()
	t.first()
	t.texts()
	t.lost()
	if t.cut {
		unread = append(unread, Unread{"history", fmt.Sprintf("directories are deeper than %d: what is below was not followed", maxDepth)})
	}
	if t.overflows() {
		unread = append(unread, Unread{"history", "the keys stand in too many places, or below too many paths: not all of them were followed"})
	}
	return t.places, unread, nil
}

// A tree of a few hundred bytes can have billions of paths. So the comparison
// of commits ends after so many trees visited, or so many times that a commit
// brought a key to a path.
const (
	maxSteps  = 1 << 26
	maxIntros = 1 << 17
)

// maxDepth bounds how deep directories are followed. A path of git's has at
// most 4,096 bytes on most systems.
const maxDepth = 4096

type trace struct {
	repo    *Repository
	store   *Store
	hits    []Hit
	wanted  map[ID][]int
	filter  [256]uint64 // by the first byte of a wanted id, six bits of the second
	workers []traceWorker

	commits []traceCommit    // sorted by ordinal
	nodes   map[uint32]*node // by ordinal of the tree
	tags    map[ID]tracedTag
	tagRef  map[ID]string // reachable tags, with a ref that leads there

	reached []bool // by hit: a ref, HEAD or index leads to its object, or it has a place
	pairs   map[pair][]intro
	strays  map[int][]intro // by hit: where unreachable commits have it
	steps   int             // trees compared
	intros  int             // in pairs and strays
	cut     bool            // a path was too deep to be followed

	authors map[uint32]commit // by ordinal
	places  []Place
}

// A traceWorker keeps what one worker of the pass has seen.
type traceWorker struct {
	trees   []traceTree
	edges   []edge
	names   []string
	nameOf  map[string]uint32
	holds   []treeHold
	commits []traceCommit
	texts   []textHit
	tags    []tracedTag
	cache   ordinalCache
}

// A traceTree is a tree and where its edges begin; they end where the next
// one's begin.
type traceTree struct {
	ordinal uint32
	edges   int
}

// An edge leads from a tree to one that is in it.
type edge struct{ child, name uint32 }

// A treeHold is an entry of a tree that holds hits.
type treeHold struct {
	tree uint32 // ordinal
	hold hold
}

type hold struct {
	name   string
	isName bool // it is the name that holds them
	object ID   // of the entry
	start  int  // where the name begins in the tree's data
	hits   []int
}

// A textHit is a hit in a commit or in a tag.
type textHit struct {
	hit     int
	kind    PlaceKind
	ordinal uint32
}

type traceCommit struct {
	ordinal uint32
	tree    uint32   // ordinal, or none
	when    int64    // of the committer
	parents []uint32 // ordinals at first, then indexes into commits
	state   reachability
}

type reachability byte

const (
	unreachable reachability = iota
	fromNotes                // from refs/notes only
	reachable
)

type tracedTag struct {
	ordinal uint32
	id      ID
	target  ID
	tagger  signature
}

// A node is a tree that leads to hits.
type node struct {
	subs  []sub  // sorted by name
	holds []hold // sorted by name
}

type sub struct {
	name string
	node *node
}

// A pair is a key at a path.
type pair struct {
	key    int
	path   string
	isName bool
}

// An intro says that a commit brought a hit to a path: none of its parents has
// the key, or for strays the object, there.
type intro struct {
	commit int // index into commits, or noCommit
	hit    int
	dir    string // the path before the name, with its slash
	hold   *hold
}

func (i intro) path() string { return i.dir + i.hold.name }

// visit keeps what one object says.
func (t *trace) visit(number int, o Object) (hit bool, err error) {
	w := &t.workers[number]
	switch o.Type {
	case Tree:
		w.tree(t, o)
	case Commit:
		c, err := parseCommit(o.Data)
		if err != nil {
			break // listed as unread by the first walk
		}
		tc := traceCommit{ordinal: o.Ordinal, tree: none, when: c.committer.when}
		if n, ok := t.store.Ordinal(c.tree); ok {
			tc.tree = n
		}
		for _, p := range c.parents {
			if n, ok := t.store.Ordinal(p); ok {
				tc.parents = append(tc.parents, n)
			}
		}
		w.commits = append(w.commits, tc)
		w.text(t, o, Message)
	case Tag:
		target, tagger, err := parseTag(o.Data)
		if err != nil {
			break
		}
		w.tags = append(w.tags, tracedTag{o.Ordinal, o.ID, target, tagger})
		w.text(t, o, TagMessage)
	}
	return false, nil
}

// text keeps the hits in a commit or a tag.
func (w *traceWorker) text(t *trace, o Object, message PlaceKind) {
	for _, i := range t.wanted[o.ID] {
		kind := message
		if t.hits[i].Offset < MessageStart(o.Data) {
			kind = Header
		}
		w.texts = append(w.texts, textHit{i, kind, o.Ordinal})
	}
}

// tree keeps which trees and which hits are in a tree.
func (w *traceWorker) tree(t *trace, o Object) {
	w.trees = append(w.trees, traceTree{o.Ordinal, len(w.edges)})
	names := t.wanted[o.ID] // hits in the names of this tree
	hashLen := t.store.hashLen
	for at := 0; at < len(o.Data); {
		// Nearly all entries are files that nobody asks for: no more of them is
		// looked at than it takes to know that.
		end, ok := entryEnd(o.Data, at, hashLen)
		if !ok {
			return // listed as unread by the first walk
		}
		id := o.Data[end-hashLen : end]
		isFile := o.Data[at] == '1' // 100644, 120000, 160000
		if isFile && t.filter[id[0]]&(1<<(id[1]&63)) == 0 && names == nil {
			at = end
			continue
		}
		e, _, ok := nextEntry(o.Data[at:], hashLen)
		if !ok {
			return
		}
		for _, i := range names {
			if offset := t.hits[i].Offset; at <= offset && offset < end {
				w.holds = append(w.holds, treeHold{o.Ordinal, hold{
					name: string(e.name), isName: true, object: NewID(id), start: end - hashLen - 1 - len(e.name), hits: []int{i},
				}})
			}
		}
		switch e.mode {
		case modeTree:
			if child, ok := w.cache.ordinal(t.store, id); ok {
				w.edges = append(w.edges, edge{child, w.intern(e.name)})
			}
		case modeGitlink:
		default:
			if found := t.wanted[NewID(id)]; found != nil {
				w.holds = append(w.holds, treeHold{o.Ordinal, hold{name: string(e.name), object: NewID(id), hits: found}})
			}
		}
		at = end
	}
}

// intern returns the number of a name.
func (w *traceWorker) intern(name []byte) uint32 {
	if n, ok := w.nameOf[string(name)]; ok {
		return n
	}
	if w.nameOf == nil {
		w.nameOf = map[string]uint32{}
	}
	n := uint32(len(w.names))
	w.names = append(w.names, string(name))
	w.nameOf[w.names[n]] = n
	return n
}

// sortCommits brings the workers' commits together.
func (t *trace) sortCommits() {
	t.tags = map[ID]tracedTag{}
	for _, w := range t.workers {
		t.commits = append(t.commits, w.commits...)
		for _, tag := range w.tags {
			t.tags[tag.id] = tag
		}
	}
	slices.SortFunc(t.commits, func(a, b traceCommit) int { return cmp.Compare(a.ordinal, b.ordinal) })
	for i := range t.commits {
		c := &t.commits[i]
		known := c.parents[:0]
		for _, ordinal := range c.parents {
			if n, ok := t.commit(ordinal); ok {
				known = append(known, uint32(n))
			}
		}
		c.parents = known
	}
}

// commit returns the index of the commit with the ordinal.
func (t *trace) commit(ordinal uint32) (int, bool) {
	return slices.BinarySearchFunc(t.commits, ordinal, func(c traceCommit, n uint32) int { return cmp.Compare(c.ordinal, n) })
}

// buildTrees makes nodes of the trees that lead to hits.
func (t *trace) buildTrees() {
	leads := make([]bool, t.store.Len())
	for _, w := range t.workers {
		for _, h := range w.holds {
			leads[h.tree] = true
		}
	}
	for grown := true; grown; { // once for each level of directories
		grown = false
		for _, w := range t.workers {
			for i, tree := range w.trees {
				if !leads[tree.ordinal] && slices.ContainsFunc(w.edgesOf(i), func(e edge) bool { return leads[e.child] }) {
					leads[tree.ordinal], grown = true, true
				}
			}
		}
	}
	t.nodes = map[uint32]*node{}
	for ordinal, leads := range leads {
		if leads {
			t.nodes[uint32(ordinal)] = new(node)
		}
	}
	for _, w := range t.workers {
		for i, tree := range w.trees {
			n := t.nodes[tree.ordinal]
			if n == nil {
				continue
			}
			for _, e := range w.edgesOf(i) {
				if child := t.nodes[e.child]; child != nil {
					n.subs = append(n.subs, sub{w.names[e.name], child})
				}
			}
			slices.SortFunc(n.subs, func(a, b sub) int { return cmp.Compare(a.name, b.name) })
		}
		for _, h := range w.holds {
			n := t.nodes[h.tree]
			n.holds = append(n.holds, h.hold)
		}
	}
	for _, n := range t.nodes {
		slices.SortFunc(n.holds, func(a, b hold) int { return cmp.Compare(a.name, b.name) })
	}
}

func (w *traceWorker) edgesOf(tree int) []edge {
	end := len(w.edges)
	if tree+1 < len(w.trees) {
		end = w.trees[tree+1].edges
	}
	return w.edges[w.trees[tree].edges:end]
}

// sub returns the tree of that name in n, nil if there is none; n may be nil.
func (n *node) sub(name string) *node {
	if n == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(n.subs, name, func(s sub, name string) int { return cmp.Compare(s.name, name) })
	if !ok {
		return nil
	}
	return n.subs[i].node
}

// has reports whether n holds the same object under the same name.
func (n *node) has(h *hold) bool {
	i, _ := slices.BinarySearchFunc(n.holds, h.name, func(h hold, name string) int { return cmp.Compare(h.name, name) })
	for ; i < len(n.holds) && n.holds[i].name == h.name; i++ {
		if n.holds[i].isName == h.isName && n.holds[i].object == h.object {
			return true
		}
	}
	return false
}

// holding reports whether the entry of that name in n holds the key.
func (t *trace) holding(n *node, name string, isName bool, key int) bool {
	if n == nil {
		return false
	}
	i, _ := slices.BinarySearchFunc(n.holds, name, func(h hold, name string) int { return cmp.Compare(h.name, name) })
	for ; i < len(n.holds) && n.holds[i].name == name; i++ {
		if n.holds[i].isName == isName && slices.ContainsFunc(n.holds[i].hits, func(hit int) bool { return t.hits[hit].Key == key }) {
			return true
		}
	}
	return false
}

// reach marks the commits and tags that refs and HEADs lead to.
func (t *trace) reach() {
	t.tagRef = map[ID]string{}
	for _, state := range []reachability{reachable, fromNotes} {
		var stack []uint32
		for _, tip := range t.repo.tips {
			if tip.isNote() != (state == fromNotes) {
				continue
			}
			id := tip.ID
			for tag, ok := t.tags[id]; ok; tag, ok = t.tags[id] {
				if name, seen := t.tagRef[id]; seen && name <= tip.Name {
					break
				}
				t.tagRef[id] = tip.Name
				id = tag.target
			}
			ordinal, ok := t.store.Ordinal(id)
			if !ok {
				continue
			}
			if c, ok := t.commit(ordinal); ok {
				stack = append(stack, uint32(c))
			} else {
				t.direct(id, ordinal)
			}
		}
		for len(stack) > 0 {
			c := &t.commits[stack[len(stack)-1]]
			stack = stack[:len(stack)-1]
			if c.state == unreachable {
				c.state = state
				stack = append(stack, c.parents...)
			}
		}
	}
}

// noCommit stands for the commit where a ref leads to a tree itself.
const noCommit = -1

// direct keeps that a ref leads to a tree or to a blob without a commit.
func (t *trace) direct(id ID, ordinal uint32) {
	if n := t.nodes[ordinal]; n != nil {
		t.compare(noCommit, reachable, n, nil, "", 0)
	}
	for _, i := range t.wanted[id] {
		if _, isTag := t.tags[id]; !isTag && !t.reached[i] && t.nodes[ordinal] == nil {
			t.reached[i] = true
			t.places = append(t.places, Place{Hit: i, Kind: File, Object: id})
		}
	}
}

// introduce finds the commits that brought a key to a path.
func (t *trace) introduce(ctx context.Context) error {
	for i, c := range t.commits {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := t.nodes[c.tree]
		if n == nil {
			continue
		}
		parents := make([]*node, 0, len(c.parents))
		for _, p := range c.parents {
			if parent := t.nodes[t.commits[p].tree]; parent != nil {
				parents = append(parents, parent)
			}
		}
		t.compare(i, c.state, n, parents, "", 0)
	}
	return nil
}

// compare keeps what n, a tree of the commit at path dir, holds that none of
// the parents' trees at that path holds.
func (t *trace) compare(commit int, state reachability, n *node, parents []*node, dir string, depth int) {
	if t.steps++; t.overflows() || slices.Contains(parents, n) {
		return // what is in an unchanged tree was seen where it came from
	}
	if depth > maxDepth {
		t.cut = true
		return
	}
	for i := range n.holds {
		h := &n.holds[i]
		for _, hit := range h.hits {
			in := intro{commit, hit, dir, h}
			if state == unreachable {
				if !slices.ContainsFunc(parents, func(p *node) bool { return p.has(h) }) {
					t.strays[hit] = append(t.strays[hit], in)
					t.intros++
				}
				continue
			}
			t.reached[hit] = true
			key := t.hits[hit].Key
			if !slices.ContainsFunc(parents, func(p *node) bool { return t.holding(p, h.name, h.isName, key) }) {
				p := pair{key, in.path(), h.isName}
				t.pairs[p] = append(t.pairs[p], in)
				t.intros++
			}
		}
	}
	for _, s := range n.subs {
		var below []*node
		for _, p := range parents {
			if b := p.sub(s.name); b != nil {
				below = append(below, b)
			}
		}
		t.compare(commit, state, s.node, below, dir+s.name+"/", depth+1)
	}
}

func (t *trace) overflows() bool { return t.steps > maxSteps || t.intros > maxIntros }

// earlier compares two intros by committer time, then by id, then by path.
func (t *trace) earlier(a, b intro) int {
	return cmp.Or(
		cmp.Compare(t.commits[a.commit].when, t.commits[b.commit].when),
		t.store.ID(t.commits[a.commit].ordinal).Compare(t.store.ID(t.commits[b.commit].ordinal)),
		cmp.Compare(a.path(), b.path()),
	)
}

// first places each pair where it was first, and each stray.
func (t *trace) first() {
	var groups [][]intro
	var pairs []pair
	for p, intros := range t.pairs {
		groups = append(groups, intros)
		pairs = append(pairs, p)
	}
	var hits []int
	for hit, intros := range t.strays {
		if !t.reached[hit] {
			groups = append(groups, intros)
			hits = append(hits, hit)
		}
	}
	for i, in := range t.earliest(groups) {
		if i < len(pairs) {
			t.place(pairs[i], in)
		} else {
			t.placeStray(hits[i-len(pairs)], in)
		}
	}
}

// earliest returns the first intro of each group: by the graph, then by
// committer time, then by id.
func (t *trace) earliest(groups [][]intro) []intro {
	best := make([]intro, len(groups))
	var several []int
	for i, g := range groups {
		best[i] = g[0]
		g = slices.DeleteFunc(slices.Clone(g), func(in intro) bool { return in.commit == noCommit })
		if len(g) == 0 {
			continue
		}
		groups[i], best[i] = g, g[0]
		if len(g) > 1 {
			several = append(several, i)
		}
	}
	if len(several) == 0 {
		return best
	}
	// Sixty-four groups at a time, a bit for each, go down the graph.
	order := t.parentsFirst()
	own := make([]uint64, len(t.commits))   // the commit is in the group
	above := make([]uint64, len(t.commits)) // one of its ancestors is
	for batch := range slices.Chunk(several, 64) {
		clear(own)
		clear(above)
		for bit, i := range batch {
			for _, in := range groups[i] {
				own[in.commit] |= 1 << bit
			}
		}
		for _, c := range order {
			for _, p := range t.commits[c].parents {
				above[c] |= above[p] | own[p]
			}
		}
		for bit, i := range batch {
			roots := slices.DeleteFunc(groups[i], func(in intro) bool { return above[in.commit]&(1<<bit) != 0 })
			if len(roots) > 0 { // none only where forged ids make commits go in a circle
				best[i] = slices.MinFunc(roots, t.earlier)
			}
		}
	}
	return best
}

// parentsFirst returns the commits so that each stands behind its parents.
func (t *trace) parentsFirst() []uint32 {
	children := make([]uint32, len(t.commits)) // not yet in order
	for _, c := range t.commits {
		for _, p := range c.parents {
			children[p]++
		}
	}
	order := make([]uint32, 0, len(t.commits))
	for i, n := range children {
		if n == 0 {
			order = append(order, uint32(i))
		}
	}
	for i := 0; i < len(order); i++ {
		for _, p := range t.commits[order[i]].parents {
			if children[p]--; children[p] == 0 {
				order = append(order, p)
			}
		}
	}
	slices.Reverse(order)
	return order
}

// place keeps a place in a tree.
func (t *trace) place(p pair, in intro) {
	place := Place{Hit: in.hit, Kind: File, Path: p.path, Object: in.hold.object, Present: t.present(p)}
	if in.commit != noCommit {
		t.sign(&place, t.commits[in.commit].ordinal)
		if t.commits[in.commit].state == fromNotes {
			place.Kind = Note
		}
	}
	if p.isName {
		place.Kind = Name
		place.Column = t.column(in)
	}
	t.places = append(t.places, place)
}

// placeStray keeps the place of a hit that only unreachable commits have.
func (t *trace) placeStray(hit int, in intro) {
	place := Place{Hit: hit, Kind: Unreachable, Path: in.path(), Object: in.hold.object}
	t.sign(&place, t.commits[in.commit].ordinal)
	if in.hold.isName {
		place.Column = t.column(in)
	}
	t.reached[hit] = true // placed
	t.places = append(t.places, place)
}

// column returns where in its path a name holds the hit, from 1.
func (t *trace) column(in intro) int {
	return len(in.dir) + t.hits[in.hit].Offset - in.hold.start + 1
}

// sign fills in what the commit says of itself.
func (t *trace) sign(place *Place, ordinal uint32) {
	place.Commit = t.store.ID(ordinal)
	c, ok := t.authors[ordinal]
	if !ok {
		if _, data, err := t.store.Read(place.Commit); err == nil { // the pass could read it
			c, _ = parseCommit(data)
		}
		t.authors[ordinal] = c
	}
	place.Author, place.Time = c.author.who, c.author.time()
}

// present reports whether HEAD has the key at the path.
func (t *trace) present(p pair) bool {
	ordinal, ok := t.store.Ordinal(t.repo.head)
	if !ok {
		return false
	}
	c, ok := t.commit(ordinal)
	if !ok {
		return false
	}
	n := t.nodes[t.commits[c].tree]
	rest := p.path
	for {
		dir, below, more := strings.Cut(rest, "/")
		if !more {
			return t.holding(n, rest, p.isName, p.key)
		}
		n, rest = n.sub(dir), below
	}
}

// staged adds the places that only an index has.
func (t *trace) staged() {
	placed := map[pair]bool{}
	for _, e := range t.repo.index {
		for _, i := range t.wanted[e.id] {
			t.reached[i] = true
			p := pair{t.hits[i].Key, e.path, false}
			if t.pairs[p] != nil || placed[p] {
				continue
			}
			placed[p] = true
			t.places = append(t.places, Place{Hit: i, Kind: Index, Path: e.path, Object: e.id, Present: t.present(p)})
		}
	}
}

// texts adds the places in commits and tags.
func (t *trace) texts() {
	for _, w := range t.workers {
		for _, text := range w.texts {
			t.reached[text.hit] = true // placed here, whatever leads to it
			place := Place{Hit: text.hit, Kind: text.kind}
			tag, isTag := t.tags[t.hits[text.hit].ID]
			if isTag {
				ref, ok := t.tagRef[tag.id]
				if !ok {
					place.Kind = Unreachable
				}
				place.Path, place.Object = ref, tag.id
				place.Author, place.Time = tag.tagger.who, tag.tagger.time()
				place.Commit = t.peel(tag)
			} else {
				c, _ := t.commit(text.ordinal)
				if t.commits[c].state == unreachable {
					place.Kind = Unreachable
				}
				t.sign(&place, text.ordinal)
			}
			t.places = append(t.places, place)
		}
	}
}

// peel returns the commit that a tag leads to, zero if it leads to none.
func (t *trace) peel(tag tracedTag) ID {
	for range len(t.tags) {
		next, ok := t.tags[tag.target]
		if !ok {
			break
		}
		tag = next
	}
	if ordinal, ok := t.store.Ordinal(tag.target); ok {
		if _, ok := t.commit(ordinal); ok {
			return tag.target
		}
	}
	return ID{}
}

// lost adds a place for every hit that has none yet: nothing leads to it.
func (t *trace) lost() {
	names := map[int]hold{} // hits in names of trees that no commit has
	for _, w := range t.workers {
		for _, h := range w.holds {
			if h.hold.isName {
				names[h.hold.hits[0]] = h.hold
			}
		}
	}
	for i, hit := range t.hits {
		if t.reached[i] {
			continue
		}
		place := Place{Hit: i, Kind: Unreachable, Object: hit.ID}
		if h, ok := names[i]; ok {
			place.Path, place.Object, place.Column = h.name, h.object, hit.Offset-h.start+1
		}
		t.places = append(t.places, place)
	}
}
