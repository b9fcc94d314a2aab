package responder

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// A Ledger is the record of what was done to keys: a file of JSON lines that
// is only appended to. Each line is on the disk before the next effect, and
// carries the hash of the line before, so that a change anywhere shows.
//
// One responder at a time writes a ledger, whatever process it is in. A Ledger
// is safe for concurrent use.
type Ledger struct {
	// Waiting, unless it is nil, is called when another process has the ledger
	// and a responder begins to wait for it. It is set before the first use.
	Waiting func(path string)

	path string

	turn chan struct{} // holds one value while a responder of this process has the ledger

	mu      sync.Mutex // guards what follows
	file    *os.File
	end     int64 // where the next line goes
	entries []entry
	failed  error // of an earlier write: what the file holds since then is not known
}

// An entry is one line of the ledger. Its strings hold no key.
type entry struct {
	Seq         int                 `json:"seq"` // from 1
	Time        time.Time           `json:"time"`
	Event       event               `json:"event"`
	Fingerprint finding.Fingerprint `json:"fingerprint,omitzero"`
	Redacted    string              `json:"redacted,omitzero"`
	Status      finding.Status      `json:"status,omitzero"`
	Project     *recordedProject    `json:"project,omitzero"`
	Key         *recordedKey        `json:"key,omitzero"`         // as it was listed before the deletion
	Candidates  []recordedCandidate `json:"candidates,omitempty"` // keys of its shape that were listed and not deleted
	Repo        string              `json:"repo,omitzero"`
	IssueRepo   string              `json:"issue_repo,omitzero"` // OWNER/NAME that Issue is in
	Issue       int                 `json:"issue,omitzero"`
	Detail      string              `json:"detail,omitzero"`
	Prev        string              `json:"prev"`           // the hash of the line before, "" in the first
	Hash        string              `json:"hash,omitempty"` // SHA-256 of the line without this field, in hex
}

// The records of what the Admin API says keep the field names of the JSON
// report, whatever the Go ones become.
type (
	recordedProject struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	recordedKey struct {
		ID         string        `json:"id"`
		Name       string        `json:"name"`
		Owner      recordedOwner `json:"owner"`
		CreatedAt  time.Time     `json:"created_at,omitzero"`
		LastUsedAt time.Time     `json:"last_used_at,omitzero"`
	}
	recordedCandidate struct {
		Project string `json:"project"` // "" for an admin key
		Key     string `json:"key"`
	}
	recordedOwner struct {
		Type  string `json:"type"`
		ID    string `json:"id"`
		Name  string `json:"name"`
		Email string `json:"email"`
	}
)

// recordCandidate names a candidate as the ledger does.
func recordCandidate(k openai.Key) recordedCandidate {
	const longest = 200
	return recordedCandidate{clip(finding.Printable(k.ProjectID), longest), clip(finding.Printable(k.ID), longest)}
}

// An event is what an entry records.
type event string

const (
	eventIntent       event = "intent"        // a deletion is about to be sent
	eventDeleted      event = "deleted"       // it was accepted, or took effect although its answer was lost
	eventGone         event = "gone"          // the key had been deleted by somebody else
	eventDeleteFailed event = "delete-failed" // it was refused
	eventDeleteLost   event = "delete-lost"   // it was sent, and may or may not take effect
	eventDead         event = "dead"          // OpenAI refuses the leaked key as a key
	eventAlive        event = "alive"         // the leaked key outlived the deletion past the time-out
	eventLeft         event = "left"          // nothing was deleted; the status says why
	eventIssue        event = "issue"         // an issue was filed or changed
	eventTorn         event = "torn"          // the line that stood here was cut short by a crash
)

// Bounds on a line of the ledger: in bytes, and what keeps it below that. So
// many candidates are far beyond what the last characters of keys allow.
const (
	maxLine       = 1 << 20
	maxCandidates = 200
)

// DefaultLedgerPath returns where the ledger is kept unless the user says
// otherwise: unleak/ledger.jsonl in the user's directory for state.
func DefaultLedgerPath(getenv func(string) string) (string, error) {
	state := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // to be ignored, says the XDG specification
		state = ""
	}
	if state == "" && runtime.GOOS == "windows" {
		state = getenv("LOCALAPPDATA")
	}
	if home := getenv("HOME"); state == "" && home != "" {
		state = filepath.Join(home, ".local", "state")
	}
	if state == "" {
		return "", errors.New("no place for the ledger: neither HOME nor XDG_STATE_HOME is set; name a file with --ledger")
	}
	return filepath.Join(state, "unleak", "ledger.jsonl"), nil
}

// OpenLedger opens the ledger at path for reading and writing and verifies it;
// one that does not exist is made, with its directory, readable for its owner
// only. The error says what is wrong with the file and what to do.
func OpenLedger(path string) (*Ledger, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the ledger's directory: %w; name another file with --ledger", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the ledger for writing: %w; name another file with --ledger", err)
	}
	l := &Ledger{path: path, file: file, turn: make(chan struct{}, 1)}
	if err := errors.Join(syncDir(dir), l.read()); err != nil {
		file.Close()
		return nil, err
	}
	return l, nil
}

// Close closes the file. Nothing is pending: every entry is on the disk.
func (l *Ledger) Close() error { return l.file.Close() }

// acquire waits until no other responder, in this process or another, has the
// ledger, and brings the entries up to date. What a crash left of a last line
// is replaced by an entry that says so. Only between acquire and release may
// entries be added.
func (l *Ledger) acquire(ctx context.Context) (release func(), err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the ledger %s: %w", l.path, context.Cause(ctx))
	}
	if err := l.lock(ctx); err != nil {
		<-l.turn
		return nil, err
	}
	release = func() {
		unlockFile(l.file) // closing the file, at the latest, unlocks it
		<-l.turn
	}
	if err := l.refresh(); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// lock takes the lock that other processes see. It asks again and again
// because waiting inside the system could not be interrupted.
func (l *Ledger) lock(ctx context.Context) error {
	const pause = 100 * time.Millisecond
	for waiting := false; ; waiting = true {
		taken, err := tryLockFile(l.file)
		if err != nil {
			return fmt.Errorf("lock the ledger %s: %w; name a file on a local disk with --ledger", l.path, err)
		}
		if taken {
			return nil
		}
		if !waiting && l.Waiting != nil {
			l.Waiting(l.path)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another unleak is writing the ledger %s: %w", l.path, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// refresh reads what others have appended and repairs a torn last line. The
// caller holds the lock.
func (l *Ledger) refresh() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	torn, err := l.load()
	if err != nil || len(torn) == 0 {
		return err
	}
	line, e, err := l.next(entry{
		Event:  eventTorn,
		Detail: fmt.Sprintf("%d bytes of an entry that a crash cut short: %s", len(torn), clip(finding.Printable(string(torn)), 300)),
	})
	if err != nil {
		return err
	}
	// The torn line is written over, never cut off first: a crash in here
	// leaves a torn line again, and no loss without a trace.
	if len(torn) > len(line) {
		if err := l.file.Truncate(l.end + int64(len(line)) - 1); err != nil {
			return fmt.Errorf("repair the ledger %s: %w", l.path, err)
		}
	}
	return l.write(line, e)
}

// read is load for one who does not hold the lock: what looks torn may be a
// line that is being written.
func (l *Ledger) read() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.load()
	return err
}

// load reads and verifies the file. It returns what stands behind the last
// line feed.
func (l *Ledger) load() (torn []byte, err error) {
	if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	l.entries, l.end = nil, 0
	lines := bufio.NewScanner(l.file)
	lines.Buffer(nil, maxLine)
	lines.Split(keepLineFeed)
	prev := ""
	for lines.Scan() {
		line, whole := bytes.CutSuffix(lines.Bytes(), []byte("\n"))
		if !whole {
			torn = slices.Clone(line)
			break
		}
		e, err := parseEntry(line)
		switch {
		case err != nil:
		case e.Seq != len(l.entries)+1:
			err = fmt.Errorf("it has number %d", e.Seq)
		case e.Prev != prev:
			err = errors.New("it does not continue the line before")
		}
		if err != nil {
			return nil, l.broken(len(l.entries)+1, err)
		}
		l.entries = append(l.entries, e)
		l.end += int64(len(line)) + 1
		prev = e.Hash
	}
	if err := lines.Err(); err != nil {
		return nil, l.broken(len(l.entries)+1, err)
	}
	return torn, nil
}

func (l *Ledger) broken(line int, err error) error {
	return fmt.Errorf("%s:%d: the ledger's record is broken here: %w; nothing is deleted on top of it: find out who changed it, then move the file away or name another with --ledger", l.path, line, err)
}

// keepLineFeed is a [bufio.SplitFunc] for lines that keep their line feed, so
// that one without it can be told.
func keepLineFeed(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// hashField is the end of every line.
var hashField = regexp.MustCompile(`,"hash":"([0-9a-f]{64})"\}$`)

// parseEntry decodes a line and verifies its hash.
func parseEntry(line []byte) (entry, error) {
	at := hashField.FindSubmatchIndex(line)
	if at == nil {
		return entry{}, errors.New("it does not end with a hash")
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return entry{}, fmt.Errorf("it is no entry: %w", err)
	}
	if hash(append(slices.Clone(line[:at[0]]), '}')) != string(line[at[2]:at[3]]) {
		return entry{}, errors.New("it was changed after it was written")
	}
	return e, nil
}

// hash returns the hash of a line without the field that holds it.
func hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// next completes e to be the next line.
func (l *Ledger) next(e entry) (line []byte, _ entry, err error) {
	e.Seq = len(l.entries) + 1
	e.Time = time.Now().UTC()
	e.Prev, e.Hash = "", ""
	if n := len(l.entries); n > 0 {
		e.Prev = l.entries[n-1].Hash
	}
	e.redact()
	line, err = json.Marshal(e)
	if err != nil {
		return nil, e, fmt.Errorf("write the ledger %s: %w", l.path, err)
	}
	e.Hash = hash(line)
	line = append(line[:len(line)-1], `,"hash":"`+e.Hash+"\"}\n"...)
	return line, e, nil
}

// redact makes every string that comes from outside safe to store.
func (e *entry) redact() {
	clean := func(s *string) { *s = clip(finding.Printable(*s), 2000) }
	clean(&e.Detail)
	clean(&e.Repo)
	clean(&e.IssueRepo)
	if e.Project != nil {
		p := *e.Project
		clean(&p.ID)
		clean(&p.Name)
		e.Project = &p
	}
	if e.Key != nil {
		k := *e.Key
		for _, s := range []*string{&k.ID, &k.Name, &k.Owner.Type, &k.Owner.ID, &k.Owner.Name, &k.Owner.Email} {
			clean(s)
		}
		e.Key = &k
	}
}

// add appends e and returns it as it was written: with no error, the entry is
// on the disk.
func (l *Ledger) add(e entry) (entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, e, err := l.next(e)
	if err != nil {
		return e, err
	}
	return e, l.write(line, e)
}

func (l *Ledger) write(line []byte, e entry) error {
	if l.failed != nil {
		return l.failed
	}
	if _, err := l.file.WriteAt(line, l.end); err != nil {
		l.failed = fmt.Errorf("write the ledger %s: %w", l.path, err)
		return l.failed
	}
	if err := l.file.Sync(); err != nil {
		l.failed = fmt.Errorf("bring the ledger %s to the disk: %w", l.path, err)
		return l.failed
	}
	l.end += int64(len(line))
	l.entries = append(l.entries, e)
	return nil
}

// recall returns what is recorded about one key. Without a ledger, that is
// nothing.
func (l *Ledger) recall(fp finding.Fingerprint) memory {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var m memory
	for _, e := range l.entries {
		if e.Fingerprint == fp {
			m = append(m, e)
		}
	}
	return m
}

// A memory is what the ledger holds about one key, the oldest first.
type memory []entry

// last returns the newest entry that records one of the events.
func (m memory) last(events ...event) (entry, bool) {
	for _, e := range slices.Backward(m) {
		if slices.Contains(events, e.Event) {
			return e, true
		}
	}
	return entry{}, false
}

// standing returns the newest entry that tells how the key stands.
func (m memory) standing() (entry, bool) {
	return m.last(eventIntent, eventDeleted, eventGone, eventDeleteFailed, eventDeleteLost, eventDead, eventAlive, eventLeft)
}

// candidates yields every key that was ever a candidate for it.
func (m memory) candidates(yield func(recordedCandidate) bool) {
	for _, e := range m {
		for _, c := range e.Candidates {
			if !yield(c) {
				return
			}
		}
	}
}

// describe fills in what earlier runs knew and did. Whether the key is dead is
// for this run to say.
func (m memory) describe(response *finding.Response) {
	if e, ok := m.last(eventIntent); ok {
		if e.Project != nil {
			p := finding.Project(*e.Project)
			response.Project = &p
		}
		if k := e.Key; k != nil {
			response.Key = &finding.Key{ID: k.ID, Name: k.Name, Owner: finding.Owner(k.Owner), CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt}
		}
	}
	if e, ok := m.last(eventDeleted, eventGone); ok && e.Event == eventDeleted {
		response.RevokedAt = e.Time
	}
}

// clip returns the beginning of s, at most limit characters of it, and shows
// that something is missing.
func clip(s string, limit int) string {
	n := 0
	for i := range s {
		if n == limit {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
