package rules

import (
	"bytes"
	"math"
)

// entropy returns the Shannon entropy of body in bits per character.
func entropy(body []byte) float64 {
	var counts [256]int
	for _, b := range body {
		counts[b]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(body))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

// Placeholders are told by what makes up at least half of the body. A random
// key holds "1234", "test" or "YOUR" now and then, and stays a key.
const (
	fewDistinct = 8  // 32 random hexadecimal digits have fewer once in 10 million
	minSequence = 4  // characters in a row, up, down or equal
	maxPeriod   = 16 // the length of a pattern that is repeated
	minRepeated = 8  // characters that repeat others
)

// placeholderWords are what people write where a key belongs, in lower case.
var placeholderWords = []string{
	"your", "openai", "apikey", "api_key", "api-key", "key", "token", "secret", "here", "example", "sample",
	"dummy", "fake", "test", "placeholder", "redacted", "replace", "change", "insert", "xxx",
}

// placeholder reports whether body stands in for a key rather than being one.
func placeholder(body []byte) bool {
	var seen class
	distinct := 0
	for _, b := range body {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	if distinct < fewDistinct {
		return true
	}

	made := make([]bool, len(body)) // by a hand, as it seems
	mark := func(from, to int) {
		for i := from; i < to; i++ {
			made[i] = true
		}
	}
	for from := 0; from+1 < len(body); {
		step := body[from+1] - body[from] // wraps around
		to := from + 2
		for to < len(body) && body[to]-body[to-1] == step {
			to++
		}
		if (step <= 1 || step == 0xff) && to-from >= minSequence {
			mark(from, to)
		}
		from = to - 1
	}
	for period := 2; period <= maxPeriod; period++ {
		equal := 0
		for i := period; i < len(body); i++ {
			if body[i] != body[i-period] {
				equal = 0
				continue
			}
			if equal++; equal >= minRepeated {
				mark(i+1-equal, i+1)
				mark(i+1-equal-period, i+1-period)
			}
		}
	}
	lower := bytes.ToLower(body)
	for _, word := range placeholderWords {
		for from := 0; ; {
			i := bytes.Index(lower[from:], []byte(word))
			if i < 0 {
				break
			}
			from += i + len(word)
			mark(from-len(word), from)
		}
	}
	total := 0
	for _, m := range made {
		if m {
			total++
		}
	}
	return 2*total >= len(body)
}
