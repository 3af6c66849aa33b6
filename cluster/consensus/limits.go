package consensus

import "time"

// Defaults of Config. A heartbeat is sent ten times a HeartbeatTimeout; a follower that hears nothing for one to two
// of them starts an election.
const (
	DefaultHeartbeat = 500 * time.Millisecond
	DefaultElection  = 500 * time.Millisecond
	// DefaultCommit is how long a follower at rest may go without hearing the commit index; the library waits once to
	// twice as long. The nudge tells it at once, and the next entry, which is a tick of the leases at rest, every 200 ms
	// with the usual ones: so this only covers a lost nudge, and with that time between entries it costs nothing. At
	// 50 ms it was a third of the messages of a cluster at rest.
	DefaultCommit = 200 * time.Millisecond
	// DefaultStall ends a node whose disk takes this long for one write. A leader with a stalled disk goes on
	// sending heartbeats, so nobody would replace it.
	DefaultStall = 10 * time.Second
	// slowestDisk is how many bytes of a snapshot a disk must take a second when they are synced: what is allowed for
	// sending it, too.
	slowestDisk = int64(timeoutScale / (transportTimeout / time.Second))

	DefaultSnapshotBytes = 256 << 20 // bytes of log after which a snapshot is taken
	DefaultTrailingBytes = 64 << 20  // bytes of log kept behind a snapshot, for members that lag
	DefaultTrailingLogs  = 100_000   // entries of log kept behind a snapshot, whatever their size
)

// calmParts is what part of Config.Heartbeat a member may have been silent for when a heartbeat is put off: 125 ms of the
// default, hardly more than the longest pause between two heartbeats that are not. Who has to do without the
// next one, too, has had half of his time.
const calmParts = 4

// What the library is told.
const (
	maxPool          = 5               // idle connections kept to each member
	maxInFlight      = 1               // requests on one connection: pipelining wedges a follower after a refusal
	transportTimeout = 5 * time.Second // of one request
	// timeoutScale is how many bytes of a snapshot are allowed transportTimeout to be sent and restored: 3.2 MiB/s.
	timeoutScale = 16 << 20
	maxAppend    = 256 // entries in one request and one batch of Apply
	// never keeps the library from taking snapshots by count or clock. The interval is waited for up to twice.
	never = 10 * 365 * 24 * time.Hour
)

// MaxPending is how many proposals may wait for their outcome. The library's queue has as many places, so that
// Propose never blocks: one more is refused with ErrBusy.
const MaxPending = maxAppend

// MaxEntryBytes bounds one entry. Above it one request between members takes too long; entries are best kept below
// 64 KiB.
const MaxEntryBytes = 512 << 10

const (
	drainTimeout  = 2 * time.Second  // of Close, for proposals in flight: longer than a leader without a quorum stays one
	changeTimeout = 10 * time.Second // of a membership change whose context has no deadline, until it is in the log
	// snapshotEntries is how many entries a snapshot is taken after, however small they are: a node that starts applies
	// them one by one. A cluster at rest has five ticks a second, so that is some six hours.
	snapshotEntries = 100_000
	deleteChunk     = 4096        // entries removed from the front of the log in one transaction: appends wait for it
	minTrailing     = 64          // entries kept behind a snapshot even if they are more than the bytes allowed
	maxRefusals     = 3           // snapshots in a row that would turn the machine back, until the node gives up
	snapshotWindow  = 1 << 20     // bytes: memory of the encoder and decoder of a snapshot is a small multiple
	maxWindow       = 8 << 20     // bytes: largest window that a snapshot may ask a decoder for
	yieldEvery      = 256 << 10   // bytes of a snapshot written between two yields of the processor
	snapshotRetry   = time.Second // first pause after a snapshot that was not possible; doubles
	maxRetryPause   = time.Minute
)

// The nudge: retries cover the time until replication has reached a follower; after that CommitTimeout takes over.
const (
	nudgePause    = 500 * time.Microsecond // first pause after a refusal; doubles
	maxNudgePause = 16 * time.Millisecond
	maxNudgeTries = 20 // for one index: some 250 ms, a write of a bad disk
)

const (
	logInterval = 10 * time.Second // between two equal warnings of the library
	maxLogKeys  = 256              // different warnings remembered; beyond it they are forgotten at once
)
