//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/unleak/unleak/internal/sandbox"
)

// respondTo prepares another process that responds to the leak in a repository
// of its own.
func respondTo(t *testing.T, args ...string) (cmd *exec.Cmd, key *sandbox.Key) {
	t.Helper()
	service := sandbox.NewOpenAI(standInAdmin)
	key = service.AddProject("proj_a", "A").AddKey("ci", madeUpKey(t.Name(), "sk-proj-", 74), sandbox.Person("Ada"))
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	cmd = exec.CommandContext(t.Context(), "unleak", append([]string{"respond", newRepository(t), "--no-issue", "--verify-interval", "1ms"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_STATE_HOME=", "XDG_CONFIG_HOME=",
		"OPENAI_ADMIN_KEY="+standInAdmin, "OPENAI_BASE_URL="+server.URL+"/v1")
	return cmd, key
}

// TestNobodyReads runs a response whose output goes to a pipe that is closed at
// its other end: the key dies all the same, and the exit code tells.
func TestNobodyReads(t *testing.T) {
	for name, connect := range map[string]func(cmd *exec.Cmd, closed *os.File){
		"standard output": func(cmd *exec.Cmd, closed *os.File) { cmd.Stdout = closed },
		"standard error":  func(cmd *exec.Cmd, closed *os.File) { cmd.Stderr = closed },
		"both":            func(cmd *exec.Cmd, closed *os.File) { cmd.Stdout, cmd.Stderr = closed, closed },
	} {
		t.Run(name, func(t *testing.T) {
			cmd, key := respondTo(t, "--verbose")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			defer w.Close()
			connect(cmd, w)
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitIncomplete {
				t.Errorf("ended with %v, want exit code %d", err, exitIncomplete)
			}
			if !key.Deleted() {
				t.Error("the key was not deleted")
			}
		})
	}
}

// TestAnotherUnleakHasTheLedger runs a response while the ledger is locked: it
// says once what it waits for, and goes on when the lock is gone.
func TestAnotherUnleakHasTheLedger(t *testing.T) {
	for name, want := range map[string]string{
		"--no-color": "unleak: LEDGER: another unleak is writing the ledger; this one waits until that is done\n",
		"--verbose":  `msg="another unleak is writing the ledger; this one waits until that is done" ledger=LEDGER` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			ledger := filepath.Join(t.TempDir(), "ledger.jsonl")
			file, err := os.Create(ledger)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			cmd, key := respondTo(t, "--ledger", ledger, name)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			told := 0
			lines := bufio.NewScanner(stderr)
			for lines.Scan() {
				if strings.HasSuffix(lines.Text()+"\n", strings.Replace(want, "LEDGER", ledger, 1)) {
					if told++; key.Deleted() {
						t.Error("it did not wait")
					}
					if err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil || told != 1 || !key.Deleted() {
				t.Errorf("ended with %v; told %d times that it waits; deleted: %v\n%s", err, told, key.Deleted(), stdout.Bytes())
			}
		})
	}
}
