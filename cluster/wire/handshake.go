package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"cloakroom/cluster/session"
)

// Kinds of connections: the first byte after TLS.
const (
	kindRaft   = 'R'
	kindStream = 'S'
)

// secured is a connection after the handshake.
type secured struct {
	net.Conn // TLS
	entry    *entry
}

// dial makes a connection of that kind to addr.
func (t *Transport) dial(ctx context.Context, addr string, kind byte) (*secured, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	raw, err := t.cfg.Network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := t.table.begin(raw, ""); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	defer t.table.finish(raw)
	conn, err := t.introduce(ctx, raw, kind)
	if err != nil {
		_ = raw.Close() // the reason is err
		return nil, err
	}
	return conn, nil
}

// introduce is the dialer's part of the handshake.
func (t *Transport) introduce(ctx context.Context, raw net.Conn, kind byte) (*secured, error) {
	deadline, _ := ctx.Deadline() // dial has set one
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	conn := tls.Client(raw, t.identity.client)
	if err := conn.Handshake(); err != nil {
		return nil, handshakeError(err)
	}
	own := t.hello()
	if _, err := conn.Write(append([]byte{kind}, own.encode()...)); err != nil {
		return nil, handshakeError(err)
	}
	block, err := readBlock(conn, MaxHello)
	if err != nil {
		return nil, handshakeError(err)
	}
	peer, refusal, err := decodeHello(block)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	if err := own.accept(peer, commonName(conn.ConnectionState())); err != nil {
		return nil, err
	}
	s := t.secure(conn, raw, kind, peer)
	s.entry.announced = own.cluster
	if _, err := t.table.admit(s.entry); err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		t.table.remove(s.entry)
		return nil, err
	}
	return s, nil
}

// welcome is the accepting side's part of the handshake. An error has been told to the peer, if it has come far enough
// to understand it.
func (t *Transport) welcome(raw net.Conn) (*secured, error) {
	if err := raw.SetDeadline(time.Now().Add(HandshakeTimeout)); err != nil {
		return nil, err
	}
	conn := tls.Server(raw, t.identity.server)
	if err := conn.Handshake(); err != nil {
		return nil, handshakeError(err)
	}
	kind, peer, err := t.readHello(conn)
	if err != nil {
		return nil, t.refuse(conn, err)
	}
	s := t.secure(conn, raw, kind, peer)
	s.entry.inbound = true
	own := t.hello()
	if own.cluster, err = t.take(s.entry); err != nil {
		return nil, t.refuse(conn, err)
	}
	if _, err = conn.Write(own.encode()); err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		t.giveBack(s.entry)
		return nil, handshakeError(err)
	}
	return s, nil
}

// take makes room for an inbound connection and returns the cluster id to tell.
func (t *Transport) take(e *entry) (cluster string, err error) {
	if e.kind == kindRaft && !t.raft.reserve() {
		return "", ErrOverloaded
	}
	cluster, err = t.table.admit(e)
	if err != nil && e.kind == kindRaft {
		t.raft.release()
	}
	return cluster, err
}

// giveBack undoes take.
func (t *Transport) giveBack(e *entry) {
	t.table.remove(e)
	if e.kind == kindRaft {
		t.raft.release()
	}
}

// readHello reads what the dialer says first, and judges it.
func (t *Transport) readHello(conn *tls.Conn) (kind byte, peer hello, err error) {
	var first [1]byte
	if _, err := conn.Read(first[:]); err != nil {
		return 0, hello{}, err
	}
	block, err := readBlock(conn, MaxHello)
	if err != nil {
		return 0, hello{}, err
	}
	peer, refusal, err := decodeHello(block)
	if err != nil {
		return 0, hello{}, err
	}
	if refusal != nil {
		return 0, hello{}, fmt.Errorf("%w: a dialer has nothing to refuse", errHello)
	}
	if kind = first[0]; kind != kindRaft && kind != kindStream {
		return 0, hello{}, ErrUnknownRequest
	}
	return kind, peer, t.hello().accept(peer, commonName(conn.ConnectionState()))
}

// refuse tells the peer why, if the reason has a code, and returns the reason.
func (t *Transport) refuse(conn *tls.Conn, why error) error {
	if e, ok := errors.AsType[*session.Error](why); ok {
		if _, err := conn.Write(encodeRefusal(e)); err != nil {
			return fmt.Errorf("%w; the peer could not be told: %w", why, err)
		}
	}
	return why
}

// hello is this node's own.
func (t *Transport) hello() hello {
	return hello{nodeID: t.cfg.NodeID, min: t.cfg.MinVersion, max: t.cfg.MaxVersion, cluster: t.table.ownCluster()}
}

// secure wraps an authenticated connection. A stream has its frames' queue from here on, so that news of the cluster
// id finds it.
func (t *Transport) secure(conn *tls.Conn, raw net.Conn, kind byte, peer hello) *secured {
	e := &entry{raw: raw, kind: kind, peer: peer.nodeID, cluster: peer.cluster}
	if kind == kindStream {
		e.stream = newStream(conn, raw, t.cfg.DeadAfter, &t.counters)
		e.stream.onCluster = func(id string) { t.table.peerCluster(e, id) }
	}
	return &secured{Conn: conn, entry: e}
}

// handshakeError finds the one reason that people can do something about: the keys differ. The side that checks second
// learns it from an alert only.
func handshakeError(err error) error {
	var unverified *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unverified) && errors.As(err, &unknown) {
		return fmt.Errorf("%w: %w", ErrOtherKey, err)
	}
	return fmt.Errorf("handshake: %w", err)
}
