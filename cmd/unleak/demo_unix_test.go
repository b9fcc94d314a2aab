//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemoServe does what 'unleak demo --serve' says, in another process, and
// stops it by each signal that ends a program in a terminal. The directory's
// name needs quotes in a shell.
func TestDemoServe(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			tmp := filepath.Join(t.TempDir(), "it's a directory")
			if err := os.Mkdir(tmp, 0o700); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unleak", "demo", "--serve")
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+t.TempDir())
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
			exports, commands, pages := readAdvice(t, stdout)
			if signal == syscall.SIGINT {
				followAdvice(t, exports, commands, pages)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
				t.Errorf("ended with %v, and said %s", err, stderr.Bytes())
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// readAdvice reads what the demo tells the user to type and to open.
func readAdvice(t *testing.T, r io.Reader) (exports, commands, pages []string) {
	t.Helper()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.Contains(line, "T3Blbk"+"FJ"):
			t.Error("a key is printed")
		case strings.HasPrefix(line, "export "):
			exports = append(exports, line)
		case strings.HasPrefix(line, "unleak "):
			commands = append(commands, line)
		case strings.HasPrefix(line, "http://"):
			pages = append(pages, line)
		case strings.HasPrefix(line, "A second"):
			return exports, commands, pages
		}
	}
	t.Fatalf("the demo ended too early: %v", lines.Err())
	return nil, nil, nil
}

func followAdvice(t *testing.T, exports, commands, pages []string) {
	t.Helper()
	codes := []int{exitLeak, exitLeak, exitClean, exitClean}
	if len(commands) != len(codes)-1 || len(exports) < 6 || len(pages) != 2 {
		t.Fatalf("advice: %q %q %q", exports, commands, pages)
	}
	commands = append(commands, commands[len(commands)-1]) // a second time
	for i, command := range commands {
		shell := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(append(exports, command), "\n"))
		out, err := shell.CombinedOutput()
		if shell.ProcessState == nil || shell.ProcessState.ExitCode() != codes[i] {
			t.Fatalf("%s: %v, want exit code %d\n%s", command, err, codes[i], out)
		}
		if bytes.Contains(out, []byte("T3Blbk"+"FJ")) {
			t.Errorf("%s prints a key", command)
		}
	}
	for _, page := range pages {
		answer, err := http.Get(page)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(": dead")) {
			t.Errorf("%s: %s, %v\n%s", page, answer.Status, err, body)
		}
	}
}
