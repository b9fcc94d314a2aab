// Package openai asks OpenAI about keys: the Admin API lists and deletes them,
// the probe tells whether one is alive.
//
// It is about ten plain JSON calls and no SDK. What is read here decides which
// production credential gets deleted, so whatever is not understood in full is
// an error: a page that is missing, a list that does not say whether it goes
// on, an object without an id. Paths and fields are those of OpenAI's published
// API description and of its Go SDK.
package openai

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	defaultBase     = "https://api.openai.com/v1"
	defaultHost     = "api.openai.com"
	defaultKeysPath = "/organization/projects/{project_id}/api_keys"
	defaultRetry    = 2 * time.Minute

	requestTimeout = 30 * time.Second
	userAgent      = "unleak"
)

// A Config says where the API is and who asks.
type Config struct {
	BaseURL      string            // "" means OperatorURL, and without that https://api.openai.com/v1
	OperatorURL  string            // base_url of the operator's configuration, which permits its host as BaseURL, too; or ""
	KeysPath     string            // where a project's keys are; "" means /organization/projects/{project_id}/api_keys
	AdminKey     string            `json:"-"`
	Organization string            // pinned: sent with every call of the Admin API, and {organization_id} in KeysPath; or ""
	Retry        time.Duration     // how long one call of the Admin API is repeated; 0 means 2 minutes
	Transport    http.RoundTripper `json:"-"` // nil means the network, through the environment's proxies
}

// Format writes the configuration without its key, whatever the verb asks for.
func (cfg Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{BaseURL:%q OperatorURL:%q KeysPath:%q Organization:%q Retry:%v}",
		cfg.BaseURL, cfg.OperatorURL, cfg.KeysPath, cfg.Organization, cfg.Retry)
}

// A Client calls the Admin API with one admin key, and probes others. It is
// immutable and safe for concurrent use. Printing it does not print its key.
type Client struct {
	http         *http.Client
	base         *url.URL // without a trailing slash
	keysPath     string   // {organization_id} is already filled in
	organization string
	retry        time.Duration
	admin        credential
	role         string // whose key admin is, for error messages
}

// The roles of a Client's key.
const (
	roleOperator = "OPENAI_ADMIN_KEY"
	roleLeaked   = "the leaked admin key"
)

// New returns a Client. Its errors name the setting that is wrong and what to
// do about it; no request is sent.
//
// The base URL may be anything on api.openai.com or on loopback. People export
// OPENAI_BASE_URL for other purposes, and the admin key would go there: any
// other host must be that of cfg.OperatorURL, too, which is a decision of its
// own and needs no confirmation. Plain http is for loopback.
func New(cfg Config) (*Client, error) {
	operator, err := parseBase(cmp.Or(cfg.OperatorURL, defaultBase))
	if err != nil {
		return nil, fmt.Errorf("[openai] base_url: %w", err)
	}
	base := operator
	if cfg.BaseURL != "" {
		if base, err = parseBase(cfg.BaseURL); err != nil {
			return nil, fmt.Errorf("OPENAI_BASE_URL: %w", err)
		}
	}
	if base.Hostname() != defaultHost && !loopback(base.Hostname()) && origin(base) != origin(operator) {
		return nil, fmt.Errorf("OPENAI_BASE_URL: the admin key is not sent to %s: unset the variable, or confirm that host as [openai] base_url in the operator's configuration", base.Host)
	}
	keysPath, err := parseKeysPath(cmp.Or(cfg.KeysPath, defaultKeysPath), cfg.Organization)
	if err != nil {
		return nil, fmt.Errorf("[openai] keys_path: %w", err)
	}
	switch {
	case cfg.AdminKey == "":
		return nil, errors.New("OPENAI_ADMIN_KEY is not set: export an admin key of the organization (sk-admin-…)")
	case !sendable(cfg.AdminKey):
		return nil, errors.New("OPENAI_ADMIN_KEY holds white space or other characters that no key has: export it again")
	case cfg.Organization != "" && !sendable(cfg.Organization):
		return nil, errors.New("OPENAI_ORG_ID holds white space or other characters that no id has: export it again")
	case cfg.Retry < 0:
		return nil, fmt.Errorf("the time for repeating calls must not be negative, and is %v", cfg.Retry)
	}
	transport := cfg.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: requestTimeout,
		}
	}
	return &Client{
		http: &http.Client{
			Transport: transport,
			Timeout:   requestTimeout,
			// Whoever can redirect could have the key sent elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base:         base,
		keysPath:     keysPath,
		organization: cfg.Organization,
		retry:        cmp.Or(cfg.Retry, defaultRetry),
		admin:        newCredential(cfg.AdminKey),
		role:         roleOperator,
	}, nil
}

// As returns the same client asking with another admin key, for learning what
// a leaked one can see.
func (c *Client) As(key string) *Client {
	other := *c
	other.admin = newCredential(key)
	other.role = roleLeaked
	return &other
}

// parseBase parses the URL that the paths of the API are appended to.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	switch {
	case err != nil:
		return nil, errors.New("this is no URL: write it as " + defaultBase) // err repeats the URL, which may hold a password
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("scheme or host is missing: write it as " + defaultBase)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("user name, query and fragment have no place here: write it as " + defaultBase)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("plain http to %s would show the admin key to the network: use https", u.Host)
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// origin returns scheme, host and port, so that :443 spelled out is no
// difference.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port)
}

// loopback reports whether host can only be this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// placeholder matches what looks like a placeholder in a keys path.
var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

// parseKeysPath checks the path and fills in the organization.
func parseKeysPath(path, organization string) (string, error) {
	for _, p := range placeholder.FindAllString(path, -1) {
		if p != "{project_id}" && p != "{organization_id}" {
			return "", fmt.Errorf("%s is no placeholder: there are {project_id} and {organization_id}", p)
		}
	}
	if !strings.Contains(path, "{project_id}") {
		return "", errors.New("{project_id} is missing: write it as " + defaultKeysPath)
	}
	if strings.Contains(path, "{organization_id}") {
		if organization == "" {
			return "", errors.New("{organization_id} needs OPENAI_ORG_ID to be set")
		}
		id, err := segment(organization)
		if err != nil {
			return "", fmt.Errorf("OPENAI_ORG_ID: %w", err)
		}
		path = strings.ReplaceAll(path, "{organization_id}", id)
	}
	sample, err := url.Parse(strings.ReplaceAll(path, "{project_id}", "id"))
	if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") ||
		sample.RawQuery != "" || sample.ForceQuery || sample.Fragment != "" || sample.JoinPath().Path != sample.Path {
		return "", errors.New("this is no plain path below the base URL: write it as " + defaultKeysPath)
	}
	return strings.TrimRight(path, "/"), nil
}

// sendable reports whether s can stand in a header as it is.
func sendable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// segment returns id as one segment of a URL path. Ids come from answers: one
// that would lead to another path is refused rather than escaped, because a
// server on the way may undo the escaping.
func segment(id string) (string, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, `/\`) || !sendable(id) {
		return "", fmt.Errorf("%q cannot be an id", shown(id))
	}
	return url.PathEscape(id), nil
}
