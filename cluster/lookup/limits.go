package lookup

import "time"

const (
	// RoundTimeout bounds the round to the voters. A leader that reaches no majority for so long is losing its office.
	RoundTimeout = time.Second
	// RetryPause is the pause before the leader is looked for again, within the caller's context.
	RetryPause = 20 * time.Millisecond
)
