package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/unleak/unleak/internal/sandbox"
)

// The admin key and the token of the stand-ins look like neither.
const (
	standInAdmin = "an-admin"
	standInToken = "a-token"
)

// services are the stand-ins that a script talks to.
type services struct {
	openai  *sandbox.OpenAI
	github  *sandbox.GitHub
	keys    map[string]*sandbox.Key // by value
	effects int                     // how many were counted already
}

// serviceCommands are the commands for scripts that respond:
//
//	services                             starts OpenAI and GitHub and sets the environment for them
//	project ID KEY...                    gives the organization a project that has these keys
//	elsewhere KEY...                     gives another organization these keys
//	repository OWNER/NAME [private]      gives GitHub a repository
//	[!] deleted KEY...                   asserts that OpenAI has deleted the keys, or none of them
//	issues OWNER/NAME                    prints the issues of a repository
//	effects [N]                          asserts that N requests other than GET were sent since the last effects
//	unseen FILE...                       asserts that no key is in a file or in what GitHub received
var serviceCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"services":   cmdServices,
	"project":    cmdProject,
	"elsewhere":  cmdElsewhere,
	"repository": cmdRepository,
	"deleted":    cmdDeleted,
	"issues":     cmdIssues,
	"effects":    cmdEffects,
	"unseen":     cmdUnseen,
}

// servicesOf is where a script's services are kept.
type servicesOf struct{}

func serving(ts *testscript.TestScript) *services {
	s := ts.Value(servicesOf{}).(*services)
	if s.openai == nil {
		ts.Fatalf("no services were started")
	}
	return s
}

func cmdServices(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: services")
	}
	s := ts.Value(servicesOf{}).(*services)
	s.openai, s.github = sandbox.NewOpenAI(standInAdmin), sandbox.NewGitHub(standInToken)
	s.keys = map[string]*sandbox.Key{}
	serve := func(h http.Handler) string {
		server := httptest.NewServer(h)
		ts.Defer(server.Close)
		return server.URL
	}
	ts.Setenv("OPENAI_BASE_URL", serve(s.openai)+"/v1")
	ts.Setenv("OPENAI_ADMIN_KEY", standInAdmin)
	ts.Setenv("GITHUB_API_URL", serve(s.github))
	ts.Setenv("GITHUB_TOKEN", standInToken)
}

func cmdProject(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: project ID KEY...")
	}
	s := serving(ts)
	p := s.openai.AddProject(args[0], "Project "+args[0])
	for i, value := range args[1:] {
		s.keys[value] = p.AddKey(fmt.Sprintf("%s %d", args[0], i+1), value, sandbox.Person("Ada Doe"))
	}
}

func cmdElsewhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: elsewhere KEY...")
	}
	s := serving(ts)
	p := s.openai.AddOrganization("org-elsewhere").AddProject("proj_elsewhere", "Elsewhere")
	for _, value := range args {
		s.keys[value] = p.AddKey("elsewhere", value, sandbox.Person("Eve"))
	}
}

func cmdRepository(ts *testscript.TestScript, neg bool, args []string) {
	var options []sandbox.RepoOption
	if len(args) == 2 && args[1] == "private" {
		options, args = append(options, sandbox.Private), args[:1]
	}
	if neg || len(args) != 1 {
		ts.Fatalf("usage: repository OWNER/NAME [private]")
	}
	serving(ts).github.AddRepo(args[0], options...)
}

func cmdDeleted(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: [!] deleted KEY...")
	}
	for _, value := range args {
		if key, ok := serving(ts).keys[value]; !ok || key.Deleted() == neg {
			ts.Fatalf("the key that ends in %s: known %v, deleted %v", value[len(value)-4:], ok, !neg)
		}
	}
}

func cmdIssues(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: issues OWNER/NAME")
	}
	for _, issue := range serving(ts).github.Issues(args[0]) {
		fmt.Fprintf(ts.Stdout(), "#%d %s: %s\nlabels: %s\n%s\n", issue.Number, issue.State, issue.Title,
			strings.Join(issue.Labels, ", "), issue.Body)
		for _, comment := range issue.Comments {
			fmt.Fprintf(ts.Stdout(), "comment: %s\n", comment)
		}
	}
}

func cmdEffects(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: effects [N]")
	}
	s := serving(ts)
	var all []string
	for _, r := range slices.Concat(s.openai.Requests(), s.github.Requests()) {
		if r.Method != http.MethodGet {
			all = append(all, r.Method+" "+r.Path)
		}
	}
	sent := len(all) - s.effects
	s.effects = len(all)
	if len(args) == 1 && args[0] != strconv.Itoa(sent) {
		ts.Fatalf("%d requests other than GET were sent, want %s; all up to now:\n%s", sent, args[0], strings.Join(all, "\n"))
	}
}

func cmdUnseen(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: unseen FILE...")
	}
	places := map[string]string{}
	for _, file := range args {
		places[file] = ts.ReadFile(file)
	}
	for i, r := range serving(ts).github.Requests() {
		places[fmt.Sprintf("request %d to GitHub", i+1)] = fmt.Sprint(r.Path, r.Query, r.Header, string(r.Body))
	}
	for place, text := range places {
		for _, key := range *ts.Value(keysMade{}).(*[]string) {
			if strings.Contains(text, key[len(key)-16:]) {
				ts.Fatalf("%s holds a key", place)
			}
		}
	}
}
