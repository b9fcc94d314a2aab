package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/unleak/unleak/finding"
)

// A configuration is what the operator of unleak has decided. It holds no
// credential: those come from the environment.
type configuration struct {
	OpenAI struct {
		BaseURL  string `toml:"base_url"`
		KeysPath string `toml:"keys_path"`
	} `toml:"openai"`
	Respond struct {
		MaxRevocations *int   `toml:"max_revocations"`
		AdminKeys      string `toml:"admin_keys"` // "revoke" or "report"
	} `toml:"respond"`
	Issue struct {
		Repo        string `toml:"repo"` // OWNER/NAME
		AlreadyDead bool   `toml:"already_dead"`
	} `toml:"issue"`
}

// maxConfiguration bounds a configuration file, in bytes.
const maxConfiguration = 1 << 20

// configuration reads the file that was named by a flag, else by UNLEAK_CONFIG,
// else the user's own. Only the last may be missing.
func (a *app) configuration(named string) (configuration, error) {
	path := cmp.Or(named, a.getenv("UNLEAK_CONFIG"))
	missingIsFine := path == ""
	if path == "" {
		dir := userConfigDir(a.getenv)
		if dir == "" {
			return configuration{}, nil
		}
		path = filepath.Join(dir, "unleak", "config.toml")
	}
	data, err := readConfiguration(path)
	switch {
	case missingIsFine && errors.Is(err, fs.ErrNotExist):
		return configuration{}, nil
	case err != nil:
		return configuration{}, fmt.Errorf("configuration: %w", err)
	}
	return parseConfiguration(path, data)
}

func readConfiguration(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfiguration+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfiguration {
		return nil, fmt.Errorf("%s: larger than %d bytes; that is no configuration", path, maxConfiguration)
	}
	return data, nil
}

// userConfigDir returns the directory of the user's configuration files, as the
// system has it, or "" where there is none.
func userConfigDir(getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	home := getenv("HOME")
	switch {
	case runtime.GOOS == "windows":
		return getenv("AppData")
	case home == "":
		return ""
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support")
	}
	return filepath.Join(home, ".config")
}

var (
	repository     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	credentialName = regexp.MustCompile(`(?i)(key|token|secret|password|credential)s?$`)
)

// parseConfiguration returns the configuration in data. Its errors begin with
// name and, where it is known, the line.
func parseConfiguration(name string, data []byte) (configuration, error) {
	fail := func(line int, format string, args ...any) (configuration, error) {
		if line > 0 {
			name = fmt.Sprintf("%s:%d", name, line)
		}
		return configuration{}, fmt.Errorf("%s: "+format, append([]any{name}, args...)...)
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if s := string(line); finding.Redact(s) != s {
			return fail(n, "holds a key; take it out, revoke it, and set OPENAI_ADMIN_KEY in the environment instead")
		}
	}
	var c configuration
	meta, err := toml.Decode(string(data), &c)
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fail(syntax.Position.Line, "%s", syntax.Message)
	}
	if err != nil { // a value of another type: the text names line and setting
		return fail(0, "%s", strings.TrimPrefix(err.Error(), "toml: "))
	}
	for _, key := range meta.Undecoded() {
		last := key[len(key)-1]
		switch line := lineOf(data, key); {
		case key[0] == "rules":
			return fail(line, "this version takes no [[rules]] from a file; take them out")
		case credentialName.MatchString(last):
			return fail(line, "%s looks like a credential; those come from the environment: OPENAI_ADMIN_KEY, GITHUB_TOKEN", key)
		default:
			return fail(line, "there is no setting %s; take it out or correct its name", key)
		}
	}
	if m := c.Respond.MaxRevocations; m != nil && *m < 0 {
		return fail(lineOf(data, toml.Key{"respond", "max_revocations"}), "max_revocations must be 0 or more")
	}
	if k := c.Respond.AdminKeys; k != "" && k != "revoke" && k != "report" {
		return fail(lineOf(data, toml.Key{"respond", "admin_keys"}), `admin_keys must be "revoke" or "report"`)
	}
	if r := c.Issue.Repo; r != "" && !repository.MatchString(r) {
		return fail(lineOf(data, toml.Key{"issue", "repo"}), "repo must be OWNER/NAME")
	}
	return c, nil
}

// lineOf returns the line of a setting, or 0. The decoder does not tell; so the
// line is looked for, and that finds the common way to write it: a table's
// header on a line of its own, and below it the name in front of a "=".
func lineOf(data []byte, key toml.Key) int {
	table, n := "", 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if header, ok := strings.CutPrefix(line, "["); ok {
			header, _, _ = strings.Cut(strings.TrimPrefix(header, "["), "]")
			table = strings.TrimSpace(header)
			if table == key.String() {
				return n
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if table != "" {
			name = table + "." + name
		}
		if ok && name == key.String() {
			return n
		}
	}
	return 0
}
