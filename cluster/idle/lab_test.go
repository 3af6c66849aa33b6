package idle_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// lab is a cluster of Keepers in fake time: each with a machine of its own, all fed from one log, on a network that can
// fail. Elections are the test's. The bubble's clock is cluster time, unless a test says otherwise.
type lab struct {
	t    testing.TB
	idle time.Duration

	mu       sync.Mutex
	names    []string // the configuration
	nodes    map[string]*node
	log      []*session.Entry // all committed; the first has index 1
	leader   string
	terms    int
	cuts     map[[2]string]bool
	delay    time.Duration // of a message, one way, and of an entry
	commit   time.Duration // of an entry on its leader
	proposed []proposal
	refuse   func(session.Command) error // of the leader, called with mu held; nil: nothing
	sessions int
	touched  map[int64]int                              // uses proposed, by the second
	shared   *replica                                   // of all nodes, to save memory; nil: each has its own
	block    func(kind wire.Kind, from, to string) bool // what is refused, called with mu held; nil: nothing
	slow     func(session.Command) time.Duration        // what a command takes on top, called with mu held; nil: nothing
	leases
}

// proposal is a command on sessions that came into the log.
type proposal struct {
	at  session.Time
	cmd session.Command
}

// node is one of the cluster's. A dead one stays in the configuration.
type node struct {
	lab     *lab
	name    string
	clock   *idle.Clock
	keeper  *idle.Keeper
	fresh   bool
	flushed session.Time // what the last stop in order has returned; 0 after another one

	// guarded by lab.mu
	up       bool
	stalled  chan struct{} // not nil: nothing gets in or out until it is closed
	wall     time.Duration // the wall clock is ahead by
	behind   time.Duration // the monotonic clock has stood still for
	handlers map[wire.Kind]wire.Handler
	answers  func(kind wire.Kind, to string, body []byte) // sees what this node answers
	resign   func()
	leased

	*replica
}

// replica is a machine, and its owner's lock.
type replica struct {
	state   sync.RWMutex
	machine *session.Machine
	moved   chan struct{} // closed when something has been applied
}

func newReplica() *replica { return &replica{machine: session.New(), moved: make(chan struct{})} }

type labOption func(*lab)

func idleOf(d time.Duration) labOption { return func(l *lab) { l.idle = d } }

func shared(l *lab) { l.shared = newReplica() }

func instant(l *lab) { l.delay, l.commit = 0, 0 }

// inLab runs f with a cluster whose first node leads.
func inLab(t *testing.T, names []string, f func(t *testing.T, l *lab), options ...labOption) {
	t.Helper()
	clustertest.Bubble(t, func(t *testing.T) {
		l := &lab{
			t: t, idle: 30 * time.Minute, nodes: make(map[string]*node), cuts: make(map[[2]string]bool),
			delay: time.Millisecond, commit: 2 * time.Millisecond, touched: make(map[int64]int),
		}
		for _, o := range options {
			o(l)
		}
		t.Cleanup(func() {
			for _, n := range l.nodes {
				n.kill()
			}
			time.Sleep(time.Minute) // for what only a time limit ends
		})
		for _, name := range names {
			l.boot(name)
		}
		delay := l.delay
		l.setDelay(0) // a clock that is cold waits on a mutex while its leader asks: time would stand still
		l.elect(names[0])
		l.setDelay(delay)
		l.must(names[0], &session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
		for _, name := range names {
			l.must(names[0], &session.PutMember{Member: session.Member{ID: name, Name: name, MaxVersion: session.MaxVersion}})
		}
		// Until all know cluster time; and not a whole second, or the leader's own look at what is over would come in the
		// very moment at which sessions made at once end.
		time.Sleep(5*time.Second + 300*time.Millisecond)
		f(t, l)
	})
}

func (l *lab) setDelay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// boot starts a node that is new to the cluster.
func (l *lab) boot(name string) *node {
	n := &node{lab: l, name: name, fresh: true, replica: newReplica()}
	if l.shared != nil {
		n.replica = l.shared
	}
	l.mu.Lock()
	l.nodes[name] = n
	l.names = append(l.names, name)
	l.mu.Unlock()
	n.start()
	n.catchUp()
	return n
}

// start starts the node's process: what it remembered is gone, its disk is there.
func (n *node) start() {
	l := n.lab
	epoch := time.Now()
	source := idle.System()
	source.Wall = func() time.Time {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Now().Add(n.wall)
	}
	l.mu.Lock()
	n.handlers, n.up = make(map[wire.Kind]wire.Handler), true
	l.mu.Unlock()
	source.Mono = func() time.Duration {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Since(epoch) - n.behind
	}
	n.clock = idle.NewClock(n.machineClock, idle.WithSource(source))
	n.keeper = idle.New(idle.Config{
		Self: n.name, Since: n.since(), Idle: l.idle, Clock: n.clock, Machine: n, Log: n, Peers: n,
		Others: n.others, Do: n.do, Logger: slog.New(slog.DiscardHandler),
		Leases: l.leasesOf(n), Lease: l.lease,
	})
	n.fresh, n.flushed = false, 0
	n.keeper.Open()
	n.openLease()
	n.catchUp()
}

// since is how far back the node's memory reaches when it starts.
func (n *node) since() session.Time {
	if n.fresh {
		return idle.Ever
	}
	return n.flushed
}

// stop stops the node's process in order.
func (n *node) stop() {
	n.flushed = n.keeper.Flush(n.lab.t.Context())
	n.kill()
}

// kill stops the node's process at once: what it has not sent is lost.
func (n *node) kill() {
	l := n.lab
	l.mu.Lock()
	was := n.up
	n.up = false
	l.mu.Unlock()
	if !was {
		return
	}
	l.depose(n.name)
	n.closeLease()
	n.keeper.Close()
}

// elect makes a node the leader.
func (l *lab) elect(name string) {
	l.t.Helper()
	l.mu.Lock()
	old := l.leader
	l.mu.Unlock()
	if old != "" {
		l.depose(old)
	}
	n := l.nodes[name]
	l.mu.Lock()
	l.leader = name
	l.terms++
	l.mu.Unlock()
	n.catchUp()
	ctx, cancel := context.WithCancel(context.Background())
	n.clock.Lead(ctx, n, func() []string {
		others, _ := n.others()
		return others
	}, n)
	if _, err := n.do(ctx, &session.Tick{}); err != nil {
		l.t.Errorf("%s takes office: %v", name, err)
	}
	l.thaw()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.keeper.Lead(ctx)
	}()
	l.mu.Lock()
	n.resign = func() { cancel(); <-done }
	l.mu.Unlock()
}

// depose leaves the cluster without a leader, if the node was it.
func (l *lab) depose(name string) {
	l.mu.Lock()
	n := l.nodes[name]
	resign := n.resign
	n.resign = nil
	if l.leader == name {
		l.leader = ""
	}
	l.mu.Unlock()
	if resign != nil {
		resign()
	}
}

// remove takes a node out of the configuration, and then out of the roster.
func (l *lab) remove(name string) {
	l.t.Helper()
	l.mu.Lock()
	l.names = slices.DeleteFunc(l.names, func(n string) bool { return n == name })
	l.mu.Unlock()
	l.must("", &session.RemoveMember{ID: name})
}

// stall keeps everything from getting into or out of a node until the returned function is called.
func (n *node) stall() (resume func()) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	stalled := make(chan struct{})
	n.stalled = stalled
	return func() {
		n.lab.mu.Lock()
		n.stalled = nil
		n.lab.mu.Unlock()
		close(stalled)
		n.catchUp()
	}
}

func (l *lab) cut(a, b string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts[[2]string{a, b}], l.cuts[[2]string{b, a}] = true, true
}

func (l *lab) heal() {
	l.mu.Lock()
	clear(l.cuts)
	l.mu.Unlock()
	for _, n := range l.nodes {
		n.catchUp()
	}
}

// linked reports whether two nodes reach each other.
func (l *lab) linkedLocked(a, b string) bool {
	x, y := l.nodes[a], l.nodes[b]
	return x != nil && y != nil && x.up && y.up && x.stalled == nil && y.stalled == nil && !l.cuts[[2]string{a, b}]
}

// leads reports whether a node leads a majority.
func (l *lab) leadsLocked(name string) bool {
	if name == "" || l.leader != name || !l.nodes[name].up {
		return false
	}
	linked := 1
	for _, other := range l.names {
		if other != name && l.linkedLocked(name, other) {
			linked++
		}
	}
	return linked > len(l.names)/2
}
