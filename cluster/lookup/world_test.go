package lookup

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
)

// Of the world's nodes.
const (
	leaseDuration = time.Second
	leaseMargin   = 50 * time.Millisecond
	leaseLag      = 20
	hop           = time.Millisecond        // of a message between nodes
	noticeLoss    = 500 * time.Millisecond  // until a leader that is cut off steps down
	soon          = 200 * time.Millisecond  // long enough for what should happen at once
	outlast       = 1100 * time.Millisecond // for leases that nobody renews to end, and for a new leader to thaw
)

// world is a cluster in fake time: real Readers over one log that stands for raft's, a table on each node, and links that
// can be cut. Elections happen when a test calls for them.
//
// It watches two things. No lookup returns less than was acknowledged, or shown to anybody, before it began. And whenever a
// write is acknowledged, every node with a lease has applied it.
type world struct {
	t     *testing.T
	start time.Time
	ids   []string
	nodes map[string]*node

	mu      sync.Mutex
	term    uint64
	leader  string
	commit  uint64
	cut     map[[2]string]bool
	told    map[string]uint64 // by key: the highest version that anybody was told of
	changed chan struct{}     // closed and replaced when who leads changes

	ctx   context.Context
	stop  context.CancelFunc
	group sync.WaitGroup
}

// entry is a write of a key, or a command of the protocol.
type entry struct {
	term uint64
	key  string
	cmd  session.Command
}

// inWorld runs a test with nodes a, b and c, of which a leads and all have leases.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	clustertest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		w.elect("a")
		w.within(outlast+soon, "all nodes have a lease, and the leader may write", func() bool {
			return w.leased("a", "b", "c") && !w.office("a").Frozen
		})
		test(t, w)
	})
}

func newWorld(t *testing.T, ids ...string) *world {
	w := &world{
		t: t, start: time.Now(), ids: ids, nodes: map[string]*node{}, cut: map[[2]string]bool{}, told: map[string]uint64{},
		changed: make(chan struct{}),
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	for _, id := range ids {
		w.nodes[id] = newNode(w, id)
	}
	for _, n := range w.nodes {
		n.reader.Open()
		w.group.Go(n.replicate)
		w.group.Go(n.govern)
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.reader.Close()
		}
		w.stop()
		w.group.Wait()
	})
	return w
}

func (w *world) elect(id string) {
	w.t.Helper()
	w.within(soon, id+" is elected", func() bool { return w.tryElect(id) }) // it may be a hop behind
}

// tryElect makes a node leader of a new term, if a majority can be asked. A former leader that can't be reached notices later.
func (w *world) tryElect(id string) bool {
	w.mu.Lock()
	n := w.nodes[id]
	var voters []*node
	for _, other := range w.nodes {
		if w.linkedLocked(id, other.id) {
			voters = append(voters, other)
		}
	}
	if len(voters) <= len(w.ids)/2 || uint64(len(n.log)) < w.commit {
		w.mu.Unlock()
		return false
	}
	former := w.nodes[w.leader]
	w.term++
	w.leader = id
	for _, voter := range voters {
		voter.term, voter.leader, voter.leads = w.term, id, voter == n
	}
	w.wakeLocked()
	w.mu.Unlock()
	n.reader.Stored(n.Term()) // the entry by which raft's leaders take office
	if former != nil && former != n {
		time.AfterFunc(noticeLoss, func() { w.stepDown(former) })
	}
	return true
}

// stepDown has a node find out that it does not lead.
func (w *world) stepDown(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leader != n.id {
		n.leads, n.leader = false, ""
		if w.linkedLocked(n.id, w.leader) {
			n.term, n.leader = w.term, w.leader
		}
		w.wakeLocked()
	}
}

func (w *world) wakeLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) linkedLocked(from, to string) bool {
	return from == to || w.nodes[from].up && w.nodes[to].up && !w.cut[[2]string{from, to}]
}

func (w *world) linked(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.linkedLocked(from, to)
}

// isolate cuts a node off: what is sent to it and by it is never answered.
func (w *world) isolate(id string, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.ids {
		w.cut[[2]string{id, other}], w.cut[[2]string{other, id}] = off, off
	}
}

// kill ends a node as a power failure does. It does not come back.
func (w *world) kill(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[id].up = false
}

// within waits until what must come true has.
func (w *world) within(limit time.Duration, what string, holds func() bool) {
	w.t.Helper()
	for begun := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > limit {
			w.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// leased reports whether all these nodes hold a lease.
func (w *world) leased(ids ...string) bool {
	for _, id := range ids {
		if !w.nodes[id].holds() {
			return false
		}
	}
	return true
}

// append brings an entry into the log, if the node leads the latest term and reaches a majority.
func (w *world) append(n *node, e entry) (index, term uint64, ok bool) {
	defer func() {
		if ok {
			n.reader.Stored(term)
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	reached := 0
	for _, id := range w.ids {
		if w.linkedLocked(n.id, id) {
			reached++
		}
	}
	if w.leader != n.id || !n.up || reached <= len(w.ids)/2 {
		return 0, n.term, false
	}
	e.term = w.term
	n.log = append(n.log, e)
	return uint64(len(n.log)), w.term, true
}

// commitLocked moves the commit index to what a majority has.
func (w *world) commitLocked() {
	leader := w.nodes[w.leader]
	for i := uint64(len(leader.log)); i > w.commit && leader.log[i-1].term == w.term; i-- {
		have := 0
		for _, n := range w.nodes {
			if n.hasLocked(i, w.term) {
				have++
			}
		}
		if have > len(w.ids)/2 {
			w.commit = i
		}
	}
}

// tell notes that somebody was told of a version of a key; promised is what had been told when he asked.
func (w *world) tell(key string, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[key] = max(w.told[key], version)
}

func (w *world) promised(key string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told[key]
}

// checkHolders fails the test when a node may answer from a table without an entry that is acknowledged now.
func (w *world) checkHolders(index uint64) {
	for _, id := range w.ids {
		n := w.nodes[id]
		if applied := n.Applied(); !n.suspended() && n.holds() && applied < index {
			w.t.Errorf("entry %d is acknowledged while %s, at %d, has a lease", index, id, applied)
		}
	}
}

func (w *world) servers() []consensus.Server {
	var servers []consensus.Server
	for _, id := range w.ids {
		servers = append(servers, consensus.Server{ID: id, Addr: id, Voter: true})
	}
	return servers
}

func (w *world) leaseConfig() lease.Config {
	return lease.Config{Duration: leaseDuration, Rate: 20, Margin: leaseMargin, MaxLag: leaseLag}
}

func (w *world) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("term %d, leader %s, %d committed", w.term, w.leader, w.commit)
}
