package httpapi

import (
	"time"

	"cloakroom/httpapi/exchange"
)

// Limits of what runs at once. What is over them is refused with 503 and Retry-After, never queued.
const (
	maxConnections        = 50_000 // open, idle ones included
	maxControlConnections = 64
	maxInFlight           = 8192 // requests in handlers; health checks are let past
)

// Limits of POST /api/sessions and of lists.
const (
	maxBulkCreate = 1000                 // sessions a call
	bulkParallel  = 64                   // commands of one call under way at once: it shares the node's queue with everybody else
	maxListScan   = 4 * exchange.MaxPage // records looked at for one page: a list skips sessions that are over
)

// Limits of POST /api/sessions/verify, for each caller and node. A token takes up to a microsecond of a processor, from the
// bytes that come in to those that leave. So a caller who asks as fast as it may keeps a node busy for a quarter of its
// time, and three quarters are left to lookups, whose answers people wait for.
const (
	maxChecks  = 250_000         // tokens a second for each processor that the node may use, on average
	checkBurst = 2 * time.Second // of that at once
)

// Times that clients are told.
const (
	corsMaxAge = 10 * time.Minute
)

// checkMost is the longest time between two health checks of a load balancer: where there was none for so long, there is
// no load balancer that asks.
const checkMost = time.Minute

// Time limits of Drain, when nobody is to be listened to any more.
const (
	farewellQuiet = 100 * time.Millisecond // without a request on the connections that are left
	farewellMost  = time.Second            // in all: who goes on sends to a closed port
)

// certificateCheck is how long it is between two looks at the certificate's files, unless configured.
const certificateCheck = 10 * time.Second

// Time limits of the operator's listener and of Close.
const (
	operatorRead = 10 * time.Second
	operatorStop = 2 * time.Second // a profile that is being taken may go on for this long
	closeTimeout = 5 * time.Second // for handlers to notice that the server is closing
	closePoll    = 5 * time.Millisecond
)
