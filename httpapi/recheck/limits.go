package recheck

import "time"

// DefaultInterval is how often every user with live sessions is checked. MinInterval keeps directories from being asked
// without a pause.
const (
	DefaultInterval = 5 * time.Minute
	MinInterval     = 10 * time.Second
)

// Bounds of one round.
const (
	minGap       = 5 * time.Millisecond // between two checks of one realm: at most 200 a second
	maxChecks    = 4                    // at once, each of another realm
	maxUsers     = 1 << 18              // of one realm in one round: the next round goes on behind them
	pageSessions = 4096                 // sessions looked at under one read lock
	maxHeld      = 1 << 16              // users found gone and not yet ended; what is over waits for the next round
	checkTimeout = time.Minute          // for one check and what follows from it; realms have shorter limits of their own
	maxFaults    = 5                    // checks in a row that the realm did not answer: it is out, and not the users
	leadPause    = 5 * time.Second      // between two looks whether this node leads
)

// freeGone is how many users of a realm a round may find gone and end at once. From then on it waits with the others
// until it has seen everybody, and if they are more than half, ends none of them: see brake.
const freeGone = 10
