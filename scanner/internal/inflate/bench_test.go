package inflate

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	klauspost "github.com/klauspost/compress/flate"
)

// An item is what a pack holds of an object.
type item struct {
	src  []byte
	size int
}

// entries returns items like those of a pack: source texts, and small pieces
// of them such as deltas hold.
func entries(b *testing.B) (items []item, total int64) {
	b.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", "net", "*", "*.go"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no source texts: %v", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		level := []int{flate.DefaultCompression, 1, 6}[i%3]
		add := func(data []byte) {
			items = append(items, item{pack(b, data, level), len(data)})
			total += int64(len(data))
		}
		add(text)
		for range 20 {
			n := min(len(text), 20+random.IntN(200))
			at := random.IntN(len(text) - n + 1)
			add(text[at : at+n])
		}
	}
	return items, total
}

func BenchmarkInflate(b *testing.B) {
	items, total := entries(b)
	dst := make([]byte, 1<<20)
	b.Run("this", func(b *testing.B) {
		var d Decoder
		b.SetBytes(total)
		for b.Loop() {
			for _, it := range items {
				if _, err := d.Inflate(dst[:it.size], it.src); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	for name, open := range map[string]func(io.Reader) io.ReadCloser{
		"klauspost": klauspost.NewReader,
		"standard":  flate.NewReader,
	} {
		b.Run(name, func(b *testing.B) {
			var src bytes.Reader
			z := open(&src)
			b.SetBytes(total)
			for b.Loop() {
				for _, it := range items {
					src.Reset(it.src)
					if err := z.(flate.Resetter).Reset(&src, nil); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(z, dst[:it.size]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
