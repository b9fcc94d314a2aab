package objects

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// readConfig returns the values of a git configuration file (git-config(1)) by
// "section.subsection.name", of which the last counts. Sections and names are
// in lower case. A file that does not exist has none.
//
// It takes what it does not understand for nothing: three values are needed of
// the whole file, and go-git's reader refuses files that git accepts.
func readConfig(file string) (map[string]string, error) {
	values := map[string]string{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return values, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	section := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxConfig)
	for lines.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if strings.HasPrefix(line, "[") {
			section, line = configSection(line)
		}
		if name, value, ok := strings.Cut(line, "="); ok && section != "" && !strings.ContainsAny(name, "#;") {
			values[section+"."+strings.ToLower(strings.TrimSpace(name))] = configValue(value)
		}
	}
	return values, lines.Err()
}

// configSection returns the name of the section that line begins, and what
// stands behind its bracket.
func configSection(line string) (section, rest string) {
	kind, _, quoted := strings.Cut(line[1:], `"`)
	name, rest, ok := strings.Cut(line[1:], "]")
	section = strings.ToLower(strings.TrimSpace(name))
	if quoted && len(kind) < len(name) {
		// The subsection may hold brackets: it ends with its quotes.
		name, rest = configQuoted(line[1+len(kind)+1:])
		rest, ok = strings.CutPrefix(strings.TrimSpace(rest), "]")
		section = strings.ToLower(strings.TrimSpace(kind)) + "." + name
	}
	if !ok {
		return "", ""
	}
	return section, strings.TrimSpace(rest)
}

// configQuoted returns the text up to the next quotes, with its backslashes
// resolved, and what stands behind them.
func configQuoted(s string) (text, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(configEscape(s[i]))
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// configValue resolves quotes, backslashes and comments in a value.
func configValue(s string) string {
	var b strings.Builder
	quoted := false
	end := 0 // what is behind it is white space outside quotes
	s = strings.TrimSpace(s)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			quoted = !quoted
			end = b.Len()
			continue
		case !quoted && (c == '#' || c == ';'):
			return b.String()[:end]
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(configEscape(s[i]))
			end = b.Len()
			continue
		}
		b.WriteByte(c)
		if quoted || c != ' ' && c != '\t' {
			end = b.Len()
		}
	}
	return b.String()[:end]
}

func configEscape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	}
	return c
}
