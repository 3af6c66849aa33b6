package tries

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// world is some nodes in fake time, of which one leads.
type world struct {
	t     *testing.T
	names Names
	nodes map[string]*Tries

	mu       sync.Mutex
	leader   string // "": none
	term     uint64
	changed  chan struct{}
	handlers map[string]map[wire.Kind]wire.Handler
	calls    map[wire.Kind]int
	fault    func(kind wire.Kind) error // before the request arrives
	lose     func(kind wire.Kind) error // its answer
	old      bool                       // all nodes are of a version without these requests
}

// place is where a node is in the world.
type place struct {
	*world
	id string
}

func newWorld(t *testing.T, ids ...string) *world {
	w := &world{
		t: t, names: NewNames([32]byte{1}), nodes: make(map[string]*Tries), leader: ids[0], term: 1, changed: make(chan struct{}),
		handlers: make(map[string]map[wire.Kind]wire.Handler), calls: make(map[wire.Kind]int),
	}
	begin := time.Now()
	for _, id := range ids {
		w.handlers[id] = make(map[wire.Kind]wire.Handler)
		at := place{w, id}
		node := New(Config{Log: at, Peers: at, Table: NewTable(), Now: func() (session.Time, bool) { return start.Add(time.Since(begin)), true }, Old: w.isOld})
		w.nodes[id] = node
		node.Open()
		t.Cleanup(node.Close)
	}
	return w
}

func (w *world) lead(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leader = id
	w.term++
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) isOld(string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.old
}

func (p place) LeaderID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader
}
func (p place) IsLeader() bool { return p.LeaderID() == p.id }
func (p place) Term() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term
}

func (p place) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}
func (p place) Handle(kind wire.Kind, h wire.Handler) { p.handlers[p.id][kind] = h }

func (p place) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	p.mu.Lock()
	p.calls[kind]++
	fault, lose, h := p.fault, p.lose, p.handlers[id][kind]
	p.mu.Unlock()
	time.Sleep(time.Millisecond)
	if fault != nil {
		if err := fault(kind); err != nil {
			return nil, err
		}
	}
	answer, err := h(ctx, wire.Peer{ID: p.id}, body)
	if lose != nil {
		if err := lose(kind); err != nil {
			return nil, err
		}
	}
	return answer, err
}

func (w *world) reserve(at, user, addr string) (*Ticket, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return w.nodes[at].Reserve(ctx, Try{User: w.names.User("native", user), Address: w.names.Address(netip.MustParseAddr(addr))})
}

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	clustertest.Bubble(t, func(t *testing.T) { f(t, newWorld(t, "n1", "n2", "n3")) })
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// Many at once, at all nodes, get what one gets that waits for each answer, in few requests.
func TestAllNodesShareTheCounters(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var all sync.WaitGroup
		var mu sync.Mutex
		granted := 0
		for i := range 300 {
			all.Go(func() {
				_, err := w.reserve(fmt.Sprint("n", 1+i%3), "ann", "192.0.2.1")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					granted++
				} else if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Wait > time.Second || refusal.Wait < 900*time.Millisecond || !errors.Is(err, ErrFailures) {
					t.Errorf("error %v", err)
				}
			})
		}
		all.Wait()
		if granted != ruleOf(kindPair).free {
			t.Errorf("%d tries were granted", granted)
		}
		if n := w.calls[KindReserve]; n > 2*(MaxRequests+2) {
			t.Errorf("%d requests for 200 tries of two nodes", n)
		}
		if a, b := w.nodes["n1"].Stats(), w.nodes["n2"].Stats(); a.Granted != 10 || a.Refused != 290 || a.Asked != 100 || b.Asked != 100 || b.Granted != 0 {
			t.Errorf("%+v, %+v", a, b)
		}
	})
}

// A ticket gives back what was counted for it, once, wherever it was given.
func TestTicketForgivesOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for _, at := range []string{"n1", "n2"} {
			for i := range 3 * ruleOf(kindPair).free {
				k, err := w.reserve(at, "ann", "192.0.2.1")
				if err != nil {
					t.Fatalf("%s: a right password is refused after %d: %v", at, i, err)
				}
				k.Forgive(false)
				time.Sleep(5 * time.Millisecond)
			}
			granted := 0
			for range 100 {
				k, err := w.reserve(at, at, "192.0.2.2") // another user for each node
				if err != nil {
					break
				}
				if granted++; granted == 1 {
					for range 5 {
						k.Forgive(false)
						time.Sleep(5 * time.Millisecond)
					}
				}
			}
			if granted != ruleOf(kindPair).free+1 {
				t.Errorf("%s: %d tries, one of them forgiven", at, granted)
			}
		}
		s := w.nodes["n1"].Stats()
		if s.Known != 0 || s.Forgiven != 62 {
			t.Errorf("%+v", s)
		}
	})
}

// Who logged in from an address is not kept out of it by a crowd; what is counted there is counted for that address alone.
func TestProvenAddress(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		k, err := w.reserve("n2", "ann", "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		k.Forgive(true)
		time.Sleep(10 * time.Millisecond)
		for i := range ruleOf(kindUser).free {
			if _, err := w.reserve("n3", "ann", fmt.Sprintf("10.0.0.%d", i)); err != nil {
				t.Fatalf("the %d. of a crowd: %v", i, err)
			}
		}
		_, err = w.reserve("n3", "ann", "10.0.0.99")
		wantErr(t, err, ErrFailures)
		// Basic at each call, for a while.
		for range 50 {
			k, err := w.reserve("n2", "ann", "192.0.2.1")
			if err != nil {
				t.Fatalf("from a known address: %v", err)
			}
			k.Forgive(true)
			if _, err := w.reserve("n3", "ann", "10.0.0.99"); err == nil {
				t.Fatal("the owner's logins open the way for the crowd")
			}
		}
	})
}

func TestNoLeader(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.lead("")
		begin := time.Now()
		for _, at := range []string{"n1", "n2"} {
			_, err := w.reserve(at, "ann", "192.0.2.1")
			wantErr(t, err, wire.ErrNoLeader)
		}
		if d := time.Since(begin); d < 2*LeaderWait || d > 2*LeaderWait+time.Second {
			t.Errorf("refused after %v", d)
		}
		time.AfterFunc(time.Second, func() { w.lead("n3") })
		if _, err := w.reserve("n2", "ann", "192.0.2.1"); err != nil {
			t.Errorf("after an election: %v", err)
		}
	})
}

// A request whose answer was lost is made again: it counts twice at worst, and is never granted in vain.
func TestLostAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		lost := 3
		w.set(func() {
			w.lose = func(kind wire.Kind) error {
				if lost--; lost >= 0 {
					return wire.ErrLost
				}
				return nil
			}
		})
		if _, err := w.reserve("n2", "ann", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		if n := w.nodes["n1"].Stats().Granted; n != 4 {
			t.Errorf("%d tries are counted", n)
		}
	})
}

// A full queue refuses at once. Whoever gives up has not tried.
func TestOverload(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() {
			w.fault = func(wire.Kind) error { time.Sleep(RequestTimeout / 2); return nil }
		})
		var all sync.WaitGroup
		var mu sync.Mutex
		errs := make(map[error]int)
		for i := range MaxQueue + (MaxRequests+1)*MaxBatch + 500 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				_, err := w.nodes["n2"].Reserve(ctx, Try{User: Key(i) << 2, Address: Key(i)<<2 | Key(kindAddress)})
				mu.Lock()
				defer mu.Unlock()
				errs[err]++
			})
		}
		all.Wait()
		if errs[wire.ErrOverloaded] < 500 || errs[wire.ErrTimeout] < MaxQueue || errs[nil] > 0 {
			t.Errorf("%v", errs)
		}
		time.Sleep(time.Minute)
		if s := w.nodes["n1"].Stats(); s.Granted != s.Forgiven || s.Granted == 0 {
			t.Errorf("%d tries were granted to nobody, and %d forgiven", s.Granted, s.Forgiven)
		}
	})
}

// While the leader is of a version without these counters each node counts for itself, and forgives for itself.
func TestLeaderOfAnOldVersion(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.old, w.fault = true, func(wire.Kind) error { return wire.ErrUnknownRequest } })
		for range 30 {
			k, err := w.reserve("n2", "ann", "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			k.Forgive(true)
		}
		for range ruleOf(kindPair).free {
			if _, err := w.reserve("n2", "ann", "192.0.2.1"); err != nil {
				t.Fatal(err)
			}
		}
		_, err := w.reserve("n2", "ann", "192.0.2.1")
		wantErr(t, err, ErrFailures)
		if _, err := w.reserve("n3", "ann", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	})
}

// A leader that has just opened its port knows no request yet, and is not of an old version: it is asked again, or there is
// none.
func TestLeaderThatIsStarting(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.fault = func(wire.Kind) error { return wire.ErrUnknownRequest } })
		_, err := w.reserve("n2", "ann", "192.0.2.1")
		wantErr(t, err, wire.ErrNoLeader)
		time.AfterFunc(time.Second, func() { w.set(func() { w.fault = nil }) })
		if _, err := w.reserve("n2", "ann", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		if own, leader := w.nodes["n2"].Stats().Granted, w.nodes["n1"].Stats().Granted; own != 0 || leader != 1 {
			t.Errorf("the node has granted %d by itself, the leader %d", own, leader)
		}
	})
}

// What a node sends is checked before it is counted.
func TestStrangeRequests(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		at := place{w, "n2"}
		for _, body := range [][]byte{nil, encode(1, 2, 3), encode(4, 2, 9), encode(make([]uint64, 3*MaxBatch+3)...), []byte("x")} {
			for _, kind := range []wire.Kind{KindReserve, KindForgive} {
				if _, err := at.Call(t.Context(), "n1", kind, body); !errors.Is(err, session.ErrBadEncoding) {
					t.Errorf("kind %d, %x: %v", kind, body, err)
				}
			}
		}
		_, err := at.Call(t.Context(), "n3", KindReserve, encodeTries(nil))
		wantErr(t, err, wire.ErrNoLeader)
		if s := w.nodes["n1"].Stats(); s.Granted != 0 {
			t.Errorf("%+v", s)
		}
	})
}
