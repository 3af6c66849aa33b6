package gossip

import "time"

// How fast failures are found. A member is probed by every other one in turn; without an answer within probeTimeout
// others are asked to try, after probeInterval it is suspect, and after suspicionMult × probeInterval (times log10 of
// the number of members, from ten on) it has failed, unless it objects. With four members or more the suspicion waits
// for others to confirm it, at most suspicionMaxMult times as long. In simulated networks one member of two to ten was
// failed after 5 to 9 s, of twenty after 12 s; when half of them go at once the last is found after up to 25 s, and a
// node that has lost all of four others knows it after 35 s. A failure means "look", never "its lease is over", and raft
// finds a lost leader by itself, so being sure is worth more here than being quick.
const (
	probeInterval    = time.Second
	probeTimeout     = 500 * time.Millisecond
	suspicionMult    = 4
	suspicionMaxMult = 3
	awarenessMax     = 4 // a node that finds itself slow probes this much more slowly at most
)

// How news spread. A change reaches the members of a small cluster within about a second; push/pull repairs what
// lost packets have left over.
const (
	gossipInterval   = 200 * time.Millisecond
	pushPullInterval = 15 * time.Second
	streamTimeout    = 3 * time.Second  // dialling, and reading and writing, of a push/pull: also what Close may wait for
	gossipToTheDead  = 30 * time.Second // a failed member is still told so, so that it can object
	reclaimTime      = 15 * time.Second // a failed member's name may come back at another address after this
)

// How the cluster is found, and found again.
const (
	firstRetry  = 500 * time.Millisecond // after the first attempt without an answer; each wait is 1½ times the one before
	aloneRetry  = 5 * time.Second        // the longest wait while no other member is alive, or an old address of ours is still believed
	rejoinEvery = 60 * time.Second       // halves of a healed partition don't find each other by themselves
	maxSeeds    = 64                     // seeds in the configuration: more are refused
	maxAddrs    = 128                    // addresses tried in one round: seeds first, then failed members; the rest waits
)

// What is kept and how long is waited.
const (
	MaxState     = 512 << 10        // bytes of News.State: more is not sent, nor listened to
	MaxMeta      = 512              // bytes of encoded metadata: memberlist panics at more
	keepGone     = 10 * time.Minute // failed and left members stay listed
	maxGone      = 256              // of them; the oldest go first
	eventBacklog = 256              // membership changes that wait to be logged: more go unlogged
	leaveWait    = 2 * time.Second  // for each of the two messages of a leave to go out
	maxLogLine   = 512              // bytes of a line of memberlist: it prints whole metadata
	logWindow    = time.Minute
	logLines     = 30 // lines of memberlist at Info and above in a logWindow: more are counted and dropped
)

// What strangers may take. Both numbers of streams are of those that have not shown yet that they have the key.
const (
	maxStreams        = 32      // inbound connections that are being read; one more turns the oldest out
	maxStreamsPerHost = 16      // of these from one address
	maxPassed         = 64      // inbound connections that memberlist has: a push/pull takes milliseconds. One more is refused
	maxStream         = 1 << 20 // bytes of one message: MaxState, some 300 nodes with their metadata, and room
	maxPacket         = 2048    // bytes of a packet: memberlist sends 1,400 and what the encryption adds
	udpBuffer         = 2 << 20 // bytes that the system is asked to keep of packets that wait
	portTries         = 8       // at a port that is free for TCP, until it is for UDP as well
	networkRetry      = 50 * time.Millisecond
	maxNodes          = 2048             // nodes in one message
	maxDepth          = 4                // of what is packed in each other in one message
	seenMessages      = 4096             // messages remembered, so many or twice that: half a minute of twenty nodes
	refusedEvery      = 10 * time.Second // lines about what was refused
)
