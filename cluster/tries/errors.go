package tries

import (
	"time"

	"cloakroom/cluster/session"
)

// ErrFailures refuses a try because too many have failed. It comes in a Refusal.
var ErrFailures = &session.Error{Code: "limit-login-failures", Message: "too many failed logins: wait as long as Retry-After says"}

// Refusal is ErrFailures with the time to wait, above zero.
type Refusal struct{ Wait time.Duration }

func (r *Refusal) Error() string { return ErrFailures.Message }

// Unwrap returns ErrFailures.
func (r *Refusal) Unwrap() error { return ErrFailures }
