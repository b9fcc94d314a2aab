//go:build e2e

package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestE2EBinary builds the program as a user would and asserts that it knows
// its version and starts within 10 ms: hooks run it before every commit.
func TestE2EBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "unleak.exe") // a name that every system runs
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	fastest := time.Hour
	for range 20 {
		start := time.Now()
		out, err := exec.Command(binary, "version").Output()
		fastest = min(fastest, time.Since(start))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^unleak \S+ \(go1\.\d+.*\)\n$`).Match(out) {
			t.Fatalf("unleak version printed %q", out)
		}
	}
	if fastest > 10*time.Millisecond {
		t.Errorf("'unleak version' takes %v, want at most 10 ms", fastest)
	}
}
