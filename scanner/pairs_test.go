package scanner_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/rules"
	"github.com/unleak/unleak/scanner"
)

// TestPairs asserts that a scan, which searches only what is new in each
// object, finds every key in every object that a search of all objects in
// whole finds, however git happened to build them from each other; and that
// it tells the same about them.
func TestPairs(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := newRepo(t)
			r.gitIn(randomHistory(newRand(seed)), "fast-import", "--quiet", "--depth=50")
			var first string
			for _, repack := range [][]string{
				nil, // as fast-import left it
				{"-c", "gc.pruneExpire=never", "gc", "-q"},
				{"repack", "-a", "-d", "-f", "-k", "-q", "--depth=250", "--window=100"},
				{"repack", "-a", "-d", "-F", "-k", "-q", "--depth=2", "--window=250"},
				{"second pack"},
				{"repack", "-a", "-d", "-f", "-k", "-q", "--depth=50"},
				{"unpack"},
			} {
				name := strings.Join(repack, " ")
				switch {
				case name == "second pack": // with some objects of the first, built in another way
					r.gitIn(r.git("rev-list", "--objects", "--all", "--skip=70"), "pack-objects", "-q", "--no-reuse-delta", filepath.Join(".git", "objects", "pack", "pack"))
				case name == "unpack":
					unpack(r)
				case repack != nil:
					r.git(repack...)
				}
				want := searchWhole(r)
				if len(want) < 30 {
					t.Fatalf("only %d pairs: the test tests nothing", len(want))
				}
				got, text := scanPairs(t, r)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("after %q: (key, object) pairs differ (-whole +scan):\n%s", name, diff)
				}
				if first == "" {
					first = text
				} else if diff := cmp.Diff(first, text); diff != "" {
					t.Errorf("after %q: findings differ (-before +after):\n%s", name, diff)
				}
			}
		})
	}
}

// randomHistory returns a stream for git fast-import: files that are cut into
// pieces and put together again, with keys and halves of keys among the
// pieces.
func randomHistory(r *rand.Rand) string {
	const chars = "abcdefghijklmnopqrstuvwxyz    \n"
	type file []string
	var pieces []string
	for range 30 {
		b := make([]byte, 20+r.IntN(400))
		for i := range b {
			b[i] = chars[r.IntN(len(chars))]
		}
		pieces = append(pieces, string(b)+" ")
	}
	texts := len(pieces)
	var keys []string
	for range 6 {
		keys = append(keys, newKey(r))
	}
	// broken returns what is almost a key: cut in two, or with another end or
	// beginning.
	broken := func() file {
		key := keys[r.IntN(len(keys))]
		cut := 16 + r.IntN(len(key)-32)
		switch r.IntN(3) {
		case 0:
			return file{key[:cut], pieces[r.IntN(texts)], key[cut:], " "}
		case 1:
			return file{key[:len(key)-2], "", "! "}
		}
		return file{"x", "", key[1:] + " "}
	}
	// mend makes a key of the first broken one in f, and breaks a whole one.
	mend := func(f file) {
		for i := range f {
			for _, key := range keys {
				switch {
				case i+2 < len(f) && strings.TrimSpace(f[i]+f[i+2]) == key:
					f[i+1] = ""
					return
				case f[i] == key[:len(key)-2] && i+1 < len(f):
					f[i+1] = key[len(key)-2:]
					return
				case strings.TrimSpace(f[i]) == key[1:] && i > 0:
					f[i-1] = "s"
					return
				case f[i] == key:
					f[i] = key[1:]
					return
				}
			}
		}
	}
	files := map[string]file{}
	var out strings.Builder
	for commit := range 200 {
		fmt.Fprintf(&out, "commit refs/heads/b%d\ncommitter Bob <bob@example.com> %d +0000\ndata 1\nm", r.IntN(3), 1_700_000_000+r.IntN(1000))
		out.WriteString("\n")
		for range 1 + r.IntN(4) {
			name := fmt.Sprintf("d%d/f%d", r.IntN(3), r.IntN(5))
			f := slices.Clone(files[name])
			for range 1 + r.IntN(3) {
				switch at := r.IntN(len(f) + 1); r.IntN(14) {
				case 0, 1: // take a stretch out
					f = slices.Delete(f, at, min(len(f), at+r.IntN(4)))
				case 2, 3: // move one
					if at < len(f) {
						p := f[at]
						f = slices.Delete(f, at, at+1)
						f = slices.Insert(f, r.IntN(len(f)+1), p)
					}
				case 4:
					f = slices.Insert(f, at, broken()...)
				case 5:
					mend(f)
				case 6:
					if r.IntN(8) == 0 {
						f = slices.Insert(f, at, keys[r.IntN(len(keys))], " ")
					}
				default:
					f = slices.Insert(f, at, pieces[r.IntN(len(pieces))])
				}
			}
			files[name] = f
			content := strings.Join(f, "")
			fmt.Fprintf(&out, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
		}
		if commit%50 == 49 {
			fmt.Fprintf(&out, "reset refs/heads/b%d\n\n", r.IntN(3)) // what it held is dangling
		}
	}
	return out.String()
}

// unpack turns all packs into loose objects.
func unpack(r repo) {
	r.t.Helper()
	packs, err := filepath.Glob(filepath.Join(r.dir, ".git", "objects", "pack", "*.pack"))
	if err != nil || len(packs) == 0 {
		r.t.Fatalf("packs %v, error %v", packs, err)
	}
	var streams []string
	for _, p := range packs {
		b, err := os.ReadFile(p)
		if err != nil {
			r.t.Fatal(err)
		}
		streams = append(streams, string(b))
	}
	if err := os.RemoveAll(filepath.Join(r.dir, ".git", "objects", "pack")); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range streams {
		r.gitIn(s, "unpack-objects", "-q")
	}
}

// searchWhole searches all objects as git hands them out.
func searchWhole(r repo) []string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", "-C", r.dir, "cat-file", "--batch-all-objects", "--batch")
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	set := rules.Default()
	pairs := map[string]bool{}
	for in := bufio.NewReader(bytes.NewReader(out)); ; {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return slices.Sorted(maps.Keys(pairs))
		}
		var id, typ string
		var size int
		if _, err := fmt.Sscan(line, &id, &typ, &size); err != nil {
			r.t.Fatal(err)
		}
		data := make([]byte, size+1)
		if _, err := io.ReadFull(in, data); err != nil {
			r.t.Fatal(err)
		}
		for m := range set.Find(data[:size]) {
			pairs[pairOf(string(data[m.Start:m.End]), id)] = true
		}
	}
}

func pairOf(key, id string) string {
	return fmt.Sprintf("%s in %s", finding.NewSecret(key).Fingerprint(), id)
}

// scanPairs scans the repository and returns which key was found in which
// object, and the findings.
func scanPairs(t *testing.T, r repo) ([]string, string) {
	t.Helper()
	src, err := scanner.OpenRepository(r.dir, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	seen := &listener{Source: src}
	result, err := scanner.Scan(t.Context(), seen, rules.Default(), scanner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for i, f := range result.Findings {
		for _, h := range seen.keys[i] {
			pairs = append(pairs, pairOf(f.Secret.Reveal(), h.ID.String()))
		}
	}
	slices.Sort(pairs)
	return pairs, describe(result)
}

// A listener is a Source that remembers what it is asked for.
type listener struct {
	scanner.Source
	keys [][]scanner.Hit
}

func (l *listener) Locate(ctx context.Context, keys [][]scanner.Hit) ([][]finding.Location, []finding.Skip, error) {
	l.keys = keys
	return l.Source.Locate(ctx, keys)
}
