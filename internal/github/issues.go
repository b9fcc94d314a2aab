package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"
)

const (
	issuesWrite = "Issues: write"

	perPage  = 100 // the most that GitHub gives
	maxPages = 100

	labelColor       = "b60205"
	labelDescription = "A credential stood where others can read it"
)

// A Repository is a repository on GitHub.
type Repository struct {
	Name      string // OWNER/NAME as GitHub spells it now
	Public    bool   // anybody may read it; also where GitHub does not say
	Archived  bool
	HasIssues bool
	URL       string // its page
}

// Repository returns what GitHub knows about repo, which is OWNER/NAME. Issues
// are to be filed under the Name in the answer: GitHub redirects requests that
// read to a renamed repository, but nothing else.
func (c *Client) Repository(ctx context.Context, repo string) (Repository, error) {
	owner, name, err := split(repo)
	if err != nil {
		return Repository{}, err
	}
	// go-github's own type cannot hold every custom property that a repository
	// may have, and fails on the whole answer.
	var answer struct {
		FullName  string `json:"full_name"`
		Private   bool   `json:"private"`
		Archived  bool   `json:"archived"`
		HasIssues bool   `json:"has_issues"`
		HTMLURL   string `json:"html_url"`
	}
	if _, err := c.get(ctx, "repos/"+owner+"/"+name, &answer); err != nil {
		return Repository{}, explain(err, repo, "Metadata: read")
	}
	if _, _, err := split(answer.FullName); err != nil {
		return Repository{}, fmt.Errorf("GitHub's answer about %s names no repository: check GITHUB_API_URL", repo)
	}
	return Repository{
		Name:      answer.FullName,
		Public:    !answer.Private,
		Archived:  answer.Archived,
		HasIssues: answer.HasIssues,
		URL:       answer.HTMLURL,
	}, nil
}

// An IssueText is what an issue says.
type IssueText struct {
	Title  string // at most 256 characters
	Body   string // at most 65,536 characters, in GitHub's Markdown
	Labels []string
}

// An Issue is an issue as GitHub has it.
type Issue struct {
	Number int
	URL    string // its page
	State  string // open or closed
	Title  string
	Body   string
	Labels []string // people's, too
}

// Issues returns the issues of repo that have the label, open and closed ones,
// the newest first. Pull requests are left out. It is an error if there are
// more than ten thousand: then none is returned.
func (c *Client) Issues(ctx context.Context, repo, label string) ([]Issue, error) {
	owner, name, err := split(repo)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(label); err != nil {
		return nil, err
	}
	query := url.Values{"state": {"all"}, "labels": {label}, "per_page": {strconv.Itoa(perPage)}}
	var issues []Issue
	for range maxPages {
		var page []*github.Issue
		next, err := c.get(ctx, "repos/"+owner+"/"+name+"/issues?"+query.Encode(), &page)
		if err != nil {
			return nil, explain(err, repo, issuesWrite)
		}
		for _, issue := range page {
			if issue != nil && !issue.IsPullRequest() {
				issues = append(issues, newIssue(issue))
			}
		}
		if next.NextPage == 0 && next.After == "" {
			return issues, nil
		}
		// GitHub counts pages, but wants to hear its cursor again as well where
		// a repository has many issues.
		query.Set("page", strconv.Itoa(next.NextPage))
		query.Set("after", next.After)
	}
	return nil, fmt.Errorf("%s has more than %d issues labelled %s: unleak looks through no more for the one it is to update; take the label off those it did not file",
		repo, maxPages*perPage, label)
}

// Issue returns one issue of repo, whatever its labels. The error meets
// [ErrNotFound] if it was deleted or moved to another repository, or if that
// number is a pull request's.
func (c *Client) Issue(ctx context.Context, repo string, number int) (Issue, error) {
	owner, name, err := split(repo)
	if err != nil {
		return Issue{}, err
	}
	var answer github.Issue
	_, err = c.get(ctx, fmt.Sprintf("repos/%s/%s/issues/%d", owner, name, number), &answer)
	var gone *Error
	switch {
	case errors.As(err, &gone) && gone.Status == http.StatusGone:
		return Issue{}, fmt.Errorf("%s#%d was deleted: %w", repo, number, ErrNotFound)
	case err != nil:
		return Issue{}, explain(err, repo, issuesWrite)
	case answer.IsPullRequest(), answer.GetNumber() != number: // GitHub redirects to where an issue was moved
		return Issue{}, fmt.Errorf("%s#%d is no issue of that repository: %w", repo, number, ErrNotFound)
	}
	return newIssue(&answer), nil
}

// CreateIssue files an issue. It first makes the labels that repo does not
// have yet.
//
// An error that meets [ErrOutcomeUnknown] says that the issue may exist. An
// error together with an Issue says that the issue was filed but lacks a label,
// which GitHub drops without a word where the token may not set it.
func (c *Client) CreateIssue(ctx context.Context, repo string, t IssueText) (Issue, error) {
	owner, name, err := split(repo)
	if err != nil {
		return Issue{}, err
	}
	if err := checkLabels(t.Labels...); err != nil {
		return Issue{}, err
	}
	for _, label := range t.Labels {
		if err := c.ensureLabel(ctx, owner, name, label); err != nil {
			return Issue{}, explain(err, repo, issuesWrite)
		}
	}
	request := &github.IssueRequest{Title: &t.Title, Body: &t.Body}
	if len(t.Labels) > 0 { // else JSON's null, which is no list
		request.Labels = &t.Labels
	}
	created, _, err := c.api.Issues.Create(ctx, owner, name, request)
	if err != nil {
		return Issue{}, unknownOutcome(explain(err, repo, issuesWrite))
	}
	if created.GetNumber() <= 0 {
		return Issue{}, fmt.Errorf("%w: the answer to a new issue in %s has no number", ErrOutcomeUnknown, repo)
	}
	issue := newIssue(created)
	return issue, unlabelled(repo, issue, t.Labels)
}

// UpdateIssue sets the title and the body of an issue and adds the labels that
// it lacks. Labels that people gave it stay, and so does its state.
//
// An error together with an Issue says, as for [Client.CreateIssue], that a
// label is missing.
func (c *Client) UpdateIssue(ctx context.Context, repo string, number int, t IssueText) (Issue, error) {
	owner, name, err := split(repo)
	if err != nil {
		return Issue{}, err
	}
	if err := checkLabels(t.Labels...); err != nil {
		return Issue{}, err
	}
	updated, _, err := c.api.Issues.Edit(ctx, owner, name, number, &github.IssueRequest{Title: &t.Title, Body: &t.Body})
	if err != nil {
		return Issue{}, explain(err, repo, issuesWrite)
	}
	if updated.GetNumber() != number {
		return Issue{}, fmt.Errorf("GitHub's answer to the update of %s#%d is about another issue", repo, number)
	}
	issue := newIssue(updated)
	if unlabelled(repo, issue, t.Labels) == nil {
		return issue, nil
	}
	labels, _, err := c.api.Issues.AddLabelsToIssue(ctx, owner, name, number, t.Labels)
	if err != nil {
		return issue, explain(err, repo, issuesWrite)
	}
	issue.Labels = labelNames(labels)
	return issue, unlabelled(repo, issue, t.Labels)
}

// Comment adds a comment to an issue. An error that meets [ErrOutcomeUnknown]
// says that the comment may stand there.
func (c *Client) Comment(ctx context.Context, repo string, number int, body string) error {
	owner, name, err := split(repo)
	if err != nil {
		return err
	}
	if _, _, err := c.api.Issues.CreateComment(ctx, owner, name, number, &github.IssueComment{Body: &body}); err != nil {
		return unknownOutcome(explain(err, repo, issuesWrite))
	}
	return nil
}

// get reads the JSON at path, below the API's root, into v.
func (c *Client) get(ctx context.Context, path string, v any) (*github.Response, error) {
	req, err := c.api.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return c.api.Do(ctx, req, v)
}

// ensureLabel makes the label unless it exists.
func (c *Client) ensureLabel(ctx context.Context, owner, name, label string) error {
	look := func() error {
		_, _, err := c.api.Issues.GetLabel(ctx, owner, name, url.PathEscape(label))
		return err
	}
	err := look()
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	color, description := labelColor, labelDescription
	_, _, err = c.api.Issues.CreateLabel(ctx, owner, name, &github.Label{Name: &label, Color: &color, Description: &description})
	if err != nil && look() == nil {
		return nil // somebody else made it meanwhile, or it was made and the answer lost
	}
	return err
}

// labelForm leaves out the comma, which would make two of a label in a query,
// and whatever means something in a path.
var labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 :_-]{0,49}$`)

func checkLabels(labels ...string) error {
	for _, label := range labels {
		if !labelForm.MatchString(label) {
			return fmt.Errorf("%q cannot be a label: it must be made of at most 50 letters, digits, spaces and the characters : _ -", clip(label))
		}
	}
	return nil
}

// unlabelled returns an error if the issue lacks one of the labels.
func unlabelled(repo string, issue Issue, labels []string) error {
	for _, label := range labels {
		if !slices.ContainsFunc(issue.Labels, func(has string) bool { return strings.EqualFold(has, label) }) {
			return fmt.Errorf("%s#%d lacks the label %s, because GITHUB_TOKEN lacks the permission %s or write access to %s: add the label by hand, or unleak will not know this issue again",
				repo, issue.Number, label, issuesWrite, repo)
		}
	}
	return nil
}

func newIssue(issue *github.Issue) Issue {
	return Issue{
		Number: issue.GetNumber(),
		URL:    issue.GetHTMLURL(),
		State:  issue.GetState(),
		Title:  issue.GetTitle(),
		Body:   issue.GetBody(),
		Labels: labelNames(issue.Labels),
	}
}

func labelNames(labels []*github.Label) []string {
	names := make([]string, 0, len(labels))
	for _, label := range labels {
		names = append(names, label.GetName())
	}
	return names
}
