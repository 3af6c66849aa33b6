package exchange

import (
	"time"

	"cloakroom/httpapi/credential"
)

// Limits of one request. fasthttp reads a request whole before a handler runs, so they bound what a stranger can make
// a node hold.
const (
	MaxHeader   = 8 << 10   // bytes of request line and headers: the size of a connection's read buffer
	MaxBody     = 32 << 10  // bytes
	MaxBulkBody = 256 << 10 // bytes, of POST /api/sessions

	// MaxVerifyBody is that of POST /api/sessions/verify: as many tokens as a call may have, of the longest form, with 16
	// bytes each for quotes, comma and indentation: 320 KiB.
	MaxVerifyBody = MaxBulkVerify * (credential.AnonymousText + 16)

	// maxLargeBodies is how many bodies above MaxBody a node holds at once: fasthttp rounds the longest up to 512 KiB, so they
	// take 64 MiB, whoever sends them. That many calls ask about half a million tokens: half a second of a processor.
	maxLargeBodies = 128
)

// Limits of what is in a request.
const (
	MaxRequestID  = 64   // bytes of an accepted X-Request-Id
	MaxBulkVerify = 4096 // tokens a call
	MaxArgs       = 256  // arguments of one call; a session holds 64 attributes
)

// What clients are told in Retry-After.
const (
	RetryAfter = 1 * time.Second // Retry-After of a 503: an election takes about that long
	RetryRoom  = time.Minute     // Retry-After of a full disk or memory: room comes of people or of the expiry of sessions
)

// Limits of a page of a list.
const (
	defaultPage = 100 // items of a list
	MaxPage     = 1000
)
