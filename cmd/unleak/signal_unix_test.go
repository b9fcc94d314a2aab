//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/unleak/unleak/internal/sandbox"
)

// TestSignals sends a signal to a process that waits for OpenAI's answer: it
// must end by itself, with what it found.
func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			dir := newRepository(t)
			asked := make(chan struct{}, 1)
			service := sandbox.NewOpenAI(standInAdmin)
			service.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
				select {
				case asked <- struct{}{}:
				default:
				}
				<-r.Context().Done() // no answer until nobody waits for one
			}})
			server := httptest.NewServer(service)
			defer server.Close()

			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unleak", "respond", dir, "--no-issue", "--format", "json")
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_STATE_HOME=", "XDG_CONFIG_HOME=",
				"OPENAI_ADMIN_KEY="+standInAdmin, "OPENAI_BASE_URL="+server.URL+"/v1")
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-asked:
			case <-time.After(30 * time.Second):
				cmd.Process.Kill()
				t.Fatalf("OpenAI was never asked\n%s", stderr.Bytes())
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
				t.Errorf("ended with %v, want exit code %d\n%s", err, exitInterrupted, stderr.Bytes())
			}
			var r struct {
				Complete *bool
				Findings []struct {
					Response *struct{ Status, Reason string }
				}
			}
			if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Complete == nil || *r.Complete {
				t.Errorf("no report that says it is incomplete: %v\n%s", err, stdout.Bytes())
			}
			if len(r.Findings) != 1 || r.Findings[0].Response == nil || r.Findings[0].Response.Reason == "" {
				t.Errorf("the key that was found is not reported:\n%s", stdout.Bytes())
			}
		})
	}
}
