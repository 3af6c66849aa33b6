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
	maxBinds         = 32  // binds at directory servers at once
	bindQueue        = 128 // logins that wait for one of them
)

// Bounds of a directory server's part.
const (
	defaultTimeout  = 5 * time.Second // for connecting, TLS and the bind together
	minTimeout      = 100 * time.Millisecond
	maxTimeout      = 30 * time.Second
	maxReply        = 64 << 10 // bytes that a server may send for one bind
	maxConfigDepth  = 8        // nesting of a realm's configuration
	maxBindTemplate = 1024     // bytes
)
