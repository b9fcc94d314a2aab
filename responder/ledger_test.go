package responder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
)

func openLedger(t *testing.T, path string) *Ledger {
	t.Helper()
	l, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// record appends events to the ledger at path, as one responder would.
func record(t *testing.T, path string, entries ...entry) {
	t.Helper()
	l := openLedger(t, path)
	defer l.Close()
	release, err := l.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, e := range entries {
		if _, err := l.add(e); err != nil {
			t.Fatal(err)
		}
	}
}

func events(l *Ledger) string {
	var out []string
	for _, e := range l.entries {
		out = append(out, string(e.Event))
	}
	return strings.Join(out, " ")
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLedgerKeepsWhatIsAdded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "unleak", "ledger.jsonl")
	created := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	secret := finding.NewSecret(madeUpKey("sk-"+"proj-", 58, "aaaA"))
	want := entry{
		Event:       eventIntent,
		Fingerprint: secret.Fingerprint(),
		Redacted:    secret.Redacted(),
		Project:     &recordedProject{ID: "proj_a", Name: "Alpha"},
		Key:         &recordedKey{ID: "key_1", Name: "ci", Owner: recordedOwner{Type: "user", Name: "Ada"}, CreatedAt: created},
		Repo:        "acme/app",
	}
	record(t, path, want, entry{Event: eventDeleted, Fingerprint: secret.Fingerprint()})
	record(t, path, entry{Event: eventDead, Fingerprint: "another", Detail: "seen " + secret.Reveal() + "\x1b[2J"})

	l := openLedger(t, path)
	if got := events(l); got != "intent deleted dead" {
		t.Errorf("events = %q", got)
	}
	history := l.recall(secret.Fingerprint())
	if len(history) != 2 {
		t.Fatalf("history has %d entries, want 2", len(history))
	}
	got := history[0]
	got.Seq, got.Time, got.Prev, got.Hash = 0, time.Time{}, "", ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	data := readFile(t, path)
	if bytes.Contains(data, []byte(secret.Reveal())) || bytes.Contains(data, []byte("\x1b")) {
		t.Error("the file holds a key, or an escape sequence")
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
			}
		}
	}
}

func TestLedgerRepairsATornLine(t *testing.T) {
	for name, torn := range map[string]string{
		"short": `{"seq":3,"time":"2026-`,
		"long":  `{"seq":3,"detail":"` + strings.Repeat("x", 5000),
		"zeros": strings.Repeat("\x00", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			record(t, path, entry{Event: eventIntent, Fingerprint: "f"}, entry{Event: eventDeleted, Fingerprint: "f"})
			whole := readFile(t, path)
			if err := os.WriteFile(path, append(whole, torn...), 0o600); err != nil {
				t.Fatal(err)
			}

			// Opening does not touch it: it may be another's unfinished line.
			l := openLedger(t, path)
			if got := events(l); got != "intent deleted" {
				t.Errorf("opened: events = %q", got)
			}
			if got := readFile(t, path); len(got) != len(whole)+len(torn) {
				t.Errorf("opening changed the file: %d bytes, want %d", len(got), len(whole)+len(torn))
			}

			record(t, path, entry{Event: eventDead, Fingerprint: "f"})
			l = openLedger(t, path)
			if got := events(l); got != "intent deleted torn dead" {
				t.Errorf("repaired: events = %q", got)
			}
			if got := readFile(t, path); !bytes.HasPrefix(got, whole) {
				t.Error("the lines before were changed")
			}
		})
	}
}

func TestLedgerRefusesABrokenChain(t *testing.T) {
	line := func(data []byte, n int) []byte { return bytes.SplitAfter(data, []byte("\n"))[n] }
	forged := func(seq int, prev string) string {
		body := fmt.Sprintf(`{"seq":%d,"time":"2026-11-20T10:00:00Z","event":"dead","prev":%q`, seq, prev)
		return body + `,"hash":"` + hash([]byte(body+"}")) + "\"}\n"
	}
	for _, tt := range []struct {
		name, want string
		change     func(data []byte) []byte
	}{
		{"changed", "ledger.jsonl:2: ", func(d []byte) []byte { return bytes.Replace(d, []byte("deleted"), []byte("intent!"), 1) }},
		{"first removed", "ledger.jsonl:1: ", func(d []byte) []byte { return bytes.TrimPrefix(d, line(d, 0)) }},
		{"middle removed", "ledger.jsonl:2: ", func(d []byte) []byte { return bytes.Replace(d, line(d, 1), nil, 1) }},
		{"twice", "ledger.jsonl:4: ", func(d []byte) []byte { return append(d, line(d, 2)...) }},
		{"another number", "ledger.jsonl:4: ", func(d []byte) []byte {
			last, _ := parseEntry(bytes.TrimSpace(line(d, 2)))
			return append(d, forged(9, last.Hash)...)
		}},
		{"another chain", "ledger.jsonl:4: ", func(d []byte) []byte { return append(d, forged(4, "")...) }},
		{"garbage", "ledger.jsonl:4: ", func(d []byte) []byte { return append(d, "garbage\n"...) }},
		{"empty line", "ledger.jsonl:4: ", func(d []byte) []byte { return append(d, '\n') }},
		{"endless line", "ledger.jsonl:4: ", func(d []byte) []byte { return append(d, bytes.Repeat([]byte("x"), 2*maxLine)...) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			record(t, path, entry{Event: eventIntent}, entry{Event: eventDeleted}, entry{Event: eventDead})
			if err := os.WriteFile(path, tt.change(readFile(t, path)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenLedger(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "--ledger") {
				t.Errorf("OpenLedger: %v, want an error that names %q and a remedy", err, tt.want)
			}
		})
	}
}

func TestLedgerThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a directory": dir, "below a file": filepath.Join(file, "ledger.jsonl")} {
		if _, err := OpenLedger(path); err == nil || !strings.Contains(err.Error(), "--ledger") {
			t.Errorf("%s: %v, want an error with a remedy", name, err)
		}
	}
}

func TestLedgerAfterAFailedWriteTakesNothingMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := openLedger(t, path)
	release, err := l.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	writable := l.file
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	l.file = readOnly
	if _, err := l.add(entry{Event: eventIntent}); err == nil {
		t.Error("an entry was added to a file that takes none")
	}
	l.file = writable
	if _, err := l.add(entry{Event: eventIntent}); err == nil {
		t.Error("an entry was added after a failed write")
	}
}

func TestLedgerHasOneWriterAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	first, second := openLedger(t, path), openLedger(t, path)
	release, err := first.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for name, l := range map[string]*Ledger{"the same": first, "another": second} {
		if _, err := l.acquire(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: acquire = %v, want to wait", name, err)
		}
	}
	if _, err := first.add(entry{Event: eventIntent}); err != nil {
		t.Fatal(err)
	}
	release()
	release, err = second.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got := events(second); got != "intent" {
		t.Errorf("the second sees %q, want what the first wrote", got)
	}
}

func TestDefaultLedgerPath(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // its paths are absolute in another way
	}
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/home/ada"}, "/home/ada/.local/state/unleak/ledger.jsonl"},
		{map[string]string{"HOME": "/home/ada", "XDG_STATE_HOME": "/state"}, "/state/unleak/ledger.jsonl"},
		{map[string]string{"HOME": "/home/ada", "XDG_STATE_HOME": "state"}, "/home/ada/.local/state/unleak/ledger.jsonl"},
		{nil, ""},
	} {
		got, err := DefaultLedgerPath(func(name string) string { return tt.env[name] })
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("DefaultLedgerPath(%v) = %q, %v; want %q", tt.env, got, err, tt.want)
		}
	}
}

// Whatever stands in a line, it is an entry only if its hash is right, and it
// never makes the parser panic.
func FuzzParseEntry(f *testing.F) {
	line := []byte(`{"seq":1,"time":"2026-11-20T10:00:00Z","event":"intent","prev":""`)
	f.Add([]byte(string(line) + `,"hash":"` + hash(append(bytes.Clone(line), '}')) + `"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`,"hash":"` + strings.Repeat("0", 64) + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseEntry(line)
		if err != nil {
			return
		}
		if !json.Valid(line) || !bytes.HasSuffix(line, []byte(`,"hash":"`+e.Hash+`"}`)) {
			t.Errorf("%q is taken for an entry", line)
		}
	})
}
