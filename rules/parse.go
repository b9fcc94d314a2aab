package rules

import (
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/unleak/unleak/finding"
)

//go:embed openai.toml
var openai string

// What a file of rules may ask for: it may come from the repository that is
// searched.
const (
	maxFile     = 1 << 20
	maxRules    = 1000
	maxCompiled = 1 << 18 // about the instructions of all its expressions
)

// Default returns the embedded rules: every shape that an OpenAI key has had.
func Default() *Set {
	f, err := load("openai.toml", openai)
	if err == nil {
		err = f.check(newSet(f.rules))
	}
	if err != nil {
		panic(err) // the file is part of the program
	}
	return newSet(f.rules)
}

// Parse returns the embedded rules and those of a TOML document. name stands
// for the document in errors, which give the line and the remedy.
//
// The embedded rules cannot be replaced, and where one of them and one of the
// document match the same bytes, the embedded one wins. Allow-lists that the
// document has outside its rules apply to them, too, but one that allows an
// embedded rule's examples is an error, because it would disable the rule.
func Parse(name string, document []byte) (*Set, error) {
	own, err := load("openai.toml", openai)
	if err != nil {
		return nil, err
	}
	if len(document) > maxFile {
		return nil, fmt.Errorf("%s:1: the file has %d bytes and may have %d; split the rules that are needed off", name, len(document), maxFile)
	}
	f, err := load(name, string(document))
	if err != nil {
		return nil, err
	}
	if err := f.join(own); err != nil {
		return nil, err
	}
	set := newSet(append(own.rules, f.rules...))
	if err := f.check(set); err != nil {
		return nil, err
	}
	return set, nil
}

// A file is a document of rules, decoded.
type file struct {
	name   string
	lines  lines
	rules  []loaded
	global []globalAllowlist
}

// A loaded rule is a rule and what only the making of a Set needs.
type loaded struct {
	*Rule
	path     string // of its table
	tree     *syntax.Regexp
	form     *form // nil without halves
	halves   []int
	examples []string
	counters []string
}

// A globalAllowlist is one that stands outside the rules.
type globalAllowlist struct {
	allowlist
	path    string
	targets []string // ids; none means every rule
}

// The tables of a document. Where a comment says so, a key is gitleaks' and is
// known, so that it can be refused by name.
type (
	document struct {
		Title       string
		Description string
		MinVersion  string // of gitleaks; says nothing here
		Extend      extendTable
		Rules       []toml.Primitive
		Allowlists  []globalTable
		Allowlist   *globalTable
	}
	extendTable struct {
		UseDefault    bool     // either way: the embedded rules are in force
		Path          string   // refused
		URL           string   // refused
		DisabledRules []string // refused
	}
	ruleTable struct {
		ID              string
		Description     string
		Regex           string
		SecretGroup     int
		Entropy         float64
		Keywords        []string
		Tags            []string // for people
		Allowlists      []allowTable
		Allowlist       *allowTable
		Path            string           // refused
		SkipReport      bool             // refused if true
		Required        []toml.Primitive // refused
		Kind            string
		Halves          []int
		Examples        []string
		Counterexamples []string
	}
	allowTable struct {
		Description string
		Condition   string
		Regexes     []string
		RegexTarget string
		StopWords   []string
		Paths       []string // refused
		Commits     []string // refused
	}
	globalTable struct {
		allowTable
		TargetRules []string
	}
)

// load decodes and compiles a document.
func load(name, text string) (*file, error) {
	var doc document
	meta, err := toml.Decode(text, &doc)
	if err != nil {
		var bad toml.ParseError
		line := 1
		message := err.Error()
		if errors.As(err, &bad) {
			line, message = bad.Position.Line, bad.Message
		}
		return nil, fmt.Errorf("%s:%d: not valid TOML: %s", name, line, finding.Printable(message))
	}
	f := &file{name: name, lines: findLines(text)}
	if len(doc.Rules) > maxRules {
		return nil, f.errorf(fmt.Sprintf("rules[%d]", maxRules), "more than %d rules; leave out those that are not needed", maxRules)
	}
	tables := make([]ruleTable, len(doc.Rules))
	for i, primitive := range doc.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		if err := meta.PrimitiveDecode(primitive, &tables[i]); err != nil {
			return nil, f.errorf(path, "in the rule that begins here: %v", err)
		}
		if tables[i].Required != nil {
			return nil, f.errorf(path+".required", "required is not supported: unleak reports each key by itself; remove it")
		}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		line := f.lines.first(strings.Join(key, "."))
		return nil, fmt.Errorf("%s:%d: unknown key %q; correct its spelling or remove it", name, line, finding.Printable(key.String()))
	}
	switch {
	case doc.Extend.Path != "":
		return nil, f.errorf("extend.path", "extend.path is not supported: a file of rules stands alone; copy the rules into it")
	case doc.Extend.URL != "":
		return nil, f.errorf("extend.url", "extend.url is not supported: a file of rules stands alone; copy the rules into it")
	case len(doc.Extend.DisabledRules) > 0:
		return nil, f.errorf("extend.disabledRules", "the embedded rules cannot be disabled; remove disabledRules")
	}

	budget := maxCompiled
	for i, table := range tables {
		r, err := f.rule(fmt.Sprintf("rules[%d]", i), table, &budget)
		if err != nil {
			return nil, err
		}
		f.rules = append(f.rules, r)
	}
	globals := map[string]globalTable{}
	order := []string{}
	for i, table := range doc.Allowlists {
		order = append(order, fmt.Sprintf("allowlists[%d]", i))
		globals[order[i]] = table
	}
	if doc.Allowlist != nil {
		order = append(order, "allowlist")
		globals["allowlist"] = *doc.Allowlist
	}
	for _, path := range order {
		a, err := f.allowlist(path, globals[path].allowTable, &budget)
		if err != nil {
			return nil, err
		}
		f.global = append(f.global, globalAllowlist{a, path, globals[path].TargetRules})
	}
	return f, nil
}

// errorf returns an error about the key or table at path.
func (f *file) errorf(path, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", f.name, f.lines.of(path), finding.Printable(fmt.Sprintf(format, args...)))
}

// rule makes a rule of its table.
func (f *file) rule(path string, t ruleTable, budget *int) (loaded, error) {
	fail := func(key, format string, args ...any) (loaded, error) {
		return loaded{}, f.errorf(path+"."+key, "rule %q: %s", t.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case t.ID == "":
		return loaded{}, f.errorf(path, "a rule without an id; give it one")
	case t.Path != "":
		return fail("path", "path is not supported: rules see bytes, whatever the file's name; remove it, and the rule if it has no regex")
	case t.SkipReport:
		return fail("skipReport", "skipReport is not supported: what a rule finds is reported; remove the rule")
	case t.Regex == "":
		return fail("id", "no regex; give it one or remove the rule")
	case t.Entropy < 0 || t.Entropy > 8 || t.Entropy != t.Entropy:
		return fail("entropy", "entropy %v is out of range; it is in bits per character, from 0 to 8", t.Entropy)
	case t.Kind != "" && !slices.Contains(finding.Kinds(), finding.Kind(t.Kind)):
		return fail("kind", "unknown kind %q; the kinds are %v", t.Kind, finding.Kinds())
	}
	tree, err := f.expression(path+".regex", t.Regex, budget)
	if err != nil {
		return loaded{}, err
	}
	x, err := compile(tree)
	if err != nil {
		return fail("regex", "regex: %v", err)
	}
	if t.SecretGroup < 0 || t.SecretGroup > x.groups {
		return fail("secretGroup", "secretGroup %d, but the regex has %d groups; correct one of them", t.SecretGroup, x.groups)
	}
	r := loaded{
		Rule: &Rule{
			ID:          t.ID,
			Description: t.Description,
			Kind:        finding.Kind(t.Kind),
			expression:  x,
			group:       t.SecretGroup,
			entropy:     t.Entropy,
		},
		path:     path,
		tree:     tree,
		halves:   t.Halves,
		examples: t.Examples,
		counters: t.Counterexamples,
	}
	for _, k := range t.Keywords {
		if k == "" {
			return fail("keywords", "an empty keyword; remove it")
		}
		r.keywords = append(r.keywords, strings.ToLower(k))
	}
	ascii := !slices.ContainsFunc(r.keywords, func(k string) bool { return strings.ContainsFunc(k, func(c rune) bool { return c >= utf8.RuneSelf }) })
	r.implied = ascii && implies(tree, r.keywords)
	if r.implied && x.narrow() {
		r.keywords = nil // it is searched for in runs, at less cost
	}
	if len(t.Halves) > 0 {
		parts, err := takeApart(tree)
		if err != nil {
			return fail("halves", "regex: %v", err)
		}
		if x.max == unbounded || len(r.keywords) > 0 || !x.narrow() {
			return fail("halves", "with halves a regex matches %d to %d characters and holds the keywords", minRun, maxLength)
		}
		for _, n := range t.Halves {
			if n < parts.min || n > parts.max {
				return fail("halves", "a half of %d characters, but the regex asks for %d to %d; correct one of them", n, parts.min, parts.max)
			}
		}
		r.form = &parts
	}
	tables := slices.Clone(t.Allowlists)
	paths := make([]string, len(tables))
	for i := range tables {
		paths[i] = fmt.Sprintf("%s.allowlists[%d]", path, i)
	}
	if t.Allowlist != nil {
		tables, paths = append(tables, *t.Allowlist), append(paths, path+".allowlist")
	}
	for i, table := range tables {
		a, err := f.allowlist(paths[i], table, budget)
		if err != nil {
			return loaded{}, err
		}
		r.allow = append(r.allow, a)
	}
	return r, nil
}

// expression parses a regular expression and charges it to budget.
func (f *file) expression(path, source string, budget *int) (*syntax.Regexp, error) {
	if !utf8.ValidString(source) {
		return nil, f.errorf(path, "the expression is not UTF-8")
	}
	tree, err := parseExpression(source)
	if err != nil {
		return nil, f.errorf(path, "the expression does not compile: %v", err)
	}
	if *budget -= size(tree); *budget < 0 {
		return nil, f.errorf(path, "the file's expressions are too large; lower the counts in {n,m} or leave rules out")
	}
	return tree, nil
}

// allowlist makes an allowlist of its table.
func (f *file) allowlist(path string, t allowTable, budget *int) (allowlist, error) {
	var a allowlist
	switch strings.ToUpper(t.Condition) {
	case "", "OR", "||":
	case "AND", "&&":
		a.both = true
	default:
		return a, f.errorf(path+".condition", "unknown condition %q; it is OR or AND", t.Condition)
	}
	switch t.RegexTarget {
	case "", "secret":
		a.target = targetSecret
	case "match":
		a.target = targetMatch
	case "line":
		a.target = targetLine
	default:
		return a, f.errorf(path+".regexTarget", "unknown regexTarget %q; it is secret, match or line", t.RegexTarget)
	}
	switch {
	case len(t.Paths) > 0:
		return a, f.errorf(path+".paths", "paths are not supported: rules see bytes, whatever the file's name; remove them and put the fingerprints of what may stay into .unleakignore")
	case len(t.Commits) > 0:
		return a, f.errorf(path+".commits", "commits are not supported: rules see bytes, whatever the commit; remove them and put the fingerprints of what may stay into .unleakignore")
	case len(t.Regexes) == 0 && len(t.StopWords) == 0:
		return a, f.errorf(path, "an allow-list that allows nothing; give it regexes or stopwords, or remove it")
	}
	for _, source := range t.Regexes {
		tree, err := f.expression(path+".regexes", source, budget)
		if err != nil {
			return a, err
		}
		re, err := regexp.Compile(tree.String())
		if err != nil {
			return a, f.errorf(path+".regexes", "the expression does not compile: %v", err)
		}
		a.regexes = append(a.regexes, re)
	}
	for _, word := range t.StopWords {
		if word == "" {
			return a, f.errorf(path+".stopwords", "an empty stopword allows everything; remove it")
		}
		a.stopwords = append(a.stopwords, strings.ToLower(word))
	}
	return a, nil
}

// join checks f against the rules that are there already, and lets its
// allow-lists apply to all.
func (f *file) join(own *file) error {
	ids := map[string]bool{}
	for _, r := range own.rules {
		ids[r.ID] = true
	}
	for _, r := range f.rules {
		if ids[r.ID] {
			return f.errorf(r.path+".id", "rule %q: there is a rule with this id already; give it another one", r.ID)
		}
		ids[r.ID] = true
	}
	for _, g := range f.global {
		for _, id := range g.targets {
			if !ids[id] {
				return f.errorf(g.path+".targetRules", "targetRules names %q, which is no rule; correct its spelling", id)
			}
		}
		for _, r := range slices.Concat(own.rules, f.rules) {
			if len(g.targets) == 0 || slices.Contains(g.targets, r.ID) {
				r.allow = append(r.allow, g.allowlist)
			}
		}
		for _, r := range own.rules {
			for _, example := range r.examples {
				text, err := expand(example, seeded())
				if err != nil {
					return err
				}
				if whole := (span{0, len(text)}); r.allowed([]byte(text), whole, whole) {
					return f.errorf(g.path, "this allow-list allows what rule %q is for, and the embedded rules cannot be disabled; make it narrower", r.ID)
				}
			}
		}
	}
	return nil
}

// check asks of every example whether the set finds all of it by its rule, and
// of every counterexample whether the rule keeps silent.
func (f *file) check(set *Set) error {
	for _, r := range f.rules {
		for i, example := range r.examples {
			text, err := expand(example, seeded())
			if err != nil {
				return f.errorf(r.path+".examples", "rule %q: %v", r.ID, err)
			}
			found := false
			for m := range set.Find([]byte(text)) {
				found = found || m.Rule == r.Rule
			}
			if !found {
				return f.errorf(r.path+".examples", "rule %q does not find its example %d; correct one of them", r.ID, i+1)
			}
		}
		for i, counter := range r.counters {
			text, err := expand(counter, seeded())
			if err != nil {
				return f.errorf(r.path+".counterexamples", "rule %q: %v", r.ID, err)
			}
			for m := range set.Find([]byte(text)) {
				if m.Rule.ID == r.ID {
					return f.errorf(r.path+".counterexamples", "rule %q finds its counterexample %d; correct one of them", r.ID, i+1)
				}
			}
		}
	}
	return nil
}

// seeded returns a source of random characters that is the same everywhere.
func seeded() *rand.Rand { return rand.New(rand.NewPCG(0, 0)) }
