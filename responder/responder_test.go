package responder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/github"
	"github.com/unleak/unleak/internal/openai"
	"github.com/unleak/unleak/internal/sandbox"
)

// A world is an organization, a ledger, and what a responder is told.
type world struct {
	openai      *sandbox.OpenAI
	alpha, beta *sandbox.Project
	github      *sandbox.GitHub // nil unless withGitHub was called
	server      string          // GitHub's address
	handler     http.Handler    // what answers for OpenAI
	ledger      string
	keysPath    string
	cfg         Config
	log         strings.Builder
}

const operatorKey = "operator"

// newWorld returns an organization with two projects and no keys.
func newWorld(t *testing.T) *world {
	w := &world{openai: sandbox.NewOpenAI(operatorKey), ledger: filepath.Join(t.TempDir(), "ledger.jsonl")}
	w.alpha = w.openai.AddProject("proj_alpha", "Alpha")
	w.beta = w.openai.AddProject("proj_beta", "Beta")
	w.handler = w.openai
	w.cfg = Config{
		Repo:           "acme/app",
		Mode:           Act,
		MaxRevocations: 10,
		VerifyInterval: 10 * time.Second,
		VerifyTimeout:  15 * time.Minute,
		AdminKey:       finding.NewSecret(operatorKey),
		Log:            slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	return w
}

// withGitHub adds a GitHub on loopback. Real connections know no made-up time,
// so that the proof is asked for quickly.
func (w *world) withGitHub(t *testing.T, options ...sandbox.RepoOption) *world {
	w.github = sandbox.NewGitHub("token")
	w.github.AddRepo("acme/app", options...)
	server := httptest.NewServer(w.github)
	t.Cleanup(server.Close)
	w.server = server.URL
	w.cfg.VerifyInterval = time.Millisecond
	w.cfg.VerifyTimeout = 100 * time.Millisecond
	return w
}

// respond does what one start of the program would.
func (w *world) respond(t *testing.T, secrets ...finding.Finding) ([]finding.Response, error) {
	t.Helper()
	return w.respondCtx(t, t.Context(), secrets...)
}

func (w *world) respondCtx(t *testing.T, ctx context.Context, findings ...finding.Finding) ([]finding.Response, error) {
	t.Helper()
	if w.cfg.Mode == Plan {
		return w.start(t, ctx, nil, findings...)
	}
	l := openLedger(t, w.ledger)
	defer l.Close()
	return w.start(t, ctx, l, findings...)
}

func (w *world) respondOn(t *testing.T, l *Ledger, findings ...finding.Finding) ([]finding.Response, error) {
	t.Helper()
	return w.start(t, t.Context(), l, findings...)
}

func (w *world) start(t *testing.T, ctx context.Context, l *Ledger, findings ...finding.Finding) ([]finding.Response, error) {
	t.Helper()
	cfg := w.cfg
	cfg.Ledger = l
	var err error
	cfg.OpenAI, err = openai.New(openai.Config{
		BaseURL:      "http://127.0.0.1/v1",
		KeysPath:     w.keysPath,
		AdminKey:     operatorKey,
		Organization: cfg.Organization,
		Transport:    sandbox.InMemory(w.handler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.github != nil {
		cfg.GitHub, err = github.New(github.Config{APIURL: w.server, Token: "token"})
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	responses, err := r.Respond(ctx, findings)
	if len(responses) != len(findings) {
		t.Fatalf("%d responses to %d findings", len(responses), len(findings))
	}
	for _, response := range responses {
		if response.Reason == "" && response.Status != finding.StatusDead {
			t.Errorf("%s without a reason", response.Status)
		}
	}
	return responses, err
}

// changes returns the requests to OpenAI that are not GET.
func (w *world) changes() []string {
	var out []string
	for _, r := range w.openai.Requests() {
		if r.Method != http.MethodGet {
			out = append(out, r.Method+" "+r.Path)
		}
	}
	return out
}

func leak(kind finding.Kind, value string) finding.Finding {
	return finding.Finding{
		Rule:   "openai-" + string(kind) + "-key",
		Kind:   kind,
		Secret: finding.NewSecret(value),
		Locations: []finding.Location{{
			Where: finding.InFile, Commit: strings.Repeat("a", 40), Path: "app/config.py", Line: 3, Column: 8,
			Author: "Ada <ada@example.com>", Time: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), Present: true,
		}},
	}
}

func projectKey(tail string) string { return madeUpKey("sk-"+"proj-", 74, tail) }
func adminKey(tail string) string   { return madeUpKey("sk-"+"admin-", 58, tail) }

var person = sandbox.Person("Grace Hopper")

// The contract's table, and what makes each of its lines hold or not.
func TestRespond(t *testing.T) {
	for _, tt := range []struct {
		name       string
		arrange    func(w *world) finding.Finding
		status     finding.Status
		liveness   finding.Liveness
		candidates int
		reason     string // part of it
		deleted    int    // keys
		incomplete string // part of the error, or ""
	}{
		{
			name: "the only key of its shape is revoked and proven dead",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.alpha.AddKey("other", projectKey("2c4A"), person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "one tail in two projects: only the leaked key is deleted",
			arrange: func(w *world) finding.Finding {
				w.beta.AddKey("innocent", projectKey("1b3A"), person)
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 2, deleted: 1,
		},
		{
			name: "one tail twice in one project",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.alpha.AddKey("innocent", projectKey("1b3A"), person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusAmbiguous, liveness: finding.Live, candidates: 2, reason: "key_",
		},
		{
			name: "the key of somebody who left the project",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				left := person
				left.Left = true
				w.alpha.AddKey("ci", v, left)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "a key of an archived project",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.alpha.Archive()
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "a service account's key",
			arrange: func(w *world) finding.Finding {
				v := madeUpKey("sk-"+"svcacct-", 74, "1b3A")
				w.alpha.AddKey("ci", v, sandbox.ServiceAccount("robot"))
				return leak(finding.ServiceAccountKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "a service account's key on a server that keeps it",
			arrange: func(w *world) finding.Finding {
				v := madeUpKey("sk-"+"svcacct-", 74, "1b3A")
				w.alpha.AddKey("ci", v, sandbox.ServiceAccount("robot"))
				w.openai.SetFaults(sandbox.OpenAIFaults{KeepServiceKeys: true})
				return leak(finding.ServiceAccountKey, v)
			},
			status: finding.StatusFailed, liveness: finding.Live, candidates: 1, reason: "never deletes a service account",
		},
		{
			name: "the header that names the project is ignored",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{IgnoreProject: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "OpenAI-Project",
		},
		{
			name: "the answer's header names another project",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{SaysProject: "proj_beta"})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "proj_beta",
		},
		{
			name: "a missing scope after the project was looked at",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person).Refuse(sandbox.Refusal{Status: 403, Message: "Missing scopes: api.model.read."})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "a missing scope before the project is looked at",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person).Refuse(sandbox.Refusal{Status: 403, Message: "Missing scopes: api.model.read.", First: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "api.model.read",
		},
		{
			name: "no quota, after the project was looked at",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person).Refuse(sandbox.Refusal{Status: 429, Code: "insufficient_quota", Message: "You exceeded your quota."})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "no quota, before the project is looked at",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person).Refuse(sandbox.Refusal{Status: 429, Code: "insufficient_quota", Message: "You exceeded your quota.", First: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "You exceeded your quota",
		},
		{
			// Beta has a key of the leaked one's shape. A limit is answered to
			// the question in Beta's name, and to none after it.
			name: "a limit by chance does not make another project accept it",
			arrange: func(w *world) finding.Finding {
				w.alpha.AddKey("mine", projectKey("9z9A"), person)
				w.beta.AddKey("innocent", projectKey("1b3A"), person)
				v := projectKey("1b3A")
				third := w.openai.AddProject("proj_gamma", "Gamma")
				third.AddKey("the leaked one", v, person)
				looked := false
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if r.URL.Path == "/v1/models" && !looked { // the next question is the one in Beta's name
						looked = true
						w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 429, Times: 1})
					}
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 2, deleted: 1,
		},
		{
			name: "a limit now and then proves nothing",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				asked := 0
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if r.URL.Path != "/v1/models" {
						return
					}
					switch asked++; asked { // 1 is the first look, 2 and 4 are in Alpha's name, 3 and 5 the controls
					case 1, 3:
						w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 429, Times: 1})
					case 5:
						w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 502, Body: sandbox.BadGateway})
					}
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "502",
		},
		{
			name: "two projects accept it",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.beta.AddKey("ci", v, person).Refuse(sandbox.Refusal{Status: 403, Message: "Missing scopes: api.model.read."})
				w.openai.AddProject("proj_gamma", "Gamma").AddKey("innocent", projectKey("1b3A"), person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if r.Header.Get("OpenAI-Project") == "proj_gamma" {
						r.Header.Set("OpenAI-Project", "proj_beta")
					}
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 2, reason: "contradict",
		},
		{
			name: "the answer's header names another organization than the pinned one",
			arrange: func(w *world) finding.Finding {
				w.cfg.Organization = sandbox.DefaultOrganization
				w.alpha.AddKey("innocent", projectKey("1b3A"), person)
				v := projectKey("1b3A")
				w.openai.AddOrganization("org-other").AddProject("proj_alpha", "Alpha").AddKey("theirs", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{IgnoreOrganization: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "org-other",
		},
		{
			name: "gone before the run, and still listed",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 6, StaleLists: 3})
				k.Delete()
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "the deleted key cannot be looked up",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if r.Method == http.MethodDelete {
						w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodGet, Path: "/organization/projects/proj_alpha/api_keys/" + k.ID, Status: 403, Body: sandbox.BareForbidden})
					}
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusRevoked, liveness: finding.NotLive, candidates: 1, deleted: 1, reason: "could not be looked up",
		},
		{
			name: "another organization's key of the same shape",
			arrange: func(w *world) finding.Finding {
				w.alpha.AddKey("innocent", projectKey("1b3A"), person)
				v := projectKey("1b3A")
				w.openai.AddOrganization("org-other").AddProject("proj_other", "Other").AddKey("theirs", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "another project or organization",
		},
		{
			name: "another organization's key of the same shape, and one is pinned",
			arrange: func(w *world) finding.Finding {
				w.cfg.Organization = sandbox.DefaultOrganization
				w.alpha.AddKey("innocent", projectKey("1b3A"), person)
				v := projectKey("1b3A")
				w.openai.AddOrganization("org-other").AddProject("proj_other", "Other").AddKey("theirs", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "another organization",
		},
		{
			name: "a deleted key whose shape a living one has",
			arrange: func(w *world) finding.Finding {
				w.alpha.AddKey("innocent", projectKey("1b3A"), person)
				return leak(finding.ProjectKey, projectKey("1b3A"))
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1,
		},
		{
			name: "live, and no key has its shape",
			arrange: func(w *world) finding.Finding {
				w.alpha.AddKey("innocent", projectKey("2c4A"), person)
				v := projectKey("1b3A")
				w.openai.AddOrganization("org-other").AddProject("proj_other", "Other").AddKey("theirs", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnmatched, liveness: finding.Live, reason: "OPENAI_ADMIN_KEY",
		},
		{
			name: "unknown, and no key has its shape",
			arrange: func(w *world) finding.Finding {
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 502, Body: sandbox.BadGateway})
				return leak(finding.ProjectKey, projectKey("1b3A"))
			},
			status: finding.StatusUnmatched, liveness: finding.NotKnown, reason: "502",
		},
		{
			name: "unknown, and a key has its shape",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 502, Body: sandbox.BadGateway})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.NotKnown, candidates: 1, reason: "502",
		},
		{
			name: "a broken connection is asked again",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Reset: true, Times: 2})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "limits on every call for a while",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Status: 429, Times: 3, RetryAfter: "2"})
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 429, Times: 3})
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 429, Times: 2})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "lists without last_id",
			arrange: func(w *world) finding.Finding {
				for range 120 {
					w.alpha.AddKey("filler", projectKey("zzzA"), person)
				}
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{NullLastID: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "one page of another project fails",
			arrange: func(w *world) finding.Finding {
				for range 120 {
					w.beta.AddKey("filler", projectKey("zzzA"), person)
				}
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/projects/proj_beta/api_keys", Page: 2, Status: 500})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "page 2", incomplete: "proj_beta",
		},
		{
			name: "a missing scope for the list: a dead key is dead all the same",
			arrange: func(w *world) finding.Finding {
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/projects", Status: 403, Body: sandbox.BareForbidden})
				return leak(finding.ProjectKey, projectKey("1b3A"))
			},
			status: finding.StatusDead, liveness: finding.NotLive, incomplete: "api.management.read",
		},
		{
			name: "a missing scope for the list: a live key is never unmatched",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/projects", Status: 403, Body: sandbox.BareForbidden})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, reason: "api.management.read", incomplete: "api.management.read",
		},
		{
			name: "the admin keys cannot be listed",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/admin_api_keys", Status: 403, Body: sandbox.BareForbidden})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "admin keys", incomplete: "admin keys",
		},
		{
			name: "the pinned organization is not the admin key's",
			arrange: func(w *world) finding.Finding {
				w.cfg.Organization = "org-wrong"
				return leak(finding.ProjectKey, projectKey("1b3A"))
			},
			status: finding.StatusUnconfirmed, liveness: finding.NotKnown, reason: "OPENAI_ORG_ID", incomplete: "OPENAI_ORG_ID",
		},
		{
			name: "the documentation's masks",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Mask: func(v string) string { return v[:6] + "..." + v[len(v)-3:] }})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "masks of an unknown form",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Mask: func(v string) string { return "[hidden]" }})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, reason: "[hidden]",
		},
		{
			name: "no mask at all",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Mask: func(v string) string { return v }})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, reason: "does not know",
		},
		{
			name: "a mask that hides next to nothing",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Mask: func(v string) string { return v[:len(v)/2] + "#" + v[len(v)/2+1:] }})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, reason: "does not know",
		},
		{
			name: "one mask of an unknown form beside the confirmed key",
			arrange: func(w *world) finding.Finding {
				v, odd := projectKey("1b3A"), projectKey("7d7A")
				w.alpha.AddKey("ci", v, person)
				w.beta.AddKey("odd", odd, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Mask: func(v string) string {
					if v == odd {
						return "sk-proj-••••"
					}
					return v[:8] + "..." + v[len(v)-4:]
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "does not know",
		},
		{
			name: "the deletion takes effect and its answer is lost",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 500, Times: 1, TookEffect: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "the deletion takes effect and every answer is lost",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 502, Body: sandbox.BadGateway, TookEffect: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "the deletion never takes effect",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Reset: true})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusFailed, liveness: finding.Live, candidates: 1, reason: "no answer",
		},
		{
			name: "the admin key may not delete",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 403, Body: `{"error":"Missing scopes: api.management.write"}`})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusFailed, liveness: finding.Live, candidates: 1, reason: "api.management.write",
		},
		{
			name: "somebody else deletes it a moment before",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 1, Before: func(r *http.Request) {
					if r.Method == http.MethodDelete {
						k.Delete()
					}
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "the key lives on for a while",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 20})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "the key lives on for ever",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: sandbox.Forever})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusRevoked, liveness: finding.Live, candidates: 1, deleted: 1, reason: "wrong key may have been deleted",
		},
		{
			name: "nobody answers after the deletion",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if r.Method == http.MethodDelete {
						w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 503})
					}
				}})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusRevoked, liveness: finding.NotKnown, candidates: 1, deleted: 1, reason: "run again",
		},
		{
			name: "the looked-up key has another mask than the listed one",
			arrange: func(w *world) finding.Finding {
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				var mu sync.Mutex
				mask := func(v string) string { return v[:8] + "..." + v[len(v)-4:] }
				w.openai.SetFaults(sandbox.OpenAIFaults{
					Mask: func(v string) string { mu.Lock(); defer mu.Unlock(); return mask(v) },
					Before: func(r *http.Request) {
						if strings.HasSuffix(r.URL.Path, "/"+k.ID) {
							mu.Lock()
							defer mu.Unlock()
							mask = func(string) string { return "sk-proj-...9z9A" }
						}
					},
				})
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "another masked value",
		},
		{
			name: "the limit is used up",
			arrange: func(w *world) finding.Finding {
				w.cfg.MaxRevocations = 0
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusLimit, liveness: finding.Live, candidates: 1, reason: "--max-revocations",
		},
		{
			name: "a plan",
			arrange: func(w *world) finding.Finding {
				w.cfg.Mode = Plan
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusPlanned, liveness: finding.Live, candidates: 1, reason: "dry run",
		},
		{
			name: "the limit counts in a plan, too",
			arrange: func(w *world) finding.Finding {
				w.cfg.Mode, w.cfg.MaxRevocations = Plan, 0
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusLimit, liveness: finding.Live, candidates: 1, reason: "--max-revocations",
		},
		{
			name: "the tutorial's path",
			arrange: func(w *world) finding.Finding {
				w.cfg.Organization = sandbox.DefaultOrganization
				w.keysPath = "/organizations/{organization_id}/projects/{project_id}/apikeys"
				w.openai.SetFaults(sandbox.OpenAIFaults{TutorialPath: true})
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/projects/proj_alpha/api_keys", Status: 404})
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				return leak(finding.ProjectKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "a session",
			arrange: func(w *world) finding.Finding {
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 403, Body: sandbox.BareForbidden})
				w.alpha.AddKey("ci", projectKey("1b3A"), person)
				return leak(finding.SessionToken, "sess-"+strings.Repeat("a1B2", 10))
			},
			status: finding.StatusUnmatched, liveness: finding.Live, reason: "log out",
		},
		{
			name: "a dead client token",
			arrange: func(w *world) finding.Finding {
				return leak(finding.EphemeralToken, "ek_"+strings.Repeat("0a1b", 8))
			},
			status: finding.StatusDead, liveness: finding.NotLive,
		},
		{
			name: "an admin key",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("leaked", v, person)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "an admin key that is to be reported only",
			arrange: func(w *world) finding.Finding {
				w.cfg.Policy.AdminKeys = ReportAdminKeys
				v := adminKey("1b3A")
				w.openai.AddAdminKey("leaked", v, person)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusProtected, liveness: finding.Live, candidates: 1, reason: "admin_keys",
		},
		{
			name: "two admin keys of one shape",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("leaked", v, person)
				w.openai.AddAdminKey("innocent", adminKey("1b3A"), person)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusAmbiguous, liveness: finding.Live, candidates: 2, reason: "2 admin keys",
		},
		{
			name: "two admin keys of one shape, one of them in use",
			arrange: func(w *world) finding.Finding {
				own, v := adminKey("1b3A"), adminKey("1b3A")
				w.openai.AddAdminKey("in use", own, person)
				w.openai.AddAdminKey("leaked", v, person)
				w.cfg.AdminKey = finding.NewSecret(own)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusAmbiguous, liveness: finding.Live, candidates: 2, reason: "2 admin keys",
		},
		{
			name: "an admin key of the same shape that is made meanwhile",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("leaked", v, person)
				lists := 0
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/admin_api_keys") {
						if lists++; lists == 2 { // 1 is the list, 2 the first look, 3 what the leaked key lists
							w.openai.AddAdminKey("new", adminKey("1b3A"), person)
						}
					}
				}})
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "two lists",
		},
		{
			name: "a project's key that has an admin key's shape",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("leaked", v, person)
				w.alpha.AddKey("innocent", projectKey("1b3A"), person)
				w.openai.SetFaults(sandbox.OpenAIFaults{Mask: func(v string) string { return v[:3] + "..." + v[len(v)-3:] }})
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusDead, liveness: finding.NotLive, candidates: 1, deleted: 1,
		},
		{
			name: "another organization's admin key of the same shape",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("innocent", adminKey("1b3A"), person)
				w.openai.AddOrganization("org-other", v)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "another organization",
		},
		{
			name: "an admin key that may not list",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("leaked", v, person).Refuse(sandbox.Refusal{})
				lists := 0
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/admin_api_keys") {
						if lists++; lists == 2 { // the first probe; from now on nothing is listed
							w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/admin_api_keys", Status: 403, Body: sandbox.BareForbidden})
						}
					}
				}})
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "cannot list its own organization",
		},
		{
			name: "the admin key in use",
			arrange: func(w *world) finding.Finding {
				v := adminKey("1b3A")
				w.openai.AddAdminKey("in use", v, person)
				w.cfg.AdminKey = finding.NewSecret(v)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusProtected, liveness: finding.Live, candidates: 1, reason: "ADMIN KEY IN USE",
		},
		{
			name: "the only admin key of its shape has the shape of the one in use",
			arrange: func(w *world) finding.Finding {
				own, v := adminKey("1b3A"), adminKey("1b3A")
				w.openai.AddAdminKey("in use", own, person)
				w.cfg.AdminKey = finding.NewSecret(own)
				w.openai.AddOrganization("org-other", v)
				return leak(finding.AdminKey, v)
			},
			status: finding.StatusUnconfirmed, liveness: finding.Live, candidates: 1, reason: "could be the key in use",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				f := tt.arrange(w)
				responses, err := w.respond(t, f)
				got := responses[0]
				if got.Status != tt.status || got.Liveness != tt.liveness || got.Candidates != tt.candidates {
					t.Errorf("%s, %s, %d candidates; want %s, %s, %d\nreason: %s\nlog:\n%s",
						got.Status, got.Liveness, got.Candidates, tt.status, tt.liveness, tt.candidates, got.Reason, w.log.String())
				}
				if !strings.Contains(got.Reason, tt.reason) {
					t.Errorf("reason %q does not say %q", got.Reason, tt.reason)
				}
				switch {
				case tt.incomplete == "" && err != nil:
					t.Errorf("error: %v", err)
				case tt.incomplete != "" && (err == nil || !strings.Contains(err.Error(), tt.incomplete)):
					t.Errorf("error %v does not say %q", err, tt.incomplete)
				}
				deleted := make(map[string]bool)
				for _, change := range w.changes() {
					deleted[change] = true
				}
				if tt.status == finding.StatusFailed {
					deleted = nil // was tried
				}
				if len(deleted) != tt.deleted {
					t.Errorf("deleted %v, want %d", deleted, tt.deleted)
				}
				if tt.deleted > 0 && got.Status == finding.StatusDead && (got.Key == nil || got.DeadAt.IsZero() || got.AlreadyDead || len(got.ConfirmedBy) != 1) {
					t.Errorf("response is not told in full: %+v", got)
				}
				if got.Status == finding.StatusDead && got.AlreadyDead != (tt.deleted == 0) {
					t.Errorf("already dead: %v", got.AlreadyDead)
				}
				if seen := w.openai.Seen(f.Secret.Reveal()); len(seen) > 0 {
					t.Errorf("the key stood in %d requests beside the header for it", len(seen))
				}
				for i := 8; i+16 <= len(f.Secret.Reveal()); i++ {
					if part := f.Secret.Reveal()[i : i+16]; strings.Contains(w.log.String()+got.Reason, part) {
						t.Errorf("part of the key stands in the log or in the reason: %s", got.Reason)
						break
					}
				}
			})
		})
	}
}

func TestOnlyTheLeakedKeyIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		leaked := w.alpha.AddKey("ci", v, person)
		others := []*sandbox.Key{
			w.alpha.AddKey("a", projectKey("2c4A"), person),
			w.beta.AddKey("same tail", projectKey("1b3A"), person),
			w.beta.AddKey("robot", madeUpKey("sk-"+"svcacct-", 74, "1b3A"), sandbox.ServiceAccount("robot")),
			w.openai.AddAdminKey("admin", adminKey("1b3A"), person),
		}
		responses, err := w.respond(t, leak(finding.ProjectKey, v))
		if err != nil {
			t.Fatal(err)
		}
		if !leaked.Deleted() {
			t.Error("the leaked key is not deleted")
		}
		for _, k := range others {
			if k.Deleted() {
				t.Errorf("%s was deleted, too", k.ID)
			}
		}
		got := responses[0]
		if got.Key == nil || got.Key.ID != leaked.ID || got.Key.Owner.Email != person.Email || got.Project == nil || *got.Project != (finding.Project{ID: "proj_alpha", Name: "Alpha"}) {
			t.Errorf("response names %+v of %+v", got.Key, got.Project)
		}
		if diff := cmp.Diff([]finding.Signal{finding.ProjectProbe}, got.ConfirmedBy); diff != "" {
			t.Error(diff)
		}
		if !got.Key.LastUsedAt.IsZero() {
			t.Error("last_used_at was read after the key had been asked")
		}
		l := openLedger(t, w.ledger)
		if got := events(l); got != "intent deleted dead" {
			t.Errorf("ledger: %s", got)
		}
	})
}

// An archived project is no control: it is not known how it answers.
func TestTheControlIsNoArchivedProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.beta.Archive()
		v := projectKey("1b3A")
		k := w.alpha.AddKey("ci", v, person)
		if _, err := w.respond(t, leak(finding.ProjectKey, v)); err != nil || !k.Deleted() {
			t.Errorf("deleted: %v, %v", k.Deleted(), err)
		}
		asked := make(map[string]int)
		for _, r := range w.openai.Requests() {
			asked[r.Header.Get("OpenAI-Project")]++
		}
		if asked["proj_alpha"] != 2 || asked["proj_beta"] != 0 || len(asked) != 3 {
			t.Errorf("asked in the names of %v", asked)
		}
	})
}

// Three refusals in a row make the proof, and what comes between them starts
// it again.
func TestTheProofIsInARow(t *testing.T) {
	for name, tt := range map[string]struct {
		disturbed int // the question after the deletion that meets a limit; 0: none
		lookups   int // how often looking up the deleted key fails
		took      time.Duration
	}{
		"undisturbed":             {took: 20 * time.Second},
		"disturbed":               {disturbed: 3, took: 50 * time.Second},
		"not yet seen to be gone": {lookups: 4, took: 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				asked := 0
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					switch {
					case r.Method == http.MethodDelete && tt.lookups > 0:
						w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodGet, Path: "/organization/projects/proj_alpha/api_keys/" + k.ID, Status: 403, Times: tt.lookups})
					case r.URL.Path == "/v1/models" && len(w.changes()) > 0:
						if asked++; asked == tt.disturbed-1 {
							w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 429, Times: 1})
						}
					}
				}})
				responses, err := w.respond(t, leak(finding.ProjectKey, v))
				if err != nil {
					t.Fatal(err)
				}
				got := responses[0]
				if took := got.DeadAt.Sub(got.RevokedAt); got.Status != finding.StatusDead || took != tt.took {
					t.Errorf("%s after %v, want dead after %v", got.Status, took, tt.took)
				}
			})
		})
	}
}

// A deletion whose answers are lost and that takes effect late is sent once
// more, and not a third time.
func TestADeletionThatTakesEffectLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		k := w.alpha.AddKey("ci", v, person)
		var tried, lookedUp bool
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodDelete && !lookedUp:
				tried = true
				rw.WriteHeader(http.StatusBadGateway)
				return
			case r.Method == http.MethodDelete:
				k.Delete()
			case tried && strings.HasSuffix(r.URL.Path, k.ID):
				lookedUp = true
			}
			w.openai.ServeHTTP(rw, r)
		})
		responses, err := w.respond(t, leak(finding.ProjectKey, v))
		if err != nil {
			t.Fatal(err)
		}
		if got := responses[0]; got.Status != finding.StatusDead || got.RevokedAt.IsZero() {
			t.Errorf("%+v", got)
		}
		if n := len(w.changes()); n != 1 {
			t.Errorf("%d deletions arrived", n)
		}
		if got := events(openLedger(t, w.ledger)); got != "intent deleted dead" {
			t.Errorf("ledger: %s", got)
		}
	})
}

// A list that has grown old is read again: a key of the same shape may have
// been made since.
func TestAnOldListIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		client, err := openai.New(openai.Config{BaseURL: "http://127.0.0.1/v1", AdminKey: operatorKey, Transport: sandbox.InMemory(w.openai)})
		if err != nil {
			t.Fatal(err)
		}
		w.cfg.OpenAI, w.cfg.Mode = client, Plan
		r := mustNew(t, w.cfg)
		first, leaked := projectKey("0a0A"), projectKey("1b3A")
		w.alpha.AddKey("ci", first, person)
		w.alpha.AddKey("twin", projectKey("1b3A"), person)
		if responses, err := r.Respond(t.Context(), []finding.Finding{leak(finding.ProjectKey, first)}); err != nil || responses[0].Status != finding.StatusPlanned {
			t.Fatalf("%+v, %v", responses, err)
		}
		time.Sleep(maxListAge)
		w.alpha.AddKey("new", leaked, person)
		if responses, err := r.Respond(t.Context(), []finding.Finding{leak(finding.ProjectKey, leaked)}); err != nil || responses[0].Status != finding.StatusAmbiguous {
			t.Errorf("%+v, %v", responses, err)
		}
	})
}

// A plan that finds the traces of an earlier run leaves the ledger alone.
func TestPlanOnlyReadsTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Mode = Plan
		v := projectKey("1b3A")
		k := w.alpha.AddKey("ci", v, person)
		w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: sandbox.Forever})
		k.Delete()
		f := leak(finding.ProjectKey, v)
		record(t, w.ledger, entry{
			Event: eventIntent, Fingerprint: f.Secret.Fingerprint(),
			Project: &recordedProject{ID: "proj_alpha", Name: "Alpha"}, Key: &recordedKey{ID: k.ID, Name: "ci"},
		})
		before := readFile(t, w.ledger)
		responses, err := w.respondOn(t, openLedger(t, w.ledger), f)
		if err != nil || responses[0].Status != finding.StatusRevoked || responses[0].Key == nil {
			t.Errorf("%+v, %v", responses[0], err)
		}
		if diff := cmp.Diff(string(before), string(readFile(t, w.ledger))); diff != "" {
			t.Errorf("the ledger was written:\n%s", diff)
		}
	})
}

// A plan asks, and otherwise does nothing, anywhere.
func TestPlanOnlyReads(t *testing.T) {
	w := newWorld(t).withGitHub(t, sandbox.Private)
	w.cfg.Mode = Plan
	v := projectKey("1b3A")
	w.alpha.AddKey("ci", v, person)
	if _, err := w.respond(t, leak(finding.ProjectKey, v)); err != nil {
		t.Fatal(err)
	}
	if changes := w.changes(); len(changes) > 0 {
		t.Errorf("OpenAI was sent %v", changes)
	}
	if n := len(w.github.Issues("acme/app")); n != 0 {
		t.Errorf("%d issues", n)
	}
	if _, err := os.Stat(w.ledger); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a ledger was written: %v", err)
	}
}

func TestMaxRevocationsCountsInOrder(t *testing.T) {
	for mode, within := range map[Mode]finding.Status{Act: finding.StatusDead, Plan: finding.StatusPlanned} {
		t.Run(string(mode), func(t *testing.T) { testMaxRevocations(t, mode, within) })
	}
}

func testMaxRevocations(t *testing.T, mode Mode, within finding.Status) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Mode, w.cfg.MaxRevocations = mode, 2
		var findings []finding.Finding
		for i := range 4 {
			v := projectKey(fmt.Sprintf("%d00A", i))
			w.alpha.AddKey("ci", v, person)
			findings = append(findings, leak(finding.ProjectKey, v))
		}
		responses, err := w.respond(t, findings...)
		if err != nil {
			t.Fatal(err)
		}
		var got []finding.Status
		for _, r := range responses {
			got = append(got, r.Status)
		}
		if diff := cmp.Diff([]finding.Status{within, within, finding.StatusLimit, finding.StatusLimit}, got); diff != "" {
			t.Error(diff)
		}
		if n := len(w.changes()); mode == Act && n != 2 || mode == Plan && n != 0 {
			t.Errorf("%d deletions", n)
		}
	})
}

// No key waits for the proof of another, and the proofs run side by side.
func TestAllAreRevokedBeforeOneIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 30})
		var findings []finding.Finding
		for i := range 5 {
			v := projectKey(fmt.Sprintf("%d00A", i))
			w.alpha.AddKey("ci", v, person)
			findings = append(findings, leak(finding.ProjectKey, v))
		}
		start := time.Now()
		responses, err := w.respond(t, findings...)
		if err != nil {
			t.Fatal(err)
		}
		var first, last time.Time
		for _, r := range responses {
			if r.Status != finding.StatusDead {
				t.Errorf("%s: %s", r.Status, r.Reason)
			}
			if last.Before(r.RevokedAt) {
				last = r.RevokedAt
			}
			if first.IsZero() || r.DeadAt.Before(first) {
				first = r.DeadAt
			}
		}
		if first.Before(last) {
			t.Error("a key was proven dead while another lived")
		}
		if took := time.Since(start); took > 7*time.Minute {
			t.Errorf("the proofs took %v: one after the other", took)
		}
	})
}

// Whatever happened to an earlier run, a later one goes on from there.
func TestAfterACrash(t *testing.T) {
	intent := func(k *sandbox.Key, v string) entry {
		s := finding.NewSecret(v)
		return entry{
			Event: eventIntent, Fingerprint: s.Fingerprint(), Redacted: s.Redacted(),
			Project: &recordedProject{ID: "proj_alpha", Name: "Alpha"}, Key: &recordedKey{ID: k.ID, Name: "ci"},
		}
	}
	for _, tt := range []struct {
		name    string
		deleted bool // before the crash
		livesOn int
		lists   int // that still show what is gone
		entries int // of the earlier run: 1 intent, 2 deleted
		status  finding.Status
		deletes int // in the later run
		events  string
	}{
		{name: "between intent and deletion", entries: 1, status: finding.StatusDead, deletes: 1, events: "intent intent deleted dead"},
		{name: "between deletion and its record", deleted: true, entries: 1, status: finding.StatusDead, events: "intent deleted dead"},
		{name: "between deletion and its record, and it lives on", deleted: true, livesOn: 5, entries: 1, status: finding.StatusDead, events: "intent deleted dead"},
		{name: "between deletion and its record, and it lives on in the list, too", deleted: true, livesOn: 5, lists: 1, entries: 1, status: finding.StatusUnconfirmed, events: "intent left"},
		{name: "before the proof", deleted: true, lists: 2, entries: 2, status: finding.StatusDead, events: "intent deleted dead"},
		{name: "before the proof, and it lives on", deleted: true, lists: 2, livesOn: 5, entries: 2, status: finding.StatusDead, events: "intent deleted dead"},
		{name: "before the proof, and it lives on for ever", deleted: true, lists: 2, livesOn: sandbox.Forever, entries: 2, status: finding.StatusRevoked, events: "intent deleted alive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: tt.livesOn, StaleLists: tt.lists})
				if tt.deleted {
					k.Delete()
				}
				deleted := intent(k, v)
				deleted.Event = eventDeleted
				record(t, w.ledger, []entry{intent(k, v), deleted}[:tt.entries]...)

				responses, err := w.respond(t, leak(finding.ProjectKey, v))
				if err != nil {
					t.Fatal(err)
				}
				got := responses[0]
				if got.Status != tt.status {
					t.Errorf("%s (%s), want %s", got.Status, got.Reason, tt.status)
				}
				if n := len(w.changes()); n != tt.deletes {
					t.Errorf("%d deletions, want %d", n, tt.deletes)
				}
				if got := events(openLedger(t, w.ledger)); got != tt.events {
					t.Errorf("ledger: %s, want %s", got, tt.events)
				}
				if got.Key == nil || got.Key.ID != k.ID || got.Project == nil {
					t.Errorf("the response forgot the key: %+v", got)
				}
			})
		})
	}
}

// What outlived a run is deleted no second time, even if another key of its
// shape has appeared, and the ledger says it once.
func TestOutlivedStaysOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		w.alpha.AddKey("ci", v, person)
		w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: sandbox.Forever})
		f := leak(finding.ProjectKey, v)
		for range 3 {
			responses, err := w.respond(t, f)
			if err != nil || responses[0].Status != finding.StatusRevoked {
				t.Fatalf("%+v, %v", responses[0], err)
			}
			w.alpha.AddKey("new", projectKey("1b3A"), person)
		}
		if n := len(w.changes()); n != 1 {
			t.Errorf("%d deletions, want 1", n)
		}
		if got := events(openLedger(t, w.ledger)); got != "intent deleted alive" {
			t.Errorf("ledger: %s", got)
		}
	})
}

func TestAnUnusableLedgerKeepsEverythingFromBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		w.alpha.AddKey("ci", v, person)
		holder := openLedger(t, w.ledger)
		release, err := holder.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		responses, err := w.respondCtx(t, ctx, leak(finding.ProjectKey, v))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another unleak") {
			t.Errorf("error: %v", err)
		}
		if got := responses[0]; got.Status != finding.StatusUnconfirmed || got.Liveness != finding.NotKnown {
			t.Errorf("%+v", got)
		}
		if n := len(w.openai.Requests()); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

func TestInterrupted(t *testing.T) {
	for name, at := range map[string]string{"listing": "/organization/projects", "probing": "/models"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				ctx, cancel := context.WithCancel(t.Context())
				var findings []finding.Finding
				for i := range 3 {
					v := projectKey(fmt.Sprintf("%d00A", i))
					w.alpha.AddKey("ci", v, person)
					findings = append(findings, leak(finding.ProjectKey, v))
				}
				w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
					if strings.HasSuffix(r.URL.Path, at) {
						cancel()
					}
				}})
				responses, err := w.respondCtx(t, ctx, findings...)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error: %v", err)
				}
				for _, r := range responses {
					if r.Status != finding.StatusUnconfirmed || !strings.Contains(r.Reason, "canceled") {
						t.Errorf("%s: %s", r.Status, r.Reason)
					}
				}
				if n := len(w.changes()); n != 0 {
					t.Errorf("%d deletions", n)
				}
			})
		})
	}
}

func TestInterruptedProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		w.alpha.AddKey("ci", v, person)
		w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: sandbox.Forever})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		responses, err := w.respondCtx(t, ctx, leak(finding.ProjectKey, v))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error: %v", err)
		}
		if got := responses[0]; got.Status != finding.StatusRevoked || !strings.Contains(got.Reason, "interrupted") || got.RevokedAt.IsZero() {
			t.Errorf("%+v", got)
		}
	})
}

// The same Responder may be asked again: the list it keeps does not make it
// delete twice.
func TestTheSameResponderAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		w.alpha.AddKey("ci", v, person)
		client, err := openai.New(openai.Config{BaseURL: "http://127.0.0.1/v1", AdminKey: operatorKey, Transport: sandbox.InMemory(w.openai)})
		if err != nil {
			t.Fatal(err)
		}
		w.cfg.OpenAI, w.cfg.Ledger = client, openLedger(t, w.ledger)
		r, err := New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		f := leak(finding.ProjectKey, v)
		for _, already := range []bool{false, true} {
			responses, err := r.Respond(t.Context(), []finding.Finding{f})
			if err != nil || responses[0].Status != finding.StatusDead || responses[0].AlreadyDead != already {
				t.Errorf("%+v, %v", responses, err)
			}
		}
		if n := len(w.changes()); n != 1 {
			t.Errorf("%d deletions", n)
		}
		lists := 0
		for _, request := range w.openai.Requests() {
			if request.Path == "/v1/organization/projects" {
				lists++
			}
		}
		if lists != 1 {
			t.Errorf("the projects were listed %d times", lists)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	client, err := openai.New(openai.Config{AdminKey: operatorKey})
	if err != nil {
		t.Fatal(err)
	}
	gh, err := github.New(github.Config{Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	good := Config{OpenAI: client, Mode: Plan}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no OpenAI":         func(c *Config) { c.OpenAI = nil },
		"no mode":           func(c *Config) { c.Mode = "" },
		"no ledger":         func(c *Config) { c.Mode, c.AdminKey = Act, finding.NewSecret(operatorKey) },
		"no admin key":      func(c *Config) { c.Mode, c.Ledger = Act, new(Ledger) },
		"--issue-repo":      func(c *Config) { c.GitHub = gh },
		"--max-revocations": func(c *Config) { c.MaxRevocations = -1 },
		"--verify-interval": func(c *Config) { c.VerifyInterval = -1 },
		"admin_keys":        func(c *Config) { c.Policy.AdminKeys = "maybe" },
	} {
		cfg := good
		change(&cfg)
		_, err := New(cfg)
		if err == nil || strings.HasPrefix(name, "-") && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if responses, err := mustNew(t, good).Respond(t.Context(), nil); responses != nil || err != nil {
		t.Errorf("no findings: %v, %v", responses, err)
	}
}

func mustNew(t *testing.T, cfg Config) *Responder {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
