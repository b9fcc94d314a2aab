package main

import (
	"fmt"
	"io"
	"time"

	"github.com/unleak/unleak/internal/report"
	"github.com/unleak/unleak/scanner"
)

// patience is how long a scan may take before it shows how far it is: most end
// sooner, and a line that only flickers helps nobody.
const patience = 300 * time.Millisecond

// showProgress keeps a line on standard error until the returned function is
// called, if there is somebody at a terminal who wants it.
func (a *app) showProgress(poll func() scanner.Progress, f scanFlags) (stop func()) {
	if f.quiet || terminal(a.stderr) == nil || a.getenv("TERM") == "dumb" || a.getenv("CI") != "" {
		return func() {}
	}
	return progressLine(a.stderr, poll)
}

// progressLine writes a line to w again and again until the returned function
// is called, which removes it. A bar from a library could do no more with the
// two numbers that are known.
func progressLine(w io.Writer, poll func() scanner.Progress) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		const clear = "\r\x1b[K"
		for wait := patience; ; wait = patience / 3 {
			select {
			case <-done:
				if wait != patience {
					io.WriteString(w, clear)
				}
				return
			case <-time.After(wait):
				io.WriteString(w, clear+progressText(poll()))
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// progressText says how far p is, in less than 80 columns.
func progressText(p scanner.Progress) string {
	if p.TotalObjects == 0 {
		return fmt.Sprintf("reading: %s objects", report.Count(p.Objects))
	}
	return fmt.Sprintf("reading: %d %%, %s of %s objects, %s of %s", 100*p.Objects/p.TotalObjects,
		report.Count(p.Objects), report.Count(p.TotalObjects), report.Size(p.Bytes), report.Size(p.TotalBytes))
}
