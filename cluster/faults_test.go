package cluster_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
)

// What was acknowledged, or shown at level quorum, is seen by every read at level quorum that begins afterwards, on
// whatever node, while leaders are cut off, crash and come back.
func TestQuorumReadsUnderFaults(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			clustertest.Run(t, int64(seed), func(t *testing.T, n *clustertest.Network) {
				h := newHarness(t, n, 3, "n1", "n2", "n3")
				n.SetDelay(time.Millisecond)
				h.startAll()
				h.user(h.nodes["n1"])
				h.create(h.nodes["n1"], key(1))
				w := newWorkload(h, rand.New(rand.NewPCG(seed, 7)))
				w.run(func() { h.faults(rand.New(rand.NewPCG(seed, 8)), 8) })
				h.ready(h.names...)
				h.converged()
				t.Logf("%d writes acknowledged, %d with unknown outcome, %d reads answered, %d refused", w.acked, w.unknown, w.answered, w.refused)
				if w.acked < 500 || w.answered < 500 {
					t.Fatal("too little happened: the test shows nothing")
				}
			})
		})
	}
}

// faults harms the leader, or all links, and heals again, so many times.
func (h *harness) faults(random *rand.Rand, times int) {
	for range times {
		time.Sleep(2 * time.Second)
		leader := h.leader()
		switch random.IntN(3) {
		case 0: // the leader alone on its side
			h.net.Partition([]string{leader}, h.others(leader))
		case 1: // the leader hears but is not heard, or the other way round
			for _, other := range h.others(leader) {
				if random.IntN(2) == 0 {
					h.net.Cut(leader, other)
				} else {
					h.net.Cut(other, leader)
				}
			}
		case 2: // slow links, then a cut in the middle of what is under way
			h.net.SetDelay(40 * time.Millisecond)
			time.Sleep(time.Second)
			h.net.Partition([]string{leader}, h.others(leader))
		}
		time.Sleep(time.Duration(random.IntN(6000)) * time.Millisecond)
		h.net.Heal()
		h.net.SetDelay(time.Millisecond)
	}
}

// workload writes growing numbers into one session and reads them, through all nodes.
type workload struct {
	h      *harness
	random *rand.Rand
	stop   atomic.Bool
	group  sync.WaitGroup

	mu                                sync.Mutex
	written                           int // last number that was sent
	seen                              int // highest number that was acknowledged or shown
	acked, unknown, answered, refused int
}

func newWorkload(h *harness, random *rand.Rand) *workload { return &workload{h: h, random: random} }

// run works until fn returns.
func (w *workload) run(fn func()) {
	for _, name := range w.h.names {
		c := w.h.nodes[name]
		w.group.Go(func() { w.read(c) })
	}
	w.group.Go(w.write)
	fn()
	w.stop.Store(true)
	w.group.Wait()
}

func (w *workload) pause() {
	w.mu.Lock()
	d := time.Duration(w.random.IntN(20)) * time.Millisecond
	w.mu.Unlock()
	time.Sleep(d)
}

// write is one writer, so that the numbers in the log only grow.
func (w *workload) write() {
	for ; !w.stop.Load(); w.pause() {
		w.written++
		c := w.h.nodes[w.h.names[w.written%3]]
		ctx, cancel := context.WithTimeout(w.h.t.Context(), 30*time.Second)
		_, err := c.Do(ctx, &session.Put{Key: key(1), Attrs: []session.Attr{{Key: "n", Value: strconv.Itoa(w.written)}}})
		cancel()
		w.mu.Lock()
		switch {
		case err == nil:
			w.acked++
			w.seen = max(w.seen, w.written)
		case errors.Is(err, cluster.ErrOutcomeUnknown):
			w.unknown++
		case errors.Is(err, cluster.ErrNoLeader), errors.Is(err, cluster.ErrTimeout), errors.Is(err, cluster.ErrOverloaded):
		default:
			w.h.t.Errorf("write %d: %v", w.written, err)
		}
		w.mu.Unlock()
	}
}

func (w *workload) read(c *cluster.Cluster) {
	for ; !w.stop.Load(); w.pause() {
		w.mu.Lock()
		floor := w.seen
		w.mu.Unlock()
		s, err := whole(w.h.t, c, key(1), cluster.Quorum)
		w.mu.Lock()
		switch {
		case err == nil:
			w.answered++
			text, _ := s.Attr("n")
			n, _ := strconv.Atoi(text)
			if n < floor {
				w.h.t.Errorf("a read on %s showed %d, after %d had been acknowledged or shown", c.Stats().Name, n, floor)
			}
			w.seen = max(w.seen, n)
		case errors.Is(err, cluster.ErrNoLeader), errors.Is(err, cluster.ErrTimeout):
			w.refused++
		default:
			w.h.t.Errorf("read: %v", err)
		}
		w.mu.Unlock()
	}
}

// Nodes that are stopped and started one after another, as in an upgrade, lose nothing and need not stop the writes.
func TestRollingRestart(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		for i, name := range h.names {
			h.drain(name)
			rest := h.others("")
			start := time.Now()
			h.do(h.nodes[rest[0]], &session.Put{Key: key(1), Attrs: []session.Attr{{Key: name, Value: "away"}}})
			if gap := time.Since(start); gap > 200*time.Millisecond {
				t.Errorf("round %d: a write took %v: the leadership was not handed over", i, gap)
			}
			h.start(name)
			h.ready(name)
		}
		s, err := whole(t, h.nodes["n2"], key(1), cluster.Quorum)
		if err != nil || len(s.Attrs) != 3 {
			t.Fatalf("after the restarts: %v, %v", s, err)
		}
		h.converged()
	})
}

// The absolute lifetime ends a session to the moment, however busy it is.
func TestLifetime(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		cmd := h.login(h.nodes["n1"], key(1))
		cmd.Lifetime = time.Minute
		h.do(h.nodes["n1"], cmd)
		var ends session.Time
		read(t, h.nodes["n1"], func(m *session.Machine) {
			view, _ := m.Lookup(key(1))
			ends = view.Session.Expires
		})
		h.converged() // level local answers from what a node has applied
		for _, name := range h.names {
			c := h.nodes[name]
			for c.Now() < ends {
				if _, err := use(t, c, key(1), cluster.Local); err != nil {
					t.Fatalf("%v before its end: %v", ends.Sub(c.Now()), err)
				}
				time.Sleep(min(time.Second, ends.Sub(c.Now())))
			}
			if _, err := lookup(t, c, key(1), cluster.Quorum); err == nil {
				t.Fatal("a session is accepted past its lifetime")
			}
		}
	})
}
