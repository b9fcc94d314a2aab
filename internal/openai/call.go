package openai

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Bounds, in bytes, on what is read of an answer.
const (
	maxAnswer  = 16 << 20
	maxProbe   = 1 << 20
	maxRefusal = 64 << 10
)

// An answer is what came back for one request. Its zero value is none.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

var errTooLong = errors.New("the answer is too long to be true")

// send sends one request with key and reads the answer, whatever its status:
// of a success at most limit bytes, or it is an errTooLong, of anything else
// the first maxRefusal bytes. Beside an error stands the answer as far as it
// was read.
func (c *Client) send(ctx context.Context, method, url string, key credential, header http.Header, limit int64) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header = header
	r.Header.Set("Authorization", "Bearer "+*key.value)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", userAgent)
	response, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	if !a.ok() {
		// A body that breaks off does not make the status less true.
		a.body, _ = io.ReadAll(io.LimitReader(response.Body, maxRefusal))
		return a, nil
	}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(a.body)) > limit {
		err = errTooLong
	}
	return a, err
}

// ask sends one request of the Admin API. Where the answer is no success, the
// error is an [*Error].
func (c *Client) ask(ctx context.Context, method, path string, query url.Values) (answer, error) {
	at := c.base.String() + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	header := http.Header{}
	if c.organization != "" {
		header.Set("OpenAI-Organization", c.organization)
	}
	a, err := c.send(ctx, method, at, c.admin, header, maxAnswer)
	if err != nil || a.ok() {
		return a, err
	}
	said := decodeRefusal(a.body)
	return a, &Error{
		Method:  method,
		Path:    c.admin.clean(path),
		Status:  a.status,
		Code:    c.admin.clean(string(said.Code)),
		Type:    c.admin.clean(string(said.Type)),
		Message: c.admin.clean(string(said.Message)),
		role:    c.role,
		wait:    retryAfter(a.header, time.Now()),
	}
}

// get asks for path and decodes the answer into v, which must be new.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.repeat(ctx, http.MethodGet, path, func() error {
		a, err := c.ask(ctx, http.MethodGet, path, query)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(a.body, v); err != nil {
			return backoff.Permanent(fmt.Errorf("the answer is not the Admin API's: %w", err))
		}
		return nil
	})
}

// remove deletes what stands at path. It is repeated after a limit alone, which
// says that nothing was done. Where the deletion may have been done and may
// not, the error is ErrOutcomeUnknown: looking is better than sending it again.
func (c *Client) remove(ctx context.Context, path string) error {
	lost := false
	err := c.repeat(ctx, http.MethodDelete, path, func() error {
		a, err := c.ask(ctx, http.MethodDelete, path, nil)
		switch {
		case a.ok() && !denied(a.body):
			return nil // whatever became of the body: servers differ in what they say
		case a.ok():
			err = errors.New("the answer is a success and says that nothing was deleted")
		}
		if lost = a.ok() || a.status == 0 || a.status >= 500; lost {
			return backoff.Permanent(err)
		}
		return err
	})
	if err != nil && lost {
		return fmt.Errorf("%w; %w", err, ErrOutcomeUnknown)
	}
	return err
}

// denied reports whether the answer to a deletion says in so many words that
// there was none.
func denied(body []byte) bool {
	var said struct {
		Deleted *bool `json:"deleted"`
	}
	return json.Unmarshal(body, &said) == nil && said.Deleted != nil && !*said.Deleted
}

// repeat calls attempt until it succeeds, fails in a way that asking again
// cannot mend, ctx is done, or the next attempt would come after the time for
// repeating or after ctx's deadline. It returns the last attempt's *Error, or an
// error that names the call.
func (c *Client) repeat(ctx context.Context, method, path string, attempt func() error) error {
	within := c.retry
	if deadline, ok := ctx.Deadline(); ok {
		// Giving up in time keeps the server's words, which ctx's end would not.
		within = max(min(within, time.Until(deadline)), 1)
	}
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = attempt()
		return struct{}{}, schedule(last)
	}, backoff.WithMaxElapsedTime(within))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", method, c.admin.clean(path), context.Cause(ctx))
	}
	if refused, ok := errors.AsType[*Error](last); ok {
		return refused
	}
	return fmt.Errorf("%s %s: %s", method, c.admin.clean(path), c.admin.clean(cause(last)))
}

// schedule returns err as backoff understands it: final, to be repeated at the
// time that the server asks for, or to be repeated.
func schedule(err error) error {
	refused, ok := errors.AsType[*Error](err)
	switch {
	case errors.As(err, new(*backoff.PermanentError)):
		return err
	case errors.Is(err, errTooLong), errors.As(err, new(*tls.CertificateVerificationError)):
		return backoff.Permanent(err)
	case !ok:
		return err // a broken connection
	case refused.Status != http.StatusTooManyRequests && refused.Status < 500:
		return backoff.Permanent(err)
	case refused.wait > 0:
		return &backoff.RetryAfterError{Duration: refused.wait}
	}
	return err
}

// retryAfter returns how long the answer asks to wait: 0 if it does not say,
// else a second or more, so that a careless 0 does not become a storm.
func retryAfter(header http.Header, now time.Time) time.Duration {
	const least, most = time.Second, 24 * time.Hour
	said := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(said, 10, 31); err == nil {
		return min(max(time.Duration(seconds)*time.Second, least), most)
	}
	if date, err := http.ParseTime(said); err == nil {
		return min(max(date.Sub(now), least), most)
	}
	return 0
}

// cause says why a request got no answer, without the URL that net/http puts
// in front of it.
func cause(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return "no answer: " + e.Err.Error()
	}
	return err.Error()
}
