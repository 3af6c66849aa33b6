package main

import (
	"time"

	"cloakroom/cluster"
)

// Limits of what the command line, the configuration file and the client commands take.
const (
	MaxConfigFile = 1 << 20 // bytes: a configuration is some forty lines; more is the wrong file
	MaxKeyFile    = 4 << 10 // bytes: a cluster key is 44 characters
	MaxJoin       = 64      // seed addresses
	MaxName       = 63      // bytes of a node's name: one DNS label

	MaxReply = 64 << 20 // bytes of one answer that a client command reads
	ListPage = 500      // users or sessions asked for at once by the commands that list them

	EndAtOnce = 16 // users whose sessions a client command ends at the same time: some share an entry of the log
	EndRounds = 5  // looks at a realm's sessions until it is given up to end them all, because there are ever new ones
)

// Bounds of the times that can be configured, and of a client command's patience.
const (
	MinIdleTimeout = time.Second          // below it, clocks and round trips decide who is idle
	MaxLifetime    = 366 * 24 * time.Hour // a session that outlives a year is an account
	ClientTimeout  = time.Minute          // one call of a client command, the hashing of a password included

	BundleTimeout = 20 * time.Second // for a support bundle: more than support.PartTimeout, and a disk that is slow
	MinTLSCheck   = time.Second      // below it, looking at files is all that the node does

	MinHeartbeat      = 100 * time.Millisecond // below it, a busy machine or a long round trip passes for a dead leader
	MaxHeartbeat      = cluster.MaxLease / 2   // leases last for two of them at least
	MinDeadHeartbeats = 10                     // of --remove-dead-after: as long as a few elections in a row
)

// The least room that can be configured.
const (
	MinDiskReserve = 4 * mib   // the log's tail and a snapshot of nobody need about that
	MinMemoryLimit = 128 * mib // a node without sessions takes some 16, and each password hash under way 19 more
)

// Time limits of starting and stopping.
const (
	// FirstAdminTimeout bounds one attempt to make the first user; attempts go on until the node stops.
	FirstAdminTimeout = 10 * time.Second
	// FirstAdminPause is the pause between two of them while the cluster has no room for a user.
	FirstAdminPause = 5 * time.Second
	// DrainTimeout is what a graceful stop may take in all: under the 30 s after which container runners kill.
	DrainTimeout = 20 * time.Second
	// LeaveTime is the end of that, which no request can use up: last uses are replicated and the node leaves in it. Each of
	// its steps is bounded by about as much, and takes milliseconds where there is a leader.
	LeaveTime = 5 * time.Second
	// CloseTimeout is how long a node that has failed or was drained may take to close; then the process ends as it is.
	// With DrainTimeout it stays under the same 30 s. Whatever Close is still waiting for by then it would report as an
	// error anyway, or wait for without a limit: the disk.
	CloseTimeout = 5 * time.Second
	// SecondSignal is how long after the first a signal still means the same stop; later it ends the process at once.
	SecondSignal = time.Second
	// DrainNotice is how long a node goes on taking requests after it has begun to say that it is not ready: enough for
	// two health checks of a load balancer (scripts/haproxy.cfg).
	DrainNotice = time.Second
	// DrainQuiet is how long nobody may have asked for anything until it is believed that they have heard.
	DrainQuiet = 300 * time.Millisecond
	// DrainMost bounds the wait for that: three checks of a load balancer that makes one every two seconds (HAProxy's and
	// nginx plus' defaults are not longer). A client that does not look at /readyz would never be quiet.
	DrainMost = 7 * time.Second
	// MembersTimeout bounds what GET /cluster waits for silent nodes.
	MembersTimeout = 2 * time.Second
	// MaxRestarts is how often in a row a node is opened again by itself; then it is for whoever watches the process.
	MaxRestarts = 3
	// StableAfter is how long a node must have run for a restart to count as the first again.
	StableAfter = 10 * time.Minute
	// LeaderPatience is how long transfer-leadership looks for who leads now: a few heartbeats.
	LeaderPatience = 3 * time.Second
	// ReadyPoll is the pause between two looks at whether the node, or the cluster, has a leader.
	ReadyPoll = 50 * time.Millisecond
	// WaitNotice is how long a node waits to get ready before its log says what for, and WaitAgain until it says so again.
	WaitNotice = 5 * time.Second
	WaitAgain  = time.Minute
)
