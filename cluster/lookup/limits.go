package lookup

import "time"

// Of rounds and reads.
const (
	// RoundTimeout bounds the round to the voters. A leader that reaches no majority for so long is losing its office.
	RoundTimeout = time.Second
	// LeaderWait is how long a read asks again when there is no leader: an election with room. Whoever stands in front
	// of a cut-off node is to hear of it soon.
	LeaderWait = 3 * time.Second
	// RetryPause is the pause before the leader is looked for again, within the caller's context.
	RetryPause = 20 * time.Millisecond
	// StableWait is how long a read waits for what it has read to become stable before it asks the leader. Mostly it does
	// within a round trip; only when the word of it was lost, asking is faster than the next report.
	StableWait = 5 * time.Millisecond
	// maxStableWait is how long it waits before it asks again, at last.
	maxStableWait = 100 * time.Millisecond
)

// Of the lease protocol.
const (
	// MaxReports bounds the reports to one node that are under way. A second one lets a node report what it has applied
	// meanwhile without waiting for an answer; a leader that does not answer must not hold up the reports to the next.
	MaxReports = 2
	// MaxWords bounds the messages to one node that can't be merged with later ones: that boots are over, and that leases
	// are asked back. The oldest is dropped: the lease that it was about runs out by itself.
	MaxWords = 64
	// MaxProposals bounds the commands of the protocol that are under way; one of each kind, and those of an office that was
	// lost a moment ago. One more fails, and is proposed again.
	MaxProposals = 4
	// FarewellTimeout bounds how long Close waits until the leader has heard that this node's lease is over.
	FarewellTimeout = 300 * time.Millisecond
	// minPause is the shortest pause of the protocol's timer.
	minPause = time.Millisecond
	// jumpLogEvery is how often jumps of the clock are logged.
	jumpLogEvery = 10 * time.Second
)

// maxPause is the longest pause between two steps of the protocol: the clocks are compared at least so often.
func maxPause(duration time.Duration) time.Duration { return duration / 5 }

// lookEvery is how often the leader and the members are looked up at least, whatever else happens. A node learns at once of
// another leader, and one that leads looks at each of its ticks.
func lookEvery(duration time.Duration) time.Duration { return duration }

// messageTimeout bounds the wait for the answer to one message of the protocol. A grant that comes later is worth little.
func messageTimeout(duration time.Duration) time.Duration { return duration / 4 }

// handOverTimeout bounds the wait for a hand-over: a node that can't be asked to give its lease back holds it for one
// duration at most.
func handOverTimeout(duration time.Duration) time.Duration { return duration + duration/2 }
