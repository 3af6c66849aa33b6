package idle_test

import (
	"context"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// leases are those of a lab, as far as this package rests on them: what the leader has granted, and that a command is
// answered when all who hold one have applied it. All of it is guarded by lab.mu.
type leases struct {
	lease    time.Duration // how long one lasts; 0: there are none
	served   map[string]time.Time
	former   time.Time // until then somebody may serve by leave of a former leader
	frozen   time.Time // until then nothing is proposed
	stable   uint64
	boastful bool // a new leader takes it that nobody has served before it
	unknown  bool // it is not known who has served

	stopRenewing string // this node gets no lease any more
}

// leased is a node's side of it.
type leased struct {
	until   time.Time
	min     uint64
	wants   bool
	wanted  []wanting // what was said, and when
	closing chan struct{}
	closed  chan struct{}
}

type wanting struct {
	at   time.Time
	want bool
}

const leaseMargin = 50 * time.Millisecond

// leasing gives the lab's nodes leases.
func leasing(d time.Duration) labOption {
	return func(l *lab) { l.lease, l.served = d, make(map[string]time.Time) }
}

// keeperLeases are what a node's keeper sees.
type keeperLeases struct{ *node }

func (l *lab) leasesOf(n *node) idle.Leases {
	if l.lease == 0 {
		return nil
	}
	return keeperLeases{n}
}

func (n keeperLeases) Served(id string) (ago time.Duration, ok bool) {
	l := n.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader != n.name {
		return 0, false
	}
	until := l.former
	if s := l.served[id]; s.After(until) {
		until = s
	}
	if l.unknown {
		return time.Hour, false
	}
	return max(0, time.Since(until)), true
}

func (n keeperLeases) GiveBack(string) {
	l := n.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	n.until = time.Time{}
	if l.linkedLocked(n.name, l.leader) && l.served[n.name].After(time.Now()) {
		l.served[n.name] = time.Now()
	}
}

func (n keeperLeases) Want(want bool) {
	n.lab.mu.Lock()
	n.wants = want
	n.wanted = append(n.wanted, wanting{time.Now(), want})
	n.lab.mu.Unlock()
	if !want {
		n.GiveBack("")
	}
}

// openLease has the node ask for a lease again and again.
func (n *node) openLease() {
	l := n.lab
	if l.lease == 0 {
		return
	}
	l.mu.Lock()
	n.leased = leased{wants: true, closing: make(chan struct{}), closed: make(chan struct{})}
	l.mu.Unlock()
	go func() {
		defer close(n.closed)
		for {
			n.renew()
			select {
			case <-time.After(l.lease / 5):
			case <-n.closing:
				return
			}
		}
	}()
}

func (n *node) closeLease() {
	if n.lab.lease > 0 {
		close(n.closing)
		<-n.closed
	}
}

// hop brings a message to another node, or to itself.
func (l *lab) hop(ctx context.Context, from, to string) error {
	if from == to {
		return nil
	}
	return l.travel(ctx, from, to)
}

// renew asks the leader for a lease.
func (n *node) renew() {
	l := n.lab
	ctx, cancel := context.WithTimeout(context.Background(), l.lease/5)
	defer cancel()
	l.mu.Lock()
	sent, leader, wants := time.Now(), l.leader, n.wants && n.up && n.stalled == nil
	l.mu.Unlock()
	if !wants || leader == "" || l.hop(ctx, n.name, leader) != nil {
		return
	}
	l.mu.Lock()
	ok := l.leadsLocked(leader) && n.name != l.stopRenewing
	if ok {
		l.served[n.name] = time.Now().Add(l.lease) // before anybody hears of it
	}
	stable := l.stable
	l.mu.Unlock()
	if !ok || l.hop(ctx, leader, n.name) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.wants && n.up {
		n.until, n.min = sent.Add(l.lease-leaseMargin), max(n.min, stable)
	}
}

// begin lets a lookup read this node's machine: by its lease, or by a point.
func (n *node) begin(ctx context.Context) error {
	if n.holds() {
		return nil
	}
	l := n.lab
	l.mu.Lock()
	leader := l.leader
	l.mu.Unlock()
	if leader == "" || l.hop(ctx, n.name, leader) != nil {
		return wire.ErrNoLeader
	}
	l.mu.Lock()
	ok := l.leadsLocked(leader)
	index := uint64(len(l.log))
	if ok && l.served[n.name].Before(time.Now()) {
		l.served[n.name] = time.Now()
	}
	l.mu.Unlock()
	if !ok || l.hop(ctx, leader, n.name) != nil {
		return wire.ErrNoLeader
	}
	if err := n.WaitApplied(ctx, index); err != nil {
		return wire.ErrTimeout
	}
	return nil
}

// holds reports whether the node has a lease.
func (n *node) holds() bool {
	n.lab.mu.Lock()
	until, least := n.until, n.min
	n.lab.mu.Unlock()
	return time.Now().Before(until) && n.applied() >= least
}

func (n *node) applied() (index uint64) {
	n.Read(func(m *session.Machine) { index = m.Applied() })
	return index
}

// thaw is called when a leader has taken office.
func (l *lab) thaw() {
	if l.lease == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.served)
	l.frozen = time.Now().Add(l.lease + leaseMargin)
	if l.former = l.frozen; l.boastful {
		l.former = time.Time{}
	}
}

func (l *lab) awaitThaw() {
	l.mu.Lock()
	frozen := l.frozen
	l.mu.Unlock()
	time.Sleep(time.Until(frozen))
}

func (l *lab) slowness(cmd session.Command) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slow == nil {
		return 0
	}
	return l.slow(cmd)
}

// awaitStable returns when everybody who holds a lease has applied an entry.
func (l *lab) awaitStable(index uint64) {
	for l.lease > 0 {
		l.mu.Lock()
		now := time.Now()
		reached := l.leader != ""
		for id, until := range l.served {
			if reached && until.After(now) {
				l.mu.Unlock()
				reached = l.nodes[id].applied() >= index
				l.mu.Lock()
			}
		}
		if reached {
			l.stable = max(l.stable, index)
		}
		l.mu.Unlock()
		if reached {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
