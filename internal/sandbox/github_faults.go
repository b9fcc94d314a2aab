package sandbox

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// GitHubFaults are the ways in which a [GitHub] misbehaves. A number counts
// down with each request that it befalls, so that the ones after it succeed.
// The zero GitHubFaults behave.
type GitHubFaults struct {
	Method string // only requests of this method are befallen; "" means all of them

	TooMany    int       // so many requests are answered 429
	Secondary  int       // so many with 403 in the words of a secondary rate limit
	RetryAfter string    // the Retry-After of these answers; "" sends none
	Exhausted  int       // so many with 403 because the hour's requests are used up
	Reset      time.Time // when the hour ends that Exhausted speaks of
	NoneLeft   bool      // answers say that no request is left, and further ones succeed all the same

	BadGateway       int           // so many are answered with a proxy's HTML page, and nothing is done
	ErrorAfterCreate int           // so many new issues and comments are filed, and answered 502
	ResetAfterCreate int           // so many new issues and comments are filed, and the connection breaks
	DropLabels       bool          // labels are not set on issues, without a word
	Delay            time.Duration // before anything is done
	RedirectTo       string        // scheme and host of another server that requests are redirected to
}

// SetFaults makes g misbehave so from the next request on.
func (g *GitHub) SetFaults(faults GitHubFaults) {
	g.state.Lock()
	defer g.state.Unlock()
	g.faults = faults
}

// misbehave carries out the faults that come before a request is looked at,
// and reports whether that was the answer.
func (g *GitHub) misbehave(w http.ResponseWriter, r *http.Request) (answered bool) {
	g.state.Lock()
	befallen := g.faults.Method == "" || g.faults.Method == r.Method
	delay := g.faults.Delay
	g.state.Unlock()
	if !befallen {
		return false
	}
	if delay > 0 {
		select {
		case <-r.Context().Done():
			return true
		case <-time.After(delay):
		}
	}

	g.state.Lock()
	defer g.state.Unlock()
	switch f := &g.faults; {
	case f.RedirectTo != "":
		refused := refusal(http.StatusTemporaryRedirect, "Moved")
		refused.header = http.Header{"Location": {f.RedirectTo + r.URL.RequestURI()}}
		g.write(w, refused)
	case take(&f.TooMany):
		g.write(w, f.delayed(refusal(http.StatusTooManyRequests, "Too many requests")))
	case take(&f.Secondary):
		g.write(w, f.delayed(refusal(http.StatusForbidden,
			"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")))
	case take(&f.Exhausted):
		refused := refusal(http.StatusForbidden, "API rate limit exceeded for user ID 1.")
		refused.header = http.Header{
			http.CanonicalHeaderKey("X-RateLimit-Remaining"): {"0"},
			http.CanonicalHeaderKey("X-RateLimit-Reset"):     {strconv.FormatInt(f.Reset.Unix(), 10)},
		}
		g.write(w, refused)
	case take(&f.BadGateway):
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "<html><head><title>502</title></head><body><h1>Unicorn!</h1></body></html>")
	default:
		return false
	}
	return true
}

// delayed adds Retry-After to answer.
func (f *GitHubFaults) delayed(answer gitHubAnswer) gitHubAnswer {
	if f.RetryAfter != "" {
		answer.header = http.Header{"Retry-After": {f.RetryAfter}}
	}
	return answer
}

// loseAnswer returns what is to be answered instead of answer after an issue or
// a comment was filed, or breaks the connection. The caller holds g.state.
func (g *GitHub) loseAnswer(answer gitHubAnswer) gitHubAnswer {
	switch {
	case take(&g.faults.ResetAfterCreate):
		panic(http.ErrAbortHandler) // net/http closes the connection
	case take(&g.faults.ErrorAfterCreate):
		return refusal(http.StatusBadGateway, "Server Error")
	}
	return answer
}

// take counts n down and reports whether there was something left of it.
func take(n *int) bool {
	if *n <= 0 {
		return false
	}
	*n--
	return true
}
