package main

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/unleak/unleak/finding"
)

// scanFlags are what every command that scans may be told.
type scanFlags struct {
	config        fileName
	format        choice
	output        fileName
	minConfidence choice
	jobs          count
	maxObject     size
	quiet         bool
	verbose       bool
	noColor       bool
}

func (f *scanFlags) register(flags *pflag.FlagSet) {
	f.format = choice{value: formats[0].name, of: formatNames()}
	f.minConfidence = choice{
		value: string(finding.Low),
		of:    []string{string(finding.High), string(finding.Medium), string(finding.Low)},
	}
	f.jobs = count{value: runtime.GOMAXPROCS(0), least: 1}
	flags.SortFlags = false
	flags.VarP(&f.format, "format", "f", "write the report as `FORMAT`: "+f.format.alternatives())
	flags.VarP(&f.output, "output", "o", "write the report to `FILE` instead of standard output")
	flags.Var(&f.minConfidence, "min-confidence", "leave out what is less certain than `LEVEL`: "+f.minConfidence.alternatives())
	flags.Var(&f.maxObject, "max-object-size", "skip objects larger than `SIZE`, such as 10MB or 1GiB; the scan is incomplete then (default no limit)")
	flags.VarP(&f.jobs, "jobs", "j", "read with `N` threads")
	flags.VarP(&f.config, "config", "c", "read the configuration from `FILE` instead of the user's")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "leave nothing out of long lists")
	flags.BoolVar(&f.noColor, "no-color", false, "write no colours")
}

// A fileName is the value of a flag that names a file. An empty one is a
// variable of the shell that is not set.
type fileName string

func (n *fileName) Set(s string) error {
	if s == "" {
		return errors.New("must name a file; leave the flag out for the default")
	}
	*n = fileName(s)
	return nil
}

func (n *fileName) String() string { return string(*n) }
func (n *fileName) Type() string   { return "file" }

// A repoName is the value of a flag that names a repository on GitHub.
type repoName string

func (n *repoName) Set(s string) error {
	if !repository.MatchString(s) {
		return errors.New("must be OWNER/NAME")
	}
	*n = repoName(s)
	return nil
}

func (n *repoName) String() string { return string(*n) }
func (n *repoName) Type() string   { return "repository" }

// A choice is the value of a flag that takes one of a few words.
type choice struct {
	value string
	of    []string
}

func (c *choice) alternatives() string {
	last := len(c.of) - 1
	return strings.Join(c.of[:last], ", ") + " or " + c.of[last]
}

func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return errors.New("must be " + c.alternatives())
	}
	c.value = s
	return nil
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "word" }

// A count is the value of a flag that takes a whole number.
type count struct{ value, least int }

func (c *count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < c.least {
		return fmt.Errorf("must be a whole number from %d", c.least)
	}
	c.value = n
	return nil
}

func (c *count) String() string { return strconv.Itoa(c.value) }
func (c *count) Type() string   { return "number" }

// A span is the value of a flag that takes a length of time.
type span time.Duration

func (d *span) Set(s string) error {
	value, err := time.ParseDuration(s)
	if err != nil || value <= 0 {
		return errors.New("must be a length of time such as 10s or 15m")
	}
	*d = span(value)
	return nil
}

func (d *span) String() string { return time.Duration(*d).String() }
func (d *span) Type() string   { return "time" }

// A size is the value of a flag that takes a number of bytes. Zero is no size.
type size int64

// units are what a number of bytes may end in, in any case. The unit of one
// byte ends all others, so it comes last.
var units = [...]struct {
	name  string
	bytes int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, // as git has them
	{"b", 1},
}

func (z *size) Set(s string) error {
	digits, unit := strings.ToLower(s), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 {
		return errors.New("must be a whole number from 1 with or without a unit, such as 500000, 10MB or 1GiB")
	}
	if n > math.MaxInt64/unit {
		return fmt.Errorf("must be at most %d bytes", int64(math.MaxInt64))
	}
	*z = size(n * unit)
	return nil
}

func (z *size) String() string {
	if *z == 0 {
		return "" // pflag shows no default then
	}
	return strconv.FormatInt(int64(*z), 10)
}

func (z *size) Type() string { return "size" }
