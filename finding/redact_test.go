package finding_test

import (
	"strings"
	"testing"

	"github.com/unleak/unleak/finding"
)

const marker = "T3Blbk" + "FJ"

// key returns a made-up key with the given prefix and halves of n characters.
func key(prefix string, n int) string {
	const chars = "aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA"
	half := strings.Repeat(chars, n/len(chars)+1)
	return prefix + half[:n] + marker + half[1:n+1]
}

func TestRedact(t *testing.T) {
	project := key("sk-proj-", 74)
	oldest := "sk-" + strings.Repeat("aB3dE6", 8)
	tail := project[len(project)-4:]
	for _, tc := range []struct{ name, in, want string }{
		{"nothing to hide", "src/task-runner/sk-learn-examples.go", "src/task-runner/sk-learn-examples.go"},
		{"alone", project, "sk-proj-..." + tail},
		{"a file name", "keys/" + project + ".txt", "keys/sk-proj-..." + tail + ".txt"},
		{"text before it in the same word", "old_" + project, "old_sk-proj-..." + tail},
		{"text behind it in the same word", project + "-old_2", "sk-proj-..." + tail + "-old_2"},
		{"more behind it than is harmless", project + "123456789", "sk-proj-...6789"},
		{"oldest", "x=" + oldest + ";", "x=sk-...3dE6;"},
		{"two keys back to back", key("sk-", 20) + "-" + project, "sk-..." + tail},
		{"marker without a prefix before one", "aaaaaaaaaa" + marker + "bbbbbbbbbbbb-" + project, "..." + tail},
		{"session", "sess-" + strings.Repeat("a1B2", 10), "sess-...a1B2"},
		{"ephemeral", "ek_" + strings.Repeat("0af1", 8), "ek_...0af1"},
		{"short rest of a key", "T3Blbk" + "FJab", "..."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := finding.Redact(tc.in); got != tc.want {
				t.Errorf("Redact = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "café/naïve 日本.txt", "café/naïve 日本.txt"},
		{"escape sequence", "a\x1b[31mb", `a\u001b[31mb`},
		{"line feed", "a\nb", `a\u000ab`},
		{"right-to-left override", "a\u202etxt.exe", `a\u202etxt.exe`},
		{"not UTF-8", "a\xffb\xc3", "a%FFb%C3"},
		{"a real U+FFFD", "a\ufffdb", "a\ufffdb"},
		{"C1 control", "a\u009bb", `a\u009bb`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := finding.Printable(tc.in); got != tc.want {
				t.Errorf("Printable = %q, want %q", got, tc.want)
			}
		})
	}
}

// FuzzPrintable asserts that no key, control character or broken byte gets
// through, and that printing twice changes nothing.
func FuzzPrintable(f *testing.F) {
	f.Add("dir/"+key("sk-proj-", 74)+"\x1b[0m\xff", uint8(3))
	f.Add("", uint8(0))
	f.Fuzz(func(t *testing.T, around string, at uint8) {
		secret := key("sk-proj-", 58)
		i := int(at) % (len(around) + 1)
		got := finding.Printable(around[:i] + secret + around[i:])
		if strings.Contains(got, secret[len("sk-proj-"):len(secret)-4]) {
			t.Fatalf("a key got through: %q", got)
		}
		for _, r := range got {
			if finding.Deceptive(r) {
				t.Fatalf("%U got through: %q", r, got)
			}
		}
		if again := finding.Printable(got); again != got {
			t.Fatalf("not stable: %q, then %q", got, again)
		}
	})
}
