package realm

import "time"

// Bounds of what realms of the types header and jwt are configured with.
const (
	maxParsedRealms = 256 // configurations, and locations of keys, that are kept ready
	maxGroupRoles   = 256 // groups that are worth a role
	maxSeparator    = 8   // characters between groups
	maxHeaderName   = 64  // characters
	maxProxies      = 64  // networks
	minProxyBits4   = 8   // of a network of proxies: one that is wider is no list any more
	minProxyBits6   = 16
	minProxySecret  = 32 // characters: more than can be guessed, even in hexadecimal
	maxProxySecret  = 512
	maxClaimText    = 512 // bytes of an issuer's name or a claim's
	maxAudiences    = 16
	maxKeyFileName  = 128  // bytes
	maxKeyURL       = 1024 // bytes
)

// Bounds of one token. It comes in a header, which is bounded as well.
const (
	maxToken      = 8 << 10 // characters
	maxTokenDepth = 16      // nesting of its claims
	maxLeeway     = time.Minute
	defaultLeeway = 10 * time.Second
	maxSeconds    = 253402300799 // since 1970: the last of the year 9999
)

// Bounds of an issuer's keys.
const (
	maxKeySet      = 256 << 10 // bytes: some issuers add certificates
	maxKeys        = 64        // of one issuer
	maxTries       = 4         // keys that the signature of a token without a kid is checked with
	minRSA         = 2048      // bits (RFC 7518, 3.3)
	maxRSA         = 8192      // bits: the time of a check grows with them
	maxExponent    = 6         // characters of an RSA exponent: four bytes
	keysTimeout    = 3 * time.Second
	keysPause      = 10 * time.Second // between two attempts: strangers make up key ids
	defaultRefresh = 10 * time.Minute
	minRefresh     = 30 * time.Second
	maxRefresh     = 24 * time.Hour
	maxKeyAge      = 24 * time.Hour // after which keys that can't be read again count no more: one may have been withdrawn
)
