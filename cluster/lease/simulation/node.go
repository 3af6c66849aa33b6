package simulation

import (
	"fmt"

	"cloakroom/cluster/lease"
)

// node is one node: what is on its disk, and the process that may run.
type node struct {
	w     *world
	index int
	id    string

	up          bool
	life        uint32 // counts starts and crashes
	pausedUntil micros
	clock       clock
	steadyFor   micros // its clock doesn't stop before
	numb        bool   // it stands still for long: it will notice, but leases don't end on its clock

	raft      raft
	table     table
	applied   uint64 // up to which commands and configurations are visible: lookups compare with it
	restoring bool
	applier   applier
	runner    runner
}

func newNode(w *world, i int) *node {
	n := &node{w: w, index: i, id: fmt.Sprintf("n%d", i)}
	n.clock = clock{base: lease.Time(w.upTo(1000 * millisecond)).Add(0), rate: w.clockRate()}
	n.raft = newRaft(n, w.p.config)
	n.applier.n = n
	n.runner.n = n
	return n
}

// later lets something happen in this life of the node.
func (n *node) later(d micros, do func()) {
	n.w.timeline.add(occurrence{at: n.w.now + d, node: n, life: n.life, do: do})
}

// able reports whether the node's process runs.
func (n *node) able() bool { return n.up && n.pausedUntil <= n.w.now }

func (n *node) now() lease.Time { return n.clock.read(n.w.now) }

func (n *node) tell(format string, args ...any) {
	if n.w.trace != nil {
		n.w.tell("%s %s", n.id, fmt.Sprintf(format, args...))
	}
}

// start begins a process: its table is that of its last snapshot.
func (n *node) start() {
	n.up = true
	n.life++
	n.pausedUntil = 0
	n.restoring, n.numb = false, false
	n.clock.goOn(n.w.now)
	n.table, n.applied = table{}, 0
	n.applier = applier{n: n}
	if s := n.raft.snapshot; s != nil {
		n.load(s)
	}
	n.clock.setRate(n.w.now, n.clock.rate)
	n.clock.base += lease.Time(n.w.upTo(1000*millisecond)) * 1000 // another process, another epoch
	n.runner.start()
	n.raft.start()
	if n.w.trace != nil {
		n.tell("starts, applied %d, log up to %d", n.applied, n.raft.log.last())
	}
}

func (n *node) crash(down micros) {
	if !n.up {
		return
	}
	n.w.counts.Crashes++
	n.tell("crashes for %v", down.real())
	n.up = false
	n.life++
	n.w.later(down, n.start)
}

func (n *node) pause(d micros) {
	n.w.counts.Pauses++
	n.tell("is paused for %v", d.real())
	n.pausedUntil = max(n.pausedUntil, n.w.now+d)
}

// standStill stops the machine together with its clock.
func (n *node) standStill(d micros) {
	n.w.counts.Standstills++
	n.tell("stands still for %v", d.real())
	n.clock.stop(n.w.now)
	n.pausedUntil = max(n.pausedUntil, n.w.now+d)
	n.w.later(d, func() { n.clock.goOn(n.w.now) })
}

// standStillLong stops them for longer than the margin allows, which the node notices before it does anything else.
func (n *node) standStillLong(d micros) {
	n.standStill(d)
	n.numb = true
	life := n.life
	n.w.later(d, func() {
		if !n.up || n.life != life {
			return
		}
		n.numb = false
		if !n.w.breaks.JumpUnnoticed {
			n.runner.step(lease.GiveBack{})
		}
	})
}

// restore replaces the table by a snapshot, which takes time.
func (n *node) restore(s *snapshot, done func()) {
	w := n.w
	w.counts.Restores++
	if w.trace != nil {
		n.tell("restores a snapshot of %d over %d", s.index, n.applied)
	}
	n.restoring = true
	if !w.breaks.RestoreUntold {
		n.runner.step(lease.Restoring{})
	}
	n.table = table{}
	d := w.upTo(2 * millisecond)
	if w.chance(0.2) {
		d = w.upTo(60 * millisecond)
	}
	n.later(d, func() {
		n.restoring = false
		n.load(s)
		if w.breaks.RestoreUntold {
			n.runner.step(lease.Applied{Index: s.applied, Term: s.term})
		} else {
			n.runner.step(lease.Restored{Applied: s.applied})
		}
		n.runner.forget(s.index)
		done()
		n.applier.kick()
	})
}

func (n *node) load(s *snapshot) {
	n.table = s.table
	if n.w.p.modless {
		n.table.forgetChanges()
	}
	n.applied = s.applied
	n.applier.index = s.index
}
