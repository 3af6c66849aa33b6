package session

import "time"

// Limits of what one session, user or realm may hold. They bound the memory that a caller can claim and the size of
// one command, which must fit into one log entry with others.
const (
	MaxAttributeKey    = 128      // bytes
	MaxAttributeValue  = 4 << 10  // bytes
	MaxAttributes      = 64       // a session
	MaxSessionBytes    = 16 << 10 // bytes of attribute keys and values, a session
	MaxSessionsPerUser = 1000     // the most that a cluster may be set to allow: what one login may end
	MaxSessions        = 1 << 30  // the most that a cluster may be set to hold: more than memory does
	MaxBy              = 320      // bytes of who ended a session, kept with it: a user name, @, a realm's name, and room
	MaxName            = 128      // bytes of a user, role or realm name: it goes into headers
	MaxDescription     = 1024     // bytes of a role's description
	MaxRoles           = 64       // a user, a realm, a session
	MaxRealmConfig     = 16 << 10 // bytes
	MaxAgent           = 256      // bytes of a user agent kept with a session; longer ones are cut
	MaxAddress         = 64       // bytes of a client address kept with a session
	MaxTouches         = 1024     // uses in one Touch: about 32 KiB
	MaxExpire          = 1024     // keys in one Expire
	MaxSweep           = 1024     // sessions ended by one Sweep
)

// DefaultSessionsPerUser is how many sessions a user has before the oldest goes: a user's devices, with room for scripts.
const DefaultSessionsPerUser = 100

// TombstoneLife is how long the machine remembers an ended session: longer than an anonymous login token is good
// for (5 minutes), so that a used one is refused until it is too old anyway.
const TombstoneLife = 10 * time.Minute

// WhyLife is how long the machine can tell who ended a session and why, once all nodes know of version 4; but no more than
// maxTombstones of them are kept for longer than TombstoneLife. Before that version it is TombstoneLife.
const (
	WhyLife       = time.Hour
	maxTombstones = 1 << 20 // some 100 MB
)

// IdleGrace is how far the replicated last use may lag behind the true one, at least, before the machine itself treats
// a session as idle. It is more than Machine.Grace unless the pace was raised: the machine is the last to refuse.
const IdleGrace = 3 * time.Minute

// Limits of records that only operators and nodes make. They keep every record below maxRecord, so that a snapshot
// can be read with a buffer of that size.
const (
	MaxID            = 64  // bytes of an id: a UUID is 36
	MaxPasswordHash  = 512 // bytes: an argon2id PHC string is about 100
	MaxMemberAddress = 255 // bytes of a node's address: a DNS name with a port
	maxRecord        = 64 << 10
)

// Limits of one step of the machine. What one entry may cause must not grow with the number of sessions.
const (
	maxSweepScan = 4096 // records that one Sweep looks at for the sessions of a whole realm
	maxPrune     = 4096 // tombstones forgotten with one entry: more than one entry's worth of ends
	wheelSteps   = 1024 // sessions that the expiry wheel looks at with one entry
	walkSessions = 64   // sessions that a snapshot writes, and those of the shard that it is at, before it lets go of the lock
)

// wheelSeconds is how far ahead the expiry wheel reaches; later deadlines are looked at on the way. At ten million
// sessions that means some 10,000 looks a second, none of which leaves memory.
const wheelSeconds = 1024

// dueRetry is how long Due waits before it hands out a key again: the Expire command that it was for is lost by then,
// or was refused, or the leader could not tell yet whether the session is over. So a session that ends only when its
// grace does ends at most dueRetry later.
const dueRetry = 10 * time.Second

// maxNumber bounds the log index and command number of a snapshot: there must be room to count on.
const maxNumber = 1 << 62

// Limits of a decoded result, which comes from another node.
const (
	maxErrorCode    = 64   // bytes
	maxErrorMessage = 1024 // bytes
)
