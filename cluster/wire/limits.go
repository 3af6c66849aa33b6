package wire

import "time"

// Limits of messages. Those on what has not been authenticated are small.
const (
	MaxFrame     = 1 << 20       // bytes of a frame after its length: a batch of commands is at most 64 KiB, a list of keys some more
	MaxBody      = MaxFrame - 64 // bytes of a request's or answer's body: the rest is for the fields around it
	MaxHello     = 1 << 10       // bytes of a hello or refusal after its length
	MaxNodeID    = 64            // bytes: it is a certificate's common name (RFC 5280, ub-common-name)
	MaxClusterID = 64            // bytes
	maxErrorCode = 64            // bytes of a code; a longer one is a bug of ours and is answered as "internal"
	maxErrorText = 512           // bytes of a message; longer ones are cut
	maxTimeout   = time.Hour     // of one request, on the wire in milliseconds: longer ones are sent as this
)

// MaxKeys is how many keys a ring may hold: two while they are exchanged, and room for an exchange that was broken off.
const MaxKeys = 4

// Limits of connections. Of those that are not through their handshake the oldest goes when there are too many, because
// a node takes milliseconds for it: strangers that say nothing keep others out only if they come by tens of thousands a
// second.
const (
	MaxHandshakes        = 128 // inbound connections that are not through their handshake
	MaxHandshakesPerHost = 32  // of these from one address, so that one stranger can't take all places
	MaxInbound           = 512 // inbound connections in all: raft takes up to some ten for each peer, the stream one
	MaxStreamsPerPeer    = 4   // inbound streams of one node id: a node needs one, old ones are dead; the oldest is closed
	MaxLinks             = 128 // addresses that this node calls; a call to a further one is refused as overloaded
	MaxRaftBacklog       = 32  // raft connections that raft has not accepted yet; a further one is refused as overloaded
)

// Limits of one stream connection. A full one refuses with ErrOverloaded; nothing waits.
const (
	MaxInFlight     = 512             // requests of the dialer without an answer
	MaxHandlers     = 2 * MaxInFlight // handlers that run at the accepting side: those of cancelled requests take a moment to end
	MaxHandlerBytes = 32 << 20        // bytes of the bodies that these were given
	queueFrames     = 1024            // frames waiting for the writer: the requests in flight, cancels, pings
	ioBuffer        = 32 << 10        // bytes of the read and of the write buffer: two full TLS records
)

// Limits of one message of raft, at either end. hashicorp/raft decodes from the stream without any: for a string that
// says to be 4 GiB long it takes 8 GiB, before the second byte is there. They are far above what it sends, since a message
// above them is lost for good: the sender would try it again and again.
const (
	MaxRaftMessage  = 160 << 20 // bytes without a snapshot's contents: 256 entries of 512 KiB (limits of cluster/consensus), and room
	MaxRaftBytes    = 1 << 20   // bytes of one string or byte string: an entry
	MaxRaftElements = 4096      // of one array: entries, each of which takes 160 bytes however few were sent
	maxRaftFields   = 64        // of one map: fields of a message
	maxRaftDepth    = 8         // of maps and arrays in each other
)

// Times.
const (
	HandshakeTimeout = 3 * time.Second        // default: from accept or dial to the end of the hellos: one lost packet's retransmission is forgiven
	DeadAfter        = 2 * time.Second        // default: silence after which a stream connection is given up
	ticksPerDeadline = 4                      // looks at a connection in that time; at most the length of one is added to it
	pingAfter        = 2                      // such looks without anything heard, until the peer is asked
	RenewEvery       = 10 * time.Second       // looks for a peer that has not taken a new key for its first yet; it costs a handshake
	RetiredFor       = time.Minute            // a stream connection that was renewed waits so long for answers: longer than any request
	IdleAfter        = 5 * time.Minute        // a stream connection without a call is closed by its dialer
	backoffMin       = 25 * time.Millisecond  // before an address that did not answer is dialed again, doubled each time
	backoffMax       = 500 * time.Millisecond // short, since a restarted node must be found soon
	acceptBackoff    = 50 * time.Millisecond  // after an error of accept: too many open files, mostly
	logEvery         = 10 * time.Second       // lines of one kind about refused connections
)
