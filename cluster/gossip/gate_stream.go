package gossip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A stream carries one message each way, in clear the byte encryptMsg and a length of four bytes, then what open decrypts,
// bound to that head and the label. The dialer sends the label first.
const streamHead = 5

// inbound is a connection that somebody else has made. The gate reads the one message that may come on it, whole, before
// memberlist hears of the connection at all.
type inbound struct {
	net.Conn
	gate *gate
	host string
	rest bytes.Reader // what has come, for memberlist
	once sync.Once
}

// take begins to read a connection. When there are too many the oldest goes: members need milliseconds, so strangers that
// send nothing keep no member out.
func (g *gate) take(conn net.Conn) {
	c := &inbound{Conn: conn, gate: g, host: hostOf(conn.RemoteAddr())}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		_ = conn.Close() // nobody has seen it yet
		return
	}
	var crowded *inbound
	switch {
	case g.perHost[c.host] >= maxStreamsPerHost:
		crowded = g.oldestLocked(c.host)
	case len(g.inbound) >= maxStreams:
		crowded = g.oldestLocked("")
	}
	if crowded != nil {
		g.forgetLocked(crowded)
	}
	g.count++
	g.inbound[c] = g.count
	g.perHost[c.host]++
	g.mu.Unlock()
	if crowded != nil {
		g.counts.crowded.Add(1)
		_ = crowded.Conn.Close() // its reader says that it was refused
	}
	g.group.Go(func() { g.receive(c) })
}

// receive reads the message and hands the connection to memberlist.
func (g *gate) receive(c *inbound) {
	err := c.read()
	if err == nil {
		err = g.pass(c)
	} else {
		g.forget(c)
	}
	if err == nil {
		select {
		case g.streams <- c:
			return
		case <-g.done:
		}
	}
	_ = c.Close() // the reason is err
	if err != nil {
		g.counts.streams.Add(1)
		g.refused(err, "stream", c.RemoteAddr())
	}
}

// read takes the label and the message from the network.
func (c *inbound) read() error {
	if err := c.SetDeadline(time.Now().Add(streamTimeout)); err != nil {
		return err
	}
	var all bytes.Buffer
	if _, err := io.CopyN(&all, c.Conn, int64(2+len(label))); err != nil {
		return fmt.Errorf("read label: %w", err)
	}
	if rest, ok := cutLabel(all.Bytes()); !ok || len(rest) > 0 {
		return errLabel
	}
	if err := c.gate.readMessage(c.Conn, &all, checkRequest); err != nil {
		return err
	}
	c.rest.Reset(all.Bytes())
	return nil
}

// Read returns what the gate has read. Nothing may follow it.
func (c *inbound) Read(p []byte) (int, error) { return c.rest.Read(p) }

// Close closes the connection and gives its place back.
func (c *inbound) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.passed--
	})
	return c.Conn.Close()
}

// pass moves a connection from those that are read to those that memberlist has. Only who has the key makes one of them.
func (g *gate) pass(c *inbound) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetLocked(c)
	g.passed++ // Close takes it back, also if this is refused
	if g.passed > maxPassed {
		return errBusy
	}
	return nil
}

// forget takes a connection that did not pass from the books.
func (g *gate) forget(c *inbound) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetLocked(c)
	c.once.Do(func() {}) // Close has no place to give back
}

func (g *gate) forgetLocked(c *inbound) {
	if _, ok := g.inbound[c]; !ok {
		return
	}
	delete(g.inbound, c)
	if g.perHost[c.host]--; g.perHost[c.host] == 0 {
		delete(g.perHost, c.host)
	}
}

// oldestLocked returns the connection from the host, or from any, that has been read for longest.
func (g *gate) oldestLocked(host string) *inbound {
	var oldest *inbound
	for c, number := range g.inbound {
		if (host == "" || c.host == host) && (oldest == nil || number < g.inbound[oldest]) {
			oldest = c
		}
	}
	return oldest
}

// outbound is a connection that this node has made. Its answer is read whole before memberlist sees the first byte.
type outbound struct {
	net.Conn
	gate *gate
	read bool // by one goroutine at a time
	err  error
	rest bytes.Reader
}

// Read returns what the other side has answered, if it may pass.
func (c *outbound) Read(p []byte) (int, error) {
	if !c.read {
		c.read = true
		var all bytes.Buffer
		if c.err = c.gate.readMessage(c.Conn, &all, checkAnswer); c.err == nil {
			c.rest.Reset(all.Bytes())
		} else {
			c.gate.counts.streams.Add(1)
			c.gate.refused(c.err, "answer", c.RemoteAddr())
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.rest.Read(p)
}

// readMessage appends a message's bytes to all, if it may pass. A stranger makes it keep no more than it has sent, and
// less than maxStream.
func (g *gate) readMessage(r io.Reader, all *bytes.Buffer, check func([]byte) error) error {
	begin := all.Len()
	if _, err := io.CopyN(all, r, streamHead); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	head := bytes.Clone(all.Bytes()[begin:])
	if head[0] != encryptMsg {
		return errSealed
	}
	length := binary.BigEndian.Uint32(head[1:])
	switch {
	case length < sealedMin:
		return errSealed
	case length > maxStream:
		return fmt.Errorf("%w: %d bytes announced", errLong, length)
	}
	if _, err := io.CopyN(all, r, int64(length)); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	plain, err := g.open(all.Bytes()[begin+streamHead:], append(head, label...))
	if err != nil {
		return err
	}
	return check(plain)
}

// hostOf is what connections of one machine have in common.
func hostOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil {
		return host
	}
	return a.String()
}
