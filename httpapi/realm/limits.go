package realm

import "time"

// Limits of passwords.
const (
	MinPasswordRunes = 8    // characters (NIST SP 800-63B, 5.1.1.1); for new passwords only
	MaxPassword      = 1024 // bytes: room for any passphrase, and no free work for a stranger
)

// Defaults and bounds of argon2id's costs. The defaults are OWASP's (Password Storage Cheat Sheet: m=19 MiB, t=2,
// p=1); the lower bounds are the least memory that it still names. The upper ones keep one login from taking the
// machine: they hold for what is configured and for what a stored string claims.
const (
	DefaultMemory      = 19456  // KiB
	DefaultIterations  = 2      // passes over the memory
	DefaultParallelism = 1      // lanes
	MinMemory          = 7168   // KiB, configured
	MaxMemory          = 262144 // KiB: 256 MiB for the time of one hash
	MaxIterations      = 16
	MaxParallelism     = 4
	maxWork            = 1 << 20 // KiB × iterations of one hash: about 30 times the default
	minMemoryPerLane   = 8       // KiB (RFC 9106, 3.1)

	saltSize = 16 // bytes of a new salt
	hashSize = 32 // bytes of a new hash
	minSalt  = 8  // bytes, stored
	maxSalt  = 64
	minHash  = 16
	maxHash  = 64
	maxPHC   = 256 // characters of a stored hash
)

// Bounds of what runs at once. What is over a queue is refused with ErrBusy.
const (
	DefaultHashQueue = 64 // logins that wait for a hash: at 25 ms a hash the last one waits about 2 s
	MaxHashQueue     = 4096
	maxHashWait      = 3 * time.Second // for a hash: with the hash itself, less than a request may take
	stayWeight       = 8               // how many hashes the mean of their times goes back, about
	maxBinds         = 32              // logins at one realm's directory servers at once
	bindQueue        = 128             // logins that wait for one of them
	maxRechecks      = 2               // of one realm at once: they must not lean on a server that serves logins
	recheckQueue     = 16
)

// Bounds of a directory server's part.
const (
	defaultTimeout        = 5 * time.Second // for one login or re-check in all, at however many servers
	defaultConnectTimeout = 2 * time.Second // for one connection with TLS: what a server that is off costs the next one
	minTimeout            = 100 * time.Millisecond
	maxTimeout            = 30 * time.Second
	maxConfigDepth        = 8    // nesting of a realm's configuration
	maxBindTemplate       = 1024 // bytes of a DN or template
	maxFilter             = 2048 // bytes
	maxServers            = 8    // of a realm: each takes its share of the timeout

	downMemory     = 15 * time.Second // a server that failed is asked last for so long
	accountPause   = time.Minute      // before a refused password of the service account is tried again
	maxIdleLinks   = 4                // connections of the service account that a realm keeps
	idleLink       = time.Minute      // and for how long: below what servers and firewalls allow
	complaintPause = time.Minute      // between two log lines of a realm about what an administrator has to mend
)

// Bounds of a directory server's answers. Reading takes some ten times the memory of what is read, at the utmost depth.
const (
	maxBindReply     = 64 << 10  // bytes that a server may send for one bind
	maxSearchReply   = 256 << 10 // bytes that a server may send for one search: 1,000 groups by DN have room
	maxStartTLSReply = 4 << 10   // bytes
	maxReplyDepth    = 12        // elements within each other: an entry's attribute values are at 6
	maxGroups        = 1000      // of one user
)
