package consensus

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
)

// TestNudgeLatency: followers apply an entry about one trip after the leader, though CommitTimeout is far away.
func TestNudgeLatency(t *testing.T) {
	const trip = 2 * time.Millisecond
	inFakeTime(t, Config{Commit: 10 * time.Second}, func(t *testing.T, c *trio) {
		c.equal() // connections are made
		c.net.SetDelay(trip)
		leader := c.leader()
		for range 20 {
			start := time.Now()
			index := c.mustAt(leader, c.role(10))
			if took := time.Since(start); took > 4*trip {
				t.Fatalf("the leader took %v", took)
			}
			c.waitAll(index)
			if took := time.Since(start); took > 6*trip {
				t.Fatalf("the followers took %v", took)
			}
			time.Sleep(time.Second)
		}
		if s := leader.Stats().Nudges; s.Sent == 0 || s.Failed > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNudgeOvertakes: one follower gets its entries late. The nudge is there first, is refused, and comes again.
func TestNudgeOvertakes(t *testing.T) {
	const late = 5 * time.Millisecond
	inFakeTime(t, Config{Commit: 10 * time.Second}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		slow := without(leader.cfg.NodeID)[0]
		c.slow.set(c.addrs[slow], late)
		for range 20 {
			start := time.Now()
			applied, err := leader.Propose(t.Context(), c.bigEntry()).Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took >= late {
				t.Fatalf("the leader took %v: it waited for the slow follower", took)
			}
			c.waitAll(applied.Index)
			if took := time.Since(start); took < late || took > 10*late {
				t.Fatalf("the slow follower took %v", took)
			}
			time.Sleep(time.Second)
		}
		if s := leader.Stats().Nudges; s.Repeated == 0 || s.Failed > 0 {
			t.Errorf("%+v", s)
		}
	})
}

func (c *trio) waitAll(index uint64) {
	c.t.Helper()
	for _, n := range c.nodes {
		if err := n.WaitApplied(c.t.Context(), index); err != nil {
			c.t.Fatal(err)
		}
	}
}

// recorder is a transport that notes nudges and answers as it is told.
type recorder struct {
	raft.Transport
	mu     sync.Mutex
	seen   []raft.AppendEntriesRequest
	answer func(seen int) (bool, error)
}

func (r *recorder) LocalAddr() raft.ServerAddress { return "a:1" }

func (r *recorder) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

func (r *recorder) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, q *raft.AppendEntriesRequest, p *raft.AppendEntriesResponse) error {
	r.mu.Lock()
	r.seen = append(r.seen, *q)
	n := len(r.seen)
	r.mu.Unlock()
	ok, err := r.answer(n)
	p.Success = ok
	return err
}

func (r *recorder) requests() []raft.AppendEntriesRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]raft.AppendEntriesRequest(nil), r.seen...)
}

// fixedOffice is the leader of one term.
type fixedOffice struct {
	mu   sync.Mutex
	term uint64
}

func (o *fixedOffice) leads(term uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.term == term
}

func (o *fixedOffice) lose() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.term = 0
}

func (o *fixedOffice) members() []raft.Server {
	return []raft.Server{{ID: "a", Address: "a:1"}, {ID: "b", Address: "b:1"}}
}

func withNudger(t *testing.T, answer func(int) (bool, error), f func(n *nudger, r *recorder, o *fixedOffice)) {
	t.Helper()
	clustertest.Bubble(t, func(*testing.T) {
		closed := make(chan struct{})
		r := &recorder{answer: answer}
		o := &fixedOffice{term: 7}
		n := &nudger{transport: r, self: "a", office: o, closed: closed, followers: map[raft.ServerID]*follower{}}
		f(n, r, o)
		close(closed)
		n.wait()
	})
}

// TestNudgeStatements: each field of a nudge is true of the leader, and names an entry of its own term.
func TestNudgeStatements(t *testing.T) {
	withNudger(t, func(int) (bool, error) { return true, nil }, func(n *nudger, r *recorder, _ *fixedOffice) {
		n.applied(41, 6, false) // of an older term
		n.applied(42, 7, false)
		synctest.Wait()
		n.applied(42, 7, false) // taken already
		synctest.Wait()
		all := r.requests()
		if len(all) != 1 {
			t.Fatalf("%d nudges", len(all))
		}
		q := all[0]
		if q.Term != 7 || q.PrevLogEntry != 42 || q.PrevLogTerm != 7 || q.LeaderCommitIndex != 42 || len(q.Entries) != 0 {
			t.Errorf("%+v", q)
		}
		if string(q.ID) != "a" || string(q.Addr) != "a:1" || q.ProtocolVersion != 3 {
			t.Errorf("%+v", q)
		}
	})
}

func TestNudgeRetries(t *testing.T) {
	down := errors.New("down")
	withNudger(t, func(int) (bool, error) { return false, down }, func(n *nudger, r *recorder, _ *fixedOffice) {
		n.applied(42, 7, false)
		time.Sleep(time.Minute)
		if all := r.requests(); len(all) != maxNudgeTries {
			t.Errorf("%d tries", len(all))
		}
		if n.failed.Load() != 1 {
			t.Errorf("%d failed", n.failed.Load())
		}
		n.applied(43, 7, false)
		time.Sleep(time.Minute)
		if all := r.requests(); len(all) != 2*maxNudgeTries || all[len(all)-1].PrevLogEntry != 43 {
			t.Errorf("%d tries", len(all))
		}
	})
}

func TestNudgeStopsWithOffice(t *testing.T) {
	withNudger(t, func(int) (bool, error) { return false, nil }, func(n *nudger, r *recorder, o *fixedOffice) {
		n.applied(42, 7, false)
		synctest.Wait()
		o.lose()
		time.Sleep(time.Minute)
		if all := r.requests(); len(all) != 1 {
			t.Errorf("%d nudges", len(all))
		}
		n.applied(43, 7, false)
		time.Sleep(time.Minute)
		if all := r.requests(); len(all) != 1 {
			t.Errorf("%d nudges", len(all))
		}
	})
}

// TestNudgeMerges: what comes while a nudge is on its way is one more nudge.
func TestNudgeMerges(t *testing.T) {
	slow := func(int) (bool, error) {
		time.Sleep(time.Second)
		return true, nil
	}
	withNudger(t, slow, func(n *nudger, r *recorder, _ *fixedOffice) {
		for i := range uint64(100) {
			n.applied(42+i, 7, false)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		all := r.requests()
		if len(all) != 2 || all[0].PrevLogEntry != 42 || all[1].PrevLogEntry != 141 {
			t.Errorf("%d nudges, the last for %d", len(all), all[len(all)-1].PrevLogEntry)
		}
	})
}
