package roster

import "time"

const (
	// Tick is how often a node without its place in the cluster looks around.
	Tick = 500 * time.Millisecond
	// StableFor is how long the same set of empty voters has to be visible before one of them proposes: gossip has
	// then told all of them the same.
	StableFor = time.Second
	// TakeoverAfter is how long the proposer must have been gone before another promiser goes on.
	TakeoverAfter = 15 * time.Second
	// AskTimeout bounds one question to one node.
	AskTimeout = 2 * time.Second
	// HereTimeout bounds the question whether a node that gossip has lost is there all the same.
	HereTimeout = time.Second
	// AnnounceInterval is how often a node in its place announces itself again: it heals a lost entry of the roster.
	AnnounceInterval = 30 * time.Second
	// CaughtUp is how many entries a node may lag behind when it is made a voter.
	CaughtUp = 128
	// LeaveTimeout bounds the hand-over and the removal of a node that leaves for good.
	LeaveTimeout = 5 * time.Second
	// MaxExpect bounds --bootstrap-expect: raft slows down with each further voter, and 9 survive four losses.
	MaxExpect = 9
)
