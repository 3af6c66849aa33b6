package propose

import "cloakroom/cluster/session"

// Why a command has no result, besides wire's ErrNoLeader, ErrTimeout and ErrOverloaded.
var (
	ErrOutcomeUnknown = &session.Error{Code: "outcome-unknown", Message: "the leader was lost while it worked on this: it may or may not have taken effect, look before you repeat it"}
	ErrUpgradePending = &session.Error{Code: "upgrade-pending", Message: "not all nodes run a version that knows this: upgrade the rest, then try again"}
	ErrTooLarge       = &session.Error{Code: "limit-command", Message: "the command is too large"}
)
