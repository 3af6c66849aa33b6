package transport

import "time"

// Time limits against slow clients. The read limit covers a whole request, headers and body.
const (
	ReadTimeout  = 5 * time.Second
	WriteTimeout = 5 * time.Second
	IdleTimeout  = 75 * time.Second // of a kept-alive connection: more than the 60 s that load balancers keep theirs
)

// Step is how far the deadlines of a connection may be later than they should. They are set anew once in so long: to
// set one costs as much as to look a session up.
const Step = time.Second

// lull is how long a connection waits for a request in an intake: Step more at most, and never less. Then it
// waits as any other does.
const lull = time.Second

// Limits of what is read and thrown away after a refusal, so that the client gets the answer.
const (
	lingerTime  = 2 * time.Second
	LingerBytes = 4 << 20
)

// Limits of TLS.
const (
	maxHandshakes      = 8192            // under way at once: a sixth of the connections
	maxHandshakesOfOne = 512             // of them from one address (IPv6: one /64) that is no trusted proxy
	handshakeTimeout   = 5 * time.Second // for one, a PROXY header included
	maxPEM             = 1 << 20         // bytes of one of them
)

// Time limits of a listener that retires.
const (
	backlogTime   = 5 * time.Millisecond // without a connection that the system has made and nobody has taken yet
	backlogRounds = 3                    // of that
)
