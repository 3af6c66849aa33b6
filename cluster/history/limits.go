package history

import "time"

const (
	// checkTime is how long one user's history may be searched for an order. Those of the size that fits (some hundred
	// operations, some twenty at once) take milliseconds; one that takes so long was recorded too coarsely, and is
	// counted as a failure, not as an answer.
	checkTime = 20 * time.Second
	// maxViolations is how many violations are told in full; the rest are counted.
	maxViolations = 5
)
