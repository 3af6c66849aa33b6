package consensus

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// nudger tells followers at once what is committed. For entry i of term T, which the machine of T's leader has
// applied, it sends an append request without entries that says: I lead T, my log has (i, T), and i is committed. All
// of it is true and stays true, so it does no harm when it is late or comes twice: a follower in a later term refuses
// it, and one whose log has no (i, T) does too, so an end of a log that differs from the leader's is never committed
// by it. The request must name (i, T): one with PrevLogEntry 0 skips the comparison.
//
// A follower that has no entry i yet refuses; replication is on its way to it, so the nudge is repeated a few times.
// Only entries of the leader's own term are announced: the rule of the Raft paper, section 5.4.2, holds for them by
// themselves.
type nudger struct {
	transport raft.Transport
	self      raft.ServerID
	office    office
	closed    <-chan struct{}
	group     sync.WaitGroup

	sent, repeated, failed atomic.Uint64

	mu        sync.Mutex
	term      uint64 // that followers belongs to
	followers map[raft.ServerID]*follower
}

// office is what the nudger asks the node.
type office interface {
	leads(term uint64) bool
	members() []raft.Server
}

// follower is nudged by one goroutine; what comes while it is busy is merged.
type follower struct {
	wake chan struct{}
	stop chan struct{}

	taken target // the last that it accepted; of its goroutine alone

	mu     sync.Mutex
	server raft.Server
	latest target
}

type target struct{ index, term uint64 }

func newNudger(transport raft.Transport, self string, n *Node) *nudger {
	return &nudger{
		transport: transport,
		self:      raft.ServerID(self),
		office:    n,
		closed:    n.halted,
		followers: map[raft.ServerID]*follower{},
	}
}

// wait returns when all goroutines have ended; the node has halted before, and applies nothing any more.
func (n *nudger) wait() { n.group.Wait() }

// applied is told that the machine has applied an entry; it does not wait.
func (n *nudger) applied(index, term uint64, reconfigured bool) {
	if !n.office.leads(term) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if reconfigured || term != n.term {
		n.term = term
		n.refreshLocked()
	}
	for _, f := range n.followers {
		f.aim(target{index, term})
	}
}

// refreshLocked starts and stops followers as the configuration says.
func (n *nudger) refreshLocked() {
	members := map[raft.ServerID]bool{}
	for _, s := range n.office.members() {
		if s.ID == n.self {
			continue
		}
		members[s.ID] = true
		f, ok := n.followers[s.ID]
		if !ok {
			f = &follower{wake: make(chan struct{}, 1), stop: make(chan struct{})}
			n.followers[s.ID] = f
			n.group.Go(func() { n.run(f) })
		}
		f.move(s)
	}
	for id, f := range n.followers {
		if !members[id] {
			close(f.stop)
			delete(n.followers, id)
		}
	}
}

func (n *nudger) run(f *follower) {
	for {
		select {
		case <-f.wake:
			n.deliver(f)
		case <-f.stop:
			return
		case <-n.closed:
			return
		}
	}
}

// deliver sends the latest target until the follower has taken it, it is given up, or this node's office is over.
func (n *nudger) deliver(f *follower) {
	var current target
	tries, pause := 0, nudgePause
	for {
		server, latest := f.aimed()
		if latest == f.taken {
			return
		}
		if latest != current {
			current, tries, pause = latest, 0, nudgePause
		}
		if tries == maxNudgeTries {
			n.failed.Add(1)
			return
		}
		if !n.office.leads(current.term) {
			return
		}
		if tries++; tries > 1 {
			n.repeated.Add(1)
		}
		if n.send(server, current) {
			f.taken = current
			return // if there is a newer target by now, wake says so
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause = min(2*pause, maxNudgePause)
		case <-f.wake:
			timer.Stop()
		case <-f.stop:
			timer.Stop()
			return
		case <-n.closed:
			timer.Stop()
			return
		}
	}
}

// send reports whether the follower has taken the nudge. An error is as good as a refusal: an idle connection may have
// been broken.
func (n *nudger) send(server raft.Server, t target) bool {
	if t.index == 0 || t.term == 0 {
		panic("BUG: a nudge without an entry would have the follower commit whatever it has")
	}
	address := n.transport.EncodePeer(n.self, n.transport.LocalAddr())
	request := raft.AppendEntriesRequest{
		RPCHeader:         raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.self), Addr: address},
		Term:              t.term,
		PrevLogEntry:      t.index,
		PrevLogTerm:       t.term,
		LeaderCommitIndex: t.index,
	}
	var response raft.AppendEntriesResponse
	n.sent.Add(1)
	err := n.transport.AppendEntries(server.ID, server.Address, &request, &response)
	return err == nil && response.Success
}

func (f *follower) aim(t target) {
	f.mu.Lock()
	f.latest = t
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default: // it will look at the latest anyway
	}
}

func (f *follower) move(s raft.Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = s
}

func (f *follower) aimed() (raft.Server, target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server, f.latest
}

// members returns the servers of the latest configuration.
func (n *Node) members() []raft.Server { return n.raft.GetConfiguration().Configuration().Servers }
