package scanner_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/rules"
	"github.com/unleak/unleak/scanner"
)

// newKey returns a made-up project key. No literal key may stand in the
// repository, so it is put together here.
func newKey(r *rand.Rand) string {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	half := func() string {
		b := make([]byte, 20)
		for i := range b {
			b[i] = chars[r.IntN(len(chars))]
		}
		return string(b)
	}
	return "sk-proj-" + half() + "T3Blbk" + "FJ" + half()
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// A repo is a repository made with the real git.
type repo struct {
	t   *testing.T
	dir string
}

// newRepo makes an empty repository.
func newRepo(t *testing.T) repo {
	r := repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

// git runs git in the repository and returns what it prints.
func (r repo) git(args ...string) string { return r.gitIn("", args...) }

// gitIn runs git with the given standard input.
func (r repo) gitIn(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "HOME="+r.t.TempDir(),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=2025-01-02T03:04:05Z",
		"GIT_COMMITTER_NAME=Bob", "GIT_COMMITTER_EMAIL=bob@example.com", "GIT_COMMITTER_DATE=2025-01-02T03:04:06Z")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// write writes a file of the worktree.
func (r repo) write(path, content string) {
	r.t.Helper()
	file := filepath.Join(r.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits everything and returns the commit's id.
func (r repo) commit(message string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", message)
	return r.git("rev-parse", "HEAD")
}

// scan scans the repository with the embedded rules.
func (r repo) scan() *scanner.Result {
	r.t.Helper()
	return scanDir(r.t, r.dir)
}

func scanDir(t *testing.T, dir string) *scanner.Result {
	t.Helper()
	src, err := scanner.OpenRepository(dir, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	result, err := scanner.Scan(t.Context(), src, rules.Default(), scanner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// find returns the finding of a key.
func find(t *testing.T, result *scanner.Result, key string) finding.Finding {
	t.Helper()
	for _, f := range result.Findings {
		if f.Secret.Reveal() == key {
			return f
		}
	}
	t.Fatalf("key %s was not found among %d", finding.NewSecret(key), len(result.Findings))
	return finding.Finding{}
}

// describe writes everything about findings in a form that can be compared.
func describe(result *scanner.Result) string {
	var b strings.Builder
	for _, f := range result.Findings {
		fmt.Fprintf(&b, "%s %s %s\n", f.Rule, f.Secret.Fingerprint(), f.Confidence)
		for _, l := range f.Locations {
			fmt.Fprintf(&b, "  %+v\n", l)
		}
	}
	for _, s := range result.Skipped {
		fmt.Fprintf(&b, "skipped %+v\n", s)
	}
	return b.String()
}
