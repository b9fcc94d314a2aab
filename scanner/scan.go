// Package scanner reads a source once and returns the keys that leaked in it.
//
// A [Source] hands out contents, [Scan] searches them with the rules, and asks
// the source afterwards where the few that matched stand. A new way to scan is
// a new Source, never a second Scan.
package scanner

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/rules"
	"github.com/unleak/unleak/scanner/internal/objects"
)

// A Source yields each distinct piece of content once and, asked afterwards,
// says where a piece stands.
type Source interface {
	// Contents calls visit with every piece of content, from many goroutines.
	// What visit reports as a hit is followed: whatever copies from it is
	// handed out as wholly new. Contents returns what it could not read; its
	// error is visit's, the context's, or one that ended the reading.
	Contents(ctx context.Context, visit func(Content) (hit bool, err error)) ([]finding.Skip, error)

	// Locate says where keys stand, given all hits of each: for every key, in
	// the order asked, its locations, at least one. A key is asked for with
	// all contents that hold it, because its first commit is the first that
	// has any of them at a path.
	Locate(ctx context.Context, keys [][]Hit) ([][]finding.Location, []finding.Skip, error)

	// Progress tells how far Contents is. It may be called at any time.
	Progress() Progress
}

// An ID names a piece of content within its source. In a repository it is the
// object's. The zero ID is a valid name.
type ID = objects.ID

// A Span is the bytes of a content from Start up to, but not including, End.
type Span = objects.Span

// A Content is a piece of content. It is valid only during the call.
type Content struct {
	ID   ID
	Data []byte

	// New says which spans are new against a content that was handed out
	// before and was no hit: nothing else can hold a key that that one did not
	// hold. An empty span is a seam between copied pieces. Sorted. Nil means
	// that all of it is new.
	New []Span

	// Names says that it is a list of names: every place of a key in it counts,
	// and not only the first.
	Names bool

	// Text is where a text begins that has its own lines, such as the message
	// of a commit: behind it lines are counted from there.
	Text int
}

// A Hit is a key in a content: the first place of that key there, or one of
// several in a list of names.
type Hit struct {
	ID           ID
	Offset       int // in bytes
	Line, Column int // 1-based; Column in bytes
}

// Progress is how far a source has been read. Totals are 0 while unknown.
type Progress struct {
	Objects, TotalObjects int64
	Bytes, TotalBytes     int64 // as stored, packed
}

// Options steer a scan.
type Options struct {
	MinConfidence finding.Confidence // findings below it are left out; "" keeps all
}

// A Result is what a scan found and read.
type Result struct {
	Findings []finding.Finding // sorted by finding.Compare
	Skipped  []finding.Skip    // what could not be read; sorted, each once
	Objects  int64             // searched
	Bytes    int64             // their size
}

// Scan searches all contents of the source. If reading ends early, it returns
// what was found up to then together with the error.
func Scan(ctx context.Context, src Source, set *rules.Set, opts Options) (*Result, error) {
	reach, bounded := set.Reach()
	s := &scan{set: set, reach: reach, bounded: bounded, keys: map[finding.Fingerprint]*key{}}
	skipped, err := src.Contents(ctx, s.visit)
	result := &Result{Objects: s.objects.Load(), Bytes: s.bytes.Load()}
	keys := s.report(opts.MinConfidence)
	if len(keys) > 0 {
		locations, more, locateErr := locate(ctx, src, keys)
		err = cmp.Or(err, ctx.Err(), locateErr)
		skipped = append(skipped, more...)
		for i, k := range keys {
			k.finding.Locations = locations[i]
			slices.SortFunc(k.finding.Locations, finding.CompareLocations)
			result.Findings = append(result.Findings, k.finding)
		}
	}
	slices.SortFunc(skipped, finding.CompareSkips)
	result.Skipped = slices.Compact(skipped)
	return result, err
}

// locate asks where the keys stand. If that fails, their contents are all that
// is known.
func locate(ctx context.Context, src Source, keys []*key) ([][]finding.Location, []finding.Skip, error) {
	hits := make([][]Hit, len(keys))
	for i, k := range keys {
		hits[i] = k.hits
	}
	// What was found is worth its place even if the reading was cancelled, and
	// a little of the time of whoever cancelled it.
	patient, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	locations, skipped, err := src.Locate(patient, hits)
	if err != nil {
		locations = make([][]finding.Location, len(keys))
		for i, hits := range hits {
			for _, h := range hits {
				locations[i] = append(locations[i], finding.Location{Where: finding.Unreachable, Blob: h.ID.String(), Line: h.Line, Column: h.Column})
			}
		}
	}
	return locations, skipped, err
}

// grace is how long places are still looked for after a scan was cancelled.
const grace = 5 * time.Second

type scan struct {
	set     *rules.Set
	reach   int
	bounded bool

	objects, bytes atomic.Int64

	mu   sync.Mutex
	keys map[finding.Fingerprint]*key
}

// A key is a finding without its locations, and where they are to be asked for.
type key struct {
	finding finding.Finding
	hits    []Hit
}

// visit searches one content, and keeps what it finds.
func (s *scan) visit(c Content) (hit bool, err error) {
	if !c.ID.IsZero() {
		s.objects.Add(1)
		s.bytes.Add(int64(len(c.Data)))
	}
	if s.worthwhile(c) {
		hit = s.search(c)
	}
	return hit, nil
}

// worthwhile reports whether c can hold a key. What is not new was searched in
// the content that it was copied from, so only matches that touch a new span
// count, and they are within reach of it. A window cut out of the content may
// match where the whole does not; it never fails to match where the whole does.
func (s *scan) worthwhile(c Content) bool {
	if c.New == nil || !s.bounded {
		return true
	}
	for i := 0; i < len(c.New); {
		start := max(0, c.New[i].Start-s.reach)
		end := c.New[i].End
		for i++; i < len(c.New) && c.New[i].Start-s.reach <= end+s.reach; i++ {
			end = c.New[i].End
		}
		for range s.set.Find(c.Data[start:min(len(c.Data), end+s.reach)]) {
			return true
		}
	}
	return false
}

// search keeps the keys that are in c, each with its first place there, and
// reports whether there are any.
func (s *scan) search(c Content) bool {
	seen := map[finding.Fingerprint]bool{}
	at := position{line: 1, column: 1}
	for m := range s.set.Find(c.Data) {
		secret := finding.NewSecret(string(c.Data[m.Start:m.End]))
		print := secret.Fingerprint()
		at = at.advance(c, m.Start)
		f := finding.Finding{Rule: m.Rule.ID, Kind: m.Rule.Kind, Secret: secret, Confidence: m.Confidence}
		s.keep(print, f, Hit{c.ID, m.Start, at.line, at.column}, c.Names || !seen[print])
		seen[print] = true
	}
	return len(seen) > 0
}

// keep keeps a finding, and its hit if that counts.
func (s *scan) keep(print finding.Fingerprint, f finding.Finding, hit Hit, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[print]
	if k == nil {
		k = &key{finding: f}
		s.keys[print] = k
	}
	// The same bytes may match surer in one place than in another; the surest
	// counts, whichever was seen first.
	if !k.finding.Confidence.AtLeast(f.Confidence) || k.finding.Confidence == f.Confidence && f.Rule < k.finding.Rule {
		k.finding = f
	}
	if counts {
		k.hits = append(k.hits, hit)
	}
}

// report returns the keys that are at least as sure as least, in a fixed order.
func (s *scan) report(least finding.Confidence) []*key {
	var keys []*key
	for _, k := range s.keys {
		if k.finding.Confidence.AtLeast(least) {
			slices.SortFunc(k.hits, func(a, b Hit) int { return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.Offset, b.Offset)) })
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *key) int { return finding.Compare(a.finding, b.finding) })
	return keys
}

// A position is an offset in a content, as line and column.
type position struct{ offset, line, column int }

// advance returns the position of an offset behind p.
func (p position) advance(c Content, offset int) position {
	if p.offset < c.Text && offset >= c.Text { // lines begin anew
		p = position{c.Text, 1, 1}
	}
	between := c.Data[p.offset:offset]
	if n := bytes.Count(between, []byte("\n")); n > 0 {
		p.line += n
		p.column = len(between) - bytes.LastIndexByte(between, '\n')
	} else {
		p.column += len(between)
	}
	p.offset = offset
	return p
}
