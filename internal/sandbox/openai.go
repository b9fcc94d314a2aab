package sandbox

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// OpenAI is a stand-in for OpenAI's API below /v1: the Admin API's projects and
// keys, and the list of models, which every live key may ask for. It starts
// with one organization. It is safe for concurrent use.
type OpenAI struct {
	recorder
	routes *http.ServeMux

	state         sync.Mutex // guards all below, and what hangs under the organizations
	organizations []*Organization
	faults        OpenAIFaults
	failures      []*OpenAIFailure
	ids           int
}

// DefaultOrganization is the id of the organization that a stand-in starts with.
const DefaultOrganization = "org-sandbox"

// NewOpenAI returns a stand-in whose first organization has the admin keys
// given. Any string will do for one.
func NewOpenAI(adminKeys ...string) *OpenAI {
	o := new(OpenAI)
	o.routes = o.newRoutes()
	o.AddOrganization(DefaultOrganization, adminKeys...)
	return o
}

// An Organization has projects and admin keys.
type Organization struct {
	service  *OpenAI
	id       string
	projects []*Project
	admins   []*Key
}

// A Project has keys.
type Project struct {
	organization *Organization
	id, name     string
	archived     bool
	created      time.Time
	keys         []*Key
}

// A Key is a project's key or an admin key.
type Key struct {
	ID string

	organization *Organization
	project      *Project // nil for an admin key
	name, value  string
	owner        Owner
	created      time.Time
	used         time.Time // zero if never
	refusal      *Refusal

	deleted bool
	accepts int // probes that still accept the deleted key; Forever for all
	lists   int // lists that still show the deleted key; Forever for all
}

// An Owner is whom a key belongs to.
type Owner struct {
	Type            string // "user" or "service_account"
	ID, Name, Email string
	Left            bool // a user who has left the project
}

// Person returns an owner who is a person, with an id and an address made from
// the name.
func Person(name string) Owner {
	word := strings.ToLower(strings.ReplaceAll(name, " ", "."))
	return Owner{Type: "user", ID: "user-" + word, Name: name, Email: word + "@example.com"}
}

// ServiceAccount returns an owner that is a service account.
func ServiceAccount(name string) Owner {
	return Owner{Type: "service_account", ID: "svc_acct_" + name, Name: name}
}

// AddOrganization adds an organization with admin keys.
func (o *OpenAI) AddOrganization(id string, adminKeys ...string) *Organization {
	organization := &Organization{service: o, id: id}
	o.state.Lock()
	o.organizations = append(o.organizations, organization)
	o.state.Unlock()
	for i, value := range adminKeys {
		organization.AddAdminKey(fmt.Sprintf("admin %d", i+1), value, Person("Org Owner"))
	}
	return organization
}

// AddProject adds a project to the first organization.
func (o *OpenAI) AddProject(id, name string) *Project {
	return o.organizations[0].AddProject(id, name)
}

// AddAdminKey adds an admin key to the first organization.
func (o *OpenAI) AddAdminKey(name, value string, owner Owner) *Key {
	return o.organizations[0].AddAdminKey(name, value, owner)
}

// AddProject adds a project.
func (org *Organization) AddProject(id, name string) *Project {
	org.service.state.Lock()
	defer org.service.state.Unlock()
	p := &Project{organization: org, id: id, name: name, created: time.Now()}
	org.projects = append(org.projects, p)
	return p
}

// AddAdminKey adds an admin key.
func (org *Organization) AddAdminKey(name, value string, owner Owner) *Key {
	org.service.state.Lock()
	defer org.service.state.Unlock()
	k := &Key{ID: org.service.newID(), organization: org, name: name, value: value, owner: owner, created: time.Now()}
	org.admins = append(org.admins, k)
	return k
}

// Archive archives the project. Its keys go on working.
func (p *Project) Archive() {
	p.organization.service.state.Lock()
	defer p.organization.service.state.Unlock()
	p.archived = true
}

// AddKey adds a key with the given full value.
func (p *Project) AddKey(name, value string, owner Owner) *Key {
	p.organization.service.state.Lock()
	defer p.organization.service.state.Unlock()
	k := &Key{
		ID: p.organization.service.newID(), organization: p.organization, project: p,
		name: name, value: value, owner: owner, created: time.Now(),
	}
	p.keys = append(p.keys, k)
	return k
}

// newID returns an id for a key. The state is locked.
func (o *OpenAI) newID() string {
	o.ids++
	return fmt.Sprintf("key_%04d", o.ids)
}

// SetPast makes the key one that was created and last used then.
func (k *Key) SetPast(created, used time.Time) {
	o := k.organization.service
	o.state.Lock()
	defer o.state.Unlock()
	k.created, k.used = created, used
}

// Delete deletes the key as its owner would on OpenAI's page.
func (k *Key) Delete() {
	o := k.organization.service
	o.state.Lock()
	defer o.state.Unlock()
	k.remove(o.faults)
}

// Deleted reports whether the key was deleted.
func (k *Key) Deleted() bool {
	o := k.organization.service
	o.state.Lock()
	defer o.state.Unlock()
	return k.deleted
}

// remove deletes the key. The state is locked.
func (k *Key) remove(faults OpenAIFaults) {
	k.deleted = true
	k.accepts = faults.LivesOn
	k.lists = faults.StaleLists
}

// A Refusal is how a live key is answered by the list of models.
type Refusal struct {
	Status        int
	Code, Message string
	First         bool // before the headers that name a project and an organization are looked at
}

// Refuse makes the list of models answer the key so, while it is alive.
func (k *Key) Refuse(r Refusal) {
	o := k.organization.service
	o.state.Lock()
	defer o.state.Unlock()
	k.refusal = &r
}

// Forever is a count that never runs out.
const Forever = -1

// use reports whether something with n uses left may be used, and uses it.
func use(n *int) bool {
	if *n > 0 {
		*n--
		return true
	}
	return *n == Forever
}

// OpenAIFaults are the lasting ways to misbehave. The zero value is the
// service as it should be.
type OpenAIFaults struct {
	NullLastID         bool                // lists never name their last id
	IgnoreProject      bool                // the header OpenAI-Project is not looked at
	IgnoreOrganization bool                // the header OpenAI-Organization is not looked at
	SaysProject        string              // what the response header openai-project says instead of the truth
	KeepServiceKeys    bool                // deleting a key of a service account answers 400, as before 2026-10-22
	LivesOn            int                 // a key deleted from now on is accepted by so many probes more, or Forever
	StaleLists         int                 // a key deleted from now on is shown by so many lists more, or Forever
	Mask               func(string) string // how values are masked; nil for OpenAI's way
	TutorialPath       bool                // keys are served at /organizations/{organization}/projects/{project}/apikeys, too
	Before             func(*http.Request) // called before each answer, to be slow or to interfere
}

// SetFaults replaces the lasting faults.
func (o *OpenAI) SetFaults(faults OpenAIFaults) {
	o.state.Lock()
	defer o.state.Unlock()
	o.faults = faults
}

// An OpenAIFailure is an answer given instead of the right one.
type OpenAIFailure struct {
	Method string // "" is any
	Path   string // below /v1; "" is any
	Page   int    // of a list, from 1; 0 is any request
	Times  int    // how often it fails; 0 is always

	TookEffect bool // the request does its work before it fails
	Reset      bool // the connection breaks instead of an answer

	Status     int
	RetryAfter string // header; "" is none
	Body       string // "" is an error object of OpenAI's
}

// Bodies that the real service has been seen to answer.
const (
	// BareForbidden comes with status 403.
	BareForbidden = `{"error":"You have insufficient permissions for this operation. Missing scopes: api.management.read. Check that you have the correct role in your organization, and if you're using a restricted API key, that it has the necessary scopes."}`
	// BadGateway comes with status 502, from the edge.
	BadGateway = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"
)

// Fail adds a failure. Of several that fit a request the first one added counts.
func (o *OpenAI) Fail(f OpenAIFailure) {
	if f.Times == 0 {
		f.Times = Forever
	}
	o.state.Lock()
	defer o.state.Unlock()
	o.failures = append(o.failures, &f)
}

// due returns the failure that is due for a request, or nil. page is the page
// of the list that is about to be answered, 0 before that is known. The state
// is locked.
func (o *OpenAI) due(r *http.Request, page int) *OpenAIFailure {
	for _, f := range o.failures {
		if f.Page == page && cmp.Or(f.Method, r.Method) == r.Method &&
			(f.Path == "" || root+f.Path == r.URL.Path) && use(&f.Times) {
			return f
		}
	}
	return nil
}

func (f *OpenAIFailure) answer(w http.ResponseWriter) {
	if f.Reset {
		panic(http.ErrAbortHandler)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Body == "" && f.Status == http.StatusTooManyRequests:
		refuse(w, f.Status, "rate_limit_exceeded", "Rate limit reached for requests.")
	case f.Body == "":
		refuse(w, f.Status, "", "The server had an error while processing your request. Sorry about that!")
	default:
		if strings.HasPrefix(f.Body, "<") {
			w.Header().Set("Content-Type", "text/html")
		}
		w.WriteHeader(f.Status)
		io.WriteString(w, f.Body)
	}
}

// ServeHTTP answers as OpenAI does, or as it was told to fail.
func (o *OpenAI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		refuse(w, http.StatusBadRequest, "", "We could not read the body of your request.")
		return
	}
	o.add(r, body)
	o.state.Lock()
	before := o.faults.Before
	f := o.due(r, 0)
	o.state.Unlock()
	if before != nil {
		before(r)
	}
	if f != nil {
		if f.TookEffect {
			o.routes.ServeHTTP(newWritten(), r)
		}
		f.answer(w)
		return
	}
	o.routes.ServeHTTP(w, r)
}

// Seen returns the requests that hold value anywhere but in the header
// Authorization, where alone a key belongs.
func (o *OpenAI) Seen(value string) []Request {
	return slices.DeleteFunc(o.Requests(), func(r Request) bool {
		header := r.Header.Clone()
		header.Del("Authorization")
		var text bytes.Buffer
		header.Write(&text)
		fmt.Fprintln(&text, r.Path, r.Query)
		text.Write(r.Body)
		return !bytes.Contains(text.Bytes(), []byte(value))
	})
}
