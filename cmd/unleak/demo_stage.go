package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
	"github.com/unleak/unleak/internal/sandbox"
)

// What the demo's stand-ins take for credentials looks like none.
const (
	demoAdmin = "demo-admin"
	demoToken = "demo-token"
	demoRepo  = "acme/app"
)

// A stage is what the demo plays on: a repository with leaked keys, the
// organization that the keys belong to, and the stand-ins that serve them.
type stage struct {
	dir        string // holds all that the demo writes
	repository string
	commits    []demoCommit
	keys       []demoKey

	openAI               *sandbox.OpenAI
	gitHub               *sandbox.GitHub
	openAIURL, gitHubURL string
	servers              []*http.Server
}

// A demoCommit is a commit of the stage's repository.
type demoCommit struct{ id, subject, note string }

// A demoKey is a key of the stage's organization.
type demoKey struct {
	*sandbox.Key
	project, name string
	owner         sandbox.Owner
	secret        finding.Secret
	leaked        bool
}

// newStage builds a stage. All of it but its addresses is the same each time.
// Whoever gets one closes it.
func newStage() (*stage, error) {
	dir, err := os.MkdirTemp("", "unleak-demo-")
	if err != nil {
		return nil, fmt.Errorf("the demo needs a directory for temporary files: %w", err)
	}
	s := &stage{dir: dir, repository: filepath.Join(dir, "app.git")}
	if err := s.set(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close stops the stand-ins and removes all that was written.
func (s *stage) close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	if err := os.RemoveAll(s.dir); err != nil {
		errs = append(errs, fmt.Errorf("the demo's files are still there, remove them by hand: %w", err))
	}
	return errors.Join(errs...)
}

func (s *stage) set() error {
	s.openAI, s.gitHub = sandbox.NewOpenAI(demoAdmin), sandbox.NewGitHub(demoToken)
	s.gitHub.AddRepo(demoRepo, sandbox.Private)
	origin, err := s.serve(s.openAI)
	if err != nil {
		return err
	}
	s.openAIURL = origin + "/v1"
	if s.gitHubURL, err = s.serve(s.gitHub); err != nil {
		return err
	}

	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("unleak demo"))))
	texts := inventKey(random, "sk-proj-")
	nightly := inventKey(random, "sk-svcacct-")
	notebooks := inventKey(random, "sk-proj-")
	notebooks = notebooks[:len(notebooks)-4] + texts[len(texts)-4:] // masked, it looks like the leaked one
	ada, ben := sandbox.Person("Ada Park"), sandbox.Person("Ben Ito")
	s.keys = []demoKey{
		{project: "Storefront", name: "texts", owner: ada, secret: finding.NewSecret(texts), leaked: true},
		{project: "Storefront", name: "search", owner: ada, secret: finding.NewSecret(inventKey(random, "sk-proj-"))},
		{project: "Analytics", name: "notebooks", owner: ben, secret: finding.NewSecret(notebooks)},
		{project: "Analytics", name: "nightly", owner: sandbox.ServiceAccount("reports"), secret: finding.NewSecret(nightly), leaked: true},
	}
	projects := map[string]*sandbox.Project{
		"Storefront": s.openAI.AddProject("proj_storefront", "Storefront"),
		"Analytics":  s.openAI.AddProject("proj_analytics", "Analytics"),
	}
	for i := range s.keys {
		k := &s.keys[i]
		k.Key = projects[k.project].AddKey(k.name, k.secret.Reveal(), k.owner)
		k.SetPast(time.Date(2025, 1, 6, 9, 0, 0, 0, time.UTC), time.Date(2025, 3, 31, 22, 15, 0, 0, time.UTC))
	}
	return s.plant(texts, nightly)
}

// inventKey returns a key that nobody ever had, in the form of today's.
func inventKey(random *rand.Rand, prefix string) string {
	const (
		chars  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		half   = 74
		marker = "T3Blbk" + "FJ"
	)
	body := make([]byte, 2*half)
	for i := range body {
		body[i] = chars[random.IntN(len(chars))]
	}
	return prefix + string(body[:half]) + marker + string(body[half:])
}

// serve lets handler answer on a free port of this machine, which no other can
// reach, and returns the address.
func (s *stage) serve(handler http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("the demo's stand-ins need a port on 127.0.0.1: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, server)
	go server.Serve(listener) // returns when the stage is closed
	return "http://" + listener.Addr().String(), nil
}

// environment returns what leads unleak to the stand-ins and keeps it away from
// the user's own configuration and ledger.
func (s *stage) environment() [][2]string {
	return [][2]string{
		{"OPENAI_BASE_URL", s.openAIURL},
		{"OPENAI_ADMIN_KEY", demoAdmin},
		{"OPENAI_ORG_ID", sandbox.DefaultOrganization},
		{"GITHUB_API_URL", s.gitHubURL},
		{"GITHUB_SERVER_URL", s.gitHubURL},
		{"GITHUB_TOKEN", demoToken},
		{"UNLEAK_CONFIG", os.DevNull},
		{"XDG_STATE_HOME", s.dir},
	}
}

// ask asks the stand-in for OpenAI about a key, as anybody could.
func (s *stage) ask(ctx context.Context, key finding.Secret) (openai.Answer, error) {
	client, err := openai.New(openai.Config{BaseURL: s.openAIURL, AdminKey: demoAdmin})
	if err != nil {
		return openai.Answer{}, err
	}
	return client.Probe(ctx, key.Reveal(), "", "")
}

// plant writes a bare repository with two leaked keys: one that was taken out
// of its file in the next commit, and one in a commit that was amended, so that
// nothing leads to it any more.
//
// The objects are written here, loose as in gitformat-loose(5): it takes less
// than the library that could do it adds to the start of every command.
func (s *stage) plant(texts, nightly string) error {
	const (
		fromEnvironment = "key = os.environ[\"OPENAI_API_KEY\"]\n"
		write           = "Write product texts with a model"
		clean           = "Take the key from the environment"
		report          = "Report on sales every night"
	)
	w := objectWriter{dir: s.repository, clock: time.Date(2025, 1, 8, 10, 0, 0, 0, time.UTC)}
	leak := w.commit(write, "", [2]string{"texts.py", "key = \"" + texts + "\"\n"})
	cleaned := [2]string{"texts.py", fromEnvironment}
	removed := w.commit(clean, leak, cleaned)
	amended := w.commit(report, removed, [2]string{"nightly.py", "key = \"" + nightly + "\"\n"}, cleaned)
	tip := w.commit(report, removed, [2]string{"nightly.py", fromEnvironment}, cleaned)
	s.commits = []demoCommit{
		{leak, write, finding.Redact(texts) + " comes in"},
		{removed, clean, "taken out of the file"},
		{amended, report, finding.Redact(nightly) + " comes in"},
		{tip, report, "amended, without the key"},
	}
	w.file("HEAD", []byte("ref: refs/heads/main\n"))
	w.file("refs/heads/main", []byte(tip+"\n"))
	w.file("config", fmt.Appendf(nil, "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[remote \"origin\"]\n\turl = %s/%s.git\n", s.gitHubURL, demoRepo))
	return w.err
}

// An objectWriter writes a bare repository below dir. It keeps the first error
// and does nothing after it.
type objectWriter struct {
	dir   string
	clock time.Time // of the next commit
	err   error
}

// commit writes a commit of files, each a name and its content, sorted by name,
// and returns its id. The parent may be "".
func (w *objectWriter) commit(subject, parent string, files ...[2]string) string {
	var tree, text bytes.Buffer
	for _, f := range files {
		id, _ := hex.DecodeString(w.object("blob", []byte(f[1])))
		fmt.Fprintf(&tree, "100644 %s\x00%s", f[0], id)
	}
	fmt.Fprintf(&text, "tree %s\n", w.object("tree", tree.Bytes()))
	if parent != "" {
		fmt.Fprintf(&text, "parent %s\n", parent)
	}
	who := fmt.Sprintf("Ada Park <ada.park@example.com> %d +0000", w.clock.Unix())
	w.clock = w.clock.Add(26 * time.Hour)
	fmt.Fprintf(&text, "author %s\ncommitter %s\n\n%s\n", who, who, subject)
	return w.object("commit", text.Bytes())
}

// object writes an object and returns its id.
func (w *objectWriter) object(kind string, body []byte) string {
	whole := append(fmt.Appendf(nil, "%s %d\x00", kind, len(body)), body...)
	sum := sha1.Sum(whole)
	id := hex.EncodeToString(sum[:])
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(whole) // a buffer takes everything
	z.Close()
	w.file("objects/"+id[:2]+"/"+id[2:], packed.Bytes())
	return id
}

// file writes a file of the repository.
func (w *objectWriter) file(name string, data []byte) {
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if w.err == nil {
		w.err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if w.err == nil {
		w.err = os.WriteFile(path, data, 0o600)
	}
}
