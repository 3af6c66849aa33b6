package cluster

import (
	"sync/atomic"

	"cloakroom/cluster/session"
)

// changes knows up to which entry of the log anything in this node's machine may have changed. A tick of the read leases
// changes nothing, so that it is stable is told to members with other news only, and a read must not wait for that. What
// has come with a snapshot is not known here: leases take all of it for changed at its index (lease.Lease.Floor).
//
// All but index is called on the goroutine that changes the machine.
type changes struct {
	last atomic.Uint64 // of no less than the last change, unless open
	open atomic.Bool   // something has changed, by an entry that is not known yet
}

// command is told of a command under the lock under which it has changed the machine.
func (c *changes) command(cmd session.Command) {
	if _, tick := cmd.(*session.Tick); !tick {
		c.open.Store(true)
	}
}

// applied is told of the last entry of a batch.
func (c *changes) applied(index uint64) {
	if c.open.Load() {
		c.last.Store(index)
		c.open.Store(false)
	}
}

// index returns the last change of what can be read in the machine, or a later entry; it is called under the machine's lock.
func (c *changes) index(m *session.Machine) uint64 {
	if c.open.Load() {
		return m.Applied()
	}
	return c.last.Load()
}
