package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// root is what every path of the API begins with.
const root = "/v1"

func (o *OpenAI) newRoutes() *http.ServeMux {
	const (
		projects = root + "/organization/projects"
		keys     = projects + "/{project}/api_keys"
		tutorial = root + "/organizations/{organization}/projects/{project}/apikeys"
		admins   = root + "/organization/admin_api_keys"
	)
	m := http.NewServeMux()
	m.HandleFunc("GET "+root+"/models", o.models)
	m.HandleFunc("GET "+projects, o.admin(o.listProjects))
	m.HandleFunc("GET "+admins, o.admin(o.listAdminKeys))
	m.HandleFunc("GET "+admins+"/{key}", o.admin(o.getAdminKey))
	m.HandleFunc("DELETE "+admins+"/{key}", o.admin(o.deleteAdminKey))
	m.HandleFunc("GET "+keys, o.admin(o.listKeys))
	m.HandleFunc("GET "+keys+"/{key}", o.admin(o.getKey))
	m.HandleFunc("DELETE "+keys+"/{key}", o.admin(o.deleteKey))
	m.HandleFunc("GET "+tutorial, o.tutorial(o.listKeys))
	m.HandleFunc("GET "+tutorial+"/{key}", o.tutorial(o.getKey))
	m.HandleFunc("DELETE "+tutorial+"/{key}", o.tutorial(o.deleteKey))
	m.HandleFunc("/", invalidURL)
	return m
}

func invalidURL(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusNotFound, "", fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path))
}

// reply writes v as JSON.
func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// refuse writes an error object. A code that is "" is null.
func refuse(w http.ResponseWriter, status int, code, message string) {
	kind := "invalid_request_error"
	if status >= 500 {
		kind = "server_error"
	}
	var c any
	if code != "" {
		c = code
	}
	reply(w, status, map[string]any{
		"error": map[string]any{"message": message, "type": kind, "param": nil, "code": c},
	})
}

// refuseKey says that a key is none. OpenAI repeats it, masked.
func refuseKey(w http.ResponseWriter, value string) {
	refuse(w, http.StatusUnauthorized, "invalid_api_key",
		"Incorrect API key provided: "+mask(value)+". You can find your API key at https://platform.openai.com/account/api-keys.")
}

// mask masks a value as OpenAI does: the first eight characters, an asterisk
// for each hidden one, the last four. What is too short to be a key is masked
// as an admin key's length would be.
func mask(value string) string {
	const head, tail, adminLength = 8, 4, 133
	if len(value) < 24 {
		return "sk-admin" + strings.Repeat("*", adminLength-head-tail) + value[max(0, len(value)-tail):]
	}
	return value[:head] + strings.Repeat("*", len(value)-head-tail) + value[len(value)-tail:]
}

// bearer returns the key that r was asked with.
func bearer(r *http.Request) string {
	value, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return value
}

// accept returns the key with the given value, as far as it is still accepted,
// or nil. The state is locked.
func (o *OpenAI) accept(value string) *Key {
	if value == "" {
		return nil
	}
	for k := range o.keys {
		if k.value == value && (!k.deleted || use(&k.accepts)) {
			return k
		}
	}
	return nil
}

// keys yields every key there is or was. The state is locked.
func (o *OpenAI) keys(yield func(*Key) bool) {
	for _, org := range o.organizations {
		all := slices.Clone(org.admins)
		for _, p := range org.projects {
			all = append(all, p.keys...)
		}
		for _, k := range all {
			if !yield(k) {
				return
			}
		}
	}
}

// misaddressed answers a request whose headers name another organization or
// project than its key's, and reports whether it did. The state is locked.
func (o *OpenAI) misaddressed(w http.ResponseWriter, r *http.Request, k *Key) bool {
	organization, project := r.Header.Get("OpenAI-Organization"), r.Header.Get("OpenAI-Project")
	switch {
	case organization != "" && organization != k.organization.id && !o.faults.IgnoreOrganization:
		refuse(w, http.StatusUnauthorized, "mismatched_organization", "OpenAI-Organization header should match organization for API key.")
	case k.project != nil && project != "" && project != k.project.id && !o.faults.IgnoreProject:
		refuse(w, http.StatusUnauthorized, "mismatched_project", "OpenAI-Project header should match project for API key.")
	default:
		return false
	}
	return true
}

// models answers GET /models.
func (o *OpenAI) models(w http.ResponseWriter, r *http.Request) {
	o.state.Lock()
	defer o.state.Unlock()
	k := o.accept(bearer(r))
	switch {
	case k == nil:
		refuseKey(w, bearer(r))
		return
	case k.refusal != nil && k.refusal.First:
		refuse(w, k.refusal.Status, k.refusal.Code, k.refusal.Message)
		return
	case o.misaddressed(w, r, k):
		return
	case k.refusal != nil:
		refuse(w, k.refusal.Status, k.refusal.Code, k.refusal.Message)
		return
	case k.project == nil:
		refuse(w, http.StatusForbidden, "", "You have insufficient permissions for this operation. Missing scopes: api.model.read.")
		return
	}
	k.used = time.Now()
	project := k.project.id
	if o.faults.SaysProject != "" {
		project = o.faults.SaysProject
	}
	w.Header().Set("OpenAI-Organization", k.organization.id)
	w.Header().Set("OpenAI-Project", project)
	w.Header().Set("OpenAI-Version", "2020-10-01")
	reply(w, http.StatusOK, map[string]any{
		"object": "list",
		"data":   []any{map[string]any{"id": "gpt-4o", "object": "model", "created": 1715367049, "owned_by": "system"}},
	})
}

// An adminHandler answers a call of the Admin API. The state is locked.
type adminHandler func(w http.ResponseWriter, r *http.Request, org *Organization)

// admin lets only live admin keys pass.
func (o *OpenAI) admin(next adminHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.state.Lock()
		defer o.state.Unlock()
		k := o.accept(bearer(r))
		switch {
		case k == nil:
			refuseKey(w, bearer(r))
		case k.project != nil:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, BareForbidden)
		case o.misaddressed(w, r, k):
		default:
			k.used = time.Now()
			next(w, r, k.organization)
		}
	}
}

// tutorial serves paths that OpenAI does not have.
func (o *OpenAI) tutorial(next adminHandler) http.HandlerFunc {
	return o.admin(func(w http.ResponseWriter, r *http.Request, org *Organization) {
		if !o.faults.TutorialPath || r.PathValue("organization") != org.id {
			invalidURL(w, r)
			return
		}
		next(w, r, org)
	})
}

func (o *OpenAI) listProjects(w http.ResponseWriter, r *http.Request, org *Organization) {
	archived := r.URL.Query().Get("include_archived") == "true"
	var all []entry
	for _, p := range org.projects {
		all = append(all, entry{p.id, p.wire(), archived || !p.archived})
	}
	o.list(w, r, all)
}

func (o *OpenAI) listKeys(w http.ResponseWriter, r *http.Request, org *Organization) {
	p := org.project(r.PathValue("project"))
	if p == nil {
		refuse(w, http.StatusNotFound, "not_found", "Project not found.")
		return
	}
	anyone := r.URL.Query().Get("owner_project_access") == "any"
	var all []entry
	for _, k := range p.keys {
		visible := (!k.deleted || use(&k.lists)) && (anyone || !k.owner.Left)
		all = append(all, entry{k.ID, o.wire(k), visible})
	}
	o.list(w, r, all)
}

func (o *OpenAI) listAdminKeys(w http.ResponseWriter, r *http.Request, org *Organization) {
	var all []entry
	for _, k := range org.admins {
		all = append(all, entry{k.ID, o.wire(k), !k.deleted || use(&k.lists)})
	}
	o.list(w, r, all)
}

func (o *OpenAI) getKey(w http.ResponseWriter, r *http.Request, org *Organization) {
	o.get(w, org.key(r))
}

func (o *OpenAI) deleteKey(w http.ResponseWriter, r *http.Request, org *Organization) {
	k := org.key(r)
	if k != nil && k.owner.Type == "service_account" && o.faults.KeepServiceKeys {
		refuse(w, http.StatusBadRequest, "", "API keys that belong to a service account cannot be deleted. Delete the service account instead.")
		return
	}
	o.delete(w, k, "organization.project.api_key.deleted")
}

func (o *OpenAI) getAdminKey(w http.ResponseWriter, r *http.Request, org *Organization) {
	o.get(w, find(org.admins, r.PathValue("key")))
}

func (o *OpenAI) deleteAdminKey(w http.ResponseWriter, r *http.Request, org *Organization) {
	o.delete(w, find(org.admins, r.PathValue("key")), "organization.admin_api_key.deleted")
}

func (o *OpenAI) get(w http.ResponseWriter, k *Key) {
	if k == nil {
		noSuchKey(w)
		return
	}
	reply(w, http.StatusOK, o.wire(k))
}

func (o *OpenAI) delete(w http.ResponseWriter, k *Key, object string) {
	if k == nil {
		noSuchKey(w)
		return
	}
	k.remove(o.faults)
	reply(w, http.StatusOK, map[string]any{"object": object, "id": k.ID, "deleted": true})
}

func noSuchKey(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "not_found", "API key not found.")
}

func (org *Organization) project(id string) *Project {
	for _, p := range org.projects {
		if p.id == id {
			return p
		}
	}
	return nil
}

// key returns the key that the path of r names, or nil.
func (org *Organization) key(r *http.Request) *Key {
	p := org.project(r.PathValue("project"))
	if p == nil {
		return nil
	}
	return find(p.keys, r.PathValue("key"))
}

// find returns the key that has id and is not deleted, or nil.
func find(keys []*Key, id string) *Key {
	for _, k := range keys {
		if k.ID == id && !k.deleted {
			return k
		}
	}
	return nil
}

// An entry is one thing in a list. What is not visible still has its place, so
// that a list goes on where it was left when that thing has been deleted.
type entry struct {
	id      string
	wire    any
	visible bool
}

// list answers with one page of all.
func (o *OpenAI) list(w http.ResponseWriter, r *http.Request, all []entry) {
	query := r.URL.Query()
	limit := 20
	if said := query.Get("limit"); said != "" {
		n, err := strconv.Atoi(said)
		if err != nil || n < 1 || n > 100 {
			refuse(w, http.StatusBadRequest, "", "'limit' must be an integer from 1 to 100.")
			return
		}
		limit = n
	}
	start := 0
	if after := query.Get("after"); after != "" {
		at := slices.IndexFunc(all, func(e entry) bool { return e.id == after })
		if at < 0 {
			refuse(w, http.StatusBadRequest, "", "'after' names nothing in this list.")
			return
		}
		start = at + 1
	}
	if f := o.due(r, start/limit+1); f != nil {
		f.answer(w)
		return
	}
	data := []any{}
	var first, last any
	more := false
	for _, e := range all[start:] {
		if !e.visible {
			continue
		}
		if more = len(data) == limit; more {
			break
		}
		if len(data) == 0 {
			first = e.id
		}
		data, last = append(data, e.wire), e.id
	}
	if o.faults.NullLastID {
		last = nil
	}
	reply(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more,
	})
}

func (p *Project) wire() any {
	status := "active"
	var archived any
	if p.archived {
		status, archived = "archived", p.created.Unix()
	}
	return map[string]any{
		"object": "organization.project", "id": p.id, "name": p.name,
		"created_at": p.created.Unix(), "archived_at": archived, "status": status,
	}
}

// wire returns k as the API writes it.
func (o *OpenAI) wire(k *Key) any {
	redact := mask
	if o.faults.Mask != nil {
		redact = o.faults.Mask
	}
	var used any
	if !k.used.IsZero() {
		used = k.used.Unix()
	}
	owner := map[string]any{
		"id": k.owner.ID, "name": k.owner.Name, "role": "member", "created_at": k.created.Unix(),
	}
	if k.owner.Type == "user" {
		owner["email"] = k.owner.Email
	}
	object := "organization.project.api_key"
	if k.project == nil {
		object = "organization.admin_api_key"
		owner["type"] = k.owner.Type
	} else {
		owner = map[string]any{"type": k.owner.Type, k.owner.Type: owner}
	}
	return map[string]any{
		"object": object, "id": k.ID, "name": k.name, "redacted_value": redact(k.value),
		"created_at": k.created.Unix(), "last_used_at": used, "expires_at": nil, "owner": owner,
	}
}
