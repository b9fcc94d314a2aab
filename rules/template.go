package rules

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// placeholders in examples, as the package documentation describes them.
var (
	templatePart = regexp.MustCompile(`\{([0-9]+)(?: (alnum|hex)| of ([^{}]+))?\}`)
	templateOpen = regexp.MustCompile(`\{[0-9]`)
)

// maxExpanded bounds one placeholder of an example.
const maxExpanded = 4096

const (
	hexDigits = "0123456789abcdef"
	alnum     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	keyChars  = alnum + "-_"
)

// expand returns the text that template stands for; random characters come
// from rng.
func expand(template string, rng *rand.Rand) (string, error) {
	if len(templateOpen.FindAllString(template, -1)) != len(templatePart.FindAllString(template, -1)) {
		return "", fmt.Errorf("%q has a brace that is none of {n}, {n alnum}, {n hex}, {n of TEXT}", template)
	}
	var b strings.Builder
	last := 0
	for _, loc := range templatePart.FindAllStringSubmatchIndex(template, -1) {
		b.WriteString(template[last:loc[0]])
		last = loc[1]
		n, err := strconv.Atoi(template[loc[2]:loc[3]])
		if err != nil || n > maxExpanded {
			return "", fmt.Errorf("%q asks for more than %d characters in one place", template, maxExpanded)
		}
		if loc[6] >= 0 {
			text := template[loc[6]:loc[7]]
			b.WriteString(strings.Repeat(text, n/len(text)+1)[:n])
			continue
		}
		chars := keyChars
		if loc[4] >= 0 {
			chars = map[string]string{"alnum": alnum, "hex": hexDigits}[template[loc[4]:loc[5]]]
		}
		for range n {
			b.WriteByte(chars[rng.IntN(len(chars))])
		}
	}
	b.WriteString(template[last:])
	return b.String(), nil
}
