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
	ctx, cancel := context.WithTimeout(ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	raw, err := t.cfg.Network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if _, err := t.table.begin(raw, ""); err != nil {
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
	id := t.identity.Load()
	own := t.hello()
	conn, peer, err := t.meet(ctx, raw, kind, id, own)
	if err != nil {
		return nil, err
	}
	s := t.secure(conn, raw, kind, peer)
	s.entry.ownKey, s.entry.peerKey = id.first, id.keyOf(conn.ConnectionState())
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

// meet is the exchange of certificates and hellos, as the dialer does it under the identity.
func (t *Transport) meet(ctx context.Context, raw net.Conn, kind byte, id *identity, own hello) (*tls.Conn, hello, error) {
	deadline, _ := ctx.Deadline() // who dials has set one
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, hello{}, err
	}
	conn := tls.Client(raw, id.client)
	if err := conn.Handshake(); err != nil {
		return nil, hello{}, handshakeError(err)
	}
	if _, err := conn.Write(append([]byte{kind}, own.encode()...)); err != nil {
		return nil, hello{}, handshakeError(lastWord(conn, err))
	}
	block, err := readBlock(conn, MaxHello)
	if err != nil {
		return nil, hello{}, handshakeError(err)
	}
	peer, refusal, err := decodeHello(block)
	if err != nil {
		return nil, hello{}, err
	}
	if refusal != nil {
		return nil, hello{}, refusal
	}
	return conn, peer, own.accept(peer, commonName(conn.ConnectionState()))
}

// lastWord returns why a peer has closed, if it has said so, and otherwise the error of the write that found it closed. In
// TLS 1.3 the dialer is through before the other side has judged its certificate: whoever is slow to write its hello finds
// the connection closed, and the reason unread.
func lastWord(conn *tls.Conn, err error) error {
	if _, said := conn.Read(make([]byte, 1)); alert(said) != "" {
		return said
	}
	return err
}

// welcome is the accepting side's part of the handshake. An error has been told to the peer, if it has come far enough
// to understand it.
func (t *Transport) welcome(raw net.Conn) (*secured, error) {
	if err := raw.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout)); err != nil {
		return nil, err
	}
	id := t.identity.Load()
	conn := tls.Server(raw, id.server)
	if err := conn.Handshake(); err != nil {
		return nil, handshakeError(err)
	}
	kind, peer, err := t.readHello(conn)
	if err != nil {
		return nil, t.refuse(conn, err)
	}
	s := t.secure(conn, raw, kind, peer)
	s.entry.inbound = true
	s.entry.ownKey, s.entry.peerKey = id.first, id.keyOf(conn.ConnectionState())
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
	if why := alert(err); why == alertUnknownCA.Error() || why == alertBadCertificate.Error() {
		return fmt.Errorf("%w: %w", ErrKeyRefused, err)
	}
	return fmt.Errorf("handshake: %w", err)
}

// alert returns the words of the alert that the peer has sent, if that is what err is, or "".
func alert(err error) string {
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" {
		return remote.Err.Error()
	}
	return ""
}

// What crypto/tls tells a peer whose certificate is under a CA that is not accepted, as the server and as the client
// (RFC 8446, 6.2).
const (
	alertUnknownCA      = tls.AlertError(48)
	alertBadCertificate = tls.AlertError(42)
)
