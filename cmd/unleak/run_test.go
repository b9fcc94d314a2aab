package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// newRepository makes a git repository with one leaked key in one commit.
func newRepository(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	leak := "key = " + madeUpKey(t.Name(), "sk-proj-", 74) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "leak.txt"), []byte(leak), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-q", "-m", "one"},
	} {
		git := exec.Command("git", append([]string{"-C", dir}, args...)...)
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// TestInterrupted asserts that a run that was told to stop ends with 130,
// reports what it has, and claims no completeness.
func TestInterrupted(t *testing.T) {
	dir := newRepository(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	getenv := func(name string) string {
		return map[string]string{
			"HOME":             t.TempDir(),
			"OPENAI_ADMIN_KEY": "an-admin",
			"OPENAI_BASE_URL":  "http://127.0.0.1:1/v1", // nobody is asked
		}[name]
	}
	for _, args := range [][]string{
		{"scan", dir, "--format", "json"},
		{"respond", dir, "--format", "json", "--no-issue"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(ctx, args, getenv, nil, &stdout, &stderr); code != exitInterrupted {
			t.Errorf("%s: exit code %d, want %d", args[0], code, exitInterrupted)
		}
		var r struct{ Complete *bool }
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Complete == nil || *r.Complete {
			t.Errorf("%s: no report that says it is incomplete: %v\n%s", args[0], err, stdout.Bytes())
		}
		if !bytes.HasPrefix(stderr.Bytes(), []byte("unleak: interrupted: ")) {
			t.Errorf("%s: standard error does not say that it was interrupted: %s", args[0], stderr.Bytes())
		}
	}
}

// TestRepositoryAt covers the ways to write where a remote is.
func TestRepositoryAt(t *testing.T) {
	const github, enterprise = "https://github.com", "https://ghe.example:8443"
	for _, tc := range []struct{ remote, server, want string }{
		{"https://github.com/acme/app.git", github, "acme/app"},
		{"https://github.com/acme/app", github, "acme/app"},
		{"https://github.com/acme/app/", github, "acme/app"},
		{"https://GitHub.com/Acme/App.js.git", github, "Acme/App.js"},
		{"https://user:secret@github.com/acme/app.git", github, "acme/app"},
		{"git@github.com:acme/app.git", github, "acme/app"},
		{"github.com:acme/app", github, "acme/app"},
		{"git@github.com:/acme/app.git", github, "acme/app"},
		{"ssh://git@github.com/acme/app.git", github, "acme/app"},
		{"ssh://git@github.com:22/acme/app.git", github, "acme/app"},
		{"ssh://git@ssh.github.com:443/acme/app.git", github, "acme/app"},
		{"git://github.com/acme/app.git", github, "acme/app"},
		{"https://ghe.example:8443/acme/app.git", enterprise, "acme/app"},
		{"git@ghe.example:acme/app.git", enterprise, "acme/app"},

		{"https://github.com/acme/app.git", enterprise, ""},
		{"https://gitlab.com/acme/app.git", github, ""},
		{"https://github.com.evil.example/acme/app.git", github, ""},
		{"git@evil.example:github.com/app.git", github, ""},
		{"https://github.com/acme", github, ""},
		{"https://github.com/acme/app/extra", github, ""},
		{"https://github.com/acme/..", github, ""},
		{"https://github.com/acme/.git", github, ""},
		{"https://github.com/acme/a%20b.git", github, ""},
		{"file:///srv/git/acme/app.git", github, ""},
		{"/srv/git/acme/app.git", github, ""},
		{"../app.git", github, ""},
		{"C:\\src\\app", github, ""},
		{"", github, ""},
		{"://", github, ""},
		{"https://github.com/acme/app", "://", ""},
	} {
		if got := repositoryAt(tc.remote, tc.server); got != tc.want {
			t.Errorf("repositoryAt(%q, %q) = %q, want %q", tc.remote, tc.server, got, tc.want)
		}
	}
}
