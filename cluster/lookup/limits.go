package lookup

import "time"

const (
	// RoundTimeout bounds the round to the voters. A leader that reaches no majority for so long is losing its office.
	RoundTimeout = time.Second
	// LeaderWait is how long a read asks again when there is no leader: an election with room. Whoever stands in front
	// of a cut-off node is to hear of it soon.
	LeaderWait = 3 * time.Second
	// RetryPause is the pause before the leader is looked for again, within the caller's context.
	RetryPause = 20 * time.Millisecond
)
