package main

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/report"
	"github.com/unleak/unleak/scanner"
)

func TestExitCode(t *testing.T) {
	live := context.Background()
	cancelled, cancel := context.WithCancel(live)
	cancel()
	failure := errors.New("an issue was not filed")
	with := func(complete bool, statuses ...finding.Status) *report.Report {
		r := &report.Report{Complete: complete}
		for _, s := range statuses {
			e := report.Entry{}
			if s != "" {
				e.Response = &finding.Response{Status: s}
			}
			r.Findings = append(r.Findings, e)
		}
		return r
	}
	for _, tc := range []struct {
		name   string
		ctx    context.Context
		result *report.Report
		err    error
		want   int
	}{
		{"a command that reports nothing", live, nil, nil, 0},
		{"clean", live, with(true), nil, 0},
		{"a leak", live, with(true, ""), nil, 1},
		{"dead", live, with(true, finding.StatusDead, finding.StatusDead), nil, 0},
		{"one of two dead", live, with(true, finding.StatusDead, finding.StatusRevoked), nil, 1},
		{"planned", live, with(true, finding.StatusPlanned), nil, 1},
		{"failed", live, with(true, finding.StatusFailed), nil, 1},
		{"incomplete and clean", live, with(false), nil, 2},
		{"incomplete outranks a leak", live, with(false, ""), nil, 2},
		{"an error", live, with(true, finding.StatusDead), failure, 2},
		{"a mistake", live, nil, failure, 2},
		{"interrupted", cancelled, with(false, ""), context.Canceled, 130},
		{"interrupted before anything", cancelled, nil, context.Canceled, 130},
		{"done before the interruption was seen", cancelled, with(true), nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := exitCode(tc.ctx, tc.result, tc.err); got != tc.want {
				t.Errorf("exitCode = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want size // 0: refused
	}{
		{"1", 1}, {"500000", 500_000}, {"10MB", 10_000_000}, {"1GiB", 1 << 30}, {"1 gib", 1 << 30}, {"3k", 3 << 10}, {"7b", 7},
		{"9223372036854775807", math.MaxInt64},
		{"", 0}, {"0", 0}, {"-1", 0}, {"10QB", 0}, {"MB", 0}, {"1.5GB", 0}, {"1e3", 0}, {"9000000TB", 9_000_000 * 1e12},
		{"9999999TiB", 0}, {"99999999999999999999", 0},
	} {
		var got size
		err := got.Set(tc.in)
		if got != tc.want || (err == nil) != (tc.want > 0) {
			t.Errorf("%q: %d, %v; want %d", tc.in, got, err, tc.want)
		}
	}
}

// FuzzSize asserts that what is accepted is a positive number that reads back
// as itself, and that what is refused changes nothing.
func FuzzSize(f *testing.F) {
	f.Add("10MB")
	f.Add("9223372036854775807TiB")
	f.Fuzz(func(t *testing.T, s string) {
		var z, again size
		if err := z.Set(s); err != nil {
			if z != 0 {
				t.Fatalf("%q is refused and sets %d", s, z)
			}
			return
		}
		if z < 1 {
			t.Fatalf("%q is %d", s, z)
		}
		if err := again.Set(z.String()); err != nil || again != z {
			t.Fatalf("%q is %d, and %q is %d, %v", s, z, z.String(), again, err)
		}
	})
}

func TestNearest(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(scanFlags).register(flags)
	for name, want := range map[string]string{
		"fromat": "format", "formt": "format", "job": "jobs", "nocolor": "no-color", "outptu": "output",
		"baseline": "", "x": "", "": "",
	} {
		if got := nearest(name, flags); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	poll := func() scanner.Progress {
		return scanner.Progress{Objects: 1500, TotalObjects: 3000, Bytes: 2_000_000, TotalBytes: 5_000_000}
	}
	const line = "\r\x1b[Kreading: 50 %, 1,500 of 3,000 objects, 2.0 MB of 5.0 MB"
	for _, tc := range []struct {
		name string
		runs time.Duration
		want string
	}{
		{"over before anybody waits", patience - time.Millisecond, ""},
		{"shown once and removed", patience + time.Millisecond, line + "\r\x1b[K"},
		{"kept up to date", 2*patience - time.Millisecond, strings.Repeat(line, 3) + "\r\x1b[K"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got strings.Builder
				stop := progressLine(&got, poll)
				time.Sleep(tc.runs)
				stop()
				if got.String() != tc.want {
					t.Errorf("wrote %q, want %q", got.String(), tc.want)
				}
			})
		})
	}
}

func TestProgressText(t *testing.T) {
	if got, want := progressText(scanner.Progress{Objects: 12}), "reading: 12 objects"; got != want {
		t.Errorf("without a total: %q, want %q", got, want)
	}
	huge := progressText(scanner.Progress{Objects: 1e9, TotalObjects: 1e9, Bytes: 9e14, TotalBytes: 9e14})
	if len(huge) >= 80 {
		t.Errorf("%q has %d columns", huge, len(huge))
	}
}

// TestConfigurationLines asserts that the line of a setting is told however it
// is written, or none.
func TestConfigurationLines(t *testing.T) {
	for _, tc := range []struct{ name, file, want string }{
		{"in a table", "\n[issue]\n\nrpeo = 1\n", "f:4: there is no setting issue.rpeo"},
		{"an unknown table", "[isue]\nrepo = 1\n", "f:1: there is no setting isue"},
		{"dotted", "issue.rpeo = 1\n", "f:1: there is no setting issue.rpeo"},
		{"the same name elsewhere", "[openai]\nbase_url = ''\n[issue]\nbase_url = ''\n", "f:4: there is no setting issue.base_url"},
		{"in a table of its own line", "issue = { rpeo = 1 }\n", "f: there is no setting issue.rpeo"},
		{"rules", "[[rules]]\nid = 'a'\n", "f:1: this version takes no [[rules]] from a file"},
		{"a number below zero", "[respond]\n max_revocations = -1", "f:2: max_revocations must be 0 or more"},
		{"a repository", "[issue]\nrepo = 'https://github.com/a/b'", "f:2: repo must be OWNER/NAME"},
		{"not UTF-8", "a = '\xff'", "f:1: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseConfiguration("f", []byte(tc.file))
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// FuzzConfiguration asserts that no file makes the parser panic or its error
// repeat a key, and that a file that holds one is refused.
func FuzzConfiguration(f *testing.F) {
	f.Add("[openai]\nbase_url = 'x'\n", 3)
	f.Add("a.b.c = [[1], {d=2}]\n[[rules]]\n", 0)
	key := madeUpKey("fuzz", "sk-admin-", 58)
	f.Fuzz(func(t *testing.T, file string, at int) {
		parseConfiguration("f", []byte(file))
		at = max(0, at) % (len(file) + 1)
		_, err := parseConfiguration("f", []byte(file[:at]+key+file[at:]))
		if err == nil {
			t.Fatal("a file that holds a key is accepted")
		}
		if strings.Contains(err.Error(), key[len(key)-16:]) {
			t.Fatal("the error repeats the key")
		}
	})
}
