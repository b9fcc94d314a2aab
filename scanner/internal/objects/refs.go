package objects

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxSymbolic bounds how many symbolic refs follow each other; git stops after
// five.
const maxSymbolic = 5

// readRefs reads all refs, and the HEAD of every worktree. A ref that cannot
// be resolved is unread, and the others are read all the same: go-git gives up
// on all of them for one empty file, as a crash leaves it behind.
func (r *Repository) readRefs(commonDir, gitDir string) {
	refs := map[string]string{} // name to id or "ref: other"
	r.readPackedRefs(filepath.Join(commonDir, "packed-refs"), refs)
	r.readLooseRefs(commonDir, "", refs)
	heads := []string{"HEAD"}
	worktrees, _ := os.ReadDir(filepath.Join(commonDir, "worktrees")) // readWorktrees tells the error
	for _, w := range worktrees {
		prefix := "worktrees/" + w.Name() + "/"
		r.readLooseRefs(filepath.Join(commonDir, "worktrees", w.Name()), prefix, refs)
		heads = append(heads, prefix+"HEAD")
	}
	for _, name := range heads {
		r.readRef(filepath.Join(commonDir, filepath.FromSlash(name)), name, refs)
	}
	current := "HEAD"
	if rel, err := filepath.Rel(commonDir, gitDir); err == nil && rel != "." {
		current = filepath.ToSlash(rel) + "/HEAD"
	}
	for name := range refs {
		id, err := resolve(refs, name)
		if err == errUnborn && slices.Contains(heads, name) {
			continue // a branch without a commit yet
		}
		if _, ok := r.store.Ordinal(id); err == nil && !ok {
			err = fmt.Errorf("it points to %s, which is missing", id)
		}
		if err != nil {
			r.skip(name, err)
			id = ID{}
		}
		if name == current {
			r.head = id
		}
		r.tips = append(r.tips, Tip{name, id})
	}
	slices.SortFunc(r.tips, func(a, b Tip) int { return cmp.Compare(a.Name, b.Name) })
}

var errUnborn = errors.New("it points to a ref that does not exist")

// resolve follows a ref through symbolic ones to an id.
func resolve(refs map[string]string, name string) (ID, error) {
	for range maxSymbolic + 1 {
		value, ok := refs[name]
		if !ok {
			return ID{}, errUnborn
		}
		target, symbolic := strings.CutPrefix(value, "ref:")
		if !symbolic {
			id, ok := ParseID(value)
			if !ok {
				return ID{}, errors.New("it holds no object id")
			}
			return id, nil
		}
		name = strings.TrimSpace(target)
	}
	return ID{}, errors.New("symbolic refs lead in a circle")
}

// readPackedRefs reads lines of "id name". Lines that begin with # or ^ (what
// the tag before leads to) say nothing that is needed.
func (r *Repository) readPackedRefs(file string, refs map[string]string) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	} else if err != nil {
		r.skip("packed-refs", err)
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == '^' {
			continue
		}
		id, name, ok := strings.Cut(line, " ")
		if !ok {
			r.skip("packed-refs", errors.New("it has a line that is no ref"))
			continue
		}
		refs[name] = id
	}
	if err := lines.Err(); err != nil {
		r.skip("packed-refs", err)
	}
}

// readLooseRefs reads the files below dir/refs. They outrank packed ones.
func (r *Repository) readLooseRefs(dir, prefix string, refs map[string]string) {
	root := filepath.Join(dir, "refs")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		name := file
		if rel, err := filepath.Rel(dir, file); err == nil {
			name = prefix + filepath.ToSlash(rel)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // a linked worktree without refs of its own, or deleted just now
		case err != nil:
			r.skip(name, err)
		case !d.IsDir() && !strings.HasSuffix(name, ".lock"):
			r.readRef(file, name, refs)
		}
		return nil
	})
	if err != nil {
		r.skip(prefix+"refs", err)
	}
}

func (r *Repository) readRef(file, name string, refs map[string]string) {
	text, err := readSmall(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		r.skip(name, err)
	default:
		refs[name] = strings.TrimSpace(text)
	}
}
