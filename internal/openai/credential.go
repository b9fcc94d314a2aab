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

// clean returns text as an error may carry it: without the key or anything
// that could be another, and bounded.
func (c credential) clean(text string) string { return bounded(hideRuns(c.hide(text)), maxMessage) }

// keyRun matches what could hold a key, and longestWord is how long such a run
// may be that neither begins as a key does nor holds the marker of one.
var keyRun = regexp.MustCompile(`[A-Za-z0-9_-]{24,}`)

const longestWord = 40

// hideRuns returns text with every run of characters that could be a key
// replaced. Callers know better what a key looks like, but see no more than what
// is left when a text has been cut.
func hideRuns(text string) string {
	return keyRun.ReplaceAllStringFunc(text, func(run string) string {
		for _, sign := range []string{"T3Blbk" + "FJ", "sk-", "sess-", "ek_"} {
			if strings.Contains(run, sign) {
				return hidden
			}
		}
		if len(run) > longestWord {
			return hidden
		}
		return run
	})
}

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
