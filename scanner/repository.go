package scanner

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/scanner/internal/objects"
)

// ErrNotRepository says that a directory is in no git repository.
var ErrNotRepository = objects.ErrNotRepository

// A Repository is the Source of everything that a local git repository holds:
// every object of its database, whether anything leads to it or not, and the
// names of its refs.
type Repository struct {
	repo     *objects.Repository
	jobs     int
	progress objects.Progress
}

// OpenRepository opens the git repository that holds dir, to be read with the
// given number of workers (0: one for each processor). Objects of more than
// maxObject bytes are skipped; 0 means no limit. It returns ErrNotRepository
// where there is none. The caller closes it.
func OpenRepository(dir string, jobs int, maxObject int64) (*Repository, error) {
	repo, err := objects.Open(dir, maxObject)
	if err != nil {
		return nil, err
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	return &Repository{repo: repo, jobs: jobs}, nil
}

// Close releases the repository's files.
func (r *Repository) Close() error { return r.repo.Close() }

// Origin returns the URL of the remote "origin", "" if there is none.
func (r *Repository) Origin() string { return r.repo.Origin() }

// Progress implements [Source].
func (r *Repository) Progress() Progress {
	p := Progress{Objects: r.progress.Objects.Load(), Bytes: r.progress.Packed.Load()}
	p.TotalObjects, p.TotalBytes = r.repo.Totals()
	return p
}

// Contents implements [Source]: all objects, and the names of all refs, one a
// line, as the content with the zero ID.
func (r *Repository) Contents(ctx context.Context, visit func(Content) (hit bool, err error)) ([]finding.Skip, error) {
	if _, err := visit(Content{Data: []byte(r.refNames()), Names: true}); err != nil {
		return nil, err
	}
	unread, err := r.repo.Walk(ctx, r.jobs, &r.progress, func(_ int, o objects.Object) (bool, error) {
		c := Content{ID: o.ID, Data: o.Data, New: o.New, Names: o.Type == objects.Tree}
		if o.Type == objects.Commit || o.Type == objects.Tag {
			c.Text = objects.MessageStart(o.Data)
		}
		return visit(c)
	})
	return skips(unread), err
}

func (r *Repository) refNames() string {
	var names strings.Builder
	for _, tip := range r.repo.Refs() {
		names.WriteString(tip.Name + "\n")
	}
	return names.String()
}

// Locate implements [Source].
func (r *Repository) Locate(ctx context.Context, keys [][]Hit) ([][]finding.Location, []finding.Skip, error) {
	locations := make([][]finding.Location, len(keys))
	var flat []Hit
	var asked []objects.Hit
	for key, hits := range keys {
		for _, h := range hits {
			if h.ID.IsZero() {
				locations[key] = append(locations[key], r.refLocation(h))
				continue
			}
			flat = append(flat, h)
			asked = append(asked, objects.Hit{ID: h.ID, Key: key, Offset: h.Offset})
		}
	}
	if len(asked) == 0 {
		return locations, nil, nil
	}
	places, unread, err := r.repo.Trace(ctx, r.jobs, asked)
	if err != nil {
		return nil, skips(unread), fmt.Errorf("find the commits of what was found: %w", err)
	}
	for _, p := range places {
		key := asked[p.Hit].Key
		locations[key] = append(locations[key], location(p, flat[p.Hit]))
	}
	return locations, skips(unread), nil
}

// wheres translates places.
var wheres = map[objects.PlaceKind]finding.Where{
	objects.Unreachable: finding.Unreachable,
	objects.File:        finding.InFile,
	objects.Note:        finding.InNote,
	objects.Name:        finding.InPath,
	objects.Index:       finding.Staged,
	objects.Message:     finding.InCommitMessage,
	objects.Header:      finding.InCommitHeader,
	objects.TagMessage:  finding.InTagMessage,
}

func location(p objects.Place, h Hit) finding.Location {
	l := finding.Location{
		Where:   wheres[p.Kind],
		Commit:  p.Commit.String(),
		Path:    p.Path,
		Blob:    p.Object.String(),
		Line:    h.Line,
		Column:  h.Column,
		Author:  p.Author,
		Time:    p.Time,
		Present: p.Present,
	}
	if p.Column > 0 { // the key is in a name, which is one line
		l.Line, l.Column = 1, p.Column
	}
	return l
}

// refLocation returns the location of a key in the name of a ref.
func (r *Repository) refLocation(h Hit) finding.Location {
	l := location(r.repo.PlaceOfRef(r.repo.Refs()[h.Line-1]), h)
	l.Line, l.Blob = 1, ""
	return l
}

func skips(unread []objects.Unread) []finding.Skip {
	var list []finding.Skip
	for _, u := range unread {
		list = append(list, finding.Skip{Object: u.Object, Reason: u.Reason})
	}
	return slices.Clip(list)
}
