package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
)

// attack is somebody who tries to get in as one user, at all nodes in turn, as often as they let him.
type attack struct {
	h     *harness
	addrs []netip.Addr
	turn  int
	times []time.Time // of the tries that were granted
}

// from gives the attacker so many addresses, all of which have been used some minutes later.
func (h *harness) attack(from int) *attack {
	a := &attack{h: h}
	for i := range from {
		a.addrs = append(a.addrs, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	return a
}

// run tries for so long, some dozen times a second, whatever happens to the nodes.
func (a *attack) run(long time.Duration) {
	a.h.t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for range 2 * len(a.h.names) {
			a.turn++
			node := a.h.nodes[a.h.names[a.turn%len(a.h.names)]]
			if node == nil {
				continue
			}
			_, err := reserve(a.h.t, node, "", "ann", a.addrs[a.turn/len(a.h.names)%len(a.addrs)], 200*time.Millisecond)
			switch {
			case err == nil:
				a.times = append(a.times, time.Now())
			case !errors.Is(err, tries.ErrFailures) && !errors.Is(err, cluster.ErrNoLeader) && !errors.Is(err, cluster.ErrTimeout):
				a.h.t.Fatalf("try: %v", err)
			}
		}
	}
}

// granted counts the tries in the time up to a moment.
func (a *attack) granted(until time.Time, within time.Duration) (n int) {
	for _, at := range a.times {
		if !at.After(until) && until.Sub(at) < within {
			n++
		}
	}
	return n
}

func reserve(t *testing.T, c *cluster.Cluster, realm, user string, addr netip.Addr, within time.Duration) (*tries.Ticket, error) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return c.Reserve(ctx, realm, user, addr)
}

// counter is what cluster/tries says of one.
type counter struct {
	free                 int
	first, longest, leak time.Duration
}

// The counters that stop an attacker from one address, and from many.
var (
	pairCounter = counter{free: 10, first: time.Second, longest: 5 * time.Minute, leak: 5 * time.Minute}
	userCounter = counter{free: 20, first: time.Second, longest: 30 * time.Second, leak: 30 * time.Second}
)

// patience pays: who waits for a failure to be forgotten may meet a shorter delay. So much at most.
const patienceOfAttacker = 2

// most returns how many tries one counter lets through at a single node in so long, to who comes at the first moment each
// time.
func (c counter) most(long time.Duration) (granted int) {
	for now, empty := time.Duration(0), time.Duration(0); now < long; granted++ {
		empty = max(empty, now) + c.leak
		if over := int((empty-now+c.leak-1)/c.leak) - c.free; over >= 0 {
			now += min(c.first<<over, c.longest)
		}
	}
	return granted + patienceOfAttacker
}

// An attacker who spreads over all nodes gets no more tries than at one, by one address and by many.
func TestAttackerAtAllNodes(t *testing.T) {
	for from, counter := range map[int]counter{1: pairCounter, 40: userCounter} {
		run(t, func(t *testing.T, n *clustertest.Network) {
			const long = 3 * time.Minute
			one := counter.most(long)
			h := newHarness(t, n, 3, "n1", "n2", "n3")
			h.startAll()
			a := h.attack(from)
			a.run(long)
			t.Logf("from %d addresses: %d tries allowed at one node, %d at three", from, one, len(a.times))
			if len(a.times) > one || len(a.times) < one/2 {
				t.Errorf("from %d addresses: %d tries allowed at one node, %d at three", from, one, len(a.times))
			}
		})
	}
}

// A change of the leader gives the attacker no more than what the old one granted in its last moments, and never more than
// the bound that the package states.
func TestAttackerAcrossLeaderChanges(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		const phase, changes = time.Minute, 4
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		a := h.attack(40)
		free, _, _ := tries.Free()
		begin, unheard := time.Now(), 0
		for i := range changes {
			a.run(phase)
			leader := h.leader()
			now := time.Now()
			unheard += min(a.granted(now, tries.GossipWindow), tries.Excess(free))
			switch i % 3 {
			case 0:
				h.crash(leader)
			case 1:
				h.drain(leader)
			case 2: // it decides on until it finds out that it does not lead any more
				n.Partition([]string{leader}, h.others(leader))
				a.run(10 * time.Second)
				n.Heal()
				unheard += a.granted(now.Add(tries.GossipWindow), tries.GossipWindow)
				h.ready(h.names...)
				continue
			}
			a.run(10 * time.Second)
			h.start(leader)
			h.ready(leader)
		}
		a.run(phase)
		one := userCounter.most(time.Since(begin))
		t.Logf("%d tries, %d at one node in as long; %d in the last moments of %d leaders", len(a.times), one, unheard, changes)
		if len(a.times) > one+unheard {
			t.Errorf("%d tries, at one node %d, and %d in the last moments of leaders", len(a.times), one, unheard)
		}
		if bound := one + changes*tries.Excess(free); len(a.times) > bound {
			t.Errorf("%d tries: more than the stated bound of %d", len(a.times), bound)
		}
		if len(a.times) < free+changes {
			t.Errorf("%d tries: that was no attack", len(a.times))
		}
	})
}

// A leader that is started again before the others miss it is not taken for one of an old version, while its port is open
// and it knows no requests yet.
func TestNoTriesOfALeaderThatStarts(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		leader := h.leader()
		other := h.nodes[h.others(leader)[0]]
		try := func() error {
			_, err := reserve(t, other, "native", "ann", netip.MustParseAddr("192.0.2.1"), 100*time.Millisecond)
			return err
		}
		if err := try(); err != nil {
			t.Fatal(err)
		}
		var asked bool
		var tried error
		h.crash(leader)
		h.start(leader, func(cfg *cluster.Config) {
			tune := cfg.Tune
			cfg.Tune = func(c *consensus.Config) { // the port is open by then
				tune(c)
				asked = other.Stats().LeaderID == c.NodeID
				tried = try()
			}
		})
		if !asked {
			t.Fatal("the leader was missed before it started")
		}
		wantErr(t, tried, cluster.ErrTimeout)
		h.ready(h.names...)
		if granted := other.Stats().Tries.Granted; granted != 0 {
			t.Errorf("%d tries granted by one that does not lead", granted)
		}
	})
}

// The leader is lost right after a burst of which no gossip has told yet: the successor grants the free tries once more.
// That is the bound.
func TestBurstBeforeLeaderLoss(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		leader := h.leader()
		a := h.attack(1)
		a.h.names = []string{leader}
		n.SetLoss(1)
		a.run(300 * time.Millisecond)
		h.crash(leader)
		n.SetLoss(0)
		h.names = []string{"n1", "n2", "n3"}
		a.run(20 * time.Second)
		_, free, _ := tries.Free()
		if n := len(a.times); n < free || n > free+6+tries.Excess(free) {
			t.Errorf("%d tries", n)
		}
	})
}

// Whoever is logged in, or was lately, can always log in again from there, at every node, whoever attacks and whoever
// leads.
func TestNobodyIsLockedOut(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		login := h.login(h.nodes["n1"], key(1))
		login.Address = "2001:db8:1:2::1"
		h.do(h.nodes["n1"], login)
		ticket, err := reserve(t, h.nodes["n2"], "native", "ann", netip.MustParseAddr("192.0.2.9"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Forgive(true)
		a := h.attack(40)
		a.run(30 * time.Second)
		check := func() {
			t.Helper()
			for name, node := range h.nodes {
				for home, in := range map[string]bool{"2001:db8:1:2:3::4": true, "192.0.2.9": true, "2001:db8:1:3::1": false, "192.0.2.8": false} {
					for _, user := range []string{"ann", "ANN"} {
						ticket, err := reserve(t, node, "native", user, netip.MustParseAddr(home), 5*time.Second)
						if in != (err == nil) && (in || user == "ann") {
							t.Errorf("%s: login as %s from %s: %v", name, user, home, err)
						}
						if err == nil {
							ticket.Forgive(false)
						}
					}
				}
			}
		}
		check()
		leader := h.leader()
		h.crash(leader)
		a.run(15 * time.Second)
		check()
		h.start(leader)
		h.ready(leader)
		a.run(30 * time.Second)
		check()
	})
}

// Whoever has many large sessions and floods the logins of his own name does not make a node work for each.
func TestTriesReadNoSessions(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		h.startAll()
		c := h.nodes["n1"]
		h.user(c)
		for i := range 20 {
			login := h.login(c, key(i))
			login.Address = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()
			for a := range session.MaxAttributes {
				login.Attrs = append(login.Attrs, session.Attr{Key: fmt.Sprint("attribute ", a), Value: "value"})
			}
			h.do(c, login)
		}
		for _, user := range []string{"ann", "ANN"} {
			var failed error
			if got := testing.AllocsPerRun(20, func() {
				ticket, err := reserve(t, c, "", user, netip.MustParseAddr("192.0.2.1"), time.Second)
				if err != nil {
					failed = err
					return
				}
				ticket.Forgive(false)
			}); got > 100 || failed != nil {
				t.Errorf("%s: %v allocations, %v", user, got, failed)
			}
		}
	})
}

// A node that joins hears of the counters: it may lead one day.
func TestJoinerHearsOfCounters(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.attack(10).run(5 * time.Second)
		time.Sleep(20 * time.Second) // no more news on their way
		want := h.nodes[h.leader()].Stats().Tries
		for name, node := range h.nodes {
			if s := node.Stats().Tries; s.News != 0 || s.Users != 1 || s.Pairs != want.Pairs || s.Addresses != want.Addresses || s.Malformed != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		}
		h.names = append(h.names, "n4")
		h.host["n4"] = "n4"
		h.start("n4", joinOnly)
		h.ready("n4")
		h.until("the joiner has heard", func() bool {
			s := h.nodes["n4"].Stats().Tries
			return s.Users == 1 && s.Pairs == want.Pairs // those of the addresses are forgotten by now
		})
	})
}

// Without a leader nobody may try: an attacker at a node that is cut off learns nothing.
func TestNoTriesWhenCutOff(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		for _, name := range h.names {
			n.Partition([]string{name}, h.others(name))
			time.Sleep(10 * time.Second)
			for i := range 3 {
				_, err := reserve(t, h.nodes[name], "native", fmt.Sprint("user", i), netip.MustParseAddr("192.0.2.1"), 10*time.Second)
				wantErr(t, err, cluster.ErrNoLeader)
			}
			n.Heal()
			h.ready(h.names...)
		}
	})
}
