//go:build linux

package main

import "time"

// The network between the nodes.
const (
	maxNodes   = 9    // processes: each has a network of its own, a disk in memory and some 50 MB of memory
	httpPort   = 8080 // on each node's own address
	opsPort    = 8081
	peerPort   = 8082
	gossipPort = 8083
	relayTable = 100 // first routing table of the relays
	relayQueue = 8192
)

// The nodes.
const (
	diskBytes    = 192 << 20 // of the file system in memory that holds one node's data
	reserveFlag  = "16MiB"   // of it that a node keeps free: it must see that it has little left
	adminWord    = "correct horse battery staple"
	touchSlack   = 2 * time.Second // δ: see cluster/session/pace.go
	maxLogQuote  = 12              // lines of a node's log that a complaint quotes
	pollInterval = 50 * time.Millisecond
	askTimeout   = time.Second      // for one look at a node's metrics
	readyWithin  = 60 * time.Second // from the start of a process until it is ready, on a busy machine
	stopWithin   = 25 * time.Second // for a stop in order: the node itself allows 20 s, and 5 s to close
	buildWithin  = 10 * time.Minute
	sweepAfter   = 24 * time.Hour // for the folders of runs that have failed, or were killed
)

// Times and numbers of a run.
const (
	defaultFor      = 2 * time.Minute
	minIdle         = 13 * time.Second // more than a user's time and a request's
	defaultIdle     = 15 * time.Second // idle timeout of the sessions: G is a fifteenth of it
	settleTime      = time.Second      // of load before anything is measured
	rateTime        = 5 * time.Second  // in which the rate before the first fault is measured
	maxWarmUps      = 6                // such measurements, until one is high enough
	quietTime       = time.Second      // after a fault is over and all nodes are back, until the next one
	recoverWithin   = 45 * time.Second // from the end of a fault until every node reads and writes again
	wholeWithin     = 45 * time.Second // from the end of a fault until all members are back in place
	secondsPerFault = 12 * time.Second // at least so many faults are wanted
	minRate         = 100              // operations a second before the first fault
)

// The clients.
const (
	casts          = 12                     // users at a time, each with a client at every node
	castLife       = 7 * time.Second        // of one user: then its history is closed and checked
	meanPause      = 120 * time.Millisecond // of a client between two requests
	clientTimeout  = 5 * time.Second        // of one request: then its outcome is not known
	maxSessions    = 24                     // of one user: far less than the 100 after which the oldest goes
	maxLive        = 4                      // of one user at a time
	checkTimeout   = 60 * time.Second       // for porcupine, of one history
	idleGroups     = 10                     // of each kind of watcher of the idle timeout
	activeMargin   = 300 * time.Millisecond // around the idle timeout: the error of cluster time, and the way of a request
	sleeperMargin  = time.Second
	keeps          = 6 // uses of one session by a keeper
	maxBody        = 64 << 10
	maxCases       = 4096 // histories that wait to be checked
	violationsKept = 5    // that are written out: one is enough to look into
)

// mutantFor bounds the hunt for one bug.
const mutantFor = 90 * time.Second
