package main

import "time"

const (
	nodes         = 3
	adminPassword = "correct horse battery staple"
	users         = 6  // who log in; none may come to the limit of sessions
	lookers       = 6  // clients that look sessions up
	comers        = 3  // clients that log in and out
	logTail       = 15 // lines of a node's log in a complaint

	lookEvery  = 10 * time.Millisecond // of each looker
	comeEvery  = 250 * time.Millisecond
	adminEvery = 400 * time.Millisecond

	requestTimeout = 10 * time.Second
	readyWithin    = 60 * time.Second // from the start of a process on, on a busy machine
	stopWithin     = 30 * time.Second
	refuseWithin   = 30 * time.Second // a program that must not start says so
	settleWithin   = 60 * time.Second // until what is to become true in the cluster is
	pollEvery      = 50 * time.Millisecond
	underLoad      = 2 * time.Second // between the steps
)
