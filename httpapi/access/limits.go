package access

import "time"

// requestTimeout is how long a handler waits for the cluster in all.
const requestTimeout = 10 * time.Second

// Limits of what is remembered so that what callers do with each call is not audited each time: see often.
const (
	callAudit  = time.Minute // between two lines about one caller and address
	maxCallers = 4096        // of those: 3 MB
)

// Limits of logins that wait for others of the same user from the same address: see loginLines.
const (
	MaxLine  = 32              // in one line: what a script or a browser with many tabs begins at once
	maxLines = 512             // in all lines of a node: a sixteenth of the requests in handlers
	lineTime = 3 * time.Second // for one: some password hashes, and less than people wait before they try again
)

// createWindow is how long after its proposal a create may still take effect: it bounds how long an answer that never
// came can turn into a session.
const createWindow = 30 * time.Second

// Limits of ending sessions whose creation had an unknown outcome.
const (
	maxOrphans    = 1024 // at once; the session of one over it stays, unused, until its idle timeout
	orphanRetry   = 500 * time.Millisecond
	orphanMaxWait = 10 * time.Second // longest pause between two tries
	orphanGiveUp  = 5 * time.Minute  // a cluster without a leader for this long has other troubles
	orphanMargin  = 5 * time.Second  // allowance for the error of this node's idea of cluster time
)

const (
	MaxForwardedFor = 32 // addresses of X-Forwarded-For that are looked at, from the right
)
