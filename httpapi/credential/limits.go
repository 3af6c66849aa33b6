package credential

import "time"

// Limits of tokens from before a login.
const (
	// anonymousLife is how long a token from before a login may become a session's. It must stay below
	// session.TombstoneLife: a used token is refused because it is remembered, and later because it is too old.
	anonymousLife = 5 * time.Minute
	// anonymousAhead is how far in the future a token may have been issued: nodes agree on cluster time only so well.
	anonymousAhead = 30 * time.Second
)
