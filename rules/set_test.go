package rules

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unleak/unleak/finding"
)

const marker = "T3Blbk" + "FJ"

// shapes is every shape that an OpenAI key has had, apart from the rules that
// know them.
var shapes = []struct {
	template   string
	id         string
	length     int
	confidence finding.Confidence
	alone      bool // no character of a word may stand next to it
}{
	{"sk-{48 alnum}", "openai-user-key", 51, finding.Medium, true},
	{"sk-{20 alnum}" + marker + "{20 alnum}", "openai-user-key", 51, finding.High, false},
	{"sk-None-{20 alnum}" + marker + "{20 alnum}", "openai-none-key", 56, finding.High, false},
	{"sk-None-{74}" + marker + "{74}", "openai-none-key", 164, finding.High, false},
	{"sk-None-{48 alnum}", "openai-none-key", 56, finding.Medium, true},
	{"sk-proj-{20 alnum}" + marker + "{20 alnum}", "openai-project-key", 56, finding.High, false},
	{"sk-proj-{58}" + marker + "{58}", "openai-project-key", 132, finding.High, false},
	{"sk-proj-{74}" + marker + "{74}", "openai-project-key", 164, finding.High, false},
	{"sk-svcacct-{46}" + marker + "{46}", "openai-service-account-key", 111, finding.High, false},
	{"sk-svcacct-{58}" + marker + "{58}", "openai-service-account-key", 135, finding.High, false},
	{"sk-svcacct-{74}" + marker + "{74}", "openai-service-account-key", 167, finding.High, false},
	{"sk-service-{20 alnum}" + marker + "{20 alnum}", "openai-service-account-key", 59, finding.High, false},
	{"sk-my-task-bot_in_prod-{20 alnum}" + marker + "{20 alnum}", "openai-service-account-key", 71, finding.High, false},
	{"sk-admin-{58}" + marker + "{58}", "openai-admin-key", 133, finding.High, false},
	{"sess-{40 alnum}", "openai-session-token", 45, finding.Medium, true},
	{"ek_{32 hex}", "openai-ephemeral-token", 35, finding.Medium, true},
}

// made returns the text of a template.
func made(t testing.TB, template string, rng *rand.Rand) string {
	t.Helper()
	text, err := expand(template, rng)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// want is what a test compares of a match. Text is redacted where it is a key.
type want struct {
	ID         string
	Start, End int
	Confidence finding.Confidence
}

func found(set *Set, data []byte) []want {
	var all []want
	for m := range set.Find(data) {
		all = append(all, want{m.Rule.ID, m.Start, m.End, m.Confidence})
	}
	return all
}

// TestBattery puts every shape where keys stand.
func TestBattery(t *testing.T) {
	set := Default()
	followers := []string{
		"", ",", ")", "<", "&", "]", "}", "|", ":", ".", "#", "%", "/", "@", `"`, "'", `\`, "`", "\n", "\r\n", " ",
		"%20", `\n`, "&amp;", ";", "=", "*", "\x00", "\xff", "é",
	}
	wordFollowers := []string{"_", "x", "7", "-", "_suffix", "-and-so-on", strings.Repeat("A", 300)}
	leaders := []string{"", "=", ":", `"`, "'", " ", "\n", "\r\n", "/", "(", "\x00", "\xff", "é"}
	wordLeaders := []string{"_", "x", "KEY_", "7", "%20", `\n`, strings.Repeat("A", 300)}
	for _, shape := range shapes {
		t.Run(shape.template, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(shape.length)))
			key := made(t, shape.template, rng)
			if len(key) != shape.length {
				t.Fatalf("the example has %d characters, want %d", len(key), shape.length)
			}
			check := func(what, before, after string) {
				t.Helper()
				expect := []want{{shape.id, len(before), len(before) + len(key), shape.confidence}}
				if diff := cmp.Diff(expect, found(set, []byte(before+key+after))); diff != "" {
					t.Errorf("%s: (-want +got)\n%s", what, diff)
				}
			}
			text := strings.Repeat("the quick brown_fox = jumps(over) # the lazy dog\n", 100)
			check("at the start", "", "\n"+text)
			check("in the middle", text, "\n"+text)
			check("at the end", text, "")
			check("in a line of 5 MB", strings.Repeat("word ", 1<<19), " "+strings.Repeat("word ", 1<<19))
			check("in a run of 5 MB", strings.Repeat("a-Z_9", 1<<19)+".", "."+strings.Repeat("a-Z_9", 1<<19))
			check("in CRLF text", strings.ReplaceAll(text, "\n", "\r\n")+"key: ", "\r\n"+text)
			check("in JSON", `{"api_key":"`, `","n":1}`)
			check("in YAML", "openai:\n  api_key: ", "\n  n: 1\n")
			check("in Python", "openai.api_key = '", "' # rotate\n")
			check("in a URL", "https://example.com/v1?key=", "&x=1")
			followers, leaders := followers, leaders
			if !shape.alone {
				followers, leaders = slices.Concat(followers, wordFollowers), slices.Concat(leaders, wordLeaders)
			}
			for _, leader := range leaders {
				for _, follower := range followers {
					check(fmt.Sprintf("between %.10q and %.10q", leader, follower), leader, follower)
				}
			}
		})
	}
}

// TestBackToBack puts every shape directly behind every other.
func TestBackToBack(t *testing.T) {
	set := Default()
	rng := rand.New(rand.NewPCG(2, 0))
	for _, a := range shapes {
		for _, b := range shapes {
			sep := ""
			if a.alone || b.alone {
				sep = "."
			}
			first, second := made(t, a.template, rng), made(t, b.template, rng)
			at := len(first) + len(sep)
			expect := []want{
				{a.id, 0, len(first), a.confidence},
				{b.id, at, at + len(second), b.confidence},
			}
			if diff := cmp.Diff(expect, found(set, []byte(first+sep+second))); diff != "" {
				t.Errorf("%s, %s: (-want +got)\n%s", a.template, b.template, diff)
			}
		}
	}
}

// TestShape is about halves that do not fit, and about what could be mistaken.
func TestShape(t *testing.T) {
	set := Default()
	rng := rand.New(rand.NewPCG(3, 0))
	project := "sk-proj-{74}" + marker + "{74}"
	for _, tc := range []struct {
		name   string
		before string
		key    string
		after  string
		id     string
		want   finding.Confidence
	}{
		{"equal halves of an unknown length", "x=", "sk-proj-{33}" + marker + "{33}", ";", "openai-project-key", finding.Medium},
		{"right half too short", "x=", "sk-proj-{74}" + marker + "{60}", ";", "openai-project-key", finding.Low},
		{"left half too short", "x=", "sk-proj-{60}" + marker + "{74}", ";", "openai-project-key", finding.Low},
		{"length 43 of a user", "x=", "sk-{20 alnum}" + marker + "{12 alnum}", ";", "", ""},
		{"length 65", "x=", "sk-{27 alnum}" + marker + "{27 alnum}", ";", "openai-user-key", finding.Medium},
		{"length 70", "x=", "sk-proj-{27}" + marker + "{27}", ";", "openai-project-key", finding.Medium},
		{"length 95", "x=", "sk-{42 alnum}" + marker + "{42 alnum}", ";", "openai-user-key", finding.Medium},
		{"a name that is not known", "", "sk-team-{58}" + marker + "{58}", "", "openai-service-account-key", finding.High},
		{"a prefix inside the left half", "", "sk-proj-{30}sk-{41}" + marker + "{74}", "", "openai-project-key", finding.High},
		{"a prefix inside the right half", "", "sk-proj-{74}" + marker + "{30}sk-proj-{36}", "", "openai-project-key", finding.High},
		{"a prefix before the prefix", "sk-proj-", project, "", "openai-project-key", finding.High},
		{"a word that ends like a prefix", "a-task-", project, "", "openai-project-key", finding.High},
		{"another marker behind", "", project, marker, "openai-project-key", finding.High},
		{"no prefix", "", "{74}" + marker + "{74}", "", "", ""},
		{"a marker before", marker + "-" + strings.Repeat("a1B2c3", 9), project, "", "openai-project-key", finding.High},
		{"1234 in the body", "", "sk-{8 alnum}1234{8 alnum}" + marker + "{20 alnum}", "", "openai-user-key", finding.High},
		{"words in the body", "", "sk-{3 alnum}YOUR{3 alnum}xxxx{2 alnum}test" + marker + "{20 alnum}", "", "openai-user-key", finding.High},
		{"words in the oldest", "", "sk-{8 alnum}example{8 alnum}aaaa{8 alnum}key{10 alnum}", "", "openai-user-key", finding.Medium},
		{"half of it masked", "", "sk-proj-{74}" + marker + "{37}{37 of x}", "", "openai-project-key", finding.High},
		{"all but little masked", "", "sk-proj-{10}{64 of x}" + marker + "{64 of x}{10}", "", "", ""},
		{"all digits in order", "", "sk-{48 of 1234567890}", "", "", ""},
		{"words only", "", "sk-proj-{58 of your-openai-api-key-here-}" + marker + "{58 of your-secret-token-}", "", "", ""},
		{"oldest, in a longer word", "", "sk-{48 alnum}x", "", "", ""},
		{"a hash behind the prefix of a session", "", "sess-{40 hex}", "", "", ""},
		{"Anthropic", "", "sk-ant-api03-{93}AA", "", "", ""},
		{"OpenRouter", "", "sk-or-v1-{64 hex}", "", "", ""},
		{"DeepSeek", "", "sk-{32 hex}", "", "", ""},
		{"Stripe", "", "sk_live_{99 alnum}", "", "", ""},
		{"an organization", "", "org-{24 alnum}", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 20 {
				key := made(t, tc.key, rng)
				var expect []want
				if tc.id != "" {
					expect = []want{{tc.id, len(tc.before), len(tc.before) + len(key), tc.want}}
				}
				if diff := cmp.Diff(expect, found(set, []byte(tc.before+key+tc.after))); diff != "" {
					t.Fatalf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

// TestTruncatedBeforeKey: what is left of one key must not swallow the next.
func TestTruncatedBeforeKey(t *testing.T) {
	set := Default()
	rng := rand.New(rand.NewPCG(4, 0))
	for _, tc := range []struct {
		template   string
		confidence finding.Confidence // of the rest; "" where it is too little
	}{
		{"sk-proj-{74}", ""},
		{"sk-proj-{74}" + marker, ""},
		{"sk-proj-{74}" + marker + "{10}", ""},
		{"sk-proj-{74}" + marker + "{40}", finding.Low},
		{"sk-proj-{30}" + marker + "{50}", finding.Low},
		{"sk-proj-{30}" + marker + "{30}", finding.Medium},
		{"sk-svcacct-{46}" + marker + "{21}", finding.Low},
		{"sk-{46 alnum}", ""},
	} {
		for range 20 {
			rest, key := made(t, tc.template, rng), made(t, "sk-proj-{74}"+marker+"{74}", rng)
			var expect []want
			if tc.confidence != "" {
				id := "openai-project-key"
				if strings.HasPrefix(rest, "sk-svcacct-") {
					id = "openai-service-account-key"
				}
				expect = append(expect, want{id, 0, len(rest), tc.confidence})
			}
			expect = append(expect, want{"openai-project-key", len(rest), len(rest) + len(key), finding.High})
			if diff := cmp.Diff(expect, found(set, []byte(rest+key))); diff != "" {
				t.Fatalf("%s: (-want +got)\n%s", tc.template, diff)
			}
		}
	}
}

// TestRandomKeysAreKeys: no random key is taken for a placeholder.
func TestRandomKeysAreKeys(t *testing.T) {
	set := Default()
	rng := rand.New(rand.NewPCG(5, 0))
	for _, shape := range shapes {
		for range 5000 {
			key := made(t, shape.template, rng)
			got := found(set, []byte("key = "+key+"\n"))
			if len(got) != 1 || got[0].ID != shape.id {
				t.Fatalf("%s: a random key yields %v", shape.template, got)
			}
		}
	}
}

// TestStop: a consumer may stop at any match.
func TestStop(t *testing.T) {
	set, err := Parse("t.toml", []byte(`
[[rules]]
id = "word"
regex = '''word=\w+'''
`))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(6, 0))
	data := []byte("word=1 " + made(t, shapes[6].template, rng) + " word=2 " + made(t, shapes[7].template, rng) + " word=3")
	all := slices.Collect(set.Find(data))
	if len(all) != 5 {
		t.Fatalf("found %d, want 5", len(all))
	}
	for n := range all {
		got := []Match{}
		for m := range set.Find(data) {
			if got = append(got, m); len(got) > n {
				break
			}
		}
		if !slices.Equal(got, all[:n+1]) {
			t.Errorf("stopped after %d: %v", n+1, got)
		}
	}
}

// TestAllocations: a search that finds nothing allocates nothing.
func TestAllocations(t *testing.T) {
	set := Default()
	text := []byte(strings.Repeat("for _, task-runner := range sess-ions { // ek_\n"+strings.Repeat("0aB_", 20)+marker+"\n", 100))
	n := testing.AllocsPerRun(10, func() {
		for m := range set.Find(text) {
			t.Fatalf("found %s", m.Rule.ID)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// ordered fails t unless the matches are in order, apart and inside data.
func ordered(t *testing.T, all []Match, data []byte) {
	t.Helper()
	end := 0
	for _, m := range all {
		if m.Start < end || m.End <= m.Start || m.End > len(data) {
			t.Fatalf("%s at %d to %d, behind one that ends at %d, in %d bytes", m.Rule.ID, m.Start, m.End, end, len(data))
		}
		end = m.End
	}
}

// spelled turns fuzzed bytes into text that has much in common with keys: each
// byte stands for a piece.
func spelled(t *testing.T, script []byte, rng *rand.Rand) []byte {
	pieces := []string{
		"sk-", "sk-proj-", "sk-None-", "sk-admin-", "sk-svcacct-", "sess-", "ek_", "-", "_", ".", "\n", "é", "x",
		marker, marker[:5], "{1}", "{19}", "{20}", "{20 alnum}", "{58}", "{74}", "{46}", "{32 hex}", "{40 alnum}",
		"{48 alnum}", "{30 of x}", "{74 of abc}", "word=", "GOOD", " ", "{130}", "{3 alnum}",
	}
	var b bytes.Buffer
	for _, c := range script[:min(len(script), 200)] {
		if int(c) >= 224 {
			c -= 100
			b.WriteString(made(t, shapes[int(c)%len(shapes)].template, rng))
			continue
		}
		b.WriteString(made(t, pieces[int(c)%len(pieces)], rng))
	}
	return b.Bytes()
}

// someRules is a document with rules of every strategy, all of them local.
const someRules = `
[[rules]]
id = "run"
regex = '''[a-z]{2}_[0-9A-Za-z]{14,30}'''
[[rules]]
id = "gitleaks"
regex = '''(?i)\b(?:word|pass)[=:]{1,2}(\w{1,40})(?:[\s.]|$)'''
keywords = ["word", "pass"]
entropy = 1
[[rules]]
id = "lines"
regex = '''(?m)^[^\n]{1,50}$'''
[[rules.allowlists]]
condition = "AND"
stopwords = ["good"]
regexes = ['''GOOD''']
`

// FuzzLocality asserts what Reach promises, and the order of matches.
func FuzzLocality(f *testing.F) {
	more, err := Parse("some.toml", []byte(someRules))
	if err != nil {
		f.Fatal(err)
	}
	sets := []*Set{Default(), more}
	f.Add([]byte{1, 20, 13, 20}, uint64(1))
	f.Add([]byte{1, 19, 13, 17, 1, 20, 13, 20, 5, 23}, uint64(2))
	f.Add([]byte{230, 231, 232, 233, 13, 13, 0, 18, 13, 18}, uint64(3))
	f.Add([]byte{27, 28, 9, 27, 31, 10, 11, 27}, uint64(4))
	f.Add([]byte{0, 20, 13, 31, 1, 18, 13, 25, 17, 14, 13, 2, 24, 8, 1, 30, 13, 30, 1, 20, 13, 20}, uint64(5))
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 7))
		data := spelled(t, script, rng)
		for i, set := range sets {
			n, bounded := set.Reach()
			if !bounded {
				t.Fatalf("set %d is not bounded", i)
			}
			all := slices.Collect(set.Find(data))
			ordered(t, all, data)
			if again := slices.Collect(set.Find(data)); !slices.Equal(all, again) {
				t.Fatalf("set %d: %v, then %v", i, all, again)
			}
			for _, m := range all {
				for _, p := range []int{m.Start, m.End, m.Start + rng.IntN(m.End-m.Start+1)} {
					lo, hi := max(0, p-n), min(len(data), p+n)
					window := slices.Collect(set.Find(data[lo:hi:hi]))
					ordered(t, window, data[lo:hi])
					if len(window) == 0 {
						t.Fatalf("set %d: %s at %d to %d of %d is lost in the window %d to %d", i, m.Rule.ID, m.Start, m.End, len(data), lo, hi)
					}
				}
			}
		}
	})
}

// FuzzPlanted asserts that a key is found in any surroundings that do not
// extend it.
func FuzzPlanted(f *testing.F) {
	set := Default()
	f.Add([]byte("before"), []byte("after"), uint8(7), uint64(1))
	f.Add([]byte("sk-proj-"), []byte(marker), uint8(9), uint64(2))
	f.Fuzz(func(t *testing.T, before, after []byte, which uint8, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 8))
		shape := shapes[int(which)%len(shapes)]
		key := made(t, shape.template, rng)
		data := slices.Concat(before, []byte("\n"+key+"\n"), after)
		all := slices.Collect(set.Find(data))
		ordered(t, all, data)
		start := len(before) + 1
		if !slices.ContainsFunc(all, func(m Match) bool {
			return m.Start == start && m.End == start+len(key) && m.Rule.ID == shape.id
		}) {
			t.Fatalf("%s is not found at %d: %v", shape.template, start, all)
		}
	})
}
