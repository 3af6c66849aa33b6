package idle

import (
	"time"

	"cloakroom/cluster/session"
)

// Limits of what a node remembers and sends.
const (
	// MaxUses bounds the uses that a node remembers, some 70 bytes each; those that wait to be sent may be as many again.
	// A further one is not remembered: this node can't vouch any more for what it knows of sessions whose replicated last
	// use is older, and says so. They are counted (Stats.Forgotten).
	MaxUses = 4 << 20
	// shardCount is the number of parts of the table of uses, each with a lock of its own: lookups on all cores write to it.
	// A walk through one part holds its lock for the length of at most 4,096 steps.
	shardCount = 1024
	// FlushInterval is how long a node waits before it tries again to send what was refused or lost.
	FlushInterval = 250 * time.Millisecond
	// FlushPause is how long a node waits after the first use that is due, so that those of this moment travel together.
	// Uses that a dying node has not sent yet are lost, so it is short.
	FlushPause = 10 * time.Millisecond
	// FlushPatience is how long the last flush of a node goes on without a leader.
	FlushPatience = 2 * time.Second
	// SendsInFlight bounds the requests of one node that wait for their uses to be in the log.
	SendsInFlight = 4
	// SendTimeout bounds the wait for that: a full board is worked off in 14 seconds.
	SendTimeout = 20 * time.Second
	// AckPatience is how long a use that this node has tried to bring to the leader may go without an answer before the
	// node gives its lease back; with AckInterval, at which it looks, and FlushPause less than session.TouchSlack.
	AckPatience = session.TouchSlack - 250*time.Millisecond
	AckInterval = 100 * time.Millisecond
	// ApplyTimeout bounds the wait for this node's machine to come to an index that the leader has named.
	ApplyTimeout = 2 * time.Second
	// CleanInterval and cleanShards say how fast a node walks through its uses to drop those that are replicated, or of
	// sessions that are gone: once around in 64 seconds, at most some 65,000 uses a second.
	CleanInterval = time.Second
	cleanShards   = shardCount / 64
	// chunk bounds the sessions that are looked up under one hold of the machine's lock.
	chunk = 256
)

// Limits of what a leader does.
const (
	// MaxTouchRate bounds the uses a second that are replicated, those of all nodes together.
	MaxTouchRate = 5000
	// GreyTouchRate is the part of it that is kept for the uses of sessions which a lookup had to ask about: neither may
	// a crowd of those hold up the others, nor the other way round.
	GreyTouchRate = 750
	// boardRate is the rest. In any second there may be one batch more.
	boardRate = MaxTouchRate - GreyTouchRate - TouchBatch
	// TouchBatch bounds the uses of one Touch command, and so how long applying it holds the machine's lock.
	TouchBatch = 250
	// TouchesInFlight bounds the Touch commands of the board that are under way.
	TouchesInFlight = 4
	// MaxBoard bounds the uses that wait at the leader. A batch that does not fit is refused with ErrBoardFull, and its
	// node keeps it.
	MaxBoard = 64 << 10
	// BoardHold is how long a node that brings uses waits for them to be in the log before it is told that they are on the
	// board. Two of them and a round trip must be well below AckPatience: what counts is when the answered question was sent.
	BoardHold = 500 * time.Millisecond
	// ExpireInterval is how often a leader that has found nothing to end looks again.
	ExpireInterval = time.Second
	// MaxExpireRate bounds the sessions a second that are asked about in order to end them.
	MaxExpireRate = 6000
	// ExpireBatch bounds the sessions of one such question and of one Expire command.
	ExpireBatch = 64
	// ExpiresInFlight bounds these questions that are under way: a node that doesn't answer holds each up for AskTimeout.
	ExpiresInFlight = 8
	// OfficeGrace is how long a new leader ends nothing that it could not ask all nodes about: they bring the uses first
	// that they could not send while there was no leader.
	OfficeGrace = 2 * session.TouchSlack
	// PaceInterval is how often the leader judges whether the touches are too many.
	PaceInterval = 10 * time.Second
	// PaceBacklog is the number of waiting uses, on all nodes, from which on touches are too many: half of the time that
	// one may take.
	PaceBacklog = MaxTouchRate
	// paceLow is the rate of uses below which touches are few enough for a finer pace: one step later they are at 60 %.
	// Above it, a backlog is none of a log that stands still.
	paceLow = boardRate * 4 / 10
)

// Limits of questions.
const (
	// MaxAsk bounds the sessions in one question.
	MaxAsk = 1024
	// AskTimeout bounds the wait for the answers of all nodes. One that has not answered by then counts as one that can't.
	AskTimeout = 500 * time.Millisecond
	// AskPause is the pause before a node is asked again that has not heard yet who leads.
	AskPause = 50 * time.Millisecond
	// GreyPatience is how long a lookup looks for a leader to ask.
	GreyPatience = 3 * time.Second
	// GreyPause is the pause before it asks again.
	GreyPause = 50 * time.Millisecond
	// GreyTimeout bounds the wait for the leader's verdict: its question, and an entry.
	GreyTimeout = 5 * time.Second
	// GreyInFlight bounds a node's questions to the leader that are under way.
	GreyInFlight = 4
	// MaxGrey bounds the questions that wait for one of these places, MaxAsk sessions each. A lookup that does not fit in
	// is refused with wire.ErrOverloaded.
	MaxGrey = 8
	// MaxQuestions bounds how often one lookup asks, with a verdict each time after which the session is over once more.
	MaxQuestions = 4
	// MaxAhead is how far the asker's time may be ahead of the asked node's. Estimates of cluster time are closer; a clock
	// that is off by more than this must not drag all others along.
	MaxAhead = time.Second
)
