package objects

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReadConfig(t *testing.T) {
	for _, tc := range []struct{ name, text, key, want string }{
		{"plain", "[core]\n\tbare = false\n", "core.bare", "false"},
		{"subsection", "[remote \"origin\"]\n\turl = https://github.com/acme/app.git\n", "remote.origin.url", "https://github.com/acme/app.git"},
		{"on one line", "[extensions] objectFormat = sha256", "extensions.objectformat", "sha256"},
		{"old form of a subsection", "[remote.origin]\nurl = x", "remote.origin.url", "x"},
		{"bracket in a subsection", "[a \"x]y\"] b = c", "a.x]y.b", "c"},
		{"quotes behind the section", "[a] b = \"c\"", "a.b", "c"},
		{"case", "[EXTENSIONS]\nObjectFormat=sha256", "extensions.objectformat", "sha256"},
		{"byte order mark", "\ufeff[core]\nbare = true", "core.bare", "true"},
		{"quotes and escapes", "[a]\nb = \" x\\ty\\\" # no comment\" # comment", "a.b", " x\ty\" # no comment"},
		{"comment", "[a]\nb = c ; d", "a.b", "c"},
		{"commented out", "[a]\n# b = c\n; b = d", "a.b", ""},
		{"the last counts", "[a]\nb = 1\n[c]\nd = 2\n[a]\nb = 3", "a.b", "3"},
		{"Latin-1", "[a]\nb = caf\xe9", "a.b", "caf\xe9"},
		{"unclosed", "[a\nb = c", "a.b", ""},
		{"before any section", "b = c", ".b", ""},
		{"no value", "[a]\nb\n", "a.b", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte(tc.text), 0o666); err != nil {
				t.Fatal(err)
			}
			values, err := readConfig(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := values[tc.key]; got != tc.want {
				t.Errorf("%s is %q, want %q; all: %q", tc.key, got, tc.want, slices.Collect(maps.Keys(values)))
			}
		})
	}
	if values, err := readConfig(filepath.Join(t.TempDir(), "none")); err != nil || len(values) != 0 {
		t.Errorf("a file that does not exist: %v, %v", values, err)
	}
}

// FuzzConfig asserts that any line is read, and that a value is what was
// written if git would write it so.
func FuzzConfig(f *testing.F) {
	f.Add("[a \"b\"] c = \"d\\n\" ; e", "value")
	f.Fuzz(func(t *testing.T, line, value string) {
		configSection("[" + line)
		configValue(line)
		quoted := `"`
		for i := range len(value) {
			switch c := value[i]; c {
			case '"', '\\':
				quoted += `\` + string(rune(c))
			case '\n':
				quoted += `\n`
			case '\t':
				quoted += `\t`
			default:
				quoted += value[i : i+1]
			}
		}
		if got := configValue(quoted + `" # comment`); got != value {
			t.Errorf("%q was read as %q", value, got)
		}
	})
}
