package responder

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// madeUpKey returns a key that looks like OpenAI's and is none: prefix, half
// characters, the marker, and half characters that end with tail.
func madeUpKey(prefix string, half int, tail string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	run := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(alphabet[rand.IntN(len(alphabet))])
		}
		return b.String()
	}
	return prefix + run(half) + "T3Blbk" + "FJ" + run(half-len(tail)) + tail
}

func TestCompare(t *testing.T) {
	key := madeUpKey("sk-"+"proj-", 74, "1b3A")
	stars := func(n int) string { return strings.Repeat("*", n) }
	for _, tt := range []struct {
		name, masked string
		want         likeness
	}{
		{"as the servers answer", "sk-proj-" + stars(152) + "1b3A", same},
		{"as the documentation shows", "sk-...b3A", same},
		{"four visible, three dots", "sk-proj-...1b3A", same},
		{"an ellipsis", "sk-proj-…1b3A", same},
		{"three asterisks are an ellipsis", "sk-proj-***1b3A", same},
		{"four asterisks are an ellipsis", "sk-proj-****1b3A", same},
		{"no beginning", "..." + "1b3A", same},

		{"another length", "sk-proj-" + stars(120) + "1b3A", different},
		{"the shortest length", "sk-proj-" + stars(44) + "1b3A", different},
		{"another tail", "sk-proj-" + stars(152) + "1b3B", different},
		{"another tail behind dots", "sk-proj-...1b3B", different},
		{"another kind", "sk-svcac" + stars(152) + "1b3A", different},
		{"nothing hidden", key[:160] + "..." + "1b3A", different},
		{"two visible, another tail", "sk-proj-***zz", different},
		{"unknown filler, another tail", "sk-proj-####1b3B", different},
		{"unknown filler, another kind", "sk-svcac####1b3A", different},
		{"letters as filler, another tail", "sk-proj-xxxxxxxx1b3B", different},
		{"no beginning, unknown filler, another tail", "••••1b3B", different},
		{"a word, another kind", "sk-svcacct-hidden", different},

		{"five asterisks are no length", "sk-proj-*****1b3A", unclear},
		{"eight asterisks are no length", "sk-proj-" + stars(8) + "1b3A", unclear},
		{"forty-eight asterisks are no length", "sk-proj-" + stars(48) + "1b3A", unclear},
		{"one asterisk short", "sk-proj-" + stars(151) + "1b3A", unclear},
		{"one asterisk long", "sk-proj-" + stars(153) + "1b3A", unclear},
		{"no length, another tail", "sk-proj-" + stars(8) + "1b3B", different},
		{"two trailing characters", "sk-proj-" + stars(154) + "3A", unclear},
		{"no trailing characters", "sk-proj-...", unclear},
		{"two dots", "sk-proj-..1b3A", unclear},
		{"two fillers", "sk-***...1b3A", unclear},
		{"bullets", "sk-proj-••••1b3A", unclear},
		{"letters as filler", "sk-proj-xxxxxxxx1b3A", unclear},
		{"brackets", "sk-proj-[152 hidden]1b3A", unclear},
		{"a word", "hidden", unclear},
		{"a word behind the kind", "sk-proj-hidden", unclear},
		{"a sentence", "[hidden] by policy", unclear},
		{"empty", "", unclear},
		{"not UTF-8", "sk-proj-\xff\xfe1b3A", unclear},
		{"the replacement character", "sk-proj-\ufffd1b3A", unclear},
		{"the whole key", key, unclear},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := compare(tt.masked, key); got != tt.want {
				t.Errorf("compare(%q) = %d, want %d", finding.Redact(tt.masked), got, tt.want)
			}
		})
	}
}

func TestMatchKeysSortsOut(t *testing.T) {
	key := madeUpKey("sk-"+"proj-", 58, "9zQA")
	m := matchKeys(finding.NewSecret(key), []openai.Key{
		{ID: "key_fits", Redacted: key[:8] + strings.Repeat("*", len(key)-12) + key[len(key)-4:]},
		{ID: "key_longer", Redacted: key[:8] + strings.Repeat("*", 152) + key[len(key)-4:]},
		{ID: "key_odd", Redacted: "(hidden)"},
		{ID: "key_other", Redacted: "sk-admin...9zQA"},
		{ID: "key_docs", Redacted: "sk-...zQA"},
	})
	if got := ids(m.candidates); got != "key_fits key_docs" {
		t.Errorf("candidates = %q", got)
	}
	if got := ids(m.unreadable); got != "key_odd" {
		t.Errorf("unreadable = %q", got)
	}
}

func ids(keys []openai.Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.ID)
	}
	return strings.Join(out, " ")
}

// A mask made from a key in any known form is that key's; and no masked value
// that a server could think of makes compare panic, or fit a key of which it
// shows another end.
func FuzzCompare(f *testing.F) {
	f.Add("sk-"+"proj-abcdefgh1b3A", uint8(8), uint8(4), "sk-proj-********1b3A")
	f.Add("sk-"+"admin-abcdefghijkl", uint8(0), uint8(3), "…")
	f.Add("x", uint8(200), uint8(200), "\xff***\xfe")
	f.Fuzz(func(t *testing.T, raw string, head, tail uint8, masked string) {
		key := strings.Map(func(r rune) rune {
			if keyCharacter(r) {
				return r
			}
			return -1
		}, raw)
		if got := compare(masked, key); got == same {
			form := knownMask.FindStringSubmatch(masked)
			if form == nil || !strings.HasPrefix(key, form[1]) || !strings.HasSuffix(key, form[3]) {
				t.Errorf("compare(%q, %q) = same", masked, key)
			}
		}
		h, n := int(head), max(3, int(tail))
		hidden := len(key) - h - n
		if hidden < 1 {
			return
		}
		for _, filler := range []string{"*", "****", strings.Repeat("*", hidden), "...", "…"} {
			if len(filler) > 4 && filler[0] == '*' && len(filler) != hidden {
				continue
			}
			m := key[:h] + filler + key[len(key)-n:]
			if got := compare(m, key); got != same {
				t.Errorf("compare(%q, %q) = %d, want same", m, key, got)
			}
		}
	})
}
