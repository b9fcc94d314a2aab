package rules

import (
	"fmt"
	"strings"
)

// lines says where in a TOML document each key stands. Paths are in lower case
// and count the tables of an array: "rules[2].regex". A table's own path leads
// to its header.
type lines map[string]int

// findLines reads text, which must be valid TOML: the decoder does not tell
// where a key of one of many equal tables stands. Keys of inline tables are
// not listed.
func findLines(text string) lines {
	found := lines{}
	tables := map[string]int{} // how many tables an array has so far
	prefix := ""
	line := 1
	for text != "" {
		switch text[0] {
		case '\n':
			line++
			text = text[1:]
		case ' ', '\t', '\r':
			text = text[1:]
		case '#':
			text = text[lineEnd(text):]
		case '[':
			header := text[:lineEnd(text)]
			array := strings.HasPrefix(header, "[[")
			parts, _ := splitKey(strings.TrimLeft(header, "["))
			prefix = ""
			for i, part := range parts {
				prefix += part
				if array && i == len(parts)-1 {
					tables[prefix]++
				}
				if n := tables[prefix]; n > 0 {
					prefix = fmt.Sprintf("%s[%d]", prefix, n-1)
				}
				if i < len(parts)-1 {
					prefix += "."
				}
			}
			found.add(prefix, line)
			prefix += "."
			text = text[len(header):]
		default:
			parts, rest := splitKey(text)
			found.add(prefix+strings.Join(parts, "."), line)
			value := valueEnd(rest)
			line += strings.Count(rest[:value], "\n")
			text = rest[value:]
		}
	}
	return found
}

func (l lines) add(path string, line int) {
	if _, ok := l[path]; !ok {
		l[path] = line
	}
}

// of returns the line of path (of the first table, if it is an array of them),
// or of the nearest table around it that has one.
func (l lines) of(path string) int {
	path = strings.ToLower(path)
	for {
		if line, ok := l[path]; ok {
			return line
		}
		if line, ok := l[path+"[0]"]; ok {
			return line
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return 1
		}
		path = path[:i]
	}
}

// first returns the first line that has path, which counts no tables.
func (l lines) first(path string) int {
	path = strings.ToLower(path)
	line := 0
	for p, n := range l {
		if uncounted(p) == path && (line == 0 || n < line) {
			line = n
		}
	}
	if line > 0 {
		return line
	}
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return l.first(path[:i])
	}
	return 1
}

func uncounted(path string) string {
	for {
		before, after, ok := strings.Cut(path, "[")
		if !ok {
			return path
		}
		_, after, _ = strings.Cut(after, "]")
		path = before + after
	}
}

// lineEnd returns the length of the first line of text without its line feed.
func lineEnd(text string) int {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return i
	}
	return len(text)
}

// splitKey splits a dotted key, up to the = or ] behind it, and returns what
// follows.
func splitKey(text string) (parts []string, rest string) {
	part := ""
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t':
		case '"', '\'':
			end := stringEnd(text[i:])
			part += strings.Trim(text[i:i+end], `"'`)
			i += end - 1
		case '.':
			parts, part = append(parts, strings.ToLower(part)), ""
		case '=', ']', '\n':
			return append(parts, strings.ToLower(part)), text[i+1:]
		default:
			part += string(c)
		}
	}
	return append(parts, strings.ToLower(part)), ""
}

// valueEnd returns the length of the value that text begins with, to the end
// of its line.
func valueEnd(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"', '\'':
			i += stringEnd(text[i:]) - 1
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '#':
			i += lineEnd(text[i:]) - 1
		case '\n':
			if depth <= 0 {
				return i
			}
		}
	}
	return len(text)
}

// stringEnd returns the length of the string that text begins with.
func stringEnd(text string) int {
	quote := text[:1]
	long := strings.Repeat(quote, 3)
	if strings.HasPrefix(text, long) {
		quote = long
	}
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote[0] == '"':
			i++
		case strings.HasPrefix(text[i:], quote):
			end := i + len(quote)
			for len(quote) == 3 && end < len(text) && text[end] == quote[0] {
				end++ // up to two quotes may stand before the closing three
			}
			return end
		}
	}
	return len(text)
}
