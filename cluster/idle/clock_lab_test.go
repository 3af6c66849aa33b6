package idle

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// lab is a cluster of clocks in fake time. The bubble's clock is true time.
type lab struct {
	t     *testing.T
	start time.Time

	mu     sync.Mutex
	nodes  map[string]*host
	leader string
	delay  func() time.Duration // of a message, one way
}

// host is a machine whose clocks can go wrong, and the Clock on it.
type host struct {
	lab   *lab
	name  string
	clock *Clock
	stop  func() // its Follow

	// guarded by lab.mu
	wall     time.Duration // the wall clock is ahead by
	rate     float64       // the monotonic clock gains, as a share
	lost     time.Duration // the monotonic clock has stood still for
	frozen   time.Duration // where it stands; negative: it runs
	far      time.Duration // how much longer it takes to get there
	down     bool
	applied  session.Time
	handlers map[wire.Kind]wire.Handler
	calls    int
}

// inLab runs f with a cluster of cold clocks, the first of the names its leader, and with no delay.
func inLab(t *testing.T, names []string, f func(t *testing.T, l *lab)) {
	clustertest.Bubble(t, func(t *testing.T) {
		l := &lab{t: t, start: time.Now(), nodes: make(map[string]*host), leader: names[0], delay: func() time.Duration { return 0 }}
		for i, name := range names {
			// Monotonic clocks begin when a machine does.
			h := &host{lab: l, name: name, frozen: -1, lost: -time.Duration(i) * time.Hour, handlers: make(map[wire.Kind]wire.Handler)}
			l.nodes[name] = h
			h.boot()
		}
		t.Cleanup(func() {
			for _, h := range l.nodes {
				h.halt()
			}
		})
		f(t, l)
	})
}

// boot starts the node's process: its clock is cold.
func (h *host) boot() {
	h.clock = NewClock(h.machine, WithSource(Source{Wall: h.wallClock, Mono: h.mono}))
	h.clock.Serve(h)
}

// follow starts the node's Follow, and halt stops it.
func (h *host) follow() {
	h.halt()
	ctx, cancel := context.WithCancel(h.lab.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.clock.Follow(ctx, h, h)
	}()
	h.stop = func() { cancel(); <-done }
}

func (h *host) halt() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

func (h *host) lead() { h.clock.Lead(h.lab.t.Context(), h, h.others, h) }

func (h *host) others() []string {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	var ids []string
	for name := range h.lab.nodes {
		if name != h.name {
			ids = append(ids, name)
		}
	}
	return ids
}

// warm makes a cluster of hosts that know cluster time, which is true time less `behind`.
func (l *lab) warm(behind time.Duration) {
	leader := l.nodes[l.leader]
	leader.set(func() { leader.wall = -behind })
	leader.boot()
	for _, h := range l.nodes {
		h.set(func() { h.down = h != leader })
	}
	leader.lead()
	leader.set(func() { leader.wall = 0 })
	leader.clock.guard.look(leader.clock.source)
	for _, h := range l.nodes {
		h.set(func() { h.down = false })
		h.follow()
	}
	time.Sleep(2 * GuardInterval)
}

// elect makes a node the leader, as raft does.
func (l *lab) elect(name string) {
	l.set(func() { l.leader = name })
	if name != "" {
		l.nodes[name].lead()
	}
}

func (l *lab) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (h *host) set(f func()) { h.lab.set(f) }

// suspend stops the machine for a while: its programs and its monotonic clock, and its wall clock too if that is not
// set right afterwards.
func (h *host) suspend(d time.Duration, wallToo bool) {
	mono := h.mono()
	h.set(func() { h.down, h.frozen = true, mono })
	h.halt()
	time.Sleep(d)
	h.set(func() {
		h.down, h.frozen = false, -1
		h.lost += d
		if wallToo {
			h.wall -= d
		}
	})
	h.follow()
}

func (h *host) machine() session.Time {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	return h.applied
}

func (h *host) wallClock() time.Time {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	return time.Now().Add(h.wall)
}

func (h *host) mono() time.Duration {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	if h.frozen >= 0 {
		return h.frozen
	}
	passed := time.Since(h.lab.start)
	return passed - h.lost + time.Duration(float64(passed)*h.rate)
}

func (h *host) IsLeader() bool { return h.LeaderID() == h.name }

func (h *host) LeaderID() string {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	return h.lab.leader
}

func (h *host) Handle(kind wire.Kind, handler wire.Handler) {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	h.handlers[kind] = handler
}

func (h *host) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	h.set(func() { h.calls++ })
	if err := h.lab.travel(ctx); err != nil {
		return nil, err
	}
	h.lab.mu.Lock()
	to, handler := h.lab.nodes[id], h.lab.nodes[id].handlers[kind]
	down, far := to.down, to.far
	h.lab.mu.Unlock()
	if down {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !sleep(ctx, far) {
		return nil, ctx.Err()
	}
	answer, err := handler(ctx, wire.Peer{ID: h.name}, body)
	if err := h.lab.travel(ctx); err != nil {
		return nil, err
	}
	return answer, err
}

func (l *lab) travel(ctx context.Context) error {
	l.mu.Lock()
	delay := l.delay()
	l.mu.Unlock()
	if !sleep(ctx, delay) {
		return ctx.Err()
	}
	return nil
}

// random makes delays from a seed, each way on its own.
func random(seed uint64, from, to time.Duration) func() time.Duration {
	r := rand.New(rand.NewPCG(seed, seed))
	return func() time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
}

// wantTime holds a clock to true time plus d, to the millisecond.
func (h *host) wantTime(d time.Duration) {
	h.lab.t.Helper()
	h.wantNear(d, 0)
}

func (h *host) wantNear(d, within time.Duration) {
	h.lab.t.Helper()
	if off := h.off() - d; off.Abs() > within {
		h.lab.t.Fatalf("%s: cluster time is ahead of what it should be by %v", h.name, off)
	}
}

// off is how far the clock is ahead of true time.
func (h *host) off() time.Duration { return h.clock.Now().Sub(session.TimeOf(time.Now())) }

func (h *host) wantSynced(want bool) {
	h.lab.t.Helper()
	synctest.Wait()
	if got := h.clock.Synced(); got != want {
		h.lab.t.Fatalf("%s: synced: %v, want %v", h.name, got, want)
	}
	if _, ok := h.clock.Stamp(); ok != want {
		h.lab.t.Fatalf("%s: it stamps entries: %v, want %v", h.name, ok, want)
	}
}

// watch fails the test when a clock goes back while f runs.
func (l *lab) watch(f func()) {
	ctx, cancel := context.WithCancel(l.t.Context())
	var group sync.WaitGroup
	for _, h := range l.nodes {
		group.Go(func() {
			for last := h.clock.Now(); sleep(ctx, 23*time.Millisecond); {
				now := h.clock.Now()
				if now < last {
					l.t.Errorf("%s went back by %v", h.name, last.Sub(now))
					return
				}
				last = now
			}
		})
	}
	f()
	cancel()
	group.Wait()
}
