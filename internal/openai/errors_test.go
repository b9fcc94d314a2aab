package openai

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/unleak/unleak/internal/sandbox"
)

func TestDecodeRefusal(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want       refusal
	}{
		{"object", `{"error":{"message":"m","type":"t","param":null,"code":"c"}}`, refusal{"m", "c", "t"}},
		{"object with nulls", `{"error":{"message":null,"type":"t","code":null}}`, refusal{"", "", "t"}},
		{"bare string", `{"error":"m"}`, refusal{"m", "", ""}},
		{"top level", `{"code":404,"message":"m"}`, refusal{"m", "404", ""}},
		{"null error", `{"error":null,"code":"c","message":"m"}`, refusal{"m", "c", ""}},
		{"message of another type", `{"error":{"message":{"a":1},"code":true}}`, refusal{}},
		{"HTML", "\n<!DOCTYPE html><html>", refusal{Message: "the answer is an HTML page, not from the API"}},
		{"empty", " \n", refusal{Message: "the answer is empty"}},
		{"text", "upstream connect error", refusal{Message: "upstream connect error"}},
		{"list", `[1]`, refusal{Message: "[1]"}},
		{"error is a list", `{"error":[1]}`, refusal{Message: `{"error":[1]}`}},
		{"broken off", `{"error":{"code":"invalid_api_key"`, refusal{Message: `{"error":{"code":"invalid_api_key"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := decodeRefusal([]byte(tc.body)); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestErrorSaysWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   string
	}{
		{"invalid", 401, nil, object("invalid_api_key", "Incorrect API key provided."),
			"GET /organization/projects: 401 Unauthorized (invalid_api_key): Incorrect API key provided; OPENAI_ADMIN_KEY is not accepted: "},
		{"organization", 401, nil, object("mismatched_organization", "m"), "OPENAI_ORG_ID names: correct one of the two"},
		{"scopes", 403, nil, `{"error":"Missing scopes: api.management.read, api.management.write. Check that…"}`, "that has api.management.read, api.management.write"},
		{"one scope", 403, nil, sandbox.BareForbidden, "that has api.management.read"},
		{"no scopes named", 403, nil, `{"error":"no"}`, "api.management.write to delete keys"},
		{"limit", 429, http.Header{"Retry-After": {"7200"}}, "", "asks to wait 2h0m0s"},
		{"redirect", 301, nil, "", "correct OPENAI_BASE_URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range tc.header {
					w.Header()[name] = values
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			}))
			_, err := c.Projects(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error does not say %q: %v", tc.want, err)
			}
			if got := errors.Is(err, ErrOrganization); got != (tc.name == "organization") {
				t.Errorf("errors.Is(%v, ErrOrganization) = %v", err, got)
			}
		})
	}
}

func TestOrganizationPin(t *testing.T) {
	leaked := made("sk-admin-", 58, "z1bA")
	sb := sandbox.NewOpenAI(adminKey)
	sb.AddOrganization("org-other", leaked)
	c := connect(t, sb, func(cfg *Config) { cfg.Organization = "org-other" })
	if _, err := c.Projects(t.Context()); !errors.Is(err, ErrOrganization) {
		t.Errorf("the operator's key: %v", err)
	}
	if _, err := c.As(leaked).AdminKeys(t.Context()); err != nil {
		t.Errorf("the leaked key is of the pinned organization: %v", err)
	}

	c = connect(t, sb, func(cfg *Config) { cfg.Organization = sandbox.DefaultOrganization })
	_, err := c.As(leaked).AdminKeys(t.Context())
	refused, ok := errors.AsType[*Error](err)
	if !ok || refused.Code != "mismatched_organization" || errors.Is(err, ErrOrganization) {
		t.Errorf("a leaked key of another organization is taken for the operator's mistake: %v", err)
	}
	if strings.Contains(err.Error(), "OPENAI_ADMIN_KEY") {
		t.Errorf("the error blames the wrong key: %v", err)
	}
	if keys, err := c.AdminKeys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("As has changed its client: %v, %v", keys, err)
	}
}

func TestHide(t *testing.T) {
	c := newCredential(adminKey)
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "all is well with sk-admin-keys", "all is well with sk-admin-keys"},
		{"whole", "key " + adminKey + " is bad", "key sk-admin-[key] is bad"},
		{"twice", adminKey + adminKey, "sk-admin-[key]sk-admin-[key]"},
		{"a run", "key ..." + adminKey[30:39] + "...", "key ...[key]..."},
		{"a tail as OpenAI shows it", "sk-admin*****" + adminKey[len(adminKey)-4:], "sk-admin*****x7QA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := c.hide(tc.in); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	if got := newCredential("demo").hide("my demo key"); got != "my [key] key" {
		t.Errorf("a short key: %q", got)
	}
	if got := newCredential("").hide("my key"); got != "my key" {
		t.Errorf("no key: %q", got)
	}
}

// What an error carries holds no other key either, whole or in pieces that
// nobody could tell for one.
func TestCleanHidesWhatCouldBeAKey(t *testing.T) {
	c := newCredential(adminKey)
	other := made("sk-proj-", 74, "y3mA")
	for _, at := range []int{0, 300, maxMessage - 160, maxMessage - 90, maxMessage - 20} {
		for _, before := range []string{strings.Repeat("word ", 200)[:at], strings.Repeat("é", at/2), strings.Repeat("-/", at/2)} {
			got := c.clean(before + other + " and more" + strings.Repeat(" words", 100))
			for i := len("sk-proj-"); i+9 <= len(other); i++ {
				if strings.Contains(got, other[i:i+9]) {
					t.Fatalf("%q of a key at %d got through: %q", other[i:i+9], at, got)
				}
			}
			if len(got) < at-41 {
				t.Errorf("of %d bytes are left %q", at, got)
			}
		}
	}
	for _, harmless := range []string{"project proj_abcdefghijklmnopqrstuvwx not found", "api.management.read, org-abcdefghijklmnopqrstuvwx"} {
		if got := c.clean(harmless); got != harmless {
			t.Errorf("%q became %q", harmless, got)
		}
	}
	if _, err := segment("../" + other); err == nil || strings.Contains(err.Error(), other[20:30]) {
		t.Errorf("an id that is a key: %v", err)
	}
}

// FuzzClean asserts that no run of a key that is longer than what OpenAI shows
// gets through, that the result is bounded, and one line of valid UTF-8.
func FuzzClean(f *testing.F) {
	f.Add("bad key ", " \xff\n", 3, 90)
	f.Add(strings.Repeat("é", 400), "x", 0, 133)
	f.Fuzz(func(t *testing.T, before, after string, from, to int) {
		if from < 0 || to < from || to > len(adminKey) {
			return
		}
		got := newCredential(adminKey).clean(before + adminKey[from:to] + after)
		if len(got) > maxMessage || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t") {
			t.Fatalf("%d bytes: %q", len(got), got)
		}
		body := strings.TrimPrefix(adminKey, "sk-admin-")
		for i := range len(body) - longestEcho {
			if strings.Contains(got, body[i:i+longestEcho+1]) {
				t.Fatalf("%q got through: %q", body[i:i+longestEcho+1], got)
			}
		}
	})
}
