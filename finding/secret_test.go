package finding_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/unleak/unleak/finding"
)

// TestSecretIsNeverPrinted tries to print a secret in every way there is.
func TestSecretIsNeverPrinted(t *testing.T) {
	value := key("sk-proj-", 74)
	secret := finding.NewSecret(value)
	type inner struct{ hidden finding.Secret }
	type outer struct {
		Shown   finding.Secret
		hidden  finding.Secret
		pointer *finding.Secret
		nested  inner
		list    []finding.Secret
		table   map[string]finding.Secret
		any     any
	}
	holder := outer{secret, secret, &secret, inner{secret}, []finding.Secret{secret}, map[string]finding.Secret{"k": secret}, secret}

	var printed []string
	for _, v := range []any{secret, &secret, holder, &holder, holder.list, holder.table, []any{secret}, finding.Finding{Secret: secret}, errors.Join(fmt.Errorf("%v %w", secret, errors.ErrUnsupported))} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10.3s", "%-300v", "% x", "%U", "%c", "%e", "%t", "%b", "%o", "%!"} {
			printed = append(printed, fmt.Sprintf(format, v))
		}
		printed = append(printed, fmt.Sprint(v), fmt.Sprintln(v), fmt.Errorf("wrapped: %v", v).Error())

		var b bytes.Buffer
		if text, err := json.Marshal(v); err == nil {
			b.Write(text)
		}
		_ = xml.NewEncoder(&b).Encode(v)
		_ = gob.NewEncoder(&b).Encode(v)
		for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
			logger := slog.New(handler)
			logger.Info("message", "value", v, slog.Group("g", "value", v))
			logger.With("with", v).Error(fmt.Sprint(v))
		}
		log.New(&b, "", 0).Println(v)
		_ = template.Must(template.New("").Parse("{{.}} {{printf \"%v %#v\" . .}}")).Execute(&b, v)
		_ = htmltemplate.Must(htmltemplate.New("").Parse("<a href='{{.}}'>{{.}}</a><script>{{.}}</script>")).Execute(&b, v)
		printed = append(printed, b.String())
	}
	// A verb for bytes writes what it is given in hexadecimal.
	parts := []string{value[8:82], value[90:160]}
	for _, p := range parts {
		parts = append(parts, fmt.Sprintf("%x", p), fmt.Sprintf("%X", p), fmt.Sprintf("% x", p))
	}
	for _, text := range printed {
		for _, p := range parts {
			if strings.Contains(text, p) {
				t.Errorf("the key got out: %q", text)
			}
		}
	}
}

func TestSecretPrintsRedacted(t *testing.T) {
	value := key("sk-svcacct-", 58)
	secret := finding.NewSecret(value)
	want := "sk-svcacct-..." + value[len(value)-4:]
	for _, got := range []string{secret.Redacted(), fmt.Sprint(secret), fmt.Sprintf("%s", secret), secret.String()} {
		if got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	}
	if text, err := json.Marshal(map[string]any{"key": secret}); err != nil || string(text) != `{"key":"`+want+`"}` {
		t.Errorf("JSON is %s, %v", text, err)
	}
	if secret.Reveal() != value {
		t.Error("Reveal does not return the key")
	}
	if got := fmt.Sprintf("%#v", secret); got != "finding.Secret("+want+")" {
		t.Errorf("Go syntax is %s", got)
	}
}

func TestZeroSecret(t *testing.T) {
	var none finding.Secret
	if none.Reveal() != "" || fmt.Sprint(none) != "(no key)" {
		t.Errorf("prints %q, reveals %q", fmt.Sprint(none), none.Reveal())
	}
}

// TestFingerprint checks against a value made elsewhere: printf
// 'unleak:sk-test' | sha256sum | cut -c1-32.
func TestFingerprint(t *testing.T) {
	if got, want := finding.NewSecret("sk-test").Fingerprint(), finding.Fingerprint("3bc70f044476a4a4e6c11cf783bedb14"); got != want {
		t.Errorf("fingerprint is %s, want %s", got, want)
	}
}

func TestRedactedPrefixes(t *testing.T) {
	for prefix, want := range map[string]string{
		"sk-": "sk-...", "sk-proj-": "sk-proj-...", "sk-svcacct-": "sk-svcacct-...", "sk-admin-": "sk-admin-...",
		"sk-None-": "sk-None-...", "sk-service-": "sk-service-...", "sk-acme-": "sk-...",
	} {
		value := key(prefix, 20)
		if got := finding.NewSecret(value).Redacted(); got != want+value[len(value)-4:] {
			t.Errorf("%s…: redacted is %q, want %q and four characters", prefix, got, want)
		}
	}
	if got := finding.NewSecret("short password").Redacted(); got != "..." {
		t.Errorf("a short secret is shown as %q", got)
	}
}
