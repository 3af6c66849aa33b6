package peer

import "time"

// Limits of what is asked of the product, from its API's own limits.
const (
	MaxBatch                 = maxBulk    // sessions that one measured create makes
	MaxSessions              = 20_000_000 // that one run fills and keeps the tokens of: 36 bytes each
	MaxValue                 = 4 << 10    // bytes of an attribute
	maxBulk                  = 1000       // sessions made by one call
	sessionsPerUser          = 50         // half of what a user may have before the oldest goes
	maxAnswer                = 1 << 20    // bytes of an answer
	maxHeader                = 16 << 10   // bytes of an answer's header: size of a connection's read buffer
	maxExcerpt               = 200        // bytes of an error's body that are kept
	maxFillParallel          = 4          // bulk calls under way at once
	fillRetries              = 20         // of a bulk call that was refused with 503, fillPause apart: an election or two
	maxMismatchReport        = 100        // bytes of a wrong answer that are kept
	guessesPerUserAndAddress = 5          // wrong passwords from one address: half of what the product checks before it answers at once
	MaxAddresses             = 1 << 24    // that logins are said to come from
	maxEtcdKeys              = 1_000_000  // its database may grow to 2 GiB unless told otherwise, history included
	MaxHogs                  = 64         // busy processes at once
	MaxTokens                = 4096       // that one bulk verification asks about
)

// usualLifetime is the product's own limit of a session's life.
const usualLifetime = 8 * time.Hour

const fillPause = 250 * time.Millisecond // the server asks for more, but has not this tool in mind

// Limits of the processes that are started.
const (
	startTimeout = 30 * time.Second // until a started server answers
	againTimeout = 5 * time.Minute  // until one answers that has all its data to read
	stopTimeout  = time.Minute      // from SIGTERM to SIGKILL: a node may take half of that
	probeTimeout = 2 * time.Second  // of one question whether it does
	closeTimeout = 10 * time.Second // for tidying up after a run
	probePause   = 50 * time.Millisecond
	adminPause   = 500 * time.Millisecond
	adminTries   = 8       // fewer than the failed logins that the product forgives in one go
	maxLogTail   = 2 << 10 // bytes of a dead server's log that are shown
)

// CallTimeout bounds one measured request, of whatever peer. It is longer than the product's own (10 s), so that the
// server's word counts, and short enough for a run to end.
const CallTimeout = 15 * time.Second

// ValueBytes is the size of the values that are stored and looked up: the JSON that answers a lookup, more or less.
const ValueBytes = 66
