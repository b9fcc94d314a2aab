package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// InMemory returns a transport that has handler answer every request, whatever
// its host, without a network. Unlike a server on loopback it works inside a
// bubble of testing/synctest.
func InMemory(handler http.Handler) http.RoundTripper { return inMemory{handler} }

type inMemory struct{ handler http.Handler }

// RoundTrip returns the handler's answer, or an error if the handler breaks the
// connection or the request is given up before.
func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	request := r.Clone(r.Context())
	request.Host = r.URL.Host
	if request.Body == nil {
		request.Body = http.NoBody
	}
	w := newWritten()
	broken := make(chan bool, 1)
	go func() {
		aborted := true
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
			broken <- aborted
		}()
		m.handler.ServeHTTP(w, request)
		aborted = false
	}()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case aborted := <-broken:
		if aborted {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(&w.body),
		ContentLength: int64(w.body.Len()),
		Request:       r,
	}, nil
}

// A written is an answer that is kept in memory.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newWritten() *written {
	return &written{header: make(http.Header), status: http.StatusOK}
}

func (w *written) Header() http.Header         { return w.header }
func (w *written) Write(p []byte) (int, error) { return w.body.Write(p) }
func (w *written) WriteHeader(status int)      { w.status = status }
