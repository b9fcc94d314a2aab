package responder

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/sandbox"
)

func (w *world) mustBe(t *testing.T, f finding.Finding, status finding.Status, reason string) finding.Response {
	t.Helper()
	responses, err := w.respond(t, f)
	if err != nil {
		t.Fatal(err)
	}
	if got := responses[0]; got.Status != status || !strings.Contains(got.Reason, reason) {
		t.Fatalf("%s (%s), want %s (%s)", got.Status, got.Reason, status, reason)
	}
	return responses[0]
}

// A deleted key is accepted for a while: its innocent twin is then the only one
// that is listed.
func TestTheTwinOfADeletedKey(t *testing.T) {
	for name, tt := range map[string]struct {
		f   finding.Finding
		add func(w *world, value string) *sandbox.Key
	}{
		"of a project": {
			leak(finding.ProjectKey, projectKey("1b3A")),
			func(w *world, value string) *sandbox.Key { return w.alpha.AddKey("key", value, person) },
		},
		"admin": {
			leak(finding.AdminKey, adminKey("1b3A")),
			func(w *world, value string) *sandbox.Key { return w.openai.AddAdminKey("key", value, person) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				leaked := tt.add(w, tt.f.Secret.Reveal())
				twin := projectKey("1b3A")
				if tt.f.Kind == finding.AdminKey {
					twin = adminKey("1b3A")
				}
				innocent := tt.add(w, twin)
				w.mustBe(t, tt.f, finding.StatusAmbiguous, leaked.ID)
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 20})
				leaked.Delete()
				w.mustBe(t, tt.f, finding.StatusUnconfirmed, leaked.ID)
				w.mustBe(t, tt.f, finding.StatusUnconfirmed, leaked.ID) // not forgotten either
				if innocent.Deleted() || len(w.changes()) > 0 {
					t.Fatalf("an innocent key was deleted: %v", w.changes())
				}
			})
		})
	}
}

// That a twin in a project which does not accept the leaked key is gone says
// nothing.
func TestATwinElsewhereMayVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		k := w.alpha.AddKey("ci", v, person)
		twin := w.beta.AddKey("twin", projectKey("1b3A"), person)
		w.cfg.MaxRevocations = 0
		w.mustBe(t, leak(finding.ProjectKey, v), finding.StatusLimit, "")
		twin.Delete()
		w.cfg.MaxRevocations = 1
		w.mustBe(t, leak(finding.ProjectKey, v), finding.StatusDead, "")
		if !k.Deleted() {
			t.Error("the leaked key is not deleted")
		}
	})
}

// Between the decision and the deletion the key is asked once more.
func TestNoLongerAcceptedRightBeforeTheDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		k := w.alpha.AddKey("ci", projectKey("1b3A"), person) // what is listed is a twin
		hidden := w.alpha.AddKey("leaked", v, person)
		asked := 0
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/"+k.ID) {
				hidden.Delete()
			}
			if strings.HasSuffix(r.URL.Path, "/proj_alpha/api_keys") {
				asked++
				fmt.Fprintf(rw, `{"object":"list","data":[{"id":%q,"redacted_value":%q}],"has_more":false}`, k.ID, "sk-proj-..."+v[len(v)-4:])
				return
			}
			w.openai.ServeHTTP(rw, r)
		})
		w.mustBe(t, leak(finding.ProjectKey, v), finding.StatusUnconfirmed, "no longer accepts")
		if asked == 0 || k.Deleted() {
			t.Errorf("asked %d times, deleted: %v", asked, k.Deleted())
		}
	})
}

// One project accepts two leaked keys and lists one of their shape.
func TestTwoLeakedKeysAreNoOneKey(t *testing.T) {
	for _, mode := range []Mode{Act, Plan} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Mode = mode
			one, two := projectKey("1b3A"), projectKey("1b3A")
			gone := w.alpha.AddKey("gone", one, person)
			k := w.alpha.AddKey("ci", two, person)
			w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: sandbox.Forever})
			gone.Delete()
			third := projectKey("2c4A")
			w.alpha.AddKey("third", third, person)
			responses, err := w.respond(t, leak(finding.ProjectKey, one), leak(finding.ProjectKey, two), leak(finding.ProjectKey, third))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range responses[:2] {
				if r.Status != finding.StatusUnconfirmed || r.Key != nil || len(r.ConfirmedBy) > 0 || !strings.Contains(r.Reason, k.ID) {
					t.Errorf("%+v", r)
				}
			}
			if k.Deleted() || responses[2].Status == finding.StatusUnconfirmed {
				t.Errorf("deleted: %v; the third: %+v", k.Deleted(), responses[2])
			}
		})
	}
}

// A key whose prefix names no project may be accepted by several: by one that
// lists an innocent key of its shape, and by its own.
func TestAKeyOfNoProjectIsAskedEverywhere(t *testing.T) {
	for _, kind := range []finding.Kind{finding.UserKey, finding.NoneKey} {
		for _, also := range []string{"", "proj_gamma"} {
			t.Run(string(kind)+" "+also, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.openai.AddProject("proj_gamma", "Gamma")
					v := madeUpKey("sk-", 20, "1b3A")
					k := w.alpha.AddKey("ci", v, person)
					w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						if p := r.Header.Get("OpenAI-Project"); p != "" && p == also {
							r.Header.Set("OpenAI-Project", "proj_alpha")
						}
						w.openai.ServeHTTP(rw, r)
					})
					status, reason := finding.StatusDead, ""
					if also != "" {
						status, reason = finding.StatusUnconfirmed, also
					}
					w.mustBe(t, leak(kind, v), status, reason)
					if k.Deleted() != (also == "") {
						t.Errorf("deleted: %v", k.Deleted())
					}
				})
			})
		}
	}
}

// An archived project answers in its own way, which does not keep a proven key
// alive.
func TestAnArchivedProjectsSilenceIsNoContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		old := w.openai.AddProject("proj_old", "Old")
		innocent := old.AddKey("innocent", projectKey("1b3A"), person)
		old.Archive()
		k := w.beta.AddKey("ci", v, person)
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("OpenAI-Project") == "proj_old" {
				rw.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(rw, `{"error":{"message":"The project is archived.","code":"project_archived"}}`)
				return
			}
			w.openai.ServeHTTP(rw, r)
		})
		w.mustBe(t, leak(finding.ProjectKey, v), finding.StatusDead, "")
		if !k.Deleted() || innocent.Deleted() {
			t.Errorf("deleted: %v, innocent %v", k.Deleted(), innocent.Deleted())
		}
	})
}

const strayRefusal = `{"error":{"message":"Incorrect API key provided.","code":"invalid_api_key"}}`

// One refusal ends nothing.
func TestAStrayRefusal(t *testing.T) {
	for name, known := range map[string]bool{"of an unknown key": false, "of a key that an earlier run was about to delete": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				f := leak(finding.ProjectKey, v)
				if known {
					record(t, w.ledger, entry{Event: eventIntent, Fingerprint: f.Secret.Fingerprint(), Project: &recordedProject{ID: "proj_alpha"}, Key: &recordedKey{ID: k.ID}})
				}
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 401, Body: strayRefusal, Times: 1})
				if got := w.mustBe(t, f, finding.StatusDead, ""); got.AlreadyDead || !k.Deleted() {
					t.Errorf("%+v; deleted: %v", got, k.Deleted())
				}
			})
		})
	}
}

// What an earlier run knew as alive is not dead because of two answers.
func TestAKnownKeyIsProvenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		w.alpha.AddKey("ci", v, person)
		w.alpha.AddKey("twin", projectKey("1b3A"), person)
		f := leak(finding.ProjectKey, v)
		w.mustBe(t, f, finding.StatusAmbiguous, "")
		w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 401, Body: strayRefusal, Times: 3})
		w.mustBe(t, f, finding.StatusUnconfirmed, "accepts it now")
		w.mustBe(t, f, finding.StatusAmbiguous, "")
		w.openai.Fail(sandbox.OpenAIFailure{Path: "/models", Status: 401, Body: strayRefusal})
		start := time.Now()
		if got := w.mustBe(t, f, finding.StatusDead, ""); !got.AlreadyDead || time.Since(start) < 2*w.cfg.VerifyInterval {
			t.Errorf("after %v: %+v", time.Since(start), got)
		}
		start = time.Now() // what is recorded is not proven again
		if w.mustBe(t, f, finding.StatusDead, ""); time.Since(start) > w.cfg.VerifyInterval {
			t.Errorf("it took %v", time.Since(start))
		}
	})
}

// A key that is accepted after it was proven dead is not dead.
func TestDeadAndLiveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		f := leak(finding.ProjectKey, v)
		w.alpha.AddKey("ci", v, person)
		w.mustBe(t, f, finding.StatusDead, "")
		w.beta.AddKey("back", v, person) // the stand-in knows two keys of one value now
		w.openai.AddProject("proj_gamma", "Gamma").AddKey("twin", projectKey("1b3A"), person)
		got := w.mustBe(t, f, finding.StatusRevoked, "ACCEPTED AGAIN")
		if !got.DeadAt.IsZero() || got.Liveness != finding.Live {
			t.Errorf("%+v", got)
		}
		if got := events(openLedger(t, w.ledger)); got != "intent deleted dead alive" {
			t.Errorf("ledger: %s", got)
		}
	})
}

// A key that cannot be asked about, and one that nobody answers, hold up no
// other for long.
func TestAKeyWithoutAnswerHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		silent := projectKey("2c4A")
		w.alpha.AddKey("ci", v, person)
		w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer "+silent {
				time.Sleep(time.Hour)
			}
		}})
		start := time.Now()
		responses, err := w.respond(t, leak(finding.ProjectKey, "no key"), leak(finding.ProjectKey, silent), leak(finding.ProjectKey, v))
		if err == nil || responses[0].Status != finding.StatusUnconfirmed || responses[1].Status != finding.StatusUnmatched || responses[2].Status != finding.StatusDead {
			t.Errorf("%+v, %v", responses, err)
		}
		if took := responses[2].RevokedAt.Sub(start); took > time.Minute {
			t.Errorf("the last key was revoked after %v", took)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A deletion that fails holds up no other key for long, and is tried again at
// the end.
func TestAFailingDeletionHoldsUpNoOther(t *testing.T) {
	for name, times := range map[string]int{"for a while": 4, "for ever": sandbox.Forever} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var findings []finding.Finding
				var keys []*sandbox.Key
				for i := range 3 {
					v := projectKey(fmt.Sprintf("%d00A", i))
					keys = append(keys, w.alpha.AddKey("ci", v, person))
					findings = append(findings, leak(finding.ProjectKey, v))
				}
				w.cfg.MaxRevocations = 3
				path := "/organization/projects/proj_alpha/api_keys/" + keys[0].ID
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Path: path, Status: 500, Times: times})
				start := time.Now()
				responses, err := w.respond(t, findings...)
				if err != nil {
					t.Fatal(err)
				}
				if took := responses[2].RevokedAt.Sub(start); took > 15*time.Second {
					t.Errorf("the last key was revoked after %v", took)
				}
				want := []finding.Status{finding.StatusDead, finding.StatusDead, finding.StatusDead}
				if times == sandbox.Forever {
					want[0] = finding.StatusFailed
				}
				var got []finding.Status
				deletions := 0
				for _, r := range responses {
					got = append(got, r.Status)
				}
				for _, change := range w.changes() {
					if strings.HasSuffix(change, path) {
						deletions++
					}
				}
				if diff := cmp.Diff(want, got); diff != "" || deletions > 2*maxDeletions {
					t.Errorf("%d deletions; %s", deletions, diff)
				}
			})
		})
	}
}

// A success that says that nothing was deleted is none.
func TestADeletionWithoutEffect(t *testing.T) {
	for name, tt := range map[string]struct{ body, reason string }{
		"that says so":      {`{"id":"key","deleted":false}`, "says that nothing was deleted"},
		"that says nothing": {`{}`, "had no effect"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				w.openai.Fail(sandbox.OpenAIFailure{Method: http.MethodDelete, Status: 200, Body: tt.body})
				responses, err := w.respond(t, leak(finding.ProjectKey, v))
				if got := responses[0]; err != nil || got.Liveness != finding.Live || !strings.Contains(got.Reason, tt.reason) {
					t.Errorf("%+v, %v", got, err)
				}
			})
		})
	}
}

// Who deleted a key is what the record and the lists say together.
func TestResume(t *testing.T) {
	for _, tt := range []struct {
		name    string
		last    event // after the intent, or ""
		dead    bool
		arrange func(w *world, value string)
		status  finding.Status
		events  string
		revoked bool
	}{
		{name: "dead, and its outcome is not recorded", dead: true, status: finding.StatusDead, events: "intent deleted dead", revoked: true},
		{name: "lost", last: eventDeleteLost, status: finding.StatusDead, events: "intent delete-lost deleted dead", revoked: true},
		{name: "refused, and somebody else deleted it", last: eventDeleteFailed, status: finding.StatusDead, events: "intent delete-failed gone dead"},
		{name: "refused, dead, and somebody else deleted it", last: eventDeleteFailed, dead: true, status: finding.StatusDead, events: "intent delete-failed gone dead"},
		{
			name: "refused, and another organization's admin key", last: eventDeleteFailed,
			arrange: func(w *world, value string) {
				w.openai.SetFaults(sandbox.OpenAIFaults{})
				other := w.openai.AddOrganization("org-other").AddProject("proj_other", "Other")
				other.AddKey("leaked", value, person)
			},
			status: finding.StatusRevoked, events: "intent delete-failed gone alive",
		},
		{
			name: "the list is not complete",
			arrange: func(w *world, _ string) {
				w.openai.Fail(sandbox.OpenAIFailure{Path: "/organization/projects/proj_beta/api_keys", Status: 403})
			},
			status: finding.StatusUnconfirmed, events: "intent left",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				v := projectKey("1b3A")
				k := w.alpha.AddKey("ci", v, person)
				f := leak(finding.ProjectKey, v)
				entries := []entry{{Event: eventIntent, Fingerprint: f.Secret.Fingerprint(), Project: &recordedProject{ID: "proj_alpha"}, Key: &recordedKey{ID: k.ID}}}
				if tt.last != "" {
					entries = append(entries, entry{Event: tt.last, Fingerprint: f.Secret.Fingerprint()})
				}
				record(t, w.ledger, entries...)
				if !tt.dead {
					w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: 3})
				}
				k.Delete()
				if tt.arrange != nil {
					tt.arrange(w, v)
				}
				responses, _ := w.respond(t, f)
				got := responses[0]
				if got.Status != tt.status || got.RevokedAt.IsZero() == tt.revoked {
					t.Errorf("%+v", got)
				}
				if got := events(openLedger(t, w.ledger)); got != tt.events {
					t.Errorf("ledger: %s, want %s", got, tt.events)
				}
				if n := len(w.changes()); n != 0 {
					t.Errorf("%d deletions", n)
				}
			})
		})
	}
}

func TestInterruptedDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := projectKey("1b3A")
		w.alpha.AddKey("ci", v, person)
		ctx, cancel := context.WithCancel(t.Context())
		w.openai.SetFaults(sandbox.OpenAIFaults{Before: func(r *http.Request) {
			if r.Method == http.MethodDelete {
				cancel()
				time.Sleep(time.Second)
			}
		}})
		responses, err := w.respondCtx(t, ctx, leak(finding.ProjectKey, v))
		got := responses[0]
		if err == nil || got.Status != finding.StatusFailed || !strings.HasSuffix(got.Reason, "interrupted while it was under way: run again to learn its outcome") {
			t.Errorf("%+v, %v", got, err)
		}
		if got := events(openLedger(t, w.ledger)); got != "intent delete-lost" {
			t.Errorf("ledger: %s", got)
		}
		time.Sleep(time.Minute)
		w.mustBe(t, leak(finding.ProjectKey, v), finding.StatusDead, "")
	})
}

// The time for the proof is kept, whatever hangs.
func TestTheTimeForTheProofIsKept(t *testing.T) {
	for name, what := range map[string]string{"lookups": "/api_keys/", "probes": "/models"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.cfg.VerifyInterval, w.cfg.VerifyTimeout = time.Second, 3*time.Second
				v := projectKey("1b3A")
				w.alpha.AddKey("ci", v, person)
				var deleted time.Time
				w.openai.SetFaults(sandbox.OpenAIFaults{LivesOn: sandbox.Forever, Before: func(r *http.Request) {
					switch {
					case r.Method == http.MethodDelete:
						deleted = time.Now()
					case !deleted.IsZero() && strings.Contains(r.URL.Path, what):
						time.Sleep(time.Hour)
					}
				}})
				w.mustBe(t, leak(finding.ProjectKey, v), finding.StatusRevoked, "")
				if took := time.Since(deleted); took > w.cfg.VerifyTimeout+grace {
					t.Errorf("it took %v", took)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}
