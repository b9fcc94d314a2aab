package rules

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
)

// TestDefault: every rule has what reports and the battery count on.
func TestDefault(t *testing.T) {
	set := Default()
	n, bounded := set.Reach()
	if !bounded || n > 1024 {
		t.Errorf("Reach = %d, %v; the scanner counts on a small one", n, bounded)
	}
	f, err := load("openai.toml", openai)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[finding.Kind]bool{}
	for _, r := range f.rules {
		kinds[r.Kind] = true
		want := fmt.Sprintf("openai-%s-key", r.Kind)
		if r.Kind == finding.SessionToken || r.Kind == finding.EphemeralToken {
			want = fmt.Sprintf("openai-%s-token", r.Kind)
		}
		if r.ID != want || r.Description == "" || len(r.examples) == 0 || len(r.counters) == 0 {
			t.Errorf("%s of kind %s, want the id %s, a description, examples and counterexamples", r.ID, r.Kind, want)
		}
		for i, counter := range r.counters { // silent in all rules, not only in this one
			for m := range set.Find([]byte(made(t, counter, seeded()))) {
				t.Errorf("%s: counterexample %d is found by %s", r.ID, i+1, m.Rule.ID)
			}
		}
	}
	if len(kinds) != len(finding.Kinds()) {
		t.Errorf("rules for %d kinds of %d", len(kinds), len(finding.Kinds()))
	}
}

// TestGitleaks reads rules in gitleaks' keys and tries what they mean.
func TestGitleaks(t *testing.T) {
	set, err := Parse("gitleaks.toml", []byte(`
title = "custom"
minVersion = "v8.25.0"
[extend]
useDefault = true

[[rules]]
id = "whole"
description = "no group"
regex = '''whole-[0-9]{4}'''
keywords = ["WHOLE"]
tags = ["a", "b"]

[[rules]]
id = "first-group"
regex = '''first=(?:"(\d+)"|'(\d+)')'''

[[rules]]
id = "second-group"
regex = '''(user)=\w+:(\d+)'''
secretGroup = 2

[[rules]]
id = "entropy"
regex = '''entropy=(\w+)'''
entropy = 2

[[rules]]
id = "keyword"
regex = '''k[0-9]{6}'''
keywords = ["Kangaroo", "koala"]

[[rules]]
id = "allowed"
regex = '''allowed=(\w+)'''
[[rules.allowlists]]
regexes = ['''^sample''']
stopwords = ["dummy"]
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''nosec$''']
[[rules.allowlists]]
condition = "AND"
regexTarget = "match"
regexes = ['''allowed=x''']
stopwords = ["both"]

[[rules]]
id = "old-allowlist"
regex = '''old=(\w+)'''
[rules.allowlist]
stopwords = ["fine"]

[[allowlists]]
stopwords = ["everywhere"]
[[allowlists]]
targetRules = ["whole"]
regexes = ['''1234''']
`))
	if err != nil {
		t.Fatal(err)
	}
	project := made(t, "sk-proj-{74}"+marker+"{74}", rand.New(rand.NewPCG(9, 9)))
	for _, tc := range []struct {
		in   string
		want []string // rule:secret
	}{
		{"x whole-4321 whole-9999.", []string{"whole:whole-4321", "whole:whole-9999"}},
		{"whole-1234", nil},
		{`first="12" first='34' first="" first=''`, []string{"first-group:12", "first-group:34"}},
		{"user=me:77", []string{"second-group:77"}},
		{"entropy=aaaa entropy=abcdefgh", []string{"entropy:abcdefgh"}},
		{"k123456", nil},
		{"k123456 and a KOALA", []string{"keyword:k123456"}},
		{"allowed=sample1 allowed=asample allowed=myDummy", []string{"allowed:asample"}},
		{"allowed=a nosec\nallowed=b nosec.\nallowed=c nosec", []string{"allowed:b"}},
		{"allowed=xboth allowed=x allowed=both", []string{"allowed:x", "allowed:both"}},
		{"old=fine old=bad", []string{"old-allowlist:bad"}},
		{"old=everywhere whole-7777", []string{"whole:whole-7777"}},
		{"old=" + project + ".", []string{"openai-project-key:" + project}},
		{"whole-0000" + project + "whole-1111", []string{"whole:whole-0000", "openai-project-key:" + project, "whole:whole-1111"}},
	} {
		var got []string
		for m := range set.Find([]byte(tc.in)) {
			got = append(got, m.Rule.ID+":"+tc.in[m.Start:m.End])
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%.40q: (-want +got)\n%s", tc.in, diff)
		}
	}
	if _, bounded := set.Reach(); bounded {
		t.Error("Reach is bounded in spite of an allow-list for lines")
	}
}

func TestParseErrors(t *testing.T) {
	const id = "[[rules]]\nid = \"a\"\n"
	for _, tc := range []struct{ name, in, want string }{
		{"syntax", "a = \n", "f.toml:1: not valid TOML: "},
		{"unknown key on top", "title = 'x'\ncolour = 1\n", `f.toml:2: unknown key "colour"; `},
		{"unknown key in a rule", id + "regex = 'aa'\n\n" + "[[rules]]\nid = 'b'\nregex = '''\nb'''\nkeyword = ['x']\n", `f.toml:9: unknown key "rules.keyword"; `},
		{"unknown key in an allow-list", id + "regex = 'aa'\n[[rules.allowlists]]\nstopwords=['x']\nstopword = 'x'\n", `f.toml:6: unknown key "rules.allowlists.stopword"; `},
		{"unknown key in an inline table", id + "regex = 'aa'\nallowlists = [\n{ stopwords = ['x'], stop = 1 },\n]\n", `f.toml:4: unknown key "rules.allowlists.stop"; `},
		{"unknown table", "[rule]\nid = 'x'\n", `f.toml:1: unknown key "rule"; `},
		{"no id", "[[rules]]\nregex = 'aa'\n", "f.toml:1: a rule without an id; "},
		{"no regex", id, `f.toml:2: rule "a": no regex; `},
		{"bad type", id + "regex = 'aa'\n\n[[rules]]\nentropy = 'high'\n", "f.toml:5: in the rule that begins here: "},
		{"bad regex", id + "regex = 'a(b'\n", "f.toml:3: the expression does not compile: missing closing )"},
		{"lookahead", id + "regex = '(?=a)'\n", "f.toml:3: the expression does not compile: invalid or unsupported Perl syntax; "},
		{"repeated too often", id + "regex = 'a{1001}'\n", "f.toml:3: the expression does not compile: invalid repeat count"},
		{"unbalanced but balanced when wrapped", id + "regex = 'a)(b'\n", "f.toml:3: the expression does not compile: unexpected )"},
		{"empty matches", id + "regex = 'a*'\n", `f.toml:3: rule "a": regex: it matches nothing or the empty string; `},
		{"too large", id + "regex = '" + strings.Repeat("[a-c]{1000}", 300) + "'\n", "f.toml:3: the file's expressions are too large; "},
		{"negative entropy", id + "regex = 'aa'\nentropy = -1\n", `f.toml:4: rule "a": entropy -1 is out of range; `},
		{"entropy that is none", id + "regex = 'aa'\nentropy = nan\n", `f.toml:4: rule "a": entropy NaN is out of range; `},
		{"group", id + "regex = '(a)a'\nsecretGroup = 2\n", `f.toml:4: rule "a": secretGroup 2, but the regex has 1 groups; `},
		{"duplicate id", id + "regex = 'aa'\n" + id + "regex = 'bb'\n", `f.toml:5: rule "a": there is a rule with this id already; `},
		{"embedded id", "[[rules]]\nid = 'openai-user-key'\nregex = 'aa'\n", `f.toml:2: rule "openai-user-key": there is a rule with this id already; `},
		{"kind", id + "regex = 'aa'\nkind = 'usr'\n", `f.toml:4: rule "a": unknown kind "usr"; `},
		{"path", id + "regex = 'aa'\npath = '\\.pem$'\n", `f.toml:4: rule "a": path is not supported: `},
		{"skipReport", id + "regex = 'aa'\nskipReport = true\n", `f.toml:4: rule "a": skipReport is not supported: `},
		{"required", id + "regex = 'aa'\n[[rules.required]]\nid = 'b'\nwithinLines = 3\n", "f.toml:4: required is not supported: "},
		{"disabledRules", "[extend]\ndisabledRules = ['openai-user-key']\n", "f.toml:2: the embedded rules cannot be disabled; "},
		{"extend.path", "[extend]\npath = 'x'\n", "f.toml:2: extend.path is not supported: "},
		{"allow-list's paths", "[[allowlists]]\nstopwords = ['x']\n[[allowlists]]\npaths = ['x']\n", "f.toml:4: paths are not supported: "},
		{"allow-list's commits", id + "regex = 'aa'\n[rules.allowlist]\ncommits = ['x']\n", "f.toml:5: commits are not supported: "},
		{"allow-list without anything", "\n[[allowlists]]\ndescription = 'x'\n", "f.toml:2: an allow-list that allows nothing; "},
		{"condition", "[[allowlists]]\ncondition = 'XOR'\n", `f.toml:2: unknown condition "XOR"; `},
		{"regexTarget", "[[allowlists]]\nregexTarget = 'file'\n", `f.toml:2: unknown regexTarget "file"; `},
		{"allow-list's regex", "[[allowlists]]\nregexes = ['[']\n", "f.toml:2: the expression does not compile: missing closing ]"},
		{"empty stopword", "[[allowlists]]\nstopwords = ['']\n", "f.toml:2: an empty stopword allows everything; "},
		{"targetRules", "[[allowlists]]\nstopwords = ['x']\ntargetRules = ['b']\n", `f.toml:3: targetRules names "b", which is no rule; `},
		{"allow-list that disables", "[[allowlists]]\nregexes = ['^sk-']\n", `f.toml:1: this allow-list allows what rule "openai-project-key" is for, `},
		{"empty keyword", id + "regex = 'aa'\nkeywords = ['']\n", `f.toml:4: rule "a": an empty keyword; `},
		{"example not found", id + "regex = 'aa'\nexamples = ['aa', 'ab']\n", `f.toml:4: rule "a" does not find its example 2; `},
		{"counterexample found", id + "regex = 'aa'\ncounterexamples = ['xaay']\n", `f.toml:4: rule "a" finds its counterexample 1; `},
		{"template", id + "regex = 'aa'\nexamples = ['{3 digits}']\n", `f.toml:4: rule "a": "{3 digits}" has a brace that is none of `},
		{"large template", id + "regex = 'aa'\nexamples = ['{99999}']\n", `f.toml:4: rule "a": "{99999}" asks for more than 4096 characters `},
		{"halves of another form", id + "regex = 'ab[a-z]{3,9}'\nhalves = [4]\n", `f.toml:4: rule "a": regex: with halves it must have the form `},
		{"halves out of range", id + "regex = 'ab[a-z]{20,90}MID[a-z]{20,90}'\nhalves = [4]\n", `f.toml:4: rule "a": a half of 4 characters, but the regex asks for 20 to 90; `},
		{"a control character", "[[rules]]\nid = \"a\\u001b[31m\"\n", `f.toml:2: rule "a\x1b[31m": no regex; `},
		{"too many rules", strings.Repeat("[[rules]]\nid = 'a'\n", 1001), "f.toml:2001: more than 1000 rules; "},
		{"too large a file", strings.Repeat("#", 1<<20+1), "f.toml:1: the file has 1048577 bytes and may have 1048576; "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("f.toml", []byte(tc.in))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error\n\t%s\nwant\n\t%s…", err, tc.want)
			}
		})
	}
}

// TestParseErrorHidesKeys: a key in a file of rules gets into no error.
func TestParseErrorHidesKeys(t *testing.T) {
	key := made(t, "sk-proj-{74}"+marker+"{74}", rand.New(rand.NewPCG(10, 0)))
	for _, in := range []string{
		"[[rules]]\nid = '" + key + "'\n",
		"[[rules]]\nid = 'a'\nregex = 'b'\nkind = '" + key + "'\n",
		"[[rules]]\nid = 'a'\nregex = '(" + key + "'\n",
		"[[rules]]\nid = 'a'\nregex = 'b'\nexamples = ['{3 x}" + key + "']\n",
		"'" + key + "' = 1\n",
		key + "\n",
		key + " = 1\n" + key + " = 2\n",
		"[[allowlists]]\ncondition = '" + key + "'\n",
	} {
		_, err := Parse("f.toml", []byte(in))
		if err == nil {
			t.Fatalf("no error for %.20q", in)
		}
		if strings.Contains(err.Error(), key[20:60]) {
			t.Errorf("the error for %.20q holds the key", in)
		}
	}
}

func TestExpand(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"plain {text} {}", `plain \{text\} \{\}`},
		{"sk-{20}.", `sk-[A-Za-z0-9_-]{20}\.`},
		{"{20 alnum}{4 hex}", `[A-Za-z0-9]{20}[0-9a-f]{4}`},
		{"{7 of abc}{0 of x}|", `abcabca\|`},
	} {
		got := made(t, tc.in, rand.New(rand.NewPCG(1, 1)))
		if !regexp.MustCompile(`^(?:` + tc.want + `)$`).MatchString(got) {
			t.Errorf("%s expands to %s, want %s", tc.in, got, tc.want)
		}
		if again := made(t, tc.in, rand.New(rand.NewPCG(1, 1))); again != got {
			t.Errorf("%s expands to %s, then to %s", tc.in, got, again)
		}
	}
}

func TestFindLines(t *testing.T) {
	got := findLines(`# a = 1
title = "x # y" # c
"quoted.key" = 'v'
long = """
[[rules]]
\""" """"
list = [ # [
  "]", ']',
  { a = "}" },
]

[extend]
path = ''
[[rules]]
id = "a"
[[rules.allowlists]]
regexes = ['''
[x]''', '''y''']
[ "rules" . allowlists.sub ]
z = 1
[[ rules ]]
  ID = "b" # comment
  [rules.allowlist]
  commits = []
[[rules.allowlists]]
paths = []`)
	want := lines{
		"title": 2, "quoted.key": 3, "long": 4, "list": 7,
		"extend": 12, "extend.path": 13,
		"rules[0]": 14, "rules[0].id": 15,
		"rules[0].allowlists[0]": 16, "rules[0].allowlists[0].regexes": 17,
		"rules[0].allowlists[0].sub": 19, "rules[0].allowlists[0].sub.z": 20,
		"rules[1]": 21, "rules[1].id": 22, "rules[1].allowlist": 23, "rules[1].allowlist.commits": 24,
		"rules[1].allowlists[0]": 25, "rules[1].allowlists[0].paths": 26,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzParse asserts that a document is either a Set that keeps its word or an
// error with a line of the document.
func FuzzParse(f *testing.F) {
	f.Add(someRules)
	f.Add(openai)
	f.Add("[[rules]]\nid='a'\nregex='(?i)k[^a]s\\b'\nentropy=1\nkeywords=['k']")
	f.Add("a.b = {c = [1, {d = '''x'''}]}\n[[allowlists]]\n")
	position := regexp.MustCompile(`^f\.toml:([0-9]+): .`)
	key := made(f, "sk-proj-{74}"+marker+"{74}", rand.New(rand.NewPCG(11, 0)))
	f.Fuzz(func(t *testing.T, document string) {
		set, err := Parse("f.toml", []byte(document))
		if err != nil {
			m := position.FindStringSubmatch(err.Error())
			line := 0
			if m != nil {
				fmt.Sscan(m[1], &line)
			}
			if line < 1 || line > strings.Count(document, "\n")+1 {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		data := []byte(document + "\n" + key + "\n" + document)
		all := slices.Collect(set.Find(data))
		ordered(t, all, data)
	})
}
