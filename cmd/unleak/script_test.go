package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what was printed into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"unleak": main})
}

// TestScripts runs the whole program as the scripts in testdata/script say.
// Besides testscript's own commands they have
//
//	code N PROGRAM ARG...    runs a program that must exit with N; no key may be in what it prints
//	key NAME PREFIX N        sets NAME to a made-up key with two halves of N characters
//	text NAME "GO STRING"    sets NAME to a string that is hard to write in a script
//	plant FILE TEXT          writes a file
//	steady FILE              gives what differs from run to run in a JSON report a fixed value
//	empty DIR                asserts that there is nothing in a directory
//
// and those of serviceCommands.
func TestScripts(t *testing.T) {
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"code":   cmdCode,
		"key":    cmdKey,
		"text":   cmdText,
		"plant":  cmdPlant,
		"steady": cmdSteady,
		"empty":  cmdEmpty,
	}
	maps.Copy(commands, serviceCommands)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[keysMade{}] = &[]string{}
			env.Values[servicesOf{}] = &services{}
			for name, value := range map[string]string{
				"HOME":                env.WorkDir,
				"GIT_CONFIG_NOSYSTEM": "1",
				"GIT_CONFIG_GLOBAL":   os.DevNull,
				"GIT_AUTHOR_NAME":     "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_AUTHOR_DATE": "2025-01-02T03:04:05Z",
				"GIT_COMMITTER_NAME": "Bob", "GIT_COMMITTER_EMAIL": "bob@example.com", "GIT_COMMITTER_DATE": "2025-01-02T03:04:06Z",
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: commands,
	})
}

// keysMade is where a script's keys are remembered.
type keysMade struct{}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	for _, from := range []string{"stdout", "stderr"} {
		printed := ts.ReadFile(from)
		for _, key := range *ts.Value(keysMade{}).(*[]string) {
			if strings.Contains(printed, key[len(key)-16:]) {
				ts.Fatalf("%s holds a key", from)
			}
		}
	}
}

func cmdKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: key NAME PREFIX N")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	key := madeUpKey(args[0], args[1], n)
	keys := ts.Value(keysMade{}).(*[]string)
	*keys = append(*keys, key)
	ts.Setenv(args[0], key)
}

// madeUpKey returns a key that nobody ever had, the same for the same name.
func madeUpKey(name, prefix string, half int) string {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte(name))))
	body := make([]byte, 2*half)
	for i := range body {
		body[i] = chars[random.IntN(len(chars))]
	}
	return prefix + string(body[:half]) + "T3Blbk" + "FJ" + string(body[half:])
}

func cmdText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: text NAME \"GO STRING\"")
	}
	value, err := strconv.Unquote(args[1])
	ts.Check(err)
	ts.Setenv(args[0], value)
}

func cmdPlant(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plant FILE TEXT")
	}
	file := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o777))
	ts.Check(os.WriteFile(file, []byte(args[1]+"\n"), 0o666))
}

func cmdSteady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: steady FILE")
	}
	file := ts.MkAbs(args[0])
	var r struct {
		Tool              struct{ Version string }
		Started, Finished string
		Stats             struct {
			Duration json.Number `json:"duration_ms"`
		}
	}
	text := ts.ReadFile(file)
	ts.Check(json.Unmarshal([]byte(text), &r))
	text = strings.NewReplacer(
		`"version": "`+r.Tool.Version+`"`, `"version": "VERSION"`,
		`"started": "`+r.Started+`"`, `"started": "STARTED"`,
		`"finished": "`+r.Finished+`"`, `"finished": "FINISHED"`,
		`"duration_ms": `+r.Stats.Duration.String(), `"duration_ms": 0`,
	).Replace(text)
	ts.Check(os.WriteFile(file, []byte(text), 0o666))
}

func cmdEmpty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s holds %v", args[0], entries)
	}
}
