// Package wire owns the one port on which nodes speak to each other: who may connect, what the bytes mean, and which
// errors the callers see. It does not own what is said: raft's messages and the bodies of requests are opaque to it,
// and it knows nothing of leaders, members or gossip.
//
// # A connection
//
// TCP, then TLS 1.3 with certificates on both sides, then one byte for the kind of connection ('R' raft, 'S' stream),
// then a hello in each direction, the dialer's first. Each step is under one deadline, and connections that have not
// finished them are few (limits.go). A hello names the sender's node id, which must be that of its certificate, the
// protocol versions that it speaks, and its cluster id, if it has one yet. The accepting side decides, because it
// alone has seen both hellos, and answers with its own hello or with a refusal: a code and a message.
//
// Certificates come from the cluster key alone. HKDF makes the key of a private CA out of it; each node makes the same
// CA and issues itself a leaf for a fresh key at each start. So holding the cluster key is membership, no more and no
// less: who holds it can take any node id. The check of the id catches mistakes (a copied configuration, an address
// given to another node), not traitors. Certificates have no end of validity, since the key has none either: an end
// would not shut out anyone who could get a certificate, but would shut out a node whose clock is wrong.
//
// # Exchanging the key
//
// A KeyRing holds the keys of the time between. The leaf is issued under the first key's CA, a peer's may be under any's. A
// change takes effect on new connections at once; of the old ones those are closed whose peer has shown a certificate
// under a key that has gone. So that no call is lost by that, each dialer renews its stream connections soon after its own
// first key has changed, and every RenewEvery while the peer's certificate is under another: the new one takes the calls
// from then on, the old one ends with its last answer. Raft's connections stay as they are until their key goes. Raft sends
// again what was under way then, and that is no reason for an election.
//
// # Frames or yamux
//
// A stream connection carries length-prefixed msgpack frames with correlation ids, not multiplexed byte streams.
// Everything that nodes ask of each other is one bounded message and one bounded answer. With yamux each of these would
// open and close a stream: two or three more frames, a window to account for, and a goroutine and buffers on each
// side; the stream would have to be framed inside all the same; and bounds on requests in flight, coded refusals and
// "was it sent?" would be ours to build on top. What yamux would give, flow control for each stream, matters for
// long transfers beside short ones. The only long transfer is raft's snapshot, and raft has connections of its own.
// The price: a frame of 1 MiB delays the frames behind it. Bodies are therefore bounded, and callers batch well below.
//
// There is one stream connection for each pair of dialer and address, made on the first call. Requests flow from the
// dialer only; a node that wants to ask back dials itself. All frames go through one writer, which flushes when its
// queue is empty: under load many frames share a TLS record and a system call.
//
// # What an error says
//
// ErrUnreachable: the request was not sent and is safe to repeat, here or elsewhere. ErrLost: it may have been carried
// out. A *session.Error of the handler arrives as its code and message; any other error of a handler stays in the log
// of its node, and ErrInternal is answered. ErrOverloaded and ErrUnknownRequest say that the handler was not called.
// When the caller's context ends first, the error is that of the context and one of the first two as well.
//
// A handler that panics stops the node: after a bug half-way through a change nothing this package could say would be
// true. What has not been authenticated never reaches a handler.
//
// # Raft
//
// hashicorp/raft decodes what comes on its connections without bounds: it makes room for whatever length is announced, and
// takes each entry for one that is there. A peer that has the key and is out of its mind could end this process by that,
// so each connection is read along by a scanner, which closes it before raft has read what no node sends.
//
// # Locks
//
// KeyRing.mu and Transport.using are held, in this order, while table.mu is taken; links.mu is held while Transport.mu is.
// These and table.mu, client.mu, server.mu and throttle.mu are leaves
// otherwise: none is held while another is taken or while bytes are read or written.
package wire
