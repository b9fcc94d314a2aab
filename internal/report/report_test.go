package report_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

const marker = "T3Blbk" + "FJ"

// secret returns a made-up key that ends in tail.
func secret(prefix, tail string) finding.Secret {
	half := strings.Repeat("aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA", 3)[:58]
	return finding.NewSecret(prefix + half + marker + half[:54] + tail)
}

var (
	noon  = time.Date(2026, 11, 20, 12, 0, 0, 0, time.FixedZone("", 3600))
	early = finding.Location{
		Where: finding.InFile, Commit: strings.Repeat("1a2b", 10), Path: "app/config.py",
		Blob: strings.Repeat("c", 40), Line: 3, Column: 8, Author: "Ada <ada@example.com>",
		Time: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), Present: true,
	}
	project = finding.Finding{
		Rule: "openai-project-key", Kind: finding.ProjectKey, Secret: secret("sk-proj-", "1b3A"),
		Confidence: finding.High, Locations: []finding.Location{early},
	}
	// everywhere stands once in each sort of place.
	everywhere = finding.Finding{
		Rule: "openai-admin-key", Kind: finding.AdminKey, Secret: secret("sk-admin-", "9z8A"),
		Confidence: finding.Medium, Locations: []finding.Location{
			{Where: finding.InFile, Commit: early.Commit, Path: "old/settings.py", Line: 10, Column: 1, Time: early.Time, Author: "Ada", Encoding: "base64>gzip"},
			{Where: finding.InCommitMessage, Commit: early.Commit, Line: 2, Column: 5, Author: "Bob", Time: early.Time},
			{Where: finding.InCommitHeader, Commit: early.Commit, Line: 1, Column: 9},
			{Where: finding.InTagMessage, Blob: strings.Repeat("d", 40), Line: 5, Column: 1},
			{Where: finding.InNote, Path: "notes/commits", Line: 1, Column: 1},
			{Where: finding.InPath, Path: "keys/sk-admin-...9z8A.txt", Commit: early.Commit, Line: 1, Column: 6},
			{Where: finding.Staged, Path: "new.env", Line: 1, Column: 12},
			{Where: finding.Unreachable, Blob: strings.Repeat("e", 40), Line: 7, Column: 3},
			{Where: finding.InStdin, Line: 1, Column: 1},
		},
	}
	hostile = finding.Finding{
		Rule: "other\x1b[2J", Secret: secret("", "0000"), Confidence: finding.Low,
		Locations: []finding.Location{{
			Where: finding.InFile, Path: "a\nb\u202egpj.\xff\"\\<&>" + secret("sk-proj-", "1b3A").Reveal(), Line: 1, Column: 1,
			Commit: early.Commit, Author: "\x1b]0;pwned\x07 <\u009b@x>", Time: time.Unix(1<<40, 0),
		}},
	}
	skips = []finding.Skip{
		{Object: strings.Repeat("f", 40), Reason: "the pack is cut off"},
		{Object: strings.Repeat("b", 40), Reason: "larger than --max-object-size"},
	}
	dead = finding.Response{
		Status: finding.StatusDead, Liveness: finding.NotLive,
		Project: &finding.Project{ID: "proj_a", Name: "Alpha"},
		Key: &finding.Key{
			ID: "key_1", Name: "ci", Owner: finding.Owner{Type: "service_account", ID: "svc_1", Name: "deploy"},
			CreatedAt: noon.AddDate(-1, 0, 0),
		},
		Candidates: 1, ConfirmedBy: []finding.Signal{finding.ProjectProbe},
		RevokedAt: noon, DeadAt: noon.Add(21 * time.Second),
		Issue: &finding.Issue{Repo: "acme/app", Number: 12, URL: "https://github.com/acme/app/issues/12"},
	}
)

func scanned(findings ...finding.Finding) report.Report {
	r := report.Report{
		Version: "v0.3.0", Target: ".", Started: noon, Finished: noon.Add(4 * time.Second),
		Complete: true, Objects: 262_343, Bytes: 8_107_000_000,
	}
	for _, f := range findings {
		r.Findings = append(r.Findings, report.Entry{Finding: f})
	}
	return r
}

func incomplete(r report.Report, skipped ...finding.Skip) report.Report {
	r.Complete, r.Skipped = false, skipped
	return r
}

// responded returns a report with a key for each of the responses.
func responded(responses ...finding.Response) report.Report {
	r := scanned()
	for i, resp := range responses {
		f := project
		f.Secret = secret("sk-proj-", fmt.Sprintf("%03dA", i))
		f.Rule = fmt.Sprintf("rule-%02d", i) // keeps the order of the table
		r.Findings = append(r.Findings, report.Entry{Finding: f, Response: &resp})
	}
	return r
}

func manyPlaces(n int) finding.Finding {
	f := project
	f.Locations = nil
	for i := range n {
		l := early
		l.Path = fmt.Sprintf("file%05d", i)
		f.Locations = append(f.Locations, l)
	}
	return f
}

func everyStatus() []finding.Response {
	already := finding.Response{Status: finding.StatusDead, Liveness: finding.NotLive, AlreadyDead: true}
	lives := dead
	lives.Status, lives.Liveness, lives.DeadAt = finding.StatusRevoked, finding.Live, time.Time{}
	lives.Reason = "OpenAI still accepts it after 15m0s: the wrong key may have been deleted"
	all := []finding.Response{dead, already, lives}
	for _, s := range []finding.Status{
		finding.StatusPlanned, finding.StatusProtected, finding.StatusLimit, finding.StatusAmbiguous,
		finding.StatusUnconfirmed, finding.StatusUnmatched, finding.StatusFailed,
	} {
		liveness := finding.Live
		if s == finding.StatusUnmatched {
			liveness = finding.NotKnown
		}
		all = append(all, finding.Response{Status: s, Liveness: liveness, Reason: "because of " + string(s) +
			", which takes more words to say than fit on one line of a terminal that has eighty columns"})
	}
	return all
}

// TestGolden compares reports with the files in testdata/report.
func TestGolden(t *testing.T) {
	text := func(s report.Style) func(io.Writer, report.Report) error {
		return func(w io.Writer, r report.Report) error { return report.Text(w, r, s) }
	}
	plain := text(report.Style{})
	manySkips := slices.Repeat(skips, 10)
	for _, tc := range []struct {
		name   string
		write  func(io.Writer, report.Report) error
		report report.Report
	}{
		{"clean.txt", plain, scanned()},
		{"clean.json", report.JSON, scanned()},
		{"leak.txt", plain, scanned(project)},
		{"leak-color.txt", text(report.Style{Color: true}), scanned(project)},
		{"everywhere.txt", plain, scanned(project, everywhere)},
		{"hostile.txt", plain, scanned(hostile)},
		{"hostile.json", report.JSON, scanned(hostile)},
		{"incomplete.txt", plain, incomplete(scanned(project), skips...)},
		{"incomplete.json", report.JSON, incomplete(scanned(project), skips...)},
		{"incomplete-clean.txt", plain, incomplete(scanned(), skips[0])},
		{"interrupted.txt", plain, incomplete(scanned())},
		{"many-places.txt", plain, scanned(manyPlaces(10_000))},
		{"many-skips.txt", plain, incomplete(scanned(), manySkips...)},
		{"many-verbose.txt", text(report.Style{Verbose: true}), incomplete(scanned(manyPlaces(12)), manySkips...)},
		{"respond.txt", plain, responded(everyStatus()...)},
		{"respond-narrow.txt", text(report.Style{Width: 40}), responded(everyStatus()[2])},
		{"respond-dead.txt", plain, responded(dead)},
		{"respond.json", report.JSON, responded(dead, finding.Response{Status: finding.StatusUnmatched, Liveness: finding.NotKnown, Reason: "why"})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got strings.Builder
			if err := tc.write(&got, tc.report); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("..", "..", "testdata", "report", tc.name)
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.name, diff)
			}
		})
	}
}

// TestOrder asserts that a report does not depend on the order of what it is given.
func TestOrder(t *testing.T) {
	r := incomplete(scanned(everywhere, project), skips...)
	reversed := incomplete(scanned(project, everywhere), skips[1], skips[0])
	for name, write := range map[string]func(io.Writer, report.Report) error{
		"json": report.JSON,
		"text": func(w io.Writer, r report.Report) error { return report.Text(w, r, report.Style{}) },
	} {
		var a, b strings.Builder
		if err := write(&a, r); err != nil {
			t.Fatal(err)
		}
		if err := write(&b, reversed); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a.String(), b.String()); diff != "" {
			t.Errorf("%s depends on the order (-a +b):\n%s", name, diff)
		}
	}
	if r.Findings[0].Finding.Rule != everywhere.Rule || r.Skipped[0] != skips[0] {
		t.Error("writing a report reordered the caller's slices")
	}
}

// A full is a writer without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteError(t *testing.T) {
	if err := report.JSON(full{}, scanned()); err == nil {
		t.Error("JSON: no error from a writer that fails")
	}
	if err := report.Text(full{}, scanned(), report.Style{}); err == nil {
		t.Error("Text: no error from a writer that fails")
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB",
		8_107_000_000: "8.1 GB", 1<<63 - 1: "9.2 EB",
	} {
		if got := report.Size(bytes); got != want {
			t.Errorf("Size(%d) = %q, want %q", bytes, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 262_343: "262,343", 1_234_567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := report.Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

// FuzzReports asserts, of every format and any string from outside, that no
// key and nothing that a terminal could obey gets through, and of JSON that
// reading it back gives the printable string.
func FuzzReports(f *testing.F) {
	f.Add("a\x1b[31m\xff", "\u202e\"\\")
	f.Add("\x7f\u2028", "\\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		key := secret("sk-proj-", "1b3A")
		loc := finding.Location{Where: finding.InFile, Path: a + key.Reveal() + b, Author: b, Encoding: a, Commit: b, Blob: a, Line: 1, Column: 1}
		r := scanned(finding.Finding{Rule: a, Kind: finding.Kind(b), Secret: key, Confidence: finding.Low, Locations: []finding.Location{loc}})
		r.Version, r.Target = b, a+key.Reveal()
		r.Skipped = []finding.Skip{{Object: a, Reason: b + key.Reveal()}}
		r.Findings = append(r.Findings, responded(finding.Response{
			Status: finding.Status(a), Reason: a + key.Reveal(), Project: &finding.Project{ID: a, Name: b},
			Key:   &finding.Key{ID: b, Name: a, Owner: finding.Owner{Type: a, ID: b, Name: a, Email: b}},
			Issue: &finding.Issue{Repo: a, URL: b},
		}).Findings...)

		var text, doc strings.Builder
		if err := report.Text(&text, r, report.Style{}); err != nil {
			t.Fatal(err)
		}
		if err := report.JSON(&doc, r); err != nil {
			t.Fatal(err)
		}
		for name, out := range map[string]string{"text": text.String(), "json": doc.String()} {
			if strings.Contains(out, marker) {
				t.Errorf("%s holds a key: %q", name, out)
			}
			if !utf8.ValidString(out) {
				t.Errorf("%s is no UTF-8: %q", name, out)
			}
			for _, c := range out {
				if c != '\n' && finding.Deceptive(c) {
					t.Errorf("%s holds %U: %q", name, c, out)
				}
			}
		}
		var back struct {
			Target  string
			Skipped []finding.Skip
		}
		if err := json.Unmarshal([]byte(doc.String()), &back); err != nil {
			t.Fatalf("%v in %s", err, doc.String())
		}
		if got, want := finding.Printable(back.Target), finding.Printable(r.Target); got != want {
			t.Errorf("target reads back as %q, want %q", got, want)
		}
	})
}
