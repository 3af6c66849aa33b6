package seed

import "time"

const (
	// LookupTime bounds the answer to one question. A name server that is slower is asked again in the next round.
	LookupTime = 3 * time.Second

	maxTargets = 64  // hosts and ports of one name's SRV records: the first in order; who finds one of a cluster finds all
	maxPerName = 16  // addresses of one host; the rest is not tried
	maxName    = 253 // characters of a name (RFC 1035, section 2.3.4, in text)
	maxLabel   = 63  // of a part of it
)
