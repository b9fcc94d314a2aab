package openai

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
)

// An Answer is what OpenAI says to a key that asks for something harmless.
type Answer struct {
	Verdict       Verdict
	Status        int    // 0 if there was no answer
	Code, Message string // the server's words, or why there are none; never the key
	Organization  string // response header openai-organization, or ""
	Project       string // response header openai-project, or ""
}

// A Verdict says whether a key is alive. Its zero value is no verdict.
type Verdict string

// The verdicts. What does not prove life or death is Unknown.
const (
	Live    Verdict = "live"
	Dead    Verdict = "dead"
	Unknown Verdict = "unknown"
)

// The codes that decide a verdict. OpenAI lists them nowhere in one place.
const (
	codeInvalidKey             = "invalid_api_key"
	codeDeactivated            = "account_deactivated"
	codeAddress                = "ip_not_authorized"
	codeMismatchedProject      = "mismatched_project"
	codeMismatchedOrganization = "mismatched_organization"
	codeHostname               = "incorrect_hostname"
)

// regions are the names in front of api.openai.com under which OpenAI keeps
// the data of projects that must not leave a region. They are listed here so
// that a key is never sent to a host that an answer names.
var regions = [...]string{"us", "eu", "gb", "ae", "au", "ca", "jp", "in", "sg", "kr"}

// Probe asks for the list of models with key: it costs nothing, but counts as
// a use of the key. project and organization are named in the question where
// they are not "": a live key of another one is refused with the code
// mismatched_project or mismatched_organization.
//
// The question is sent once; only a key that belongs to a region is asked
// again there. Without an answer the verdict is Unknown. An error means that
// ctx is done or that the question cannot be put.
func (c *Client) Probe(ctx context.Context, key, project, organization string) (Answer, error) {
	header := http.Header{}
	if project != "" {
		header.Set("OpenAI-Project", project)
	}
	if organization != "" {
		header.Set("OpenAI-Organization", organization)
	}
	return c.probe(ctx, "/models", newCredential(key), header)
}

// ProbeAdmin asks for the organization's admin keys with key, as only an admin
// key may. It answers as [Client.Probe] does.
func (c *Client) ProbeAdmin(ctx context.Context, key string) (Answer, error) {
	return c.probe(ctx, adminKeysPath+"?limit=1", newCredential(key), http.Header{})
}

func (c *Client) probe(ctx context.Context, path string, key credential, header http.Header) (Answer, error) {
	for name := range header {
		if !sendable(header.Get(name)) {
			return Answer{Verdict: Unknown}, fmt.Errorf("GET %s: %s cannot hold %q", path, name, shown(header.Get(name)))
		}
	}
	if !sendable(*key.value) || *key.value == "" {
		return Answer{Verdict: Unknown}, fmt.Errorf("GET %s: the key has characters that no key has, or none", path)
	}
	first, err := c.probeAt(ctx, c.base.String()+path, key, header)
	if err != nil || first.Code != codeHostname || c.base.Hostname() != defaultHost {
		return first, err
	}
	at := *c.base
	for _, region := range regions {
		at.Host = region + "." + c.base.Host
		a, err := c.probeAt(ctx, at.String()+path, key, header)
		if err != nil {
			return first, err
		}
		// Only a host that knows the key has something to add: another region
		// calls it invalid, or not its own.
		if a.Verdict == Live && a.Code != codeHostname {
			return a, nil
		}
	}
	return first, nil
}

func (c *Client) probeAt(ctx context.Context, url string, key credential, header http.Header) (Answer, error) {
	a, err := c.send(ctx, http.MethodGet, url, key, header.Clone(), maxProbe)
	if ctx.Err() != nil {
		return Answer{Verdict: Unknown}, fmt.Errorf("GET %s: %w", url, context.Cause(ctx))
	}
	verdict := Answer{
		Verdict:      Unknown,
		Status:       a.status,
		Organization: key.clean(a.header.Get("OpenAI-Organization")),
		Project:      key.clean(a.header.Get("OpenAI-Project")),
	}
	if err != nil {
		verdict.Message = key.clean(cause(err))
		return verdict, nil
	}
	judged, said := classify(a.status, a.body)
	verdict.Verdict = judged
	verdict.Code = key.clean(string(said.Code))
	verdict.Message = key.clean(string(said.Message))
	return verdict, nil
}

// classify judges the answer to a probe by its status and body, and returns
// the server's words with the verdict. It calls a key dead only where OpenAI
// says that it is none: a limit, a missing scope, a refused country or an
// answer from some machine on the way say nothing of the kind.
func classify(status int, body []byte) (Verdict, refusal) {
	if status == http.StatusOK {
		body = bytes.TrimSpace(body)
		said := decodeRefusal(body)
		if len(body) > 0 && body[0] == '{' && said == (refusal{}) {
			return Live, refusal{}
		}
		return Unknown, said
	}
	said := decodeRefusal(body)
	switch status {
	case http.StatusUnauthorized:
		switch said.Code {
		case codeInvalidKey:
			return Dead, said
		case codeAddress, codeMismatchedProject, codeMismatchedOrganization, codeHostname:
			return Live, said
		case codeDeactivated:
			// Unusable today, and not revoked: the key works again when the
			// account does. Live keeps it on the way to its deletion.
			return Live, said
		}
		if restricted(said) {
			return Live, said
		}
	case http.StatusForbidden:
		if restricted(said) {
			return Live, said
		}
	case http.StatusTooManyRequests:
		switch code := string(said.Code); {
		case code == "insufficient_quota", code == "rate_limit_exceeded", strings.HasSuffix(code, "_spend_limit_exceeded"):
			return Live, said
		}
	}
	return Unknown, said
}

// restricted reports whether a key was recognized and may not do what it asked.
func restricted(said refusal) bool {
	words := strings.ToLower(string(said.Message))
	return strings.Contains(words, "missing scopes") || strings.Contains(words, "insufficient permissions")
}
