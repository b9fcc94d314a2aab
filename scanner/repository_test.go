package scanner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/rules"
	"github.com/unleak/unleak/scanner"
)

var (
	authored = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	ada      = "Ada <ada@example.com>"
)

func TestEmptyRepository(t *testing.T) {
	result := newRepo(t).scan()
	if len(result.Findings) != 0 || len(result.Skipped) != 0 {
		t.Errorf("an empty repository gave %s", describe(result))
	}
}

func TestNotRepository(t *testing.T) {
	if _, err := scanner.OpenRepository(t.TempDir(), 1, 0); !errors.Is(err, scanner.ErrNotRepository) {
		t.Errorf("error is %v, want ErrNotRepository", err)
	}
	if _, err := scanner.OpenRepository(filepath.Join(t.TempDir(), "none"), 1, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want ErrNotExist", err)
	}
}

// TestPlaces plants a key in every sort of place and asks where it stands, as
// loose objects, packed, and packed again in another way.
func TestPlaces(t *testing.T) {
	key := newKey(newRand(1))
	blob := func(r repo, rev string) string { return r.git("rev-parse", rev) }
	for _, tc := range []struct {
		name string
		make func(r repo) []finding.Location
	}{
		{"file that is still there", func(r repo) []finding.Location {
			c := func() string { r.write("app/config.py", "a\nb\nkey = "+key+"\n"); return r.commit("one") }()
			r.write("other", "x")
			r.commit("two")
			return []finding.Location{{Where: finding.InFile, Commit: c, Path: "app/config.py", Blob: blob(r, c+":app/config.py"),
				Line: 3, Column: 7, Author: ada, Time: authored, Present: true}}
		}},
		{"file that was removed", func(r repo) []finding.Location {
			r.write("a", key)
			c := r.commit("one")
			r.git("rm", "-q", "a")
			r.commit("two")
			return []finding.Location{{Where: finding.InFile, Commit: c, Path: "a", Blob: blob(r, c+":a"), Line: 1, Column: 1, Author: ada, Time: authored}}
		}},
		{"file that changes around it", func(r repo) []finding.Location {
			r.write("a", "none yet\n")
			r.commit("zero")
			r.write("a", "first\n"+key+"\n")
			c := r.commit("one")
			for i := range 20 {
				r.write("a", strings.Repeat("line\n", i)+key+"\n")
				r.commit("more")
			}
			return []finding.Location{{Where: finding.InFile, Commit: c, Path: "a", Blob: blob(r, c+":a"), Line: 2, Column: 1, Author: ada, Time: authored, Present: true}}
		}},
		{"two paths", func(r repo) []finding.Location {
			r.write("a", key)
			one := r.commit("one")
			r.write("d/e/b", key)
			two := r.commit("two")
			locations := []finding.Location{
				{Where: finding.InFile, Commit: one, Path: "a", Blob: blob(r, one+":a"), Line: 1, Column: 1, Author: ada, Time: authored, Present: true},
				{Where: finding.InFile, Commit: two, Path: "d/e/b", Blob: blob(r, one+":a"), Line: 1, Column: 1, Author: ada, Time: authored, Present: true},
			}
			if two < one {
				locations[0], locations[1] = locations[1], locations[0]
			}
			return locations
		}},
		{"only what a merge made", func(r repo) []finding.Location {
			r.write("a", "base\n")
			r.commit("base")
			r.git("checkout", "-q", "-b", "side")
			r.write("b", "side\n")
			r.commit("side")
			r.git("checkout", "-q", "main")
			r.write("c", "main\n")
			r.commit("main")
			r.git("merge", "-q", "--no-commit", "side")
			r.write("evil", key)
			c := r.commit("merge")
			return []finding.Location{{Where: finding.InFile, Commit: c, Path: "evil", Blob: blob(r, c+":evil"), Line: 1, Column: 1, Author: ada, Time: authored, Present: true}}
		}},
		{"commit message", func(r repo) []finding.Location {
			c := r.commit("subject\n\nthe key is " + key)
			return []finding.Location{{Where: finding.InCommitMessage, Commit: c, Line: 3, Column: 12, Author: ada, Time: authored}}
		}},
		{"commit header", func(r repo) []finding.Location {
			tree := r.git("write-tree")
			text := "tree " + tree + "\nauthor Ada <ada@example.com> 1735787045 +0000\ncommitter Bob <bob@example.com> 1735787046 +0000\nnote " + key + "\n\nsubject\n"
			c := r.gitIn(text, "hash-object", "-t", "commit", "-w", "--stdin")
			r.git("update-ref", "refs/heads/main", c)
			return []finding.Location{{Where: finding.InCommitHeader, Commit: c, Line: 4, Column: 6, Author: ada, Time: authored}}
		}},
		{"annotated tag", func(r repo) []finding.Location {
			c := r.commit("one")
			r.git("tag", "-a", "-m", "release\n"+key, "v1")
			return []finding.Location{{Where: finding.InTagMessage, Commit: c, Path: "refs/tags/v1", Blob: blob(r, "v1"), Line: 2, Column: 1,
				Author: "Bob <bob@example.com>", Time: authored.Add(time.Second)}}
		}},
		{"note", func(r repo) []finding.Location {
			c := r.commit("one")
			r.git("notes", "add", "-m", "see "+key, c)
			note := r.git("rev-parse", "refs/notes/commits")
			path := strings.Fields(r.git("ls-tree", "-r", "refs/notes/commits"))
			return []finding.Location{{Where: finding.InNote, Commit: note, Path: path[3], Blob: path[2], Line: 1, Column: 5, Author: ada, Time: authored}}
		}},
		{"name of a file", func(r repo) []finding.Location {
			r.write("d/x."+key+".txt", "nothing")
			c := r.commit("one")
			return []finding.Location{{Where: finding.InPath, Commit: c, Path: "d/x." + key + ".txt", Blob: blob(r, c+":d/x."+key+".txt"), Line: 1, Column: 5,
				Author: ada, Time: authored, Present: true}}
		}},
		{"name of a ref", func(r repo) []finding.Location {
			c := r.commit("one")
			r.git("branch", "b/"+key)
			return []finding.Location{{Where: finding.InPath, Commit: c, Path: "refs/heads/b/" + key, Line: 1, Column: 14, Author: ada, Time: authored}}
		}},
		{"names of two refs, one to an annotated tag", func(r repo) []finding.Location {
			c := r.commit("one")
			r.git("branch", key)
			r.git("tag", "-a", "-m", "m", "v1", c)
			r.git("tag", key, "v1")
			return []finding.Location{
				{Where: finding.InPath, Commit: c, Path: "refs/heads/" + key, Line: 1, Column: 12, Author: ada, Time: authored},
				{Where: finding.InPath, Commit: c, Path: "refs/tags/" + key, Line: 1, Column: 11, Author: ada, Time: authored},
			}
		}},
		{"two names in one directory", func(r repo) []finding.Location {
			r.write("x/"+key+".b", "")
			one := r.commit("one")
			r.write("x/"+key+".a", "")
			two := r.commit("two")
			location := func(commit, name string) finding.Location {
				return finding.Location{Where: finding.InPath, Commit: commit, Path: "x/" + key + name, Blob: blob(r, "HEAD:x/"+key+name), Line: 1, Column: 3,
					Author: ada, Time: authored, Present: true}
			}
			locations := []finding.Location{location(one, ".b"), location(two, ".a")}
			slices.SortFunc(locations, finding.CompareLocations)
			return locations
		}},
		{"tree that two tags name", func(r repo) []finding.Location {
			r.write("k", key)
			r.git("add", "k")
			tree := r.git("write-tree")
			b := blob(r, ":k")
			r.git("rm", "-q", "--cached", "k")
			r.git("tag", "a", tree)
			r.git("tag", "b", tree)
			return []finding.Location{{Where: finding.InFile, Path: "k", Blob: b, Line: 1, Column: 1}}
		}},
		{"blob that only an unreachable commit has, though its key is elsewhere", func(r repo) []finding.Location {
			r.write("f", key)
			one := r.commit("one")
			r.write("f", key+"\nmore")
			two := r.commit("two")
			r.git("reset", "-q", "--hard", one)
			locations := []finding.Location{
				{Where: finding.InFile, Commit: one, Path: "f", Blob: blob(r, one+":f"), Line: 1, Column: 1, Author: ada, Time: authored, Present: true},
				{Where: finding.Unreachable, Commit: two, Path: "f", Blob: blob(r, two+":f"), Line: 1, Column: 1, Author: ada, Time: authored},
			}
			slices.SortFunc(locations, finding.CompareLocations)
			return locations
		}},
		{"index only", func(r repo) []finding.Location {
			r.write("a", "x")
			r.commit("one")
			r.write("new", "\n "+key)
			r.git("add", "new")
			return []finding.Location{{Where: finding.Staged, Path: "new", Blob: blob(r, ":new"), Line: 2, Column: 2}}
		}},
		{"commit that was amended away", func(r repo) []finding.Location {
			r.write("a", "x")
			r.commit("one")
			r.write("a", key)
			c := r.commit("two")
			b := blob(r, c+":a")
			r.write("a", "clean")
			r.git("add", "a")
			r.git("commit", "-q", "--amend", "-m", "two")
			return []finding.Location{{Where: finding.Unreachable, Commit: c, Path: "a", Blob: b, Line: 1, Column: 1, Author: ada, Time: authored}}
		}},
		{"blob that nothing names", func(r repo) []finding.Location {
			b := r.gitIn("x\n"+key, "hash-object", "-w", "--stdin")
			return []finding.Location{{Where: finding.Unreachable, Blob: b, Line: 2, Column: 1}}
		}},
		{"blob that a tag names", func(r repo) []finding.Location {
			b := r.gitIn(key, "hash-object", "-w", "--stdin")
			r.git("tag", "-a", "-m", "the key", "pub", b)
			return []finding.Location{{Where: finding.InFile, Blob: b, Line: 1, Column: 1}}
		}},
		{"symbolic link", func(r repo) []finding.Location {
			if err := os.Symlink("/nowhere/"+key, filepath.Join(r.dir, "link")); err != nil {
				r.t.Fatal(err)
			}
			c := r.commit("one")
			return []finding.Location{{Where: finding.InFile, Commit: c, Path: "link", Blob: blob(r, c+":link"), Line: 1, Column: 10, Author: ada, Time: authored, Present: true}}
		}},
		{"older stash", func(r repo) []finding.Location {
			r.write("a", "x\n")
			r.commit("one")
			r.write("a", key)
			r.git("stash", "-q")
			c := r.git("rev-parse", "stash@{0}")
			b := blob(r, c+":a")
			r.write("a", "other\n")
			r.git("stash", "-q")
			// The worktree's commit and the index's hold the same blob; of two
			// that are equally old, the smaller id.
			if i := r.git("rev-parse", "stash@{1}^2"); r.git("rev-parse", i+":a") == b && i < c {
				c = i
			}
			return []finding.Location{{Where: finding.Unreachable, Commit: c, Path: "a", Blob: b, Line: 1, Column: 1, Author: ada, Time: authored}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRepo(t)
			want := tc.make(r)
			check := func(state string) {
				t.Helper()
				result := r.scan()
				if len(result.Skipped) != 0 {
					t.Errorf("%s: skipped %v", state, result.Skipped)
				}
				if diff := cmp.Diff(want, find(t, result, key).Locations); diff != "" {
					t.Errorf("%s: locations differ (-want +got):\n%s", state, diff)
				}
			}
			check("loose")
			r.git("-c", "gc.pruneExpire=never", "gc", "-q")
			check("after gc")
			r.git("repack", "-a", "-d", "-f", "-k", "-q", "--depth=3", "--window=2")
			check("repacked")
		})
	}
}

// TestFirstCommit asks for the first commit by the graph where committer times
// say something else, and by time and id where the graph does not say.
func TestFirstCommit(t *testing.T) {
	key := newKey(newRand(2))
	r := newRepo(t)
	commit := func(tree, when string, parents ...string) string {
		text := "tree " + tree + "\n"
		for _, p := range parents {
			text += "parent " + p + "\n"
		}
		text += "author Ada <ada@example.com> 1735787045 +0000\ncommitter Bob <bob@example.com> " + when + " +0000\n\nm\n"
		return r.gitIn(text, "hash-object", "-t", "commit", "-w", "--stdin")
	}
	empty := r.gitIn("", "mktree")
	with := r.gitIn("100644 blob "+r.gitIn(key, "hash-object", "-w", "--stdin")+"\tkey\n", "mktree")
	changed := r.gitIn("100644 blob "+r.gitIn(key+" again", "hash-object", "-w", "--stdin")+"\tkey\n", "mktree")

	root := commit(empty, "1000")
	first := commit(with, "9000", root)      // by its clock the last
	child := commit(changed, "2000", first)  // by its clock the first
	side := commit(with, "9500", root)       // another root of the key, later
	removed := commit(empty, "3000", side)   // a branch that removed it
	again := commit(changed, "100", removed) // and brought it back: after side by the graph
	tip := commit(changed, "9900", child, again)
	r.git("update-ref", "refs/heads/main", tip)

	for range 2 {
		got := find(t, r.scan(), key).Locations
		if len(got) != 1 || got[0].Commit != first {
			t.Errorf("locations %+v, want one, in %s", got, first)
		}
		r.git("gc", "-q")
	}
}

// TestOpenFromAnywhere opens the same repository from everywhere.
func TestOpenFromAnywhere(t *testing.T) {
	key := newKey(newRand(3))
	r := newRepo(t)
	r.write("deep/er/file", key)
	r.commit("one")
	linked := filepath.Join(t.TempDir(), "linked")
	r.git("worktree", "add", "-q", "-b", "other", linked)
	bare := filepath.Join(t.TempDir(), "bare.git")
	r.git("clone", "-q", "--bare", ".", bare)
	borrowed := filepath.Join(t.TempDir(), "borrowed")
	r.git("clone", "-q", "--shared", ".", borrowed)
	for _, dir := range []string{r.dir, filepath.Join(r.dir, "deep", "er"), filepath.Join(r.dir, ".git"), linked, bare, borrowed} {
		result := scanDir(t, dir)
		if f := find(t, result, key); len(f.Locations) != 1 || !f.Locations[0].Present || len(result.Skipped) != 0 {
			t.Errorf("%s: %s", dir, describe(result))
		}
	}
}

// TestLinkedWorktree finds what is only staged, or only committed, in a linked
// worktree.
func TestLinkedWorktree(t *testing.T) {
	random := newRand(4)
	staged, committed := newKey(random), newKey(random)
	r := newRepo(t)
	r.commit("one")
	linked := repo{t, filepath.Join(t.TempDir(), "linked")}
	r.git("worktree", "add", "-q", "--detach", linked.dir)
	linked.write("c", committed)
	linked.commit("detached")
	linked.write("s", staged)
	linked.git("add", "s")
	result := r.scan()
	if l := find(t, result, staged).Locations; len(l) != 1 || l[0].Where != finding.Staged {
		t.Errorf("staged: %+v", l)
	}
	if l := find(t, result, committed).Locations; len(l) != 1 || l[0].Where != finding.InFile || l[0].Present {
		t.Errorf("committed: %+v", l)
	}
	if l := find(t, scanDir(t, linked.dir), committed).Locations; !l[0].Present {
		t.Errorf("seen from the worktree: %+v", l)
	}
}

// TestSkipped breaks a repository in many ways: what is broken is listed, and
// the rest is found.
func TestSkipped(t *testing.T) {
	random := newRand(5)
	key := newKey(random)
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, r repo) (object, reason string)
	}{
		{"shallow", func(t *testing.T, r repo) (string, string) {
			clone := t.TempDir()
			r.git("clone", "-q", "--depth=1", "--no-local", "file://"+r.dir, clone)
			if err := os.RemoveAll(filepath.Join(r.dir, ".git")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(clone, ".git"), filepath.Join(r.dir, ".git")); err != nil {
				t.Fatal(err)
			}
			return r.git("rev-parse", "HEAD"), "shallow boundary"
		}},
		{"empty ref", func(t *testing.T, r repo) (string, string) {
			file(t, r, "refs/heads/empty", "")
			return "refs/heads/empty", "no object id"
		}},
		{"ref to nothing", func(t *testing.T, r repo) (string, string) {
			file(t, r, "refs/heads/gone", strings.Repeat("1", 40)+"\n")
			return "refs/heads/gone", "missing"
		}},
		{"symbolic refs in a circle", func(t *testing.T, r repo) (string, string) {
			file(t, r, "refs/heads/a", "ref: refs/heads/b\n")
			file(t, r, "refs/heads/b", "ref: refs/heads/a\n")
			return "refs/heads/a", "circle"
		}},
		{"damaged loose object", func(t *testing.T, r repo) (string, string) {
			id := r.gitIn("some text", "hash-object", "-w", "--stdin")
			file(t, r, "objects/"+id[:2]+"/"+id[2:], "not zlib")
			return id, "inflate"
		}},
		{"deleted loose object", func(t *testing.T, r repo) (string, string) {
			r.write("lost", "lost")
			r.commit("lost")
			id := r.git("rev-parse", "HEAD:lost")
			if err := os.Remove(filepath.Join(r.dir, ".git", "objects", id[:2], id[2:])); err != nil {
				t.Fatal(err)
			}
			return id, "missing"
		}},
		{"alternate that is gone", func(t *testing.T, r repo) (string, string) {
			file(t, r, "objects/info/alternates", "/nowhere/objects\n")
			return "objects/info/alternates", "/nowhere/objects"
		}},
		{"index of an unknown version", func(t *testing.T, r repo) (string, string) {
			file(t, r, "index", "DIRC\x00\x00\x00\x09")
			return "index", "cannot be read"
		}},
		{"pack without an index", func(t *testing.T, r repo) (string, string) {
			file(t, r, "objects/pack/pack-1.pack", "PACK")
			return "objects/pack/pack-1.pack", "no index"
		}},
		{"index that names a missing blob", func(t *testing.T, r repo) (string, string) {
			r.write("staged", "staged")
			r.git("add", "staged")
			id := r.git("rev-parse", ":staged")
			if err := os.Remove(filepath.Join(r.dir, ".git", "objects", id[:2], id[2:])); err != nil {
				t.Fatal(err)
			}
			return id, "the index names it"
		}},
		{"malformed tree", func(t *testing.T, r repo) (string, string) {
			id := r.gitIn("100644 broken", "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
			return id, "tree is malformed"
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRepo(t)
			r.write("first", "x")
			r.commit("one")
			r.write("leak", key)
			r.commit("two")
			object, reason := tc.spoil(t, r)
			result := r.scan()
			if len(find(t, result, key).Locations) != 1 {
				t.Error(describe(result))
			}
			for _, s := range result.Skipped {
				if s.Object == object && strings.Contains(s.Reason, reason) {
					return
				}
			}
			t.Errorf("skipped %+v, want %s: …%s…", result.Skipped, object, reason)
		})
	}
}

// TestKeysInsteadOfIDs puts keys where object ids belong. What is said of that
// must not repeat them, not even in part.
func TestKeysInsteadOfIDs(t *testing.T) {
	key := newKey(newRand(9))
	for _, name := range []string{"refs/heads/x", "packed-refs", "shallow", "HEAD"} {
		r := newRepo(t)
		file(t, r, name, key+"\n")
		result := r.scan()
		if len(result.Skipped) == 0 {
			t.Errorf("%s: nothing is skipped", name)
		}
		for _, s := range result.Skipped {
			if strings.Contains(s.Reason, key[10:22]) {
				t.Errorf("%s: the reason holds a part of the key", name)
			}
		}
	}
}

// TestDamagedPackGoodLoose damages a pack whose objects stand as loose files,
// too.
func TestDamagedPackGoodLoose(t *testing.T) {
	random := newRand(10)
	r := newRepo(t)
	var keys []string
	for range 5 {
		keys = append(keys, newKey(random))
		r.write("f", strings.Join(keys, "\n"))
		r.commit("more")
	}
	r.git("repack", "-a", "-q") // and keep the loose ones
	packs, err := filepath.Glob(filepath.Join(r.dir, ".git", "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("packs %v, %v", packs, err)
	}
	pack, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	clear(pack[20 : len(pack)-20])
	os.Remove(packs[0])
	if err := os.WriteFile(packs[0], pack, 0o666); err != nil {
		t.Fatal(err)
	}
	result := r.scan()
	for _, key := range keys {
		if l := find(t, result, key).Locations; l[0].Where != finding.InFile {
			t.Errorf("locations %+v", l)
		}
	}
	if len(result.Skipped) != 0 {
		t.Errorf("skipped %v, though all can be read", result.Skipped)
	}
}

// TestAlternates follows a chain as far as git does, and reads quoted names.
func TestAlternates(t *testing.T) {
	key := newKey(newRand(11))
	last := newRepo(t)
	last.write("f", key)
	last.commit("one")
	next := last.dir
	for i := range 7 {
		r := repo{t, filepath.Join(t.TempDir(), "with \t tab")}
		if err := os.Mkdir(r.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		r.git("init", "-q")
		file(t, r, "objects/info/alternates", strconv.Quote(filepath.Join(next, ".git", "objects"))+"\n")
		next = r.dir
		seen := len(r.git("cat-file", "--batch-all-objects", "--batch-check")) > 0
		result := r.scan()
		if found := len(result.Findings) > 0; found != seen || found == (len(result.Skipped) > 0) {
			t.Errorf("%d alternates: git reads them: %v; found: %v, skipped %v", i+1, seen, found, result.Skipped)
		}
	}
}

// TestDeepDirectories asks for more directories in each other than are
// followed.
func TestDeepDirectories(t *testing.T) {
	key := newKey(newRand(12))
	r := newRepo(t)
	var stream strings.Builder
	fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Bob <bob@example.com> 1 +0000\ndata 1\nm\nM 100644 inline %sf\ndata %d\n%s\n", strings.Repeat("d/", 5000), len(key), key)
	r.gitIn(stream.String(), "fast-import", "--quiet")
	result := r.scan()
	if find(t, result, key); len(result.Skipped) != 1 || result.Skipped[0].Object != "history" {
		t.Errorf("skipped %v", result.Skipped)
	}
}

// file replaces a file in the git directory.
func file(t *testing.T, r repo, name, content string) {
	t.Helper()
	path := filepath.Join(r.dir, ".git", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	os.Remove(path) // objects are read-only
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestTreeBomb scans ten levels of ten directories that are all the same: ten
// billion paths lead to one key.
func TestTreeBomb(t *testing.T) {
	key := newKey(newRand(8))
	r := newRepo(t)
	entry := "100644 blob " + r.gitIn(key, "hash-object", "-w", "--stdin") + "\tkey\n"
	for range 10 {
		tree := r.gitIn(entry, "mktree")
		entry = ""
		for i := range 10 {
			entry += fmt.Sprintf("040000 tree %s\td%d\n", tree, i)
		}
	}
	r.git("update-ref", "refs/heads/main", r.git("commit-tree", "-m", "bomb", r.gitIn(entry, "mktree")))
	result := r.scan()
	if n := len(find(t, result, key).Locations); n < 1000 {
		t.Errorf("only %d locations", n)
	}
	if len(result.Skipped) != 1 || result.Skipped[0].Object != "history" {
		t.Errorf("skipped %v", result.Skipped)
	}
}

func TestMaxObjectSize(t *testing.T) {
	key := newKey(newRand(6))
	r := newRepo(t)
	r.write("large", strings.Repeat("many words ", 1000)+key)
	r.commit("one")
	src, err := scanner.OpenRepository(r.dir, 2, 5000)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	result, err := scanner.Scan(t.Context(), src, rules.Default(), scanner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := r.git("rev-parse", "HEAD:large")
	if len(result.Findings) != 0 || len(result.Skipped) != 1 || result.Skipped[0].Object != want {
		t.Error(describe(result))
	}
}

func TestCancelled(t *testing.T) {
	r := newRepo(t)
	r.write("a", newKey(newRand(7)))
	r.commit("one")
	src, err := scanner.OpenRepository(r.dir, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := scanner.Scan(ctx, src, rules.Default(), scanner.Options{})
	if !errors.Is(err, context.Canceled) || result == nil {
		t.Errorf("result %v, error %v; want a partial result and context.Canceled", result, err)
	}
}
