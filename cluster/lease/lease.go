package lease

import "time"

// Time is a moment on one node's own clock, in nanoseconds since a moment of that node's choosing. Times of different
// nodes, or of different starts of one, can't be compared. Only rates matter. It is later than 0, which stands for none.
type Time int64

// Add returns the moment d later.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Boot names one unbroken life of a node's table: a new one begins at each start, before a restore touches the table, and
// whenever the node gives its lease back. It is never used twice, also not by a node on a copied data directory.
type Boot struct {
	Process uint64 // random, new at each start
	Serial  uint64 // counts within the process
}

// before reports whether b is an earlier boot of the same process: that the process went on to the other one has ended it.
func (b Boot) before(other Boot) bool { return b.Process == other.Process && b.Serial < other.Serial }

// previous returns the boot before this one.
func (b Boot) previous() Boot { return Boot{Process: b.Process, Serial: b.Serial - 1} }

// Config is what all nodes must agree on, and who this one is.
type Config struct {
	Self     string
	Duration time.Duration // D: how long a lease lasts, and how long a lost node can delay writes
	Rate     int           // ε in thousandths: clock rates of two nodes differ by less
	Margin   time.Duration // M: no machine stands still with its clock for longer, in all during one lease, while others go on
	MaxLag   uint64        // entries that a member may be behind and still be granted a lease
}

// Lease is what lookups need of a node's state. It is a value that does not change: each step may make a new one.
type Lease struct {
	Boot  Boot
	Term  uint64 // of the leader that granted it
	Until Time   // exclusive; 0: no lease
	Min   uint64 // it counts only when the table has reached this index
	Floor uint64 // index of the snapshot that the table comes from: no record is taken for older
}

// Holds reports whether a lookup may answer from this node's table, whose effects are visible up to applied. The caller
// has loaded the lease first and read now after it, both after the request has come in.
func (l Lease) Holds(now Time, applied uint64) bool { return now < l.Until && applied >= l.Min }

// Covers reports whether a record that last changed at mod may be shown when everything up to stable is stable. Between
// Holds and this, the record is read, and then the boot must be what it was.
func (l Lease) Covers(mod, stable uint64) bool { return max(mod, l.Floor) <= stable }

// Office is what a node that leads knows of its term.
type Office struct {
	Term    uint64 // 0: this node does not lead
	Taken   bool   // the first tick is applied: everything of former terms is below
	Frozen  bool   // leases of a former leader may be out: nothing but ticks is to be proposed, nothing is acknowledged
	Handing bool   // a hand-over is under way: nothing is to be proposed
	Handed  bool   // the hand-over's entry is applied: the leadership may be transferred
	Mixed   bool   // a member knows another lease duration: there are no leases
}
