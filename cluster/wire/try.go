package wire

import (
	"context"
	"errors"
	"fmt"
)

// Try finds out what Replace of the ring by these keys would do to the connections with a node: it makes one as if that had
// happened, and ends it. Nil: each accepts the other. ErrOtherKey: the node's own certificate is under a key that is not
// among them. ErrKeyRefused: the node does not accept the first of them. Anything else says nothing about keys: mostly
// that the node was not reached.
func (t *Transport) Try(ctx context.Context, node Node, keys []ClusterKey) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	id, err := newIdentity(keys, t.cfg.NodeID)
	if err != nil {
		return fmt.Errorf("try keys: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	raw, err := t.cfg.Network.Dial(ctx, node.Addr)
	if err != nil {
		return unreachable(node.Addr, err)
	}
	if _, err := t.table.begin(raw, ""); err != nil {
		return errors.Join(err, raw.Close())
	}
	defer t.table.finish(raw)
	conn, peer, err := t.meet(ctx, raw, kindStream, id, t.hello())
	if err != nil {
		_ = raw.Close() // the reason is err
		return unreachable(node.Addr, err)
	}
	_ = conn.Close() // it was for the handshake alone
	return node.check(peer.nodeID)
}

// Strangers returns the peers of the stream connections on which they have shown a certificate under none of these keys, one
// for each connection. These would be closed, and what is under way on them lost, if these were the ring's. Between nodes in
// order they are renewed within RenewEvery.
func (t *Transport) Strangers(keys []ClusterKey) (peers []string) {
	known := make(map[KeyID]bool, len(keys))
	for _, k := range keys {
		known[k.ID()] = true
	}
	for _, e := range t.table.entries() {
		if e.stream != nil && !known[e.peerKey] {
			peers = append(peers, e.peer)
		}
	}
	return peers
}
