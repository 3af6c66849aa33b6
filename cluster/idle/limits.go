package idle

import "time"

const (
	// MaxGranularity and MinGranularity bound how often a used session costs a touch.
	MaxGranularity = time.Minute
	MinGranularity = time.Second
	// TouchSlack is the time that a touch may take from its proposal until it is applied.
	TouchSlack = 2 * time.Second
	// MaxUses bounds the sessions whose use a node remembers between two touches, some 50 bytes each. Further ones are
	// not remembered, and counted.
	MaxUses = 4 << 20
	// TouchesInFlight bounds the touch commands of one node that are under way: they must not fill its batch.
	TouchesInFlight = 2
	// ExpireInterval is how often a leader looks for sessions to end.
	ExpireInterval = time.Second
	// MaxExpireRounds bounds the commands of one such look: 64 x 1,024 sessions a second.
	MaxExpireRounds = 64
	// SyncInterval is how often a node asks the leader for cluster time. Two clocks drift apart by less than a
	// millisecond in it.
	SyncInterval = 5 * time.Second
	// SyncTimeout bounds the question, and with it how much longer an election takes at a cold start.
	SyncTimeout = 500 * time.Millisecond
	// MaxRoundTrip is how long an answer may have taken that corrects an estimate: half of it is the error.
	MaxRoundTrip = 100 * time.Millisecond
	// shards of the table of uses: lookups on all cores write to it.
	shards = 256
)

// Granularity is how often the use of a session with this idle timeout is replicated.
func Granularity(idle time.Duration) time.Duration {
	return max(MinGranularity, min(MaxGranularity, idle/15))
}

// Grace is how far the replicated last use may lag behind the true one.
func Grace(idle time.Duration) time.Duration { return 2*Granularity(idle) + TouchSlack }
