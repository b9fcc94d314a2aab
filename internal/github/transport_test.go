package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/unleak/unleak/internal/sandbox"
)

// Reading goes on after what passes, and waits as long as it is told to.
func TestReadingIsRepeated(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults sandbox.GitHubFaults
		reset  time.Duration // when the hour's limit ends
		waits  time.Duration
		want   string // in the error; "" for none
	}{
		{name: "nothing", waits: 0},
		{name: "a proxy's page", faults: sandbox.GitHubFaults{BadGateway: 3}, waits: 3500 * time.Millisecond},
		{name: "a proxy's page for ever", faults: sandbox.GitHubFaults{BadGateway: 99}, waits: 7500 * time.Millisecond, want: "502 Bad Gateway"},
		{name: "429 with a time", faults: sandbox.GitHubFaults{TooMany: 2, RetryAfter: "30"}, waits: time.Minute},
		{name: "429 with a date", faults: sandbox.GitHubFaults{TooMany: 1, RetryAfter: "Sat, 01 Jan 2000 00:00:09 GMT"}, waits: 9 * time.Second},
		{name: "429 with nonsense", faults: sandbox.GitHubFaults{TooMany: 1, RetryAfter: "-1"}, waits: time.Minute},
		{name: "429 without a time", faults: sandbox.GitHubFaults{TooMany: 1}, waits: time.Minute},
		{name: "429 and at once", faults: sandbox.GitHubFaults{TooMany: 4, RetryAfter: "0"}, waits: 0},
		{name: "429 for too long", faults: sandbox.GitHubFaults{TooMany: 1, RetryAfter: "121"}, want: "lifted at 2000-01-01T00:02:01Z"},
		{name: "429 for ages", faults: sandbox.GitHubFaults{TooMany: 1, RetryAfter: "99999999999999999999"}, waits: time.Minute},
		{name: "429 twice for too long", faults: sandbox.GitHubFaults{TooMany: 9, RetryAfter: "100"}, waits: 100 * time.Second, want: "lifted at 2000-01-01T00:03:20Z"},
		{name: "secondary limit", faults: sandbox.GitHubFaults{Secondary: 1, RetryAfter: "5"}, waits: 5 * time.Second},
		{name: "secondary limit without a time", faults: sandbox.GitHubFaults{Secondary: 1}, waits: time.Minute},
		{name: "hour used up, soon over", faults: sandbox.GitHubFaults{Exhausted: 1}, reset: 90 * time.Second, waits: 90 * time.Second},
		{name: "hour used up", faults: sandbox.GitHubFaults{Exhausted: 1}, reset: time.Hour, want: "403 Forbidden: API rate limit exceeded for user ID 1. (GitHub's rate limit, lifted at 2000-01-01T01:00:00Z"},
		{name: "slow for ever", faults: sandbox.GitHubFaults{Delay: time.Hour}, waits: 4*30*time.Second + 3500*time.Millisecond, want: "no whole answer within 30s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
				start := time.Now()
				tc.faults.Reset = start.Add(tc.reset)
				gh.SetFaults(tc.faults)
				_, err := c.Repository(t.Context(), "acme/app")
				if tc.want != "" {
					wantError(t, err, tc.want)
				} else if err != nil {
					t.Error(err)
				}
				if got := time.Since(start); got != tc.waits {
					t.Errorf("took %v, want %v", got, tc.waits)
				}
			})
		})
	}
}

// An answer that says that no request is left does not stop the next one: it
// is GitHub's to refuse it.
func TestNoneLeft(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.SetFaults(sandbox.GitHubFaults{NoneLeft: true})
		for range 3 {
			if _, err := c.Repository(t.Context(), "acme/app"); err != nil {
				t.Fatal(err)
			}
		}
		gh.SetFaults(sandbox.GitHubFaults{Exhausted: 1, Reset: time.Now().Add(time.Hour)})
		_, err := c.Repository(t.Context(), "acme/app")
		wantError(t, err, "rate limit")
		if _, err := c.Repository(t.Context(), "acme/app"); err != nil {
			t.Errorf("after the limit: %v", err)
		}
	})
}

func TestInterruptedWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, gh *sandbox.GitHub, c *Client) {
		gh.SetFaults(sandbox.GitHubFaults{TooMany: 1, RetryAfter: "60"})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Repository(ctx, "acme/app")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// The token goes to the API's host only.
func TestRedirects(t *testing.T) {
	for _, tc := range []struct {
		name, location string
		want           string // in the error; "" for none
		requests       int
	}{
		{"same host", "/repositories/1", "", 2},
		{"same host, in full", "http://127.0.0.1/repositories/1", "", 2},
		{"another host", "http://127.0.0.2/repositories/1", "the token goes to no other", 1},
		{"another port", "http://127.0.0.1:81/repositories/1", "the token goes to no other", 1},
		{"another scheme", "https://127.0.0.1/repositories/1", "the token goes to no other", 1},
		{"a user", "http://127.0.0.1@elsewhere.example/", "the token goes to no other", 1},
		{"in a circle", "/repos/acme/app", "again and again", 1 + maxRedirects},
		{"nowhere", "", "check GITHUB_API_URL", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests++
					if r.URL.Path == "/repositories/1" {
						fmt.Fprint(w, `{"full_name":"acme/new"}`)
						return
					}
					if tc.location != "" {
						w.Header().Set("Location", tc.location)
					}
					w.WriteHeader(http.StatusMovedPermanently)
				}))
				repo, err := c.Repository(t.Context(), "acme/app")
				if tc.want != "" {
					wantError(t, err, tc.want)
				} else if err != nil || repo.Name != "acme/new" {
					t.Errorf("%+v, %v", repo, err)
				}
				if requests != tc.requests {
					t.Errorf("%d requests, want %d", requests, tc.requests)
				}
			})
		})
	}
}

func TestAnonymous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh := sandbox.NewGitHub(token)
		gh.AddRepo("acme/app")
		gh.AddRepo("acme/vault", sandbox.Private)
		c, err := newClient(Config{APIURL: "http://127.0.0.1"}, networkOf(t, gh))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Repository(t.Context(), "acme/app"); err != nil {
			t.Error(err)
		}
		_, err = c.Repository(t.Context(), "acme/vault")
		wantError(t, err, "404", "GITHUB_TOKEN")
		_, err = c.CreateIssue(t.Context(), "acme/app", IssueText{Title: "t"})
		wantError(t, err, "401", "the token is missing")
	})
}

func TestHugeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			for range 12 {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
					return
				}
			}
		}))
		_, err := c.Repository(t.Context(), "acme/app")
		wantError(t, err, "larger than 10 MiB")
		if requests != 1 {
			t.Errorf("asked %d times, want once", requests)
		}
	})
}

// FuzzRefusal asserts that an error is bounded and holds no token, whatever
// the server says, and that no time it names makes the client wait wrongly.
func FuzzRefusal(f *testing.F) {
	f.Add(403, []byte(`{"message":"no `+token+`","errors":["x",{"code":"y"}]}`), "1", "0", "4102444800")
	f.Add(429, []byte(`<html>`), "Sat, 01 Jan 2000 00:00:09 GMT", "", "")
	f.Add(422, []byte(strings.Repeat("é", 1000)), "-1", "0", "99999999999999999999")
	f.Fuzz(func(t *testing.T, status int, body []byte, after, remaining, reset string) {
		tr := &transport{root: &url.URL{}, token: token}
		req := &http.Request{Method: "GET", URL: &url.URL{Path: "/repos/acme/app"}}
		header := make(http.Header)
		header.Set("Retry-After", after)
		header.Set("X-RateLimit-Remaining", remaining)
		header.Set("X-RateLimit-Reset", reset)
		now := time.Now()
		e := tr.refusal(req, &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(string(body)))})
		if text := e.Error(); len(text) > 600 || strings.Contains(text, token) {
			t.Errorf("%d bytes: %q", len(text), text)
		}
		if limited := !e.until.IsZero(); limited && status != 403 && status != 429 {
			t.Errorf("status %d is taken for a limit", status)
		} else if status == 429 && !limited {
			t.Error("429 is not taken for a limit")
		}
		if after == "" && remaining == "" && e.until.After(now.Add(2*limitPause)) {
			t.Errorf("a pause until %v that nobody asked for", e.until)
		}
	})
}

// FuzzSplit asserts that a repository's name cannot lead a request elsewhere.
func FuzzSplit(f *testing.F) {
	for _, repo := range []string{"acme/app", "acme/..", "a/b/c", "a/b?c", "a/%2e%2e", "A_b/.github"} {
		f.Add(repo)
	}
	f.Fuzz(func(t *testing.T, repo string) {
		owner, name, err := split(repo)
		if err != nil {
			return
		}
		base := &url.URL{Scheme: "https", Host: "api.example", Path: "/api/v3/"}
		u, err := base.Parse("repos/" + owner + "/" + name + "/issues")
		if err != nil {
			t.Fatal(err)
		}
		if want := "https://api.example/api/v3/repos/" + repo + "/issues"; u.String() != want {
			t.Errorf("%q leads to %s", repo, u)
		}
	})
}
