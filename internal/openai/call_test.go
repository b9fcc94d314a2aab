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
			tc := tc // of this method alone
			t.Run(tc.name+", "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sb, k, c := bubble(t, 0)
					sb.Fail(tc.failure)
					start := time.Now()
					err := call(c, t.Context(), k.ID)
					if method == "delete" && (tc.failure.Reset || tc.failure.Status >= 500) {
						tc.requests, tc.ok, tc.least = 1, false, 0
						if !errors.Is(err, ErrOutcomeUnknown) {
							t.Errorf("a lost outcome is told as %v", err)
						}
					}
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
		deadline, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		// A wait that would outlast the deadline is not begun.
		if refused, ok := errors.AsType[*Error](c.DeleteProjectKey(deadline, "proj_a", k.ID)); !ok || refused.Status != 429 {
			t.Errorf("the server's words are lost: %v", refused)
		}
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, interrupt)
		start := time.Now()
		err := c.DeleteProjectKey(ctx, "proj_a", k.ID)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "DELETE /organization/projects/proj_a/api_keys/") {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("returned after %v", took)
		}
		a, err := c.Probe(ctx, made("sk-proj-", 74, "y3mA"), "", "")
		if !errors.Is(err, context.Canceled) || a.Verdict != Unknown {
			t.Errorf("the probe says %+v, %v", a, err)
		}
	})
}

// A deletion of which it is not known whether it took effect is not sent again.
func TestLostDeletion(t *testing.T) {
	for _, tc := range []struct {
		name     string
		failures []sandbox.OpenAIFailure
		lost     bool
		requests int
	}{
		{"server error", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Status: 500}}, true, 1},
		{"edge error", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Status: 503, RetryAfter: "1"}}, true, 1},
		{"broken connection", []sandbox.OpenAIFailure{{Times: 1, TookEffect: true, Reset: true}}, true, 1},
		{"limited before", []sandbox.OpenAIFailure{{Times: 1, Status: 429}, {Times: 1, TookEffect: true, Reset: true}}, true, 2},
		{"a success that is none", []sandbox.OpenAIFailure{{Times: 1, Status: 200, Body: `{"object":"organization.project.api_key.deleted","deleted":false}`}}, true, 1},
		{"a success in other words", []sandbox.OpenAIFailure{{Times: 1, Status: 204, Body: ""}}, false, 1},
		{"refused", []sandbox.OpenAIFailure{{Times: 1, Status: 403, Body: sandbox.BareForbidden}}, false, 1},
		{"gone", []sandbox.OpenAIFailure{{Times: 1, Status: 404}}, false, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb, k, c := bubble(t, 0)
				for _, f := range tc.failures {
					f.Method = http.MethodDelete
					sb.Fail(f)
				}
				if err := c.DeleteProjectKey(t.Context(), "proj_a", k.ID); errors.Is(err, ErrOutcomeUnknown) != tc.lost {
					t.Errorf("the error is %v", err)
				}
				if n := len(sb.Requests()); n != tc.requests {
					t.Errorf("%d requests, want %d", n, tc.requests)
				}
			})
		})
	}
}

func TestResetOnARealConnection(t *testing.T) {
	sb := sandbox.NewOpenAI(adminKey)
	k := sb.AddProject("proj_a", "Alpha").AddKey("ci", made("sk-proj-", 74, "y3mA"), sandbox.Person("Ada"))
	sb.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Times: 1, TookEffect: true, Reset: true})
	c := connect(t, sb)
	if err := c.DeleteProjectKey(t.Context(), "proj_a", k.ID); !errors.Is(err, ErrOutcomeUnknown) {
		t.Error(err)
	}
	if _, err := c.ProjectKey(t.Context(), "proj_a", k.ID); !errors.Is(err, ErrNotFound) {
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
