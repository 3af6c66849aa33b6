package simulation

import "time"

const (
	maxNodes     = 5 // some of them may not be members
	ownerCount   = 2
	keysPerOwner = 2

	maxAppend     = 16 // entries in a request to a follower
	maxBatch      = 8  // commands in an entry
	maxApply      = 4  // entries that are applied before anybody is told
	maxBeginnings = 4  // how often a lookup begins again after the boot has changed
	stableLooks   = 4  // how often a lookup looks again whether its record is stable before it asks the leader
	patience      = 60 // how often anything else is looked at again

	// guessTime and verdictTime bound the searches for an order of one owner's operations, first a likely one and then any.
	// What takes longer is counted as undecided.
	guessTime   = time.Second
	verdictTime = 2 * time.Second
)
