package openai

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/unleak/unleak/internal/sandbox"
)

// bubble returns a stand-in with one key and a client that reaches it without
// a network, for use inside a synctest bubble.
func bubble(t *testing.T, retry time.Duration) (*sandbox.OpenAI, *sandbox.Key, *Client) {
	t.Helper()
	sb := sandbox.NewOpenAI(adminKey)
	k := sb.AddProject("proj_a", "Alpha").AddKey("ci", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada"))
	c, err := New(Config{BaseURL: "http://localhost/v1", AdminKey: adminKey, Retry: retry, Transport: sandbox.InMemory(sb)})
	if err != nil {
		t.Fatal(err)
	}
	return sb, k, c
}

func TestRepeats(t *testing.T) {
	for _, tc := range []struct {
		name     string
		failure  sandbox.OpenAIFailure
		requests int
		ok       bool
		least    time.Duration // that it takes
		most     time.Duration
	}{
		{"limited", sandbox.OpenAIFailure{Times: 2, Status: 429}, 3, true, 0, 3 * time.Second},
		{"limited, with seconds", sandbox.OpenAIFailure{Times: 2, Status: 429, RetryAfter: "20"}, 3, true, 40 * time.Second, 41 * time.Second},
		{"limited, with a careless 0", sandbox.OpenAIFailure{Times: 5, Status: 429, RetryAfter: "0"}, 6, true, 5 * time.Second, 6 * time.Second},
		{"limited, with a date", sandbox.OpenAIFailure{Times: 1, Status: 429, RetryAfter: "Sat, 01 Jan 2000 00:00:50 GMT"}, 2, true, 50 * time.Second, 51 * time.Second},
		{"limited, with nonsense", sandbox.OpenAIFailure{Times: 1, Status: 429, RetryAfter: "soon"}, 2, true, 0, time.Second},
		{"limited for longer than the budget", sandbox.OpenAIFailure{Times: 1, Status: 429, RetryAfter: "3600"}, 1, false, 0, 0},
		{"server error", sandbox.OpenAIFailure{Times: 2, Status: 500}, 3, true, 0, 3 * time.Second},
		{"edge error", sandbox.OpenAIFailure{Times: 1, Status: 502, Body: sandbox.BadGateway}, 2, true, 0, time.Second},
		{"broken connection", sandbox.OpenAIFailure{Times: 2, Reset: true}, 3, true, 0, 3 * time.Second},
		{"bad request", sandbox.OpenAIFailure{Times: 1, Status: 400}, 1, false, 0, 0},
		{"not authorized", sandbox.OpenAIFailure{Times: 1, Status: 401}, 1, false, 0, 0},
		{"forbidden", sandbox.OpenAIFailure{Times: 1, Status: 403, Body: sandbox.BareForbidden}, 1, false, 0, 0},
		{"not found", sandbox.OpenAIFailure{Times: 1, Status: 404}, 1, false, 0, 0},
	} {
		for method, call := range map[string]func(*Client, context.Context, string) error{
			"list": func(c *Client, ctx context.Context, _ string) error { _, err := c.Projects(ctx); return err },
			"get": func(c *Client, ctx context.Context, id string) error {
				_, err := c.ProjectKey(ctx, "proj_a", id)
				return err
			},
			"delete": func(c *Client, ctx context.Context, id string) error { return c.DeleteProjectKey(ctx, "proj_a", id) },
		} {
			t.Run(tc.name+", "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sb, k, c := bubble(t, 0)
					sb.Fail(tc.failure)
					start := time.Now()
					err := call(c, t.Context(), k.ID)
					if (err == nil) != tc.ok {
						t.Errorf("error: %v", err)
					}
					if took := time.Since(start); took < tc.least || took > tc.most {
						t.Errorf("took %v, want %v to %v", took, tc.least, tc.most)
					}
					if n := len(sb.Requests()); n != tc.requests {
						t.Errorf("%d requests, want %d", n, tc.requests)
					}
				})
			})
		}
	}
}

func TestRepeatingEndsWithTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, _, c := bubble(t, time.Minute)
		sb.Fail(sandbox.OpenAIFailure{Status: 503})
		start := time.Now()
		_, err := c.Projects(t.Context())
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.Status != 503 {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took > time.Minute || took < 10*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if n := len(sb.Requests()); n < 4 {
			t.Errorf("only %d requests", n)
		}
	})
}

func TestSilentServerTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, k, c := bubble(t, time.Minute)
		sb.SetFaults(sandbox.OpenAIFaults{Before: func(*http.Request) { time.Sleep(time.Hour) }})
		start := time.Now()
		if _, err := c.ProjectKey(t.Context(), "proj_a", k.ID); err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took > time.Minute+requestTimeout {
			t.Errorf("gave up after %v", took)
		}
		start = time.Now()
		a, err := c.Probe(t.Context(), made("sk-proj-", 74, "y3mA"), "", "")
		if err != nil || a.Verdict != Unknown || a.Message == "" {
			t.Errorf("the probe says %+v, %v", a, err)
		}
		if took := time.Since(start); took != requestTimeout {
			t.Errorf("the probe took %v", took)
		}
		time.Sleep(2 * time.Hour) // the stand-in's answers to nobody
	})
}

func TestContextEndsRepeating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, k, c := bubble(t, time.Hour)
		sb.Fail(sandbox.OpenAIFailure{Status: 429, RetryAfter: "600"})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		err := c.DeleteProjectKey(ctx, "proj_a", k.ID)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "DELETE /organization/projects/proj_a/api_keys/") {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("returned after %v", took)
		}
		a, err := c.Probe(ctx, made("sk-proj-", 74, "y3mA"), "", "")
		if !errors.Is(err, context.DeadlineExceeded) || a.Verdict != Unknown {
			t.Errorf("the probe says %+v, %v", a, err)
		}
	})
}

// TestLostDeletion has the server delete the key without saying so.
func TestLostDeletion(t *testing.T) {
	for _, tc := range []struct {
		name     string
		failures []sandbox.OpenAIFailure
		want     error // nil, or what the error is
		requests int
	}{
		{"server error", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Status: 500}}, nil, 2},
		{"server errors", []sandbox.OpenAIFailure{{Times: 3, TookEffect: true, Status: 502, Body: sandbox.BadGateway}}, nil, 4},
		{"broken connection", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Reset: true}}, nil, 2},
		{"limited afterwards", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Reset: true}, {Times: 1, Status: 429}}, nil, 3},
		// The first answer was no loss: somebody else deleted the key.
		{"limited before", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Status: 429}}, ErrNotFound, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb, k, c := bubble(t, 0)
				for _, f := range tc.failures {
					f.Method = http.MethodDelete
					sb.Fail(f)
				}
				if err := c.DeleteProjectKey(t.Context(), "proj_a", k.ID); !errors.Is(err, tc.want) {
					t.Errorf("the error is %v, want %v", err, tc.want)
				}
				if n := len(sb.Requests()); n != tc.requests || !k.Deleted() {
					t.Errorf("%d requests, want %d; deleted %v", n, tc.requests, k.Deleted())
				}
			})
		})
	}
}

func TestResetOnARealConnection(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	k := sb.AddProject("proj_a", "Alpha").AddKey("ci", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada"))
	sb.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Times: 1, TookEffect: true, Reset: true})
	if err := connect(t, sb).DeleteProjectKey(t.Context(), "proj_a", k.ID); err != nil {
		t.Error(err)
	}
}

func TestNoServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := New(Config{BaseURL: server.URL, AdminKey: adminKey, Retry: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Projects(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /organization/projects: no answer: ") {
		t.Errorf("the error is %v", err)
	}
	a, err := c.Probe(t.Context(), made("sk-proj-", 74, "y3mA"), "", "")
	if err != nil || a.Verdict != Unknown || a.Status != 0 || !strings.HasPrefix(a.Message, "no answer: ") {
		t.Errorf("the probe says %+v, %v", a, err)
	}
}

func TestUntrustedServerIsNotAskedAgain(t *testing.T) {
	handshakes := 0
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			handshakes++
		}
	}
	server.StartTLS()
	c, err := New(Config{BaseURL: server.URL, AdminKey: adminKey, Retry: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Projects(t.Context())
	server.Close()
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the error is %v", err)
	}
	if handshakes != 1 {
		t.Errorf("the server was asked %d times", handshakes)
	}
}
