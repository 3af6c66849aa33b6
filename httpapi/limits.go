package httpapi

import "time"

// Limits of one request. fasthttp reads a request whole before a handler runs, so they bound what a stranger can make
// a node hold.
const (
	maxHeader   = 8 << 10   // bytes of request line and headers: the size of a connection's read buffer
	maxBody     = 32 << 10  // bytes
	maxBulkBody = 256 << 10 // bytes, of POST /api/sessions
)

// Time limits against slow clients. The read limit covers a whole request, headers and body.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 5 * time.Second
	idleTimeout    = 75 * time.Second // of a kept-alive connection: more than the 60 s that load balancers keep theirs
	requestTimeout = 10 * time.Second // how long a handler waits for the cluster in all
)

// Limits of what is read and thrown away after a refusal, so that the client gets the answer.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 4 << 20
)

// Limits of what runs at once. What is over them is refused with 503 and Retry-After, never queued.
const (
	maxConnections        = 50_000 // open, idle ones included
	maxControlConnections = 64
	maxInFlight           = 8192 // requests in handlers; health checks are let past
)

// Limits of POST /api/sessions and of lists.
const (
	maxBulkCreate   = 1000 // sessions a call
	bulkParallel    = 64   // commands of one call under way at once: it shares the node's queue with everybody else
	defaultPage     = 100  // items of a list
	maxPage         = 1000
	maxListScan     = 4 * maxPage // records looked at for one page: a list skips sessions that are over
	maxRequestID    = 64          // bytes of an accepted X-Request-Id
	maxForwardedFor = 32          // addresses of X-Forwarded-For that are looked at, from the right
)

// Limits of failed logins, per node: buckets that leak. A correct password costs nothing.
const (
	failuresPerUser    = 10               // of one user name from one address, in one go
	userFailureLeak    = 30 * time.Second // until one of them is forgotten
	failuresPerAddress = 100              // from one address (IPv6: one /64)
	addressFailureLeak = 3 * time.Second
	maxThrottled       = 65_536 // buckets kept: about 4 MiB
	throttleScan       = 16     // buckets looked at to make room for one
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

// Times that clients are told.
const (
	retryAfter = 1 * time.Second // Retry-After of a 503: an election takes about that long
	retryRoom  = time.Minute     // Retry-After of a full disk or memory: room comes of people or of the expiry of sessions
	corsMaxAge = 10 * time.Minute
)

// Time limits of the operator's listener and of Close.
const (
	operatorRead = 10 * time.Second
	operatorStop = 2 * time.Second // a profile that is being taken may go on for this long
	closeTimeout = 5 * time.Second // for handlers to notice that the server is closing
	closePoll    = 5 * time.Millisecond
)
