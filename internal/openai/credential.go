package openai

import (
	"regexp"
	"strings"
)

// A credential is the key that a request is sent with. The value stands behind
// a pointer because fmt prints an address there instead of following it.
type credential struct{ value *string }

func newCredential(key string) credential { return credential{&key} }

const (
	hidden = "[key]"

	// longestEcho is how many characters in a row an answer may repeat of a
	// key. OpenAI itself shows the last four.
	longestEcho = 8
)

// publicPrefix matches what stands in front of every key of a kind.
var publicPrefix = regexp.MustCompile(`^sk-(?:[A-Za-z]+-)?`)

// clean returns text as an error may carry it: without the key, and bounded.
func (c credential) clean(text string) string { return bounded(c.hide(text), maxMessage) }

// hide returns text with the key, and every run of more than longestEcho
// characters of it, replaced. Servers repeat keys in their messages.
func (c credential) hide(text string) string {
	body := strings.TrimPrefix(*c.value, publicPrefix.FindString(*c.value))
	shortest := min(longestEcho+1, len(body))
	if shortest == 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		n := 0
		for end := i + shortest; end <= len(text) && strings.Contains(body, text[i:end]); end++ {
			n = end - i
		}
		if n == 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(hidden)
		i += n
	}
	return b.String()
}
