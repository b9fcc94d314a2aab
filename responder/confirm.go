package responder

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/openai"
)

// The answers to a key that was asked in another project's or organization's
// name than its own.
const (
	mismatchedProject      = "mismatched_project"
	mismatchedOrganization = "mismatched_organization"
)

// confirm finds out which of the candidates the leaked key is. The shape alone
// is no proof: the last four characters carry about 16 bits, and the leaked
// key may be one that is deleted, or another organization's. If none is
// confirmed, the incident is settled. An error ends the run.
func (r *run) confirm(ctx context.Context, inc *incident, candidates []openai.Key, keys listing) (bool, error) {
	if inc.Kind == finding.AdminKey {
		return r.confirmAdmin(ctx, inc, candidates)
	}
	var (
		projects  []string // in the order of the list
		byProject = make(map[string][]openai.Key)
		accepting string
		unproven  string // why it could not be proven that some project, which may, accepts the key
		unclear   string // why it is not known whether some project accepts the key
	)
	for _, k := range candidates {
		if byProject[k.ProjectID] == nil {
			projects = append(projects, k.ProjectID)
		}
		byProject[k.ProjectID] = append(byProject[k.ProjectID], k)
	}
	for _, project := range projects {
		answer, reason, err := r.accepts(ctx, inc, keys, project)
		if err != nil {
			return false, err
		}
		r.cfg.Log.Info("asked in a project's name", "key", inc.Secret, "project", finding.Printable(project), "answer", answer)
		switch {
		case answer == unsure:
			unproven = cmp.Or(unproven, reason)
		case answer == silent:
			unclear = cmp.Or(unclear, reason)
		case answer == accepted && accepting != "":
			inc.settle(finding.StatusUnconfirmed, "OpenAI's answers contradict each other: both project %s and project %s accept it. Delete it by hand at %s",
				finding.Printable(accepting), finding.Printable(project), keysPage)
			return false, nil
		case answer == accepted:
			accepting = project
		}
	}
	fits := byProject[accepting]
	switch {
	case unproven != "":
		inc.settle(finding.StatusUnconfirmed, "%s", unproven)
		return false, nil
	case unclear != "" && (accepting == "" || !oneProject(inc.Kind)): // a key has one project: beside a proven one, silence says nothing
		inc.settle(finding.StatusUnconfirmed, "%s", unclear)
		return false, nil
	case accepting == "":
		inc.settle(finding.StatusUnconfirmed, "no project with a key of its shape accepts it: it belongs to another project or organization, or was taken off the list a moment ago. Look for it at %s", keysPage)
		return false, nil
	case len(fits) > 1:
		inc.response.Project = keys.project(accepting)
		inc.settle(finding.StatusAmbiguous, "%d keys of project %s have its shape, and nothing tells which of them it is: %s. Replace and delete them by hand at %s",
			len(fits), finding.Printable(accepting), names(fits), keysPage)
		return false, nil
	}
	if !oneProject(inc.Kind) {
		reason, err := r.refusedElsewhere(ctx, inc, projects, keys)
		if err != nil {
			return false, err
		}
		if reason != "" {
			inc.settle(finding.StatusUnconfirmed, "%s", reason)
			return false, nil
		}
	}
	inc.confirmed(fits[0], finding.ProjectProbe)
	inc.response.Project = keys.project(accepting)
	return true, nil
}

// oneProject reports whether a key of the kind belongs to one project, as its
// prefix says. Older keys may be accepted by several.
func oneProject(kind finding.Kind) bool {
	return kind == finding.ProjectKey || kind == finding.ServiceAccountKey
}

func (inc *incident) confirmed(k openai.Key, by finding.Signal) {
	inc.key = k
	inc.response.Key = &finding.Key{
		ID:         k.ID,
		Name:       k.Name,
		Owner:      finding.Owner(k.Owner),
		CreatedAt:  k.CreatedAt,
		LastUsedAt: k.LastUsedAt,
	}
	inc.response.ConfirmedBy = []finding.Signal{by}
}

// names lists keys for people, not too many of them.
func names(keys []openai.Key) string {
	const most = 5
	var out []string
	for i, k := range keys {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(keys)-most))
			break
		}
		out = append(out, finding.Printable(k.ID))
	}
	return strings.Join(out, ", ")
}

// An acceptance is whether a project accepts a key.
type acceptance string

const (
	accepted acceptance = "accepted"
	refused  acceptance = "refused"
	unsure   acceptance = "unsure" // it was not refused, and that is no proof
	silent   acceptance = "silent" // neither accepted nor refused
)

// accepts asks whether the leaked key belongs to the project. The question is
// put in the project's name, and, as a control, in the name of another one: if
// that is not refused as another project's, the name is ignored on the way, or
// the answer was given before anybody looked at it, and proves nothing.
//
// A limit is a matter of the moment, and could be answered to the first
// question and not to the second by chance. It counts as accepted only if
// every round shows the same picture.
func (r *run) accepts(ctx context.Context, inc *incident, keys listing, project string) (acceptance, string, error) {
	key, control := inc.Secret.Reveal(), keys.control(project)
	name := finding.Printable(project)
	limited := 0
	outcome, reason := silent, ""
	for n := range attempts {
		if n > 0 {
			if err := r.pause(ctx); err != nil {
				return unsure, "", err
			}
		}
		a, err := r.cfg.OpenAI.Probe(ctx, key, project, r.cfg.Organization)
		if err != nil {
			return unsure, "", err
		}
		switch {
		case a.Code == mismatchedProject:
			return refused, "", nil
		case a.Code == mismatchedOrganization:
			return unsure, fmt.Sprintf("OpenAI says that it belongs to another organization (%s), although project %s has a key of its shape: run again with an admin key of that organization", said(a), name), nil
		case a.Verdict != openai.Live:
			reason = fmt.Sprintf("asked in the name of project %s, OpenAI's answer proves nothing (%s): run again later", name, said(a))
			continue
		}
		outcome = unsure
		if a.Project != "" && !keys.names(a.Project, project) || r.foreign(a.Organization) {
			return unsure, fmt.Sprintf("asked in the name of project %s, the answer is another's: its headers name project %q and organization %q", name, finding.Printable(a.Project), finding.Printable(a.Organization)), nil
		}
		c, err := r.cfg.OpenAI.Probe(ctx, key, control, r.cfg.Organization)
		switch {
		case err != nil:
			return unsure, "", err
		case c.Code == mismatchedProject && a.Status != http.StatusTooManyRequests:
			return accepted, "", nil
		case c.Code == mismatchedProject:
			limited++
			reason = fmt.Sprintf("asked in the name of project %s, OpenAI answers with a limit (%s) that it does not answer each time: run again later", name, said(a))
		case c.Verdict == openai.Live && c.Status == http.StatusOK:
			return unsure, fmt.Sprintf("it is accepted in the name of another project than %s, too: the header OpenAI-Project seems to be ignored, by a gateway at OPENAI_BASE_URL or because the key belongs to no project. Delete it by hand at %s", name, keysPage), nil
		default:
			reason = fmt.Sprintf("asked in the name of another project than %s, it is not refused as another project's (%s), so that it is unproven to which project it belongs: run again later, or delete it by hand at %s", name, said(c), keysPage)
		}
	}
	if limited == attempts {
		return accepted, "", nil
	}
	return outcome, reason, nil
}

// maxElsewhere bounds in how many projects' names a key is asked that may be
// accepted by several, beside those with candidates.
const maxElsewhere = 50

// refusedElsewhere asks with a key that may be accepted by several projects in
// the name of those without candidates: only a key that every other project
// refuses is the one that the accepting project lists. It returns what speaks
// against that, or "". In a large organization some projects stand for all.
func (r *run) refusedElsewhere(ctx context.Context, inc *incident, candidates []string, keys listing) (string, error) {
	others := 0
	for _, p := range keys.projects {
		if p.Status == "archived" || slices.Contains(candidates, p.ID) {
			continue
		}
		if others++; others > maxElsewhere {
			break
		}
		answer, err := r.probeAgain(ctx, inc, p.ID)
		if err != nil {
			return "", err
		}
		if answer.Code != mismatchedProject {
			return fmt.Sprintf("a project with a key of its shape accepts it, but project %s, which has none, does not refuse it as another project's (%s), so that it is unproven which key it is: run again later, or delete it by hand at %s",
				finding.Printable(p.ID), said(answer), keysPage), nil
		}
	}
	return "", nil
}

// probeAgain asks in a project's name, again if the answer proves nothing.
func (r *run) probeAgain(ctx context.Context, inc *incident, project string) (openai.Answer, error) {
	for n := 1; ; n++ {
		answer, err := r.probeIn(ctx, inc, project)
		switch {
		case ctx.Err() != nil:
			return answer, context.Cause(ctx)
		case answer.Verdict == openai.Live && answer.Status != http.StatusTooManyRequests, n == attempts:
			return answer, nil
		case err != nil:
			answer.Message = err.Error()
		}
		if err := r.pause(ctx); err != nil {
			return answer, err
		}
	}
}

// control returns the id of a project in whose name a key of the given one
// must be refused: another of the organization, or else a made-up one.
func (l listing) control(project string) string {
	for _, p := range l.projects {
		if p.ID != project && p.Status != "archived" {
			return p.ID
		}
	}
	return "proj_" + rand.Text()
}

// names reports whether a response header that should name the project does.
func (l listing) names(header, project string) bool {
	return header == project || header == l.project(project).Name
}

// foreign reports whether a response header names another organization than the
// pinned one. The header may hold an organization's name instead of its id,
// which says nothing.
func (r *run) foreign(header string) bool {
	return strings.HasPrefix(header, "org-") && strings.HasPrefix(r.cfg.Organization, "org-") && header != r.cfg.Organization
}

// confirmAdmin asks for the organization's admin keys with the leaked one: the
// list that it sees is its own organization's. It is the candidate if that
// list holds the candidate and no other key of its shape.
func (r *run) confirmAdmin(ctx context.Context, inc *incident, candidates []openai.Key) (bool, error) {
	if own := r.cfg.AdminKey.Reveal(); own != "" && len(candidates) == 1 && compare(candidates[0].Redacted, own) == same {
		inc.settle(finding.StatusUnconfirmed, "the only admin key of its shape is that of OPENAI_ADMIN_KEY, too: nothing is deleted that could be the key in use. Run again with another admin key")
		return false, nil
	}
	seen, err := r.cfg.OpenAI.As(inc.Secret.Reveal()).AdminKeys(ctx)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if answer, ok := errors.AsType[*openai.Error](err); ok && answer.Code == mismatchedOrganization {
		inc.settle(finding.StatusUnconfirmed, "it belongs to another organization, although this one has an admin key of its shape: run again with an admin key of that organization")
		return false, nil
	}
	if err != nil {
		inc.settle(finding.StatusUnconfirmed, "the leaked admin key cannot list its own organization, so that it is unproven which key it is: %s. Delete it by hand at %s",
			clip(finding.Printable(err.Error()), 400), adminKeysPage)
		return false, nil
	}
	found := matchKeys(inc.Secret, seen)
	known := slices.DeleteFunc(slices.Clone(found.candidates), func(k openai.Key) bool {
		return !slices.ContainsFunc(candidates, func(c openai.Key) bool { return c.ID == k.ID })
	})
	switch {
	case len(known) > 1:
		inc.settle(finding.StatusAmbiguous, "%d admin keys have its shape, and nothing tells which of them it is: %s. Replace and delete them by hand at %s",
			len(known), names(known), adminKeysPage)
		return false, nil
	case len(known) == 0:
		inc.settle(finding.StatusUnconfirmed, "the admin keys that it sees itself do not hold the one that has its shape here: it belongs to another organization. Run again with an admin key of that one")
		return false, nil
	case len(found.candidates) > 1 || len(found.unreadable) > 0 || len(candidates) > 1:
		inc.settle(finding.StatusUnconfirmed, "two lists of the admin keys differ in how many keys have its shape: run again, or delete it by hand at %s", adminKeysPage)
		return false, nil
	}
	inc.confirmed(known[0], finding.AdminList)
	return true, nil
}
