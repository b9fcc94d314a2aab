package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/unleak/unleak/internal/sandbox"
)

// TestDemoFails asserts that the demo does not tell a story that did not happen.
func TestDemoFails(t *testing.T) {
	for _, tc := range []struct {
		name    string
		disturb func(*stage)
		want    string
	}{
		{"a key that was not planted", func(s *stage) { s.keys[1].leaked = true }, "step 2: sk-proj-"},
		{"a key too many", func(s *stage) { s.keys[0].leaked = false }, "step 2: 2 keys were found instead of 1"},
		{"a project header that is ignored", func(s *stage) {
			s.openAI.SetFaults(sandbox.OpenAIFaults{IgnoreProject: true})
		}, "step 3: 'unleak respond' ended with 1 instead of 0"},
		{"a key that was dead before", func(s *stage) { s.keys[0].Delete() }, "step 3: sk-proj-"},
		{"an issue of somebody else", func(s *stage) {
			s.gitHub.AddIssue(demoRepo, sandbox.Issue{Title: "Hello"})
		}, "step 6: there are 3 issues instead of 2"},
		{"another key that died", func(s *stage) { s.keys[2].Delete() }, "step 7: key_0004 is not as it should be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestStage(t)
			tc.disturb(s)
			var told bytes.Buffer
			err := (&demo{stage: s, w: &told}).play(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the demo ended with %v, want %q\n%s", err, tc.want, told.Bytes())
			}
			for _, k := range s.keys {
				if strings.Contains(told.String()+err.Error(), k.secret.Reveal()) {
					t.Errorf("it tells %s", k.secret)
				}
			}
		})
	}
}

// newTestStage returns a stage that is closed after the test, and asserts that
// nothing of it is left then.
func newTestStage(t *testing.T) *stage {
	t.Helper()
	s, err := newStage()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind: %v", s.dir, err)
		}
	})
	return s
}

// TestDemoInterrupted asserts that the demo stops in the middle of a step.
func TestDemoInterrupted(t *testing.T) {
	s := newTestStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.openAI.SetFaults(sandbox.OpenAIFaults{Before: func(*http.Request) { cancel() }})
	var told bytes.Buffer
	if err := (&demo{stage: s, w: &told}).play(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the demo ended with %v", err)
	}
	if strings.Contains(told.String(), "\n4. ") {
		t.Errorf("the demo went on:\n%s", told.Bytes())
	}
}

// TestDemoIsTheSame asserts that two stages have the same keys and commits, so
// that what the README shows is what everybody sees.
func TestDemoIsTheSame(t *testing.T) {
	a, b := newTestStage(t), newTestStage(t)
	for i, k := range a.keys {
		if k.secret.Fingerprint() != b.keys[i].secret.Fingerprint() {
			t.Errorf("%s is another key the second time", k.secret)
		}
	}
	for i, c := range a.commits {
		if c != b.commits[i] {
			t.Errorf("commit %+v is %+v the second time", c, b.commits[i])
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/tmp/unleak-demo-1/app.git": "/tmp/unleak-demo-1/app.git",
		"http://127.0.0.1:80/v1":     "http://127.0.0.1:80/v1",
		"/tmp/a b":                   "'/tmp/a b'",
		"/tmp/it's":                  `'/tmp/it'\''s'`,
		"$(id)":                      "'$(id)'",
		"":                           "''",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}
