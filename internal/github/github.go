// Package github files issues about leaked keys. It speaks to GitHub's REST
// API, or to that of a GitHub Enterprise Server, through go-github, and none
// of go-github's types leave it.
package github

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/go-github/v60/github"
)

// A Config says which GitHub to speak to, and as whom.
type Config struct {
	// APIURL is the root of the API, such as https://ghe.example/api/v3.
	// "" means the API that belongs to ServerURL.
	APIURL string

	// ServerURL is what people open in a browser. It is only used to tell the
	// API's root where APIURL is "". "" means https://github.com.
	ServerURL string

	// Token is sent to the API's host and to no other. "" asks anonymously,
	// which reads public repositories and writes nothing.
	Token string
}

// A Client speaks to one GitHub as one user. It is safe for concurrent use,
// and printing it does not print the token.
//
// A request is given 30 seconds. Reading, and updating an issue, are repeated
// a few times after a server error, a broken connection or a rate limit, up to
// two minutes after the first attempt; where GitHub wants a longer pause, the
// error comes at once and says until when. What creates something is sent
// once. Errors of the API are of type [*Error].
type Client struct{ api *github.Client }

// New returns a Client. It sends nothing. It refuses addresses that are not
// https, except on loopback, and tokens that no header can carry. The errors
// name the environment variable that each value usually comes from.
func New(cfg Config) (*Client, error) {
	return newClient(cfg, &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    requestTimeout,
		MaxResponseHeaderBytes: 1 << 20,
	})
}

// newClient is New over another way to reach the network.
func newClient(cfg Config, network http.RoundTripper) (*Client, error) {
	root, err := apiRoot(cfg)
	if err != nil {
		return nil, err
	}
	if !tokenForm.MatchString(cfg.Token) {
		return nil, errors.New("the GitHub token holds a space, a line break or another character that no token has: set GITHUB_TOKEN anew")
	}
	api := github.NewClient(&http.Client{Transport: &transport{root: root, token: cfg.Token, network: network}})
	api.BaseURL = root
	api.UserAgent = "unleak"
	return &Client{api}, nil
}

var tokenForm = regexp.MustCompile(`^[!-~]*$`)

// apiRoot returns the root of the API with the slash at its end that go-github
// wants.
func apiRoot(cfg Config) (*url.URL, error) {
	variable, root := "GITHUB_API_URL", cfg.APIURL
	if root == "" {
		variable, root = "GITHUB_SERVER_URL", cmp.Or(cfg.ServerURL, "https://github.com")
	}
	u, err := url.Parse(root)
	switch {
	case err != nil:
		// url.Parse repeats the address in its error, and a password may stand in it.
		return nil, fmt.Errorf("%s is not a URL", variable)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s must not hold a user, a query or a fragment: the token has its own variable, GITHUB_TOKEN", variable)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s names no host: it looks like https://ghe.example/api/v3", variable)
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nil, fmt.Errorf("%s must begin with https://: the token would cross the network in the clear", variable)
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/"
	if cfg.APIURL != "" {
		return u, nil
	}
	// docs.github.com: github.com and the tenants of ghe.com have a host of
	// their own for the API, an Enterprise Server has a folder.
	if host := strings.ToLower(u.Host); host == "github.com" || strings.HasSuffix(host, ".ghe.com") {
		u.Host = "api." + host
	} else {
		u.Path += "api/v3/"
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// repoForm is OWNER/NAME as GitHub spells names. Nothing that means something
// in a path or a query fits it but the names "." and "..".
var repoForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_-]{0,99})/([A-Za-z0-9._-]{1,100})$`)

// split returns the owner and the name of repo.
func split(repo string) (owner, name string, err error) {
	m := repoForm.FindStringSubmatch(repo)
	if m == nil || m[2] == "." || m[2] == ".." {
		return "", "", fmt.Errorf("%q is not a GitHub repository: it must look like OWNER/NAME", clip(repo))
	}
	return m[1], m[2], nil
}
