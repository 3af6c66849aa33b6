package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// accept takes connections until the listener is closed.
func (t *Transport) accept() {
	for {
		raw, err := t.listener.Accept()
		switch {
		case err == nil:
			t.greet(raw)
		case t.isClosing():
			return
		default:
			t.quiet.warn(t.log, "accept", "accept peer connection", "err", err)
			if !t.pause(acceptBackoff) {
				return
			}
		}
	}
}

// greet starts the handshake of a new connection.
func (t *Transport) greet(raw net.Conn) {
	crowded, err := t.table.begin(raw, hostOf(raw.RemoteAddr()))
	if crowded {
		t.counters.crowded.Add(1)
	}
	if err == nil && t.own(func() { t.serve(raw) }) {
		return
	}
	t.table.finish(raw)
	_ = raw.Close() // it is a stranger's
}

// serve brings an inbound connection through the handshake and to where it belongs.
func (t *Transport) serve(raw net.Conn) {
	conn, err := t.welcome(raw)
	t.table.finish(raw)
	if err != nil {
		_ = raw.Close() // the reason is err
		t.refused(raw, err)
		return
	}
	if conn.entry.kind == kindRaft {
		t.raft.offer(conn)
		return
	}
	t.serveStream(conn.entry)
}

// serveStream runs the handlers for a peer until its connection ends.
func (t *Transport) serveStream(e *entry) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	s := &server{
		stream:  e.stream,
		from:    Peer{ID: e.peer},
		handler: t.handler,
		report:  t.reportHandler,
		traffic: &t.counters,
		ctx:     ctx,
		cancel:  cancel,
		running: make(map[uint64]context.CancelFunc),
	}
	t.counters.streamsIn.Add(1)
	s.run()
	t.counters.streamsIn.Add(-1)
	t.table.remove(e)
	t.ended(e)
}

// dialStream is for links.
func (t *Transport) dialStream(addr string) (*client, error) {
	conn, err := t.dial(t.ctx, addr, kindStream)
	if err != nil {
		return nil, err
	}
	c := newClient(conn.entry.stream, addr)
	c.peer = conn.entry.peer
	c.ownKey, c.peerKey = conn.entry.ownKey, conn.entry.peerKey
	c.renewAt = time.Now()
	if c.peerKey != c.ownKey { // the peer may take a while
		c.renewAt = c.renewAt.Add(RenewEvery)
	}
	c.first = func() KeyID { return t.identity.Load().first }
	c.renew, c.failed = t.links.renewSoon, t.notRenewed
	c.gone = func() {
		t.table.remove(conn.entry)
		t.ended(conn.entry)
	}
	return c, nil
}

// runClient is for links.
func (t *Transport) runClient(c *client) {
	t.counters.streamsOut.Add(1)
	c.run()
	t.counters.streamsOut.Add(-1)
	c.gone()
}

func (t *Transport) handler(kind Kind) Handler {
	if h := t.handlers[kind].Load(); h != nil {
		return *h
	}
	return nil
}

func (t *Transport) reportHandler(kind Kind, from Peer, err error) {
	t.log.Error("a request of a peer failed", "peer", from.ID, "kind", int(kind), "err", err)
}

// refused notes a connection that did not get through its handshake. Whoever can reach the port can cause this, so
// few are logged.
func (t *Transport) refused(raw net.Conn, err error) {
	if t.isClosing() {
		return
	}
	t.counters.refused.Add(1)
	if errors.Is(err, io.EOF) { // a probe of a load balancer or an operator
		t.log.Debug("peer connection closed before the handshake", "remote", raw.RemoteAddr().String())
		return
	}
	t.quiet.warn(t.log, "refused", "peer connection refused", "remote", raw.RemoteAddr().String(), "err", err)
}

// notRenewed notes that a connection stays under an old key for now.
func (t *Transport) notRenewed(c *client, err error) {
	t.counters.notRenewed.Add(1)
	t.quiet.warn(t.log, "renew", "the connection to a peer stays as it is: none under the present cluster key could be made", "peer", c.peer, "err", err)
}

// ended notes the end of a stream connection.
func (t *Transport) ended(e *entry) {
	why := e.stream.err
	switch {
	case errors.Is(why, ErrOtherCluster), errors.Is(why, errSilent), errors.Is(why, os.ErrDeadlineExceeded), errors.Is(why, errFrame):
		t.quiet.warn(t.log, "ended", "peer connection given up", "peer", e.peer, "err", why)
	default:
		t.log.Debug("peer connection ended", "peer", e.peer, "err", why)
	}
}

func (t *Transport) isClosing() bool {
	select {
	case <-t.closing:
		return true
	default:
		return false
	}
}

// pause waits, and returns false when the transport closes meanwhile.
func (t *Transport) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.closing:
		return false
	}
}

// hostOf is what connections of one machine have in common.
func hostOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil && host != "" {
		return host
	}
	return "?" // "" would be unbounded
}
