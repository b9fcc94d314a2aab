package rules_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/unleak/unleak/rules"
)

// source returns about 64 MB of real text: the sources of Go's library.
func source(b *testing.B) []byte {
	const enough = 64 << 20
	var text []byte
	root := filepath.Join(runtime.GOROOT(), "src")
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

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		rules.Default()
	}
}
