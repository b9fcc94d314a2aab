package rules_test

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unleak/unleak/rules"
)

// source returns about 64 MB of real text: the sources of Go's library.
func source(b *testing.B) []byte {
	const enough = 64 << 20
	var text []byte
	root := filepath.Join(build.Default.GOROOT, "src")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		content, err := os.ReadFile(path)
		text = append(text, content...)
		if len(text) > enough {
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return text
}

func BenchmarkFind(b *testing.B) {
	set := rules.Default()
	text := source(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	found := 0
	for b.Loop() {
		for range set.Find(text) {
			found++
		}
	}
	if found > 0 {
		b.Fatalf("%d keys in Go's library", found)
	}
}

// BenchmarkHostile is about text that is made to be slow.
func BenchmarkHostile(b *testing.B) {
	set := rules.Default()
	marker := "T3Blbk" + "FJ"
	for name, unit := range map[string]string{
		"markers":           marker,
		"prefixes":          "sk-",
		"prefixes-marker":   strings.Repeat("sk-", 60) + marker + strings.Repeat("a", 20),
		"placeholders":      strings.Repeat("sk-", 40) + strings.Repeat("a", 21) + marker + strings.Repeat("a", 20),
		"project-prefixes":  strings.Repeat("sk-proj-", 16) + marker,
		"one-run":           "a",
		"ephemeral-markers": "ek_",
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(strings.Repeat(unit, 1<<18/len(unit)))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for m := range set.Find(text) {
					b.Fatalf("a key at %d", m.Start)
				}
			}
		})
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		rules.Default()
	}
}
