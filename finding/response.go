package finding

import "time"

// A Response is what was done about one finding, and what is known of the key.
type Response struct {
	Status      Status
	Liveness    Liveness // as last seen
	AlreadyDead bool     // it was dead before unleak did anything in this run
	Project     *Project // nil while unknown
	Key         *Key     // nil while unknown
	Candidates  int      // keys of the organization that have the found key's shape, before confirmation
	ConfirmedBy []Signal
	RevokedAt   time.Time // when the deletion was accepted; zero if none was
	DeadAt      time.Time // when the key was proven dead; zero if it was not
	Issue       *Issue    // nil if there is none
	Reason      string    // for people; empty only where Status is StatusDead
}

// A Status is the outcome for one key.
type Status string

// The outcomes. Only StatusDead means that nothing is left to do about the key.
const (
	StatusDead        Status = "dead"        // refused by OpenAI as a key
	StatusRevoked     Status = "revoked"     // deleted, but not yet seen dead
	StatusPlanned     Status = "planned"     // confirmed; would be revoked without the plan-only mode
	StatusProtected   Status = "protected"   // confirmed, but policy or safety forbids to revoke it
	StatusLimit       Status = "limit"       // confirmed, but the run has used up its revocations
	StatusAmbiguous   Status = "ambiguous"   // two or more keys of its shape in the project that accepts it
	StatusUnconfirmed Status = "unconfirmed" // there are candidates, or there could be, and none is confirmed
	StatusUnmatched   Status = "unmatched"   // no key of the organization has its shape
	StatusFailed      Status = "failed"      // an effect was tried and its outcome is an error
)

// Liveness is what OpenAI says of a key.
type Liveness string

// The answers. Unknown is the zero answer's name: no answer proves nothing.
const (
	Live     Liveness = "live"
	NotLive  Liveness = "dead"
	NotKnown Liveness = "unknown"
)

// A Signal is an independent reason to hold a candidate for the leaked key.
type Signal string

// The signals that confirm a candidate.
const (
	ProjectProbe Signal = "project-probe" // accepted by the candidate's project, refused by another
	AdminList    Signal = "admin-list"    // the leaked admin key lists the candidate in its own organization
)

// A Project is an OpenAI project.
type Project struct{ ID, Name string }

// A Key is a key as the Admin API lists it.
type Key struct {
	ID, Name   string
	Owner      Owner
	CreatedAt  time.Time
	LastUsedAt time.Time // zero if never, or unknown
}

// An Owner is a person or a service account.
type Owner struct{ Type, ID, Name, Email string }

// An Issue is a GitHub issue about a leaked key.
type Issue struct {
	Repo   string // OWNER/NAME
	Number int
	URL    string
}
