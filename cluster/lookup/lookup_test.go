package lookup

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/wire"
)

// fakeLog is the log of the leader of term 5, unless a test says otherwise.
type fakeLog struct {
	mu      sync.Mutex
	leader  bool
	term    uint64
	commit  uint64
	applied uint64
	servers []consensus.Server
}

func (l *fakeLog) locked(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

func (l *fakeLog) IsLeader() (leader bool) {
	l.locked(func() { leader = l.leader })
	return leader
}

func (l *fakeLog) LeaderID() string { return "a" }

func (l *fakeLog) Changed() <-chan struct{} { return nil }

func (l *fakeLog) Applied() (index uint64) {
	l.locked(func() { index = l.applied })
	return index
}

func (l *fakeLog) Term() (term uint64) {
	l.locked(func() { term = l.term })
	return term
}

func (l *fakeLog) CommitIndex() (index uint64) {
	l.locked(func() { index = l.commit })
	return index
}

func (l *fakeLog) Servers() ([]consensus.Server, error) { return l.servers, nil }

func (l *fakeLog) WaitApplied(ctx context.Context, index uint64) error {
	for {
		var applied uint64
		l.locked(func() { applied = l.applied })
		if applied >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// fakePeers answers questions for the term; a node without an entry does not answer.
type fakePeers struct {
	mu    sync.Mutex
	terms map[string]uint64
	delay time.Duration
}

func (p *fakePeers) Handle(wire.Kind, wire.Handler) {}

func (p *fakePeers) Call(ctx context.Context, id string, kind wire.Kind, _ []byte) ([]byte, error) {
	p.mu.Lock()
	term, up := p.terms[id]
	delay := p.delay
	p.mu.Unlock()
	if kind != KindTerm {
		return nil, wire.ErrUnreachable // only terms are told here
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, wire.ErrLost
	}
	if !up {
		<-ctx.Done()
		return nil, wire.ErrLost
	}
	return binary.BigEndian.AppendUint64(nil, term), nil
}

func voters(ids ...string) []consensus.Server {
	var servers []consensus.Server
	for _, id := range ids {
		servers = append(servers, consensus.Server{ID: id, Voter: true})
	}
	return servers
}

func open(t *testing.T) (*Reader, *fakeLog, *fakePeers) {
	log := &fakeLog{leader: true, term: 5, commit: 100, applied: 100, servers: voters("a", "b", "c")}
	peers := &fakePeers{terms: map[string]uint64{"b": 5, "c": 5}, delay: time.Millisecond}
	r := New(Config{NodeID: "a", Log: log, Peers: peers})
	r.office.Store(5)
	r.Open()
	t.Cleanup(r.Close)
	return r, log, peers
}

// Who answers what decides whether the leader may answer.
func TestQuorum(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(r *Reader, l *fakeLog, p *fakePeers)
		want error
	}{
		{"all answer", func(*Reader, *fakeLog, *fakePeers) {}, nil},
		{"one voter is away", func(_ *Reader, _ *fakeLog, p *fakePeers) { delete(p.terms, "b") }, nil},
		{"two voters are away", func(_ *Reader, _ *fakeLog, p *fakePeers) { clear(p.terms) }, wire.ErrNoLeader},
		{"two voters are away, two non-voters answer", func(_ *Reader, l *fakeLog, p *fakePeers) {
			l.servers = append(l.servers, consensus.Server{ID: "d"}, consensus.Server{ID: "e"})
			clear(p.terms)
			p.terms["d"], p.terms["e"] = 5, 5
		}, wire.ErrNoLeader},
		{"two voters have gone on", func(_ *Reader, _ *fakeLog, p *fakePeers) { p.terms["b"], p.terms["c"] = 6, 6 }, wire.ErrNoLeader},
		{"one voter has gone on", func(_ *Reader, _ *fakeLog, p *fakePeers) { p.terms["b"] = 6 }, nil},
		{"half of four voters", func(_ *Reader, l *fakeLog, p *fakePeers) {
			l.servers = voters("a", "b", "c", "d")
			delete(p.terms, "c")
		}, wire.ErrNoLeader},
		{"the leader is no voter itself", func(_ *Reader, l *fakeLog, p *fakePeers) {
			l.servers = voters("b", "c")
			delete(p.terms, "c")
		}, wire.ErrNoLeader},
		{"nothing applied in its own term", func(r *Reader, _ *fakeLog, _ *fakePeers) { r.office.Store(4) }, wire.ErrNoLeader},
		{"the office is lost", func(_ *Reader, l *fakeLog, _ *fakePeers) { l.leader = false; l.term = 6 }, wire.ErrNoLeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				r, log, peers := open(t)
				c.set(r, log, peers)
				index, err := r.confirm.get(t.Context())
				if !errors.Is(err, c.want) {
					t.Fatalf("error %v, want %v", err, c.want)
				}
				if err == nil && index != 100 {
					t.Fatalf("index %d, want 100", index)
				}
			})
		})
	}
}

// An office that is lost while the voters answer must not be confirmed, whatever they answered.
func TestOfficeLostDuringTheRound(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		r, log, peers := open(t)
		peers.delay = 100 * time.Millisecond
		time.AfterFunc(50*time.Millisecond, func() { log.locked(func() { log.term = 6 }) })
		if _, err := r.confirm.get(t.Context()); !errors.Is(err, wire.ErrNoLeader) {
			t.Fatalf("error %v, want %v", err, wire.ErrNoLeader)
		}
	})
}

// Reads that wait share a round, but none joins a round that began before it.
func TestRoundsAreShared(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		r, log, peers := open(t)
		peers.delay = 100 * time.Millisecond
		first := make(chan uint64, 1)
		go func() {
			index, _ := r.confirm.get(t.Context())
			first <- index
		}()
		synctest.Wait() // the first round is under way, with index 100
		log.locked(func() { log.commit = 200 })
		const readers = 50
		later := make(chan uint64, readers)
		for range readers {
			go func() {
				index, _ := r.confirm.get(t.Context())
				later <- index
			}()
		}
		if index := <-first; index != 100 {
			t.Fatalf("first round: index %d, want 100", index)
		}
		for range readers {
			if index := <-later; index != 200 {
				t.Fatalf("a read that came later got index %d of a round that had begun: want 200", index)
			}
		}
		if n := r.Stats().Rounds; n != 2 {
			t.Fatalf("%d rounds for %d reads, want 2", n, readers+1)
		}
	})
}

// A read waits for its own machine, not only for the leader's word.
func TestWaitsForOwnMachine(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		r, log, _ := open(t)
		log.locked(func() { log.applied = 99 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Begin(ctx, Quorum); !errors.Is(err, wire.ErrTimeout) {
			t.Fatalf("error %v, want %v", err, wire.ErrTimeout)
		}
		time.AfterFunc(time.Second, func() { log.locked(func() { log.applied = 100 }) })
		start := time.Now()
		if _, err := r.Begin(t.Context(), Quorum); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < time.Second {
			t.Fatalf("the read was let through after %v, before the machine had applied it", waited)
		}
	})
}

func TestLevels(t *testing.T) {
	for _, level := range []Level{Local, Lease, Quorum} {
		parsed, err := ParseLevel(level.String())
		if err != nil || parsed != level {
			t.Errorf("%v: parsed as %v, %v", level, parsed, err)
		}
	}
	if _, err := ParseLevel("strong"); err == nil {
		t.Error("an unknown level was taken")
	}
}
