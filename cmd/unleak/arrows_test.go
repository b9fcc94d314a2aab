package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/unleak/unleak"

// arrows says for every package of the module which of the others it may
// import. They all point downward: bytes, finding, response, report.
var arrows = map[string][]string{
	"finding":                  nil,
	"rules":                    {"finding"},
	"scanner/internal/objects": {"scanner/internal/inflate"}, // knows objects, not secrets
	"scanner/internal/inflate": nil,
	"scanner/internal/decode":  nil,
	"scanner":                  {"finding", "rules", "scanner/internal/objects", "scanner/internal/decode"},
	"internal/openai":          nil,
	"internal/github":          nil,
	"internal/sandbox":         nil,
	"internal/report":          {"finding"},
	"responder":                {"finding", "internal/openai", "internal/github"},
	"cmd/unleak": {
		"finding", "rules", "scanner", "internal/openai", "internal/github",
		"internal/sandbox", "internal/report", "responder",
	},
}

// shut says which packages must not reach for something of the outside world.
var shut = map[string][]string{
	"C":             slices.Collect(maps.Keys(arrows)), // go install works everywhere
	"os/exec":       slices.Collect(maps.Keys(arrows)), // unleak runs no other program
	"os":            {"finding", "rules", "scanner/internal/decode", "internal/report"},
	"net":           {"finding", "rules", "scanner/internal/decode", "internal/report"},
	"net/http":      {"scanner", "scanner/internal/objects"},
	"context":       {"finding", "rules"},
	"path/filepath": {"finding", "rules"},
}

// kept says which packages alone may import a library, so that its types and
// habits stay there.
var kept = map[string][]string{
	"github.com/google/go-github": {"internal/github"},
	"github.com/go-git":           {"scanner/internal/objects"},
	"github.com/BurntSushi/toml":  {"rules", "cmd/unleak"},
	"github.com/spf13":            {"cmd/unleak"},
}

// An edge is one import: of what, by a file of which package.
type edge struct {
	from, to string
	test     bool // in a _test.go file
}

// wrong says what is wrong with an edge, or "". Tests may use the stand-ins and
// whatever the system offers.
func wrong(e edge) string {
	allowed, known := arrows[e.from]
	if !known {
		return "package " + e.from + " stands in no table of arrows_test.go"
	}
	if ours, ok := strings.CutPrefix(e.to, module+"/"); ok {
		switch {
		case slices.Contains(allowed, ours):
		case e.test && (ours == e.from || ours == "internal/sandbox"):
		default:
			return e.from + " must not import " + ours
		}
	}
	for library, by := range kept {
		if within(e.to, library) && !slices.Contains(by, e.from) {
			return e.from + " must not import " + e.to + ": that is kept to " + strings.Join(by, ", ")
		}
	}
	for world, from := range shut {
		if within(e.to, world) && slices.Contains(from, e.from) && !e.test {
			return e.from + " must not import " + e.to
		}
	}
	return ""
}

// within reports whether an import path is root or below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// TestArrows reads the imports of every file of the module. It does so by
// itself, because the test cache does not see what a go list would read.
func TestArrows(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		from := path.Dir(filepath.ToSlash(rel))
		seen[from] = true
		for _, spec := range parsed.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := wrong(edge{from, to, strings.HasSuffix(name, "_test.go")}); why != "" {
				t.Errorf("%s: %s", filepath.ToSlash(rel), why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"finding", "rules", "scanner", "responder", "cmd/unleak"} {
		if !seen[p] {
			t.Errorf("no file of %s was read: the walk is broken", p)
		}
	}
}

// TestArrowsPointDown asserts that the table itself has no circle.
func TestArrowsPointDown(t *testing.T) {
	state := map[string]int{} // 1 while below, 2 when done
	var visit func(p string)
	visit = func(p string) {
		switch state[p] {
		case 1:
			t.Errorf("%s leads back to itself", p)
			return
		case 2:
			return
		}
		state[p] = 1
		for _, below := range arrows[p] {
			visit(below)
		}
		state[p] = 2
	}
	for p := range arrows {
		visit(p)
	}
}

// TestWrong proves that the check sees what it is there for.
func TestWrong(t *testing.T) {
	for _, e := range []edge{
		{"finding", module + "/rules", false},
		{"finding", module + "/rules", true},
		{"finding", "os", false},
		{"finding", "net/netip", false},
		{"rules", "context", false},
		{"rules", "os", false},
		{"rules", "net/url", false},
		{"rules", module + "/scanner", false},
		{"scanner", "net/http", false},
		{"scanner", module + "/responder", false},
		{"scanner", module + "/internal/report", true},
		{"scanner/internal/objects", "net/http", false},
		{"scanner/internal/objects", module + "/rules", false},
		{"scanner/internal/decode", "github.com/go-git/go-git/v5/plumbing", false},
		{"responder", module + "/scanner", false},
		{"responder", module + "/rules", true},
		{"responder", module + "/internal/sandbox", false},
		{"responder", "github.com/google/go-github/v60/github", false},
		{"responder", "github.com/google/go-github/v60/github", true},
		{"internal/openai", module + "/finding", false},
		{"internal/openai", module + "/internal/github", false},
		{"internal/github", module + "/internal/openai", false},
		{"internal/report", module + "/responder", false},
		{"internal/report", "github.com/spf13/cobra", false},
		{"internal/sandbox", module + "/finding", false},
		{"internal/unheard", "fmt", false},
		{"cmd/unleak", "os/exec", false},
		{"cmd/unleak", "github.com/google/go-github/v60/github", false},
	} {
		if wrong(e) == "" {
			t.Errorf("an arrow that points up is not noticed: %+v", e)
		}
	}
	for _, e := range []edge{
		{"finding", "unicode", false},
		{"rules", module + "/rules", true},
		{"rules", "os", true},
		{"scanner", module + "/rules", false},
		{"scanner/internal/objects", "github.com/go-git/go-git/v5/plumbing", false},
		{"internal/github", "github.com/google/go-github/v60/github", false},
		{"responder", module + "/internal/sandbox", true},
		{"cmd/unleak", module + "/internal/sandbox", false},
		{"cmd/unleak", "os/exec", true},
	} {
		if why := wrong(e); why != "" {
			t.Errorf("%+v is flagged: %s", e, why)
		}
	}
}
