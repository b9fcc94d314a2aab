package sandbox

import (
	"html/template"
	"net/http"
	"strings"
)

// page serves an issue to a person with a browser, whoever that is.
func (g *GitHub) page(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("owner") + "/" + r.PathValue("name")
	g.state.Lock()
	defer g.state.Unlock()
	repo, ok := g.repos[strings.ToLower(name)]
	if !ok || repo.issue(r.PathValue("number")) == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	issuePage.Execute(w, map[string]any{"Repo": name, "Issue": repo.issue(r.PathValue("number"))}) // fails only where the client has gone
}

var issuePage = template.Must(template.New("issue").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{{.Issue.Title}} · {{.Repo}}#{{.Issue.Number}}</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #ccc; padding: 1em }
</style>
<h1>{{.Issue.Title}}</h1>
<p>{{.Repo}}#{{.Issue.Number}} · <strong>{{.Issue.State}}</strong>{{range .Issue.Labels}} · {{.}}{{end}}</p>
<pre>{{.Issue.Body}}</pre>
{{range .Issue.Comments}}<h2>Comment</h2>
<pre>{{.}}</pre>
{{end}}</html>
`))
