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

// The leader's care of the members.
const (
	// HealthInterval is how often the leader asks each member how it is.
	HealthInterval = 2 * time.Second
	// HealthTimeout bounds that question. A member that is slower counts as one that does not answer.
	HealthTimeout = time.Second
	// HealthStale is the age at which a voter's last answer says nothing of its disk any more: it can't store anything.
	HealthStale = 5 * HealthInterval
	// WatchGap is a pause between two rounds of questions after which the leader forgets what it saw before: nobody
	// looked in between, so nothing has lasted.
	WatchGap = 5 * HealthInterval
	// CandidateInterval is how often the leader asks while a member is to become a voter.
	CandidateInterval = 250 * time.Millisecond
	// StabilizeFor is how long a member must have kept up before it gets a vote: some eight answers in a row, and twice
	// the time in which an election comes to its end. What it guards against is a node that is reached now and then, or
	// that starts over and over; its vote would raise the majority and not help to reach it. Longer would help little,
	// since a voter can fail at any time, while the cluster lacks the vote for as long.
	StabilizeFor = 2 * time.Second
	// MinVoters is what the removal of dead voters leaves. Below three the next loss stops the cluster, and then a dead
	// voter that may come back is worth more than a smaller majority.
	MinVoters = 3
	// ChangeTimeout bounds a change that an operator asks for, the way to the leader and a hand-over included.
	ChangeTimeout = 15 * time.Second
	// DismissNotice is how long a node that was removed goes on: whoever removed it may wait for its answer.
	DismissNotice = 500 * time.Millisecond
	// ActTimeout bounds what the leader does by itself between two rounds of questions.
	ActTimeout = 10 * time.Second
)
