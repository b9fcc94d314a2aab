package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-github/v60/github"
)

const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 10 << 20 // bytes; a page of a hundred issues is a tenth of it
	maxRedirects   = 5
	maxAttempts    = 5
	firstPause     = 500 * time.Millisecond // before the second attempt, doubled before each further one
	maxWait        = 2 * time.Minute        // from the first attempt to the start of the last one

	// limitPause is how long to wait after a rate limit that names no time:
	// docs.github.com asks for at least one minute.
	limitPause = time.Minute
)

var (
	errTimeout    = fmt.Errorf("no whole answer within %v", requestTimeout)
	errAnswerSize = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
)

// A transport adds the token and decides what is repeated and what is an
// error. go-github alone would follow a redirect to another host and take the
// token along, would not know a limit by status 429, and would refuse further
// requests by itself after an answer that says that none is left.
//
// So, unlike what [http.RoundTripper] asks for, it returns an [*Error] for each
// answer that is not a success: errors are made in one place, and go-github
// learns of no limit.
type transport struct {
	root    *url.URL // of the API; the token is for its scheme and host
	token   string
	network http.RoundTripper
}

// RoundTrip sends req, and sends it again where that is safe and may help.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close() // never read: each attempt has its own copy
	}
	// A PATCH sets an issue to what it sets it to, however often it is sent.
	safe := req.Method == http.MethodGet || req.Method == http.MethodPatch
	ctx := req.Context()
	start := time.Now()
	for attempt := 0; ; attempt++ {
		resp, failed := t.follow(req)
		if failed == nil {
			return resp, nil
		}
		pause := firstPause << attempt
		if !failed.until.IsZero() {
			pause = max(time.Until(failed.until), 0)
		}
		if !safe || !failed.passing || attempt == maxAttempts-1 || time.Since(start)+pause > maxWait {
			return nil, failed
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// follow sends req and returns the answer if it is a success. It follows the
// redirects that GitHub answers to a GET for a repository that was renamed, as
// long as they stay on the API's host.
func (t *transport) follow(req *http.Request) (*http.Response, *Error) {
	target := req.URL
	for redirects := 0; ; redirects++ {
		resp, failed := t.send(req, target)
		if failed != nil {
			return nil, failed
		}
		if resp.StatusCode < 300 {
			resp.Header.Del("X-RateLimit-Remaining") // go-github's memory would
			resp.Header.Del("X-RateLimit-Reset")     // refuse the next request
			return resp, nil
		}
		refused := t.refusal(req, resp)
		if resp.StatusCode >= 400 {
			return nil, refused
		}
		next, err := resp.Location()
		switch {
		case req.Method != http.MethodGet:
			refused.Remedy = "the repository was renamed or moved: name it as it is called now"
		case err != nil || !t.ours(next):
			refused.Remedy = "the redirect does not lead to the API's host, and the token goes to no other: check GITHUB_API_URL"
		case redirects == maxRedirects:
			refused.Remedy = "redirected again and again: check GITHUB_API_URL"
		default:
			target = next
			continue
		}
		return nil, refused
	}
}

// ours reports whether u is on the API's host.
func (t *transport) ours(u *url.URL) bool { return u.Scheme == t.root.Scheme && u.Host == t.root.Host }

// send sends req to target, once, and reads the whole answer. An answer that
// is a refusal is no error here.
func (t *transport) send(req *http.Request, target *url.URL) (*http.Response, *Error) {
	var connected atomic.Bool
	ctx, cancel := context.WithTimeout(req.Context(), requestTimeout)
	defer cancel()
	out := req.Clone(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	out.URL, out.Host = target, target.Host
	if t.token != "" && t.ours(target) {
		out.Header.Set("Authorization", "Bearer "+t.token)
	}

	resp, err := t.exchange(out)
	if err != nil {
		e := &Error{Method: req.Method, Path: req.URL.Path, cause: err, unclear: connected.Load()}
		e.passing = req.Context().Err() == nil && !errors.Is(err, errAnswerSize)
		if ctx.Err() != nil && e.passing {
			err = errTimeout
		}
		e.Message = t.quote(err.Error())
		return nil, e
	}
	return resp, nil
}

// exchange sends out and returns the answer with its whole body in memory.
func (t *transport) exchange(out *http.Request) (*http.Response, error) {
	if out.GetBody != nil {
		body, err := out.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	resp, err := t.network.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil && resp.StatusCode < 300 {
		return nil, err // of a refusal, the status is enough
	}
	if len(body) > maxAnswer {
		return nil, errAnswerSize
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// refusal returns the error for an answer that is not a success.
func (t *transport) refusal(req *http.Request, resp *http.Response) *Error {
	e := &Error{Method: req.Method, Path: req.URL.Path, Status: resp.StatusCode}
	var answer github.ErrorResponse
	if json.NewDecoder(resp.Body).Decode(&answer) == nil { // else an HTML page of a proxy, which tells nothing
		words := []string{answer.Message}
		for _, detail := range answer.Errors {
			words = append(words, cmp.Or(detail.Message, detail.Resource+" "+detail.Field+" "+detail.Code))
		}
		e.Message = t.quote(strings.Join(words, "; "))
	}
	if until, limited := limit(resp, e.Message); limited {
		e.until = until
		e.passing = true
		e.Remedy = "GitHub's rate limit, lifted at " + until.UTC().Format(time.RFC3339) + ": run unleak again then"
	} else if e.Status >= 500 {
		e.passing = true
		e.unclear = true
	}
	return e
}

// limit reports whether resp is the refusal of a rate limit, and when that is
// lifted. GitHub uses 403 and 429 alike for it, and 403 for more than that.
func limit(resp *http.Response, message string) (until time.Time, limited bool) {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return time.Time{}, false
	}
	now := time.Now()
	// Thirty-one bits of seconds fit into a Duration.
	after := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	if date, err := http.ParseTime(after); err == nil {
		return date, true
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if reset, err := strconv.ParseUint(resp.Header.Get("X-RateLimit-Reset"), 10, 33); err == nil {
			return time.Unix(int64(reset), 0), true
		}
		return now.Add(limitPause), true
	}
	if resp.StatusCode == http.StatusTooManyRequests || strings.Contains(strings.ToLower(message), "rate limit") {
		return now.Add(limitPause), true
	}
	return time.Time{}, false
}

// quote returns s, which came from outside, fit for an error: bounded, and
// without the token, should a server or a proxy repeat it.
func (t *transport) quote(s string) string {
	if t.token != "" {
		s = strings.ReplaceAll(s, t.token, "(the token)")
	}
	return clip(s)
}
