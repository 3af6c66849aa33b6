package main

import "time"

// Limits of the command line.
const (
	maxRounds     = 1000
	maxTargets    = 64
	maxFailover   = 10 * time.Minute // of one round, before and after the kill
	fillReports   = 10               // lines of progress of a fill
	maxHeartbeats = 16
	maxPrime      = 1 << 16 // MiB
	maxNodes      = 9       // of a cluster that is started
	maxHeartbeat  = time.Minute
)

// The load under which nodes are lost: enough to see when writes are back, too little to hide it.
const (
	failoverPuts        = 300                    // a second
	failoverConnections = 16                     // for puts, and as many for each kind of lookups
	failoverAfter       = 20 * time.Second       // without a put until then, the cluster has failed
	failurePause        = 100 * time.Millisecond // of a caller whose node is gone
	watchPause          = 20 * time.Millisecond  // between two looks at whether writes are back
)

// Loads of the scenarios.
const (
	openConnections   = 64   // of an open loop, at least: a request that waits for a free one is late by this program's fault
	hotSessions       = 1000 // of the hot set: they fit into a processor's cache, all the others together do not
	putCallers        = 256
	loneRate          = 50     // puts a second, far apart
	loneConnections   = 4      // so that one that takes long delays no other
	createBatch       = 100    // sessions that one call makes
	createConnections = 8      // of those: each has a hundred sessions under way
	createSessions    = 50_000 // that the users have who get more: twice as many at the end, whatever the number of calls
	mixedWrites       = 0.05
	bulkTokens        = 1000 // of one call
	bulkConnections   = 32   // each with a caller of its own: the product bounds the tokens of one caller a second
	restartPolls      = 10 * time.Millisecond
	restartAtMost     = 5 * time.Minute
	idleTime          = 10 * time.Second // a share of a percent needs that long: processor time is told in hundredths of a second
	largestExpiry     = 1_000_000
	expiryUsers       = 1000 // sessions that go on being used while the others expire, at most
	expiryUses        = 50   // of each of them within the idle timeout, on average
	expiryMargin      = 2 * time.Second
	expiryTries       = 3                // each with twice the idle timeout
	expirySlack       = 2 * time.Second  // the cluster may be late with the last ones
	expiryAtMost      = 30 * time.Second // and with those that there must be to have measured anything
	fewestExpired     = 10               // part of them that must have been ended: nodes refuse all at once, but take their time
	snapshotPuts      = 300              // a second of the largest values while a snapshot is waited for
	snapshotSessions  = 2000             // that these go to, so that the sessions' own memory hardly grows
	snapshotGrace     = 3 * time.Second  // for the other nodes
	snapshotPrimed    = 0.88             // of that much log, put as fast as it goes
	snapshotAtMost    = 15 * time.Minute // until one was taken
	electionWriters   = 64
	electionValue     = 4096 // bytes
	electionLookups   = 1000 // a second
	electionLogins    = 8    // connections, every second one with a wrong password
	floodRate         = 300  // logins a second
	floodAddresses    = 100_000
	floodLookups      = 1000 // a second
	floodConnections  = 300  // more than the logins that three nodes let wait
)

// keepAlive is the idle timeout of the nodes' sessions: no run is to outlive the sessions that it began with.
const keepAlive = 48 * time.Hour

// Sessions that puts change are looked up this much less often than the others, so that what these have to wait for is
// not drowned in what those have to.
const changedShare = 0.05

// longSilence is a time without an acknowledged put that a reader would call an outage.
const longSilence = 100 * time.Millisecond
