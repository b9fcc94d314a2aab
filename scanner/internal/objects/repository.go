package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
)

// A Repository is a git repository: its object database, and what leads into
// it. It is safe for concurrent use.
type Repository struct {
	store   *Store
	tips    []Tip // sorted by name, then by id
	head    ID    // what HEAD leads to; zero while it leads nowhere
	index   []indexEntry
	shallow map[ID]bool
	origin  string
	unread  []Unread
}

// A Tip is what a ref or the HEAD of a worktree leads to.
type Tip struct {
	Name string
	ID   ID // zero where it leads nowhere
}

func (t Tip) isNote() bool { return strings.HasPrefix(t.Name, "refs/notes/") }

type indexEntry struct {
	path string
	id   ID
}

// ErrNotRepository says that a directory is in no git repository.
var ErrNotRepository = errors.New("not inside a git repository")

// Open opens the repository that holds dir: dir may be its worktree, a
// directory in it, a linked worktree, a bare repository or a .git directory.
// Blobs larger than maxObject bytes are not handed out; 0 means no limit.
// The error is ErrNotRepository where there is none. What of it cannot be
// opened is told by Walk.
func Open(dir string, maxObject int64) (*Repository, error) {
	gitDir, err := findGitDir(dir)
	if err != nil {
		return nil, err
	}
	commonDir, err := findCommonDir(gitDir)
	if err != nil {
		return nil, err
	}
	r := &Repository{shallow: map[ID]bool{}}
	cfg, err := readConfig(filepath.Join(commonDir, "config"))
	if err != nil {
		return nil, fmt.Errorf("read the repository's configuration: %w", err)
	}
	r.origin = cfg["remote.origin.url"]
	hashLen := 20
	switch format := cfg["extensions.objectformat"]; format {
	case "", "sha1":
	case "sha256":
		hashLen = 32
	default:
		return nil, fmt.Errorf("the repository's objects have names of the kind %q, which is not known", format)
	}
	if storage := cfg["extensions.refstorage"]; storage != "" && storage != "files" {
		r.skip("refs", fmt.Errorf("refs are stored as %q, which is not read: all objects are searched, but where they stand is not known", storage))
	}
	if r.store, err = openStore(filepath.Join(commonDir, "objects"), hashLen, maxObject); err != nil {
		return nil, fmt.Errorf("open the object database: %w", err)
	}
	r.readShallow(filepath.Join(commonDir, "shallow"))
	r.readRefs(commonDir, gitDir)
	r.readWorktrees(commonDir, gitDir)
	return r, nil
}

// Close releases the mapped files.
func (r *Repository) Close() error { return r.store.Close() }

// Origin returns the URL of the remote "origin", "" if there is none.
func (r *Repository) Origin() string { return r.origin }

// Totals returns how many objects the repository holds, and the bytes of its
// packs.
func (r *Repository) Totals() (objects, packed int64) {
	for _, p := range r.store.packs {
		packed += int64(len(p.data))
	}
	return int64(r.store.Len()), packed
}

// Refs returns the tips of all refs and HEADs, sorted by name.
func (r *Repository) Refs() []Tip { return r.tips }

// PlaceOfRef returns the place of what is in the name of a ref: its Object is
// what the ref points to, its Commit where that leads through tags.
func (r *Repository) PlaceOfRef(tip Tip) Place {
	place := Place{Kind: Name, Path: tip.Name, Object: tip.ID}
	id := tip.ID
	for range maxTags {
		typ, data, err := r.store.Read(id)
		if err != nil {
			return place // listed as unread by the walk
		}
		switch typ {
		case Tag:
			if id, _, err = parseTag(data); err == nil {
				continue
			}
		case Commit:
			c, err := parseCommit(data)
			if err == nil {
				place.Commit, place.Author, place.Time = id, c.author.who, c.author.time()
			}
		}
		return place
	}
	return place
}

// maxTags bounds how many tags on tags are followed.
const maxTags = 100

func (r *Repository) skip(object string, err error) {
	r.unread = append(r.unread, Unread{object, plain(err)})
}

// findGitDir returns the git directory of dir: the nearest from dir upwards.
func findGitDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	for {
		dot := filepath.Join(dir, ".git")
		info, err := os.Stat(dot)
		switch {
		case err == nil && info.IsDir() && isGitDir(dot):
			return dot, nil
		case err == nil && info.Mode().IsRegular():
			return readGitFile(dot)
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			if !isNotDir(err) {
				return "", err
			}
		}
		if isGitDir(dir) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrNotRepository
		}
		dir = parent
	}
}

// isNotDir reports whether a path led through a file.
func isNotDir(err error) bool {
	e := (*fs.PathError)(nil)
	return errors.As(err, &e) && strings.Contains(e.Err.Error(), "not a directory")
}

// isGitDir reports whether dir looks like a git directory, by git's own test:
// HEAD, and objects and refs here or in the common directory.
func isGitDir(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err != nil {
		return false
	}
	common, err := findCommonDir(dir)
	if err != nil {
		return false
	}
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(common, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// readGitFile returns where a .git file points, as worktrees and submodules
// have one.
func readGitFile(file string) (string, error) {
	text, err := readSmall(file)
	if err != nil {
		return "", err
	}
	target, ok := strings.CutPrefix(strings.TrimRight(text, "\r\n"), "gitdir: ")
	if !ok {
		return "", fmt.Errorf("%s does not begin with \"gitdir: \"", file)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(file), target)
	}
	if !isGitDir(target) {
		return "", fmt.Errorf("%s points to %s, which is no git directory", file, target)
	}
	return target, nil
}

// findCommonDir returns the directory that a worktree's git directory shares
// with the others.
func findCommonDir(gitDir string) (string, error) {
	text, err := readSmall(filepath.Join(gitDir, "commondir"))
	if errors.Is(err, fs.ErrNotExist) {
		return gitDir, nil
	} else if err != nil {
		return "", err
	}
	common := strings.TrimRight(text, "\r\n")
	if !filepath.IsAbs(common) {
		common = filepath.Join(gitDir, common)
	}
	return common, nil
}

// maxSmall bounds the files that hold one line.
const maxSmall = 64 << 10

// readSmall returns the content of a file that is meant to hold one line.
func readSmall(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", file)
	}
	if info.Size() > maxSmall {
		return "", fmt.Errorf("%s holds %d bytes, much more than one line", file, info.Size())
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// readShallow reads which commits' parents were left on the server.
func (r *Repository) readShallow(file string) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	} else if err != nil {
		r.skip("shallow", err)
		return
	}
	for _, line := range strings.Fields(string(text)) {
		id, ok := ParseID(line)
		if !ok {
			r.skip("shallow", errors.New("it has a line that is no commit"))
			continue
		}
		r.shallow[id] = true
		r.skip(id.String(), errors.New("shallow boundary: the history before this commit is not here; fetch it with: git fetch --unshallow"))
	}
}

// readWorktrees reads HEAD and index of the main worktree and of all linked
// ones.
func (r *Repository) readWorktrees(commonDir, gitDir string) {
	dirs := []string{commonDir}
	linked, err := os.ReadDir(filepath.Join(commonDir, "worktrees"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.skip("worktrees", err)
	}
	for _, d := range linked {
		dirs = append(dirs, filepath.Join(commonDir, "worktrees", d.Name()))
	}
	if !slices.Contains(dirs, gitDir) {
		dirs = append(dirs, gitDir)
	}
	for _, dir := range dirs {
		name, err := filepath.Rel(commonDir, dir)
		if err != nil {
			name = dir
		}
		name = filepath.ToSlash(name)
		r.readIndex(filepath.Join(dir, "index"), strings.TrimPrefix(name+"/index", "./"))
	}
}

func (r *Repository) readIndex(file, name string) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	} else if err != nil {
		r.skip(name, err)
		return
	}
	defer f.Close()
	var idx index.Index
	if err := index.NewDecoder(f).Decode(&idx); err != nil {
		r.skip(name, fmt.Errorf("the index cannot be read: %w; its blobs are searched, but not told from unreachable ones", err))
		return
	}
	for _, e := range idx.Entries {
		id := NewID(e.Hash[:])
		r.index = append(r.index, indexEntry{e.Name, id})
		if _, ok := r.store.Ordinal(id); !ok && e.Mode != filemode.Submodule && !e.IntentToAdd {
			r.skip(id.String(), fmt.Errorf("object is missing, though the %s names it", name))
		}
	}
}

// Walk hands out every commit, tree, blob and tag once; see [Store.Walk]. It
// also tells what could not be opened, and which objects are missing: those
// that a commit or a tree names and the database does not have.
func (r *Repository) Walk(ctx context.Context, jobs int, progress *Progress, visit Visitor) ([]Unread, error) {
	missing := &missing{repo: r, known: make([]ordinalCache, jobs), seen: map[ID]bool{}}
	unread, err := r.store.Walk(ctx, jobs, []Type{Commit, Tree, Blob, Tag}, progress, func(worker int, o Object) (bool, error) {
		if err := missing.check(worker, o); err != nil {
			missing.add(o.ID, err.Error())
		}
		return visit(worker, o)
	})
	return slices.Concat(r.unread, unread, missing.found), err
}

// missing collects the objects that others name and that are not there.
type missing struct {
	repo  *Repository
	known []ordinalCache // one for each worker

	mu    sync.Mutex
	seen  map[ID]bool
	found []Unread
}

func (m *missing) add(id ID, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.seen[id] {
		m.seen[id] = true
		m.found = append(m.found, Unread{id.String(), reason})
	}
}

// need notes that an object is missing if it is; by says what names it.
func (m *missing) need(worker int, name []byte, what string, by ID) {
	if _, ok := m.known[worker].ordinal(m.repo.store, name); !ok {
		m.add(NewID(name), fmt.Sprintf("%s is missing, though %s names it; a clone that was cut off or made with --filter has such gaps", what, by))
	}
}

// check looks up what the object names. It returns an error if the object is
// malformed.
func (m *missing) check(worker int, o Object) error {
	switch o.Type {
	case Commit:
		c, err := parseCommit(o.Data)
		if err != nil {
			return err
		}
		m.need(worker, c.tree.Bytes(), "tree", o.ID)
		if !m.repo.shallow[o.ID] {
			for _, p := range c.parents {
				m.need(worker, p.Bytes(), "commit", o.ID)
			}
		}
	case Tag:
		target, _, err := parseTag(o.Data)
		if err != nil {
			return err
		}
		m.need(worker, target.Bytes(), "object", o.ID)
	case Tree:
		return m.checkTree(worker, o)
	}
	return nil
}

// checkTree looks up the entries of a tree that its base did not have.
func (m *missing) checkTree(worker int, o Object) error {
	spans := o.New
	if spans == nil {
		spans = []Span{{0, len(o.Data)}}
	}
	for at := 0; len(spans) > 0; {
		// Whether there is an entry in a span is only known when all before
		// are counted off, and most of the time goes there.
		next, ok := entryEnd(o.Data, at, m.repo.store.hashLen)
		if !ok {
			if at == len(o.Data) {
				return nil
			}
			return errTree
		}
		for len(spans) > 0 && spans[0].End <= at {
			spans = spans[1:]
		}
		if len(spans) > 0 && spans[0].Start < next {
			e, _, ok := nextEntry(o.Data[at:], m.repo.store.hashLen)
			if !ok {
				return errTree
			}
			if e.mode != modeGitlink {
				m.need(worker, e.id, "object", o.ID)
			}
		}
		at = next
	}
	return nil
}
