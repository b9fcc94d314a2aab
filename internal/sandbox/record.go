package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// A Request is one request as a stand-in received it.
type Request struct {
	Method string
	Path   string // decoded
	Query  url.Values
	Header http.Header
	Body   []byte
}

// A recorder keeps every request that a stand-in received, in order. It is
// embedded in the stand-ins and safe for concurrent use.
type recorder struct {
	mu       sync.Mutex
	requests []Request
}

// add records r, whose body has been read into body.
func (c *recorder) add(r *http.Request, body []byte) {
	request := Request{
		Method: r.Method,
		Path:   r.URL.Path,
		Query:  r.URL.Query(),
		Header: r.Header.Clone(),
		Body:   slices.Clone(body),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, request)
}

// Requests returns what was received so far, in order.
func (c *recorder) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}
