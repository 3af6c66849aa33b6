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
	maxHeartbeat  = time.Minute
)

// The load under which elections kills leaders: enough to see when writes are back, too little to hide it.
const (
	failoverPuts        = 300 // a second
	failoverConnections = 16
	failoverBefore      = 3 * time.Second
	failurePause        = 100 * time.Millisecond // of a caller whose node is gone
)
