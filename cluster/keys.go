package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cloakroom/cluster/gossip"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/wire"
)

// ErrKeysTooEarly refuses cluster keys that would cut this node off from another member: an exchange goes through all
// nodes, step by step. Nothing has changed then.
var ErrKeysTooEarly = errors.New("the cluster keys stay as they are")

// KeyStats says how a cluster key is used on this node. While keys are exchanged, the old one can be taken out everywhere
// when no node has a stream connection under it and none hears gossip under it any more.
type KeyStats struct {
	ID      string // a hash of the key
	First   bool   // used for all that is new
	Streams int    // connections for requests that this node's certificate or the peer's is under
	Raft    int    // raft's connections, the same; what is left when the key goes is closed and made anew
	Gossip  uint64 // messages of gossip that have come under it
}

// completeKeys makes a ring of the key where none is given.
func (c *Config) completeKeys() (err error) {
	if c.Keys == nil {
		c.Keys, err = wire.NewKeyRing(c.Key)
	}
	c.Key = wire.ClusterKey{}
	return err
}

// noteKey keeps what the data directory says of the cluster key true: a node whose directory is under a key that has gone
// would not start again.
func (c *Cluster) noteKey() error { return c.data.setKey(c.cfg.Keys.First()) }

// ReplaceKeys puts other cluster keys in the place of those that there are, as KeyRing.Replace does, but not when that would
// cut this node off: a key becomes the first only when all other members accept it, and one goes only when none of them
// needs it any more. Each is asked by a connection that is made for that. Members that were not reached are returned by
// name: they can't be waited for, as one may be lost for good.
func (c *Cluster) ReplaceKeys(ctx context.Context, keys []wire.ClusterKey) (unasked []string, err error) {
	present, members := c.cfg.Keys.Keys(), c.Members(ctx)
	gone := slices.ContainsFunc(present, func(k wire.ClusterKey) bool { return !slices.Contains(keys, k) })
	if len(keys) > 0 && (gone || keys[0] != present[0]) {
		if unasked, err = c.tryKeys(ctx, members, keys); err != nil {
			return nil, err
		}
	}
	if n := c.unrenewed(members, keys); gone && n > 0 {
		return nil, fmt.Errorf("%w: %d connections of other nodes are still under a key that is not in the file any more: they are being renewed, try again in half a minute", ErrKeysTooEarly, n)
	}
	return unasked, c.cfg.Keys.Replace(keys)
}

// unrenewed counts the connections of members that would be closed. Others don't count: who has stolen the key that is to go
// must not keep it in use by a connection.
func (c *Cluster) unrenewed(members []Member, keys []wire.ClusterKey) (count int) {
	for _, peer := range c.wire.Strangers(keys) {
		if slices.ContainsFunc(members, func(m Member) bool { return m.ID == peer }) {
			count++
		}
	}
	return count
}

// tryKeys asks all other members whether they and this node would understand each other under these keys.
func (c *Cluster) tryKeys(ctx context.Context, members []Member, keys []wire.ClusterKey) (unasked []string, err error) {
	found := make([]error, len(members))
	var group sync.WaitGroup
	for i, m := range members {
		if !m.Self {
			group.Go(func() { found[i] = c.wire.Try(ctx, wire.Node{ID: m.ID, Addr: m.Peer}, keys) })
		}
	}
	group.Wait()
	var needed, refused []string
	for i, m := range members {
		switch {
		case found[i] == nil:
		case errors.Is(found[i], wire.ErrBadKey), errors.Is(found[i], wire.ErrBadRing):
			return nil, found[i]
		case errors.Is(found[i], wire.ErrOtherKey):
			needed = append(needed, m.Name)
		case errors.Is(found[i], wire.ErrKeyRefused):
			refused = append(refused, m.Name)
		default:
			unasked = append(unasked, m.Name)
		}
	}
	switch {
	case len(refused) > 0:
		return nil, fmt.Errorf("%w: the first key in the file is not accepted by %s yet: add it to the file there as the last line and signal that node, and then this one", ErrKeysTooEarly, strings.Join(refused, ", "))
	case len(needed) > 0:
		return nil, fmt.Errorf("%w: one that is not in the file here any more is still the first of %s: put it back, and take it out when the new one is the first everywhere", ErrKeysTooEarly, strings.Join(needed, ", "))
	}
	return unasked, nil
}

// keyStats returns the ring's keys in their order.
func keyStats(w wire.Stats, g gossip.Stats) []KeyStats {
	var keys []KeyStats
	for i, k := range w.Keys {
		one := KeyStats{ID: string(k.ID), First: i == 0, Streams: k.Streams, Raft: k.Raft}
		for _, heard := range g.Keys {
			if heard.ID == k.ID {
				one.Gossip = heard.Received
			}
		}
		keys = append(keys, one)
	}
	return keys
}

// ReplaceDataKeys puts other keys in place of those of Config.DataKeys: the first encrypts from now on, and what is on the
// disk is encrypted anew under it, beside everything else. It is refused while something is under a key that is not among
// them.
func (c *Cluster) ReplaceDataKeys(keys []keyring.Key) error {
	if err := c.raft.ReplaceDataKeys(keys); err != nil {
		return fmt.Errorf("replace data keys: %w", err)
	}
	c.resealData()
	return nil
}

// The pauses before what is on the disk is tried to be encrypted anew once more: the first, which doubles, and the longest.
const (
	resealRetry    = time.Second
	resealRetryMax = time.Minute
)

// resealData encrypts anew what is plain on the disk or under another data key than the first, if anything is. That takes a
// snapshot, which may not be possible for a while, as when there is little room or another one is being written: then it is
// tried again.
func (c *Cluster) resealData() {
	if !c.raft.NeedsReseal() || !c.resealing.CompareAndSwap(false, true) {
		return // or it is being done, and looks again in the end
	}
	c.group.Go(func() {
		for pause := resealRetry; ; pause = min(2*pause, resealRetryMax) {
			err := c.raft.Reseal(c.ctx)
			switch {
			case err == nil:
				c.logger.Info("log and snapshots are encrypted under the first data key")
				c.resealing.Store(false)
				c.resealData() // other keys may have come meanwhile
				return
			case c.ctx.Err() != nil:
				return
			}
			c.logger.Warn("log and snapshots are not all encrypted under the first data key yet: keep the others in the file", "error", err, "again_in", pause)
			if !sleep(c.ctx, pause) {
				return
			}
		}
	})
}
