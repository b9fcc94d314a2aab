package sandbox

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A GitHub stands in for GitHub: for the part of its REST API that files
// issues, below / and below /api/v3/ as on an Enterprise Server, and for the
// page of an issue. It knows one user, who has one token. It is an
// [http.Handler] and safe for concurrent use.
type GitHub struct {
	recorder
	token string
	mux   *http.ServeMux

	state  sync.Mutex // guards what follows
	faults GitHubFaults
	repos  map[string]*gitHubRepo // by name in lower case
	moved  map[string]string      // former names in lower case
}

// NewGitHub returns a GitHub without repositories, where token is the user's.
func NewGitHub(token string) *GitHub {
	g := &GitHub{
		token: token,
		mux:   http.NewServeMux(),
		repos: make(map[string]*gitHubRepo),
		moved: make(map[string]string),
	}
	const repo = "/repos/{owner}/{name}"
	g.mux.Handle("/api/v3/", http.StripPrefix("/api/v3", g.mux))
	g.handle("GET /user", anyAccess, (*GitHub).user)
	g.handle("GET "+repo, readRepo, (*GitHub).repository)
	g.handle("GET "+repo+"/labels/{label}", readRepo, (*GitHub).label)
	g.handle("POST "+repo+"/labels", writeRepo, (*GitHub).createLabel)
	g.handle("GET "+repo+"/issues", readIssues, (*GitHub).listIssues)
	g.handle("POST "+repo+"/issues", writeIssues, (*GitHub).createIssue)
	g.handle("GET "+repo+"/issues/{number}", readIssues, (*GitHub).issue)
	g.handle("PATCH "+repo+"/issues/{number}", writeIssues, (*GitHub).editIssue)
	g.handle("POST "+repo+"/issues/{number}/labels", writeIssues, (*GitHub).labelIssue)
	g.handle("GET "+repo+"/issues/{number}/comments", readIssues, (*GitHub).listComments)
	g.handle("POST "+repo+"/issues/{number}/comments", writeIssues, (*GitHub).createComment)
	// Pages have a mux of their own: /repos/x/issues/issues would be a page
	// and a list.
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{owner}/{name}/issues/{number}", g.page)
	g.mux.Handle("/", pages)
	return g
}

// A RepoOption says how a repository differs from one that is public, has
// issues, and gives the user the right to write.
type RepoOption int

// The options of a repository.
const (
	Private  RepoOption = iota // not to be seen without the token
	Archived                   // nobody writes
	NoIssues                   // issues are switched off
	ReadOnly                   // the token reads, but does not write
)

type gitHubRepo struct {
	id      int
	name    string // OWNER/NAME
	options []RepoOption
	labels  []gitHubLabel
	issues  []*Issue // the issue with number n is the n-1st
}

func (r *gitHubRepo) is(o RepoOption) bool { return slices.Contains(r.options, o) }

type gitHubLabel struct {
	Name        string `json:"name"`
	Color       string `json:"color"`
	Description string `json:"description"`
}

// An Issue is an issue of a [GitHub].
type Issue struct {
	Number      int
	Title, Body string
	State       string // open or closed
	Labels      []string
	Comments    []string // the oldest first
	PullRequest bool     // GitHub lists pull requests among the issues
}

func (i *Issue) clone() Issue {
	c := *i
	c.Labels, c.Comments = slices.Clone(i.Labels), slices.Clone(i.Comments)
	return c
}

// AddRepo adds a repository; name is OWNER/NAME.
func (g *GitHub) AddRepo(name string, options ...RepoOption) {
	g.state.Lock()
	defer g.state.Unlock()
	g.repos[strings.ToLower(name)] = &gitHubRepo{id: len(g.repos) + 1, name: name, options: options}
}

// RenameRepo gives a repository another name. Requests for the former one are
// redirected.
func (g *GitHub) RenameRepo(from, to string) {
	g.state.Lock()
	defer g.state.Unlock()
	repo := g.mustHave(from)
	repo.name = to
	delete(g.repos, strings.ToLower(from))
	g.repos[strings.ToLower(to)] = repo
	g.moved[strings.ToLower(from)] = to
}

// Issues returns the issues and pull requests of a repository, the oldest
// first.
func (g *GitHub) Issues(repo string) []Issue {
	g.state.Lock()
	defer g.state.Unlock()
	var issues []Issue
	for _, issue := range g.mustHave(repo).issues {
		issues = append(issues, issue.clone())
	}
	return issues
}

// AddIssue files an issue as if a person did and returns its number. An empty
// State means open.
func (g *GitHub) AddIssue(repo string, issue Issue) int {
	g.state.Lock()
	defer g.state.Unlock()
	r := g.mustHave(repo)
	issue = issue.clone()
	issue.State = cmp.Or(issue.State, "open")
	return r.add(&issue)
}

// EditIssue lets edit change an issue as a person would.
func (g *GitHub) EditIssue(repo string, number int, edit func(*Issue)) {
	g.state.Lock()
	defer g.state.Unlock()
	r := g.mustHave(repo)
	issue := r.issues[number-1]
	edit(issue)
	r.setLabels(issue, issue.Labels)
}

// mustHave returns a repository that was added. The caller holds g.state.
func (g *GitHub) mustHave(name string) *gitHubRepo {
	repo, ok := g.repos[strings.ToLower(name)]
	if !ok {
		panic("sandbox: no repository " + name + " was added")
	}
	return repo
}

// add appends an issue with the next number and makes its labels.
func (r *gitHubRepo) add(issue *Issue) int {
	issue.Number = len(r.issues) + 1
	r.issues = append(r.issues, issue)
	r.setLabels(issue, issue.Labels)
	return issue.Number
}

// setLabels gives issue these labels, spelled as the repository has them. It
// makes those that the repository lacks, as GitHub does for whoever may push.
func (r *gitHubRepo) setLabels(issue *Issue, names []string) {
	issue.Labels = nil
	for _, name := range names {
		if r.label(name) == nil {
			r.labels = append(r.labels, gitHubLabel{Name: name, Color: "ededed"})
		}
		if !issue.hasAll([]string{name}) {
			issue.Labels = append(issue.Labels, r.label(name).Name)
		}
	}
}

// label returns the label of that name, in whatever case, or nil.
func (r *gitHubRepo) label(name string) *gitHubLabel {
	for i := range r.labels {
		if strings.EqualFold(r.labels[i].Name, name) {
			return &r.labels[i]
		}
	}
	return nil
}

// An access is what a request needs before it is carried out.
type access int

const (
	anyAccess access = iota
	readRepo
	writeRepo
	readIssues
	writeIssues
)

// A gitHubCall is a request that got as far as its repository.
type gitHubCall struct {
	*http.Request
	body []byte
	repo *gitHubRepo // nil for anyAccess
}

type gitHubAnswer struct {
	status int
	header http.Header
	body   any
}

// refusal is GitHub's way to say no.
func refusal(status int, message string) gitHubAnswer {
	return gitHubAnswer{status: status, body: map[string]any{
		"message":           message,
		"documentation_url": "https://docs.github.com/rest",
		"status":            strconv.Itoa(status),
	}}
}

// invalid is GitHub's answer to a field that it does not take.
func invalid(resource, field, code string) gitHubAnswer {
	answer := refusal(http.StatusUnprocessableEntity, "Validation Failed")
	answer.body.(map[string]any)["errors"] = []map[string]string{{"resource": resource, "field": field, "code": code}}
	return answer
}

// ServeHTTP records the request, misbehaves if it is to, and answers.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	g.add(r, body)
	if err != nil {
		http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !g.misbehave(w, r) {
		g.mux.ServeHTTP(w, r)
	}
}

// handle serves pattern: it looks at the token, the repository and the user's
// rights, and lets do answer while g.state is held.
func (g *GitHub) handle(pattern string, need access, do func(*GitHub, *gitHubCall) gitHubAnswer) {
	g.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // ServeHTTP has read it before
		}
		g.state.Lock()
		defer g.state.Unlock()
		call := &gitHubCall{Request: r, body: body}
		answer, admitted := g.admit(call, need)
		if admitted {
			answer = do(g, call)
		}
		if need == writeIssues && answer.status == http.StatusCreated {
			answer = g.loseAnswer(answer)
		}
		g.write(w, answer)
	})
}

// admit finds the repository of call, or returns the refusal.
func (g *GitHub) admit(call *gitHubCall, need access) (refused gitHubAnswer, admitted bool) {
	_, token, _ := strings.Cut(call.Header.Get("Authorization"), " ")
	if token != "" && token != g.token {
		return refusal(http.StatusUnauthorized, "Bad credentials"), false
	}
	if need == anyAccess {
		return gitHubAnswer{}, true
	}
	name := call.PathValue("owner") + "/" + call.PathValue("name")
	if to, moved := g.moved[strings.ToLower(name)]; moved {
		status := http.StatusTemporaryRedirect
		if call.Method == http.MethodGet {
			status = http.StatusMovedPermanently
		}
		refused := refusal(status, "Moved Permanently")
		target := *call.URL
		target.Path = strings.Replace(target.Path, name, to, 1)
		target.RawPath = ""
		refused.header = http.Header{"Location": {origin(call.Request) + g.prefix(call) + target.RequestURI()}}
		return refused, false
	}
	repo, ok := g.repos[strings.ToLower(name)]
	writes := need == writeRepo || need == writeIssues
	switch {
	case !ok, repo.is(Private) && token == "":
		return refusal(http.StatusNotFound, "Not Found"), false
	case writes && token == "":
		return refusal(http.StatusUnauthorized, "Requires authentication"), false
	case writes && repo.is(ReadOnly):
		return refusal(http.StatusForbidden, "Resource not accessible by personal access token"), false
	case writes && repo.is(Archived):
		return refusal(http.StatusForbidden, "Repository was archived so is read-only."), false
	case repo.is(NoIssues) && (need == readIssues || need == writeIssues):
		return refusal(http.StatusGone, "Issues are disabled for this repo"), false
	}
	call.repo = repo
	return gitHubAnswer{}, true
}

// prefix returns what [http.StripPrefix] took from the path of call.
func (g *GitHub) prefix(call *gitHubCall) string {
	if strings.HasPrefix(call.RequestURI, "/api/v3/") {
		return "/api/v3"
	}
	return ""
}

// origin returns scheme and host under which the client knows the stand-in.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// write sends answer with the headers that stand on each of GitHub's. The
// caller holds g.state.
func (g *GitHub) write(w http.ResponseWriter, answer gitHubAnswer) {
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("X-GitHub-Media-Type", "github.v3; format=json")
	header.Set("X-RateLimit-Limit", "5000")
	header.Set("X-RateLimit-Remaining", "4999")
	if g.faults.NoneLeft {
		header.Set("X-RateLimit-Remaining", "0")
	}
	header.Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
	header.Set("X-RateLimit-Resource", "core")
	for name, values := range answer.header {
		header[name] = values
	}
	w.WriteHeader(answer.status)
	json.NewEncoder(w).Encode(answer.body) // fails only where the client has gone
}

func (g *GitHub) user(call *gitHubCall) gitHubAnswer {
	if call.Header.Get("Authorization") == "" {
		return refusal(http.StatusUnauthorized, "Requires authentication")
	}
	return gitHubAnswer{status: http.StatusOK, body: map[string]any{"login": "sandbox", "id": 1, "type": "User"}}
}

func (g *GitHub) repository(call *gitHubCall) gitHubAnswer {
	visibility := "public"
	if call.repo.is(Private) {
		visibility = "private"
	}
	writes := !call.repo.is(ReadOnly)
	return gitHubAnswer{status: http.StatusOK, body: map[string]any{
		"id":          call.repo.id,
		"full_name":   call.repo.name,
		"name":        call.PathValue("name"),
		"private":     call.repo.is(Private),
		"visibility":  visibility,
		"archived":    call.repo.is(Archived),
		"has_issues":  !call.repo.is(NoIssues),
		"html_url":    origin(call.Request) + "/" + call.repo.name,
		"permissions": map[string]bool{"pull": true, "push": writes},
		// A property with several values is where some clients stumble.
		"custom_properties": map[string]any{"teams": []string{"payments", "security"}},
	}}
}

func (g *GitHub) label(call *gitHubCall) gitHubAnswer {
	label := call.repo.label(call.PathValue("label"))
	if label == nil {
		return refusal(http.StatusNotFound, "Not Found")
	}
	return gitHubAnswer{status: http.StatusOK, body: label}
}

func (g *GitHub) createLabel(call *gitHubCall) gitHubAnswer {
	var label gitHubLabel
	if json.Unmarshal(call.body, &label) != nil {
		return refusal(http.StatusBadRequest, "Problems parsing JSON")
	}
	switch {
	case label.Name == "" || len(label.Name) > 50:
		return invalid("Label", "name", "invalid")
	case len(label.Description) > 100:
		return invalid("Label", "description", "invalid")
	case call.repo.label(label.Name) != nil:
		return invalid("Label", "name", "already_exists")
	}
	call.repo.labels = append(call.repo.labels, label)
	return gitHubAnswer{status: http.StatusCreated, body: label}
}

// GitHub's limits.
const (
	maxTitle = 256    // characters
	maxBody  = 65_536 // characters

	// largeList is from where on GitHub wants its cursor: the number of a page
	// alone is refused then.
	largeList = 1000
)

func (g *GitHub) listIssues(call *gitHubCall) gitHubAnswer {
	query := call.URL.Query()
	var labels []string
	if query.Get("labels") != "" {
		labels = strings.Split(query.Get("labels"), ",")
	}
	state := cmp.Or(query.Get("state"), "open")
	var matching []*Issue
	for _, issue := range slices.Backward(call.repo.issues) {
		if (state == "all" || state == issue.State) && issue.hasAll(labels) {
			matching = append(matching, issue)
		}
	}

	size := number(query.Get("per_page"), 30)
	size = min(size, 100)
	page := number(query.Get("page"), 1)
	start := (page - 1) * size
	if after := query.Get("after"); after != "" {
		cursor, err := base64.StdEncoding.DecodeString(after)
		if err != nil {
			return refusal(http.StatusUnprocessableEntity, "Invalid cursor")
		}
		start = number(strings.TrimPrefix(string(cursor), "cursor:"), 0)
	} else if page > 1 && len(matching) > largeList {
		return refusal(http.StatusUnprocessableEntity,
			"Pagination with the page parameter is not supported for large datasets, please use cursor based pagination (after/before)")
	}
	start = min(start, len(matching))
	end := min(start+size, len(matching))

	answer := gitHubAnswer{status: http.StatusOK}
	if end < len(matching) {
		query.Set("page", strconv.Itoa(page+1))
		query.Set("after", base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "cursor:%d", end)))
		next := origin(call.Request) + g.prefix(call) + call.URL.Path + "?" + query.Encode()
		answer.header = http.Header{"Link": {"<" + next + `>; rel="next"`}}
	}
	list := make([]any, 0, size)
	for _, issue := range matching[start:end] {
		list = append(list, call.show(issue))
	}
	answer.body = list
	return answer
}

// number returns the natural number that s is, or otherwise.
func number(s string, otherwise int) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return otherwise
	}
	return int(n)
}

// hasAll reports whether the issue has all of these labels, in whatever case.
func (i *Issue) hasAll(labels []string) bool {
	for _, label := range labels {
		if !slices.ContainsFunc(i.Labels, func(has string) bool { return strings.EqualFold(has, label) }) {
			return false
		}
	}
	return true
}

// show returns issue as the API does.
func (call *gitHubCall) show(issue *Issue) map[string]any {
	labels := make([]gitHubLabel, 0, len(issue.Labels))
	for _, name := range issue.Labels {
		labels = append(labels, *call.repo.label(name))
	}
	page := &url.URL{Path: fmt.Sprintf("/%s/issues/%d", call.repo.name, issue.Number)}
	shown := map[string]any{
		"id":       1_000_000*call.repo.id + issue.Number,
		"number":   issue.Number,
		"html_url": origin(call.Request) + page.String(),
		"title":    issue.Title,
		"body":     issue.Body,
		"state":    issue.State,
		"labels":   labels,
		"comments": len(issue.Comments),
		"user":     map[string]any{"login": "sandbox", "id": 1, "type": "User"},
	}
	if issue.PullRequest {
		shown["pull_request"] = map[string]any{"html_url": origin(call.Request) + page.String()}
	}
	return shown
}

// An issueRequest is what creates or changes an issue; what is absent, stays.
type issueRequest struct {
	Title  *string   `json:"title"`
	Body   *string   `json:"body"`
	State  *string   `json:"state"`
	Labels *[]string `json:"labels"`
}

// parse reads the body of call and checks it against GitHub's limits.
func (req *issueRequest) parse(call *gitHubCall) (refused gitHubAnswer, ok bool) {
	switch {
	case json.Unmarshal(call.body, req) != nil:
		return refusal(http.StatusBadRequest, "Problems parsing JSON"), false
	case req.Title != nil && (*req.Title == "" || len([]rune(*req.Title)) > maxTitle):
		return invalid("Issue", "title", "invalid"), false
	case req.Body != nil && len([]rune(*req.Body)) > maxBody:
		return invalid("Issue", "body", "invalid"), false
	case req.State != nil && *req.State != "open" && *req.State != "closed":
		return invalid("Issue", "state", "invalid"), false
	}
	return gitHubAnswer{}, true
}

// apply changes issue. The caller holds g.state.
func (g *GitHub) apply(req issueRequest, repo *gitHubRepo, issue *Issue) {
	if req.Title != nil {
		issue.Title = *req.Title
	}
	if req.Body != nil {
		issue.Body = *req.Body
	}
	if req.State != nil {
		issue.State = *req.State
	}
	if req.Labels != nil && !g.faults.DropLabels {
		repo.setLabels(issue, *req.Labels)
	}
}

func (g *GitHub) createIssue(call *gitHubCall) gitHubAnswer {
	var req issueRequest
	if refused, ok := req.parse(call); !ok {
		return refused
	}
	if req.Title == nil {
		return invalid("Issue", "title", "missing_field")
	}
	issue := &Issue{State: "open"}
	g.apply(req, call.repo, issue)
	call.repo.add(issue)
	return gitHubAnswer{status: http.StatusCreated, body: call.show(issue)}
}

// find returns the issue that the path names, or nil.
func (call *gitHubCall) find() *Issue { return call.repo.issue(call.PathValue("number")) }

// issue returns the issue with that number, or nil.
func (r *gitHubRepo) issue(digits string) *Issue {
	n := number(digits, 0)
	if n == 0 || n > len(r.issues) {
		return nil
	}
	return r.issues[n-1]
}

func (g *GitHub) issue(call *gitHubCall) gitHubAnswer {
	issue := call.find()
	if issue == nil {
		return refusal(http.StatusNotFound, "Not Found")
	}
	return gitHubAnswer{status: http.StatusOK, body: call.show(issue)}
}

func (g *GitHub) editIssue(call *gitHubCall) gitHubAnswer {
	issue := call.find()
	if issue == nil {
		return refusal(http.StatusNotFound, "Not Found")
	}
	var req issueRequest
	if refused, ok := req.parse(call); !ok {
		return refused
	}
	g.apply(req, call.repo, issue)
	return gitHubAnswer{status: http.StatusOK, body: call.show(issue)}
}

func (g *GitHub) labelIssue(call *gitHubCall) gitHubAnswer {
	issue := call.find()
	if issue == nil {
		return refusal(http.StatusNotFound, "Not Found")
	}
	var labels []string
	if json.Unmarshal(call.body, &labels) != nil {
		return refusal(http.StatusBadRequest, "Problems parsing JSON")
	}
	if !g.faults.DropLabels {
		call.repo.setLabels(issue, slices.Concat(issue.Labels, labels))
	}
	return gitHubAnswer{status: http.StatusOK, body: call.show(issue)["labels"]}
}

func (g *GitHub) listComments(call *gitHubCall) gitHubAnswer {
	issue := call.find()
	if issue == nil {
		return refusal(http.StatusNotFound, "Not Found")
	}
	list := make([]any, 0, len(issue.Comments))
	for i, body := range issue.Comments {
		list = append(list, map[string]any{"id": i + 1, "body": body})
	}
	return gitHubAnswer{status: http.StatusOK, body: list}
}

func (g *GitHub) createComment(call *gitHubCall) gitHubAnswer {
	issue := call.find()
	if issue == nil {
		return refusal(http.StatusNotFound, "Not Found")
	}
	var comment struct {
		Body string `json:"body"`
	}
	if json.Unmarshal(call.body, &comment) != nil {
		return refusal(http.StatusBadRequest, "Problems parsing JSON")
	}
	if comment.Body == "" || len([]rune(comment.Body)) > maxBody {
		return invalid("IssueComment", "body", "invalid")
	}
	issue.Comments = append(issue.Comments, comment.Body)
	return gitHubAnswer{status: http.StatusCreated, body: map[string]any{"id": len(issue.Comments), "body": comment.Body}}
}
