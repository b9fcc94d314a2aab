// Package report writes what a run found and did: one file for each format.
//
// A format only prints. Whatever it says stands in the [Report], in the same
// order whatever the order of its slices, and every string from outside passes
// the redaction of package finding.
package report

import (
	"slices"
	"strconv"
	"time"

	"github.com/unleak/unleak/finding"
)

// A Report is the outcome of one run.
type Report struct {
	Version           string // of unleak
	Target            string // as it was given
	Started, Finished time.Time
	Complete          bool // everything was read and everything done that was asked for
	Findings          []Entry
	Skipped           []finding.Skip
	Ignored           int   // keys left out because somebody said so
	Objects, Bytes    int64 // what was read
}

// An Entry is a leaked key and what was done about it.
type Entry struct {
	Finding  finding.Finding
	Response *finding.Response // nil where nothing was to be done but to look
}

// inOrder returns the findings and skips of r, sorted; r stays as it is.
func inOrder(r Report) ([]Entry, []finding.Skip) {
	entries := slices.SortedFunc(slices.Values(r.Findings), func(a, b Entry) int {
		return finding.Compare(a.Finding, b.Finding)
	})
	return entries, slices.SortedFunc(slices.Values(r.Skipped), finding.CompareSkips)
}

// Count returns n with a comma between thousands: 262,343.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Size returns a number of bytes in the unit that suits it, a thousand of one
// making the next: 8.1 GB.
func Size(bytes int64) string {
	if bytes < 1000 {
		return plural(bytes, "byte")
	}
	units := [...]string{"kB", "MB", "GB", "TB", "PB", "EB"}
	n, unit := float64(bytes)/1000, 0
	for n >= 999.95 && unit < len(units)-1 {
		n, unit = n/1000, unit+1
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + " " + units[unit]
}

// plural returns n and the name of what is counted: "1 key", "1,200 keys".
func plural(n int64, name string) string {
	if n == 1 {
		return "1 " + name
	}
	return Count(n) + " " + name + "s"
}
