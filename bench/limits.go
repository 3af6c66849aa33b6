package main

import "time"

// Limits of the command line.
const (
	maxRounds   = 1000
	maxTargets  = 64
	maxFailover = 10 * time.Minute // of one round, before and after the kill
	fillReports = 10               // lines of progress of a fill
)
