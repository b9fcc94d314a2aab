package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// A Secret is a leaked key. Whatever prints, logs or marshals it gets its
// redacted form; [Secret.Reveal] is the only way to its value. The zero Secret
// holds no key and prints as "(no key)".
//
// The value stands behind a pointer because fmt calls no methods on values
// that it reaches through unexported fields: it would print a plain string
// there, and prints an address instead.
//
// Secrets are immutable and safe for concurrent use. Two Secrets of one key
// are not equal by ==; compare their fingerprints.
type Secret struct{ v *string }

// NewSecret returns the Secret that holds value.
func NewSecret(value string) Secret {
	value = strings.Clone(value) // never a view into a scanned object
	return Secret{&value}
}

// Reveal returns the key itself. It is for asking OpenAI about the key, and
// for nothing else.
func (s Secret) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// A Fingerprint names a key without giving it away: the first 32 hex digits of
// SHA-256 over "unleak:" followed by the key. It is the same on every machine.
type Fingerprint string

// Fingerprint returns the fingerprint of the key.
func (s Secret) Fingerprint() Fingerprint {
	sum := sha256.Sum256([]byte("unleak:" + s.Reveal()))
	return Fingerprint(hex.EncodeToString(sum[:16]))
}

// publicPrefixes are what OpenAI puts in front of every key of a kind and are
// no part of the secret. Longer ones come first where one begins another.
var publicPrefixes = [...]string{"sk-proj-", "sk-svcacct-", "sk-service-", "sk-admin-", "sk-None-", "sk-", "sess-", "ek_"}

// minRedactable is the length from which four characters of a key may be
// shown: with less than that, four would be too much of it.
const minRedactable = 24

// Redacted returns the kind's public prefix, three dots and the last four
// characters of the key.
func (s Secret) Redacted() string {
	if s.v == nil {
		return "(no key)"
	}
	return redact(*s.v)
}

func redact(key string) string {
	if len(key) < minRedactable {
		return "..."
	}
	return publicPrefix(key) + "..." + key[len(key)-4:]
}

// publicPrefix returns which public prefix key begins with, or "".
func publicPrefix(key string) string {
	for _, p := range publicPrefixes {
		if strings.HasPrefix(key, p) {
			return p
		}
	}
	return ""
}

// String returns the redacted form.
func (s Secret) String() string { return s.Redacted() }

// GoString returns the redacted form.
func (s Secret) GoString() string { return "finding.Secret(" + s.Redacted() + ")" }

// Format writes the redacted form, whatever the verb asks for.
func (s Secret) Format(f fmt.State, verb rune) {
	switch verb {
	case 'v', 's':
		text := s.Redacted()
		if f.Flag('#') {
			text = s.GoString()
		}
		io.WriteString(f, text)
	default:
		fmt.Fprintf(f, fmt.FormatString(f, verb), s.Redacted())
	}
}

// MarshalText returns the redacted form. There is no way back.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.Redacted()), nil }

// MarshalJSON returns the redacted form as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.Redacted()) }

// LogValue returns the redacted form.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.Redacted()) }
