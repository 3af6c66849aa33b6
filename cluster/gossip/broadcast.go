package gossip

// News is what travels by gossip besides the members. Its methods are called on memberlist's goroutines, which everything
// else waits for: they must not block, and must not keep the bytes that they are given.
type News interface {
	// Take returns what to send with the next packet, in at most limit bytes; nil: nothing. It is called for each packet,
	// and which of the other members that goes to is by lot.
	Take(limit, others int) []byte
	// Hear gets what Take or State of another node has returned, perhaps several times, late, or never.
	Hear(b []byte)
	// State returns what a node should know that joins, or has missed something; nil: nothing. Two nodes exchange theirs
	// at a join and every pushPullInterval with one chosen by lot. More than MaxState is not sent.
	State() []byte
}

// NotifyMsg takes news from a packet.
func (d *delegate) NotifyMsg(b []byte) {
	if d.news != nil {
		d.news.Hear(b)
	}
}

// GetBroadcasts fills what is left of a packet with news.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	if d.news == nil {
		return nil
	}
	b := d.news.Take(limit-overhead, max(0, d.table.alive()-1))
	if b == nil {
		return nil
	}
	return [][]byte{b}
}

// LocalState and MergeRemoteState exchange all news with one other node.
func (d *delegate) LocalState(bool) []byte {
	if d.news == nil {
		return nil
	}
	b := d.news.State()
	if len(b) > MaxState {
		return nil
	}
	return b
}

// MergeRemoteState takes the other node's.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if d.news != nil && len(b) > 0 && len(b) <= MaxState {
		d.news.Hear(b)
	}
}
