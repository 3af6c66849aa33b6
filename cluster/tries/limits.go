package tries

import "time"

// rule says what a counter lets through.
type rule struct {
	free    int           // failures until there is a delay
	first   time.Duration // delay after so many failures; it doubles with each further one
	longest time.Duration // delay
	leak    time.Duration // until one failure is forgotten
}

// ruleOf returns the rule of a kind of counters.
//
// A user from one address: ten mistakes in a row are forgiven, then it gets slow; in the long run it is one try in five
// minutes. An address: many users may stand behind one, and what one of them does wrong must not stop the others for long.
// A user from everywhere: what a crowd of addresses gets is twenty tries and then one in half a minute. The delay is short,
// since it is what an attacker can do to the owner.
func ruleOf(k kind) rule {
	switch k {
	case kindPair:
		return rule{free: 10, first: time.Second, longest: 5 * time.Minute, leak: 5 * time.Minute}
	case kindAddress:
		return rule{free: 100, first: time.Second, longest: time.Minute, leak: 3 * time.Second}
	case kindUser:
		return rule{free: 20, first: time.Second, longest: 30 * time.Second, leak: 30 * time.Second}
	}
	panic("BUG: no rule for this kind of counter")
}

// Free returns how many failures in a row each counter lets through without a delay.
func Free() (user, userFromAddress, address int) {
	return ruleOf(kindUser).free, ruleOf(kindPair).free, ruleOf(kindAddress).free
}

// GossipWindow is how long it may take until what a leader grants is known to its successor, while no packets are lost: a
// round of the gossip, and up to a heartbeat in which a leader that was cut off does not know it yet.
const GossipWindow = 2 * time.Second

// Excess bounds what one change of the leader may let through a counter that has so many free failures: all of them
// again, and one try after each delay that fits into GossipWindow.
func Excess(free int) int { return free + 2 }

// Of who is known and whose turn it is.
const (
	// KnownFor is how long an address is remembered from which a user has logged in.
	KnownFor = 7 * 24 * time.Hour
	// knownStep is by how much that must be prolonged to be news. A client that sends its password with each call would
	// make news of each.
	knownStep = time.Hour
	// turnGrace is how long the next try at a user is kept for an address that has asked: for a person who was told when.
	turnGrace = 10 * time.Second
	// maxTurns bounds the users for whom a turn is kept. For one more none is: the first to come gets it.
	maxTurns = 4096
)

// Of the table.
const (
	maxCounters = 32_768 // of each kind: in all four of them about 15 MiB
	scan        = 16     // counters looked at to make room for one
	maxLevels   = 32     // failures above the free ones that a counter holds: whatever was heard, it is over some day
)

// Of questions to the leader.
const (
	// MaxBatch bounds the tries of one request.
	MaxBatch = 256
	// MaxQueue bounds the tries that wait at a node for their request. A full queue refuses with wire.ErrOverloaded.
	MaxQueue = 1024
	// MaxRequests bounds the requests of one node that are under way.
	MaxRequests = 4
	// MaxForgiven bounds what waits to be given back. What is over it is not given back, and leaks away.
	MaxForgiven = 4096
	// RequestTimeout bounds the wait for the leader's answer to one request.
	RequestTimeout = 2 * time.Second
	// LeaderWait is how long a try waits for a leader before wire.ErrNoLeader: an election with room.
	LeaderWait = 3 * time.Second
	// RetryPause is the longest pause before a leader is asked again.
	RetryPause = 20 * time.Millisecond
)

// Of the news.
const (
	maxPending  = 1024 // counters that wait to be told of; the lowest are left to the exchange of tables
	minSends    = 4    // times that one change is sent, or twice to each other node if that is more
	maxSends    = 16
	maxState    = 2048 // counters of each kind that two nodes exchange, the highest: about 200 KiB in all
	levelOfName = 8    // failures that a known address stands for, where counters are compared
)
