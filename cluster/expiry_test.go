package cluster_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// make logs the user in, and returns when the session is over if nobody uses it.
func (h *harness) make(c *cluster.Cluster, n int, idleTimeout time.Duration) (over session.Time) {
	h.t.Helper()
	cmd := h.login(c, key(n))
	cmd.Idle, cmd.Lifetime = idleTimeout, 30*24*time.Hour
	h.do(c, cmd)
	read(h.t, c, func(m *session.Machine) {
		view, _ := m.Lookup(key(n))
		over = view.Session.LastUse.Add(view.Session.Idle)
	})
	return over
}

// at waits until a node's cluster time has come to a moment.
func at(c *cluster.Cluster, moment session.Time) {
	for now := c.Now(); now < moment; now = c.Now() {
		time.Sleep(moment.Sub(now))
	}
}

// A session that nobody uses is accepted by each node up to the last millisecond, and refused from the next one on. A
// use on any node, be it a moment before, prolongs it on all.
func TestIdleToTheMillisecond(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(0)
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.lease = quiet
		h.startAll()
		h.user(h.nodes["n1"])
		for i, name := range h.names {
			c := h.nodes[name]
			unused := h.make(h.nodes["n1"], 2*i, time.Minute)
			time.Sleep(time.Second)
			used := h.make(h.nodes["n1"], 2*i+1, time.Minute)
			at(c, unused-1)
			if _, err := lookup(t, c, key(2*i), cluster.Quorum); err != nil {
				t.Fatalf("%s, 1 ms before the end: %v", name, err)
			}
			at(c, unused)
			_, err := lookup(t, c, key(2*i), cluster.Quorum)
			wantErr(t, err, session.ErrSessionIdle)
			at(c, used-1)
			if _, err := use(t, c, key(2*i+1), cluster.Quorum); err != nil {
				t.Fatalf("%s, 1 ms before the end: %v", name, err)
			}
			for _, other := range h.names {
				at(h.nodes[other], used-1+session.Time(time.Minute/time.Millisecond)-1)
				if _, err := lookup(t, h.nodes[other], key(2*i+1), cluster.Quorum); err != nil {
					t.Fatalf("%s: used on %s, and over too early: %v", other, name, err)
				}
			}
			at(c, used-1+session.Time(time.Minute/time.Millisecond))
			for _, other := range h.names {
				_, err := lookup(t, h.nodes[other], key(2*i+1), cluster.Quorum)
				wantErr(t, err, session.ErrSessionIdle)
			}
		}
		h.converged()
	})
}

// A node takes uses with it that nobody else knows of. The sessions live on for as long as such a use could keep them.
func TestUsesThatDiedWithTheirNode(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(0)
		const timeout = 15 * time.Minute // so a use is replicated when it is a minute ahead
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.lease = quiet
		h.idle = timeout
		h.startAll()
		h.user(h.nodes["n1"])
		over := h.make(h.nodes["n1"], 1, timeout)
		h.make(h.nodes["n1"], 2, timeout)
		time.Sleep(50 * time.Second)
		victim := h.others(h.leader())[0]
		if _, err := use(t, h.nodes[victim], key(1), cluster.Quorum); err != nil {
			t.Fatal(err)
		}
		h.crash(victim)
		c := h.nodes[h.others("")[0]]
		at(c, over.Add(49*time.Second)) // it was used 50 s after the login, by somebody who comes back just in time
		if _, err := use(t, c, key(1), cluster.Quorum); err != nil {
			t.Fatalf("an active user is logged out: %v", err)
		}
		if s := c.Stats().Idle; s.Undecided == 0 {
			t.Fatalf("the use of a dead node is not counted as one that can't be known: %+v", s)
		}
		at(c, over.Add(time.Minute+session.TouchSlack+time.Second))
		_, err := lookup(t, c, key(2), cluster.Quorum)
		wantErr(t, err, session.ErrSessionIdle)
	})
}

// A session is idle for long by the log, and was used on a node whose uses wait. A change and an end of it take effect
// wherever they are asked for: a logout that is refused counts as one, and the session would come back with that use.
func TestChangesOfASessionWhoseUseIsLate(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(0)
		const timeout = 5 * time.Minute
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.lease = quiet
		h.startAll()
		h.names = append(h.names, "n4")
		h.host["n4"] = "n4"
		h.start("n4", replica)
		h.ready("n4")
		h.user(h.nodes["n1"])
		ends, puts := make(map[string]session.Key), make(map[string]session.Key)
		var over session.Time
		for i, name := range h.names {
			h.make(h.nodes["n1"], 2*i, timeout)
			over = h.make(h.nodes["n1"], 2*i+1, timeout)
			ends[name], puts[name] = key(2*i), key(2*i+1)
		}
		c := h.nodes["n4"]
		at(c, over.Add(-10*time.Second))
		n.Partition([]string{"n1"}, []string{"n2"}, []string{"n3"}, []string{"n4"}) // there is nobody to bring uses to
		for i := range 2 * len(h.names) {
			if _, err := use(t, c, key(i), cluster.Local); err != nil {
				t.Fatal(err)
			}
		}
		at(c, over.Add(session.IdleGrace+time.Second))
		for _, other := range h.names[:3] {
			n.SetLag("n4", other, 200*time.Millisecond) // so the commands come first
		}
		n.Heal()
		var group sync.WaitGroup
		for _, name := range h.names {
			for _, cmd := range []session.Command{
				&session.Invalidate{Key: ends[name], Reason: session.EndedByLogout},
				&session.Put{Key: puts[name], Attrs: []session.Attr{{Key: "a", Value: "b"}}},
			} {
				group.Go(func() {
					_, err := do(t, h.nodes[name], cmd)
					for errors.Is(err, cluster.ErrNoLeader) {
						_, err = do(t, h.nodes[name], cmd)
					}
					if err != nil {
						t.Errorf("%T at %s: %v", cmd, name, err)
					}
				})
			}
		}
		group.Wait()
		h.ready(h.names...)
		for _, name := range h.names {
			for _, other := range h.names {
				_, err := lookup(t, h.nodes[other], ends[name], cluster.Quorum)
				wantErr(t, err, session.ErrSessionInvalid)
				if _, err := lookup(t, h.nodes[other], puts[name], cluster.Quorum); err != nil {
					t.Errorf("changed at %s, and looked up at %s: %v", name, other, err)
				}
			}
		}
		h.converged()
	})
}

// A node that stops in order has replicated what it knows, and vouches for that when it comes back; one that then
// crashes has not.
func TestOrderlyStopIsVouchedForOnce(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(0)
		const timeout = 15 * time.Minute
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.lease = quiet
		h.idle = timeout
		h.startAll()
		h.user(h.nodes["n1"])
		name := h.others(h.leader())[0]
		unused := h.make(h.nodes[name], 1, timeout)
		h.drain(name)
		h.start(name)
		h.ready(name)
		used := h.make(h.nodes[name], 2, timeout)
		at(h.nodes[name], unused)
		_, err := lookup(t, h.nodes[name], key(1), cluster.Quorum)
		wantErr(t, err, session.ErrSessionIdle)

		if _, err := use(t, h.nodes[name], key(2), cluster.Quorum); err != nil {
			t.Fatal(err)
		}
		again := h.make(h.nodes[name], 3, timeout)
		time.Sleep(30 * time.Second)
		if _, err := use(t, h.nodes[name], key(3), cluster.Quorum); err != nil { // too soon to be replicated
			t.Fatal(err)
		}
		h.crash(name)
		h.start(name)
		h.ready(name)
		at(h.nodes[name], max(used, again.Add(29*time.Second)))
		if _, err := use(t, h.nodes[name], key(3), cluster.Quorum); err != nil {
			t.Fatalf("an active user is logged out: %v", err)
		}
	})
}

// A start that comes to nothing, at whatever point, has served nothing: the next one goes on from what the last stop has
// vouched for, or from nothing at all if the node is new.
func TestFailedStartTakesNothingBack(t *testing.T) {
	for name, victim := range map[string]func(h *harness) string{
		"stopped in order": func(h *harness) string {
			name := h.others(h.leader())[0]
			h.drain(name)
			return name
		},
		"new": func(h *harness) string {
			h.names = append(h.names, "n4")
			h.host["n4"] = "n4"
			return "n4"
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, n *clustertest.Network) {
				n.SetDelay(0)
				const timeout = 2 * time.Minute
				h := newHarness(t, n, 3, "n1", "n2", "n3")
				h.lease = quiet
				h.idle = timeout
				h.startAll()
				h.user(h.nodes["n1"])
				over := h.make(h.nodes[h.leader()], 1, timeout)
				name := victim(h)
				port, err := n.Host(name).Listen(name + ":7000")
				if err != nil {
					t.Fatal(err)
				}
				h.failsToStart(name)
				if err := port.Close(); err != nil {
					t.Fatal(err)
				}
				h.failsToStart(name, func(c *cluster.Config) {
					c.Tune = func(c *consensus.Config) { c.Dir = filepath.Join(h.dir, name, "node.json") }
				})
				h.start(name, joinOnly)
				h.ready(h.names...)
				at(h.nodes[name], over)
				_, err = lookup(t, h.nodes[name], key(1), cluster.Quorum)
				wantErr(t, err, session.ErrSessionIdle)
			})
		})
	}
}

// failsToStart starts a node where that must fail.
func (h *harness) failsToStart(name string, options ...option) {
	h.t.Helper()
	cfg := h.config(name, append(options, joinOnly)...)
	cfg.GossipTransport = h.net.Host(h.host[name]).Memberlist(h.host[name] + ":7001")
	c, err := cluster.Open(cfg)
	if err == nil {
		h.nodes[name] = c
		h.t.Fatalf("%s has started", name)
	}
	if err := cfg.GossipTransport.Shutdown(); err != nil {
		h.t.Fatal(err)
	}
}

// ahead is a machine whose wall clock is wrong.
func ahead(by time.Duration) option {
	return func(c *cluster.Config) {
		right := idle.System()
		c.Clocks = &idle.Source{Mono: right.Mono, Wall: func() time.Time { return time.Now().Add(by) }}
	}
}

// A node whose wall clock is two hours ahead leads, is restarted with all others, and leads again: nobody is logged out.
func TestWrongWallClock(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		start := func() {
			h.start("n1", ahead(2*time.Hour))
			h.start("n2")
			h.start("n3", ahead(-time.Hour))
			h.ready(h.names...)
			h.operate(func(ctx context.Context) error { return h.nodes["n2"].TransferLeadership(ctx, "n1") })
			h.until("n1 leads", func() bool { return h.nodes["n1"].Stats().IsLeader && h.nodes["n1"].Ready() == nil })
		}
		start()
		h.user(h.nodes["n1"])
		over := h.make(h.nodes["n1"], 1, 30*time.Minute)
		for range 3 {
			time.Sleep(5 * time.Minute)
			for _, name := range h.names {
				if _, err := lookup(t, h.nodes[name], key(1), cluster.Quorum); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for _, name := range h.names {
				h.close(name)
			}
			start()
		}
		left := over.Sub(h.nodes["n1"].Now())
		if want := 15 * time.Minute; (left - want).Abs() > time.Minute {
			t.Fatalf("after a quarter of an hour the session has %v left, want about %v", left, want)
		}
	})
}

// quiet is a lease for tests of hours: one of a second has an entry five times a second.
const quiet = cluster.MaxLease

// Half a working day: sessions used on random nodes at random moments within their timeout live, those left alone are refused
// when their time has come, while leaders change, and nodes stop, crash and come back.
func TestWorkingDay(t *testing.T) {
	const timeout = 30 * time.Minute
	hours := 4
	if raceEnabled { // ten times as slow
		hours = 1
	}
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.tune = func(c *consensus.Config) { // so that the day is not mostly heartbeats
			c.Heartbeat, c.Election, c.Lease, c.Commit = 20*time.Second, 20*time.Second, 10*time.Second, time.Second
		}
		h.lease = quiet
		h.startAll()
		h.user(h.nodes["n1"])
		d := &days{h: h, random: rand.New(rand.NewPCG(1, 1)), timeout: timeout, ends: make(map[int]session.Time), alone: make(map[int]bool)}
		for i := range 20 {
			d.login(i < 8)
		}
		for begun := time.Now(); time.Since(begun) < time.Duration(hours)*time.Hour; {
			time.Sleep(time.Duration(d.random.Int64N(int64(2 * time.Minute))))
			d.step()
		}
		t.Logf("%d uses, %d ends, %d changes of leader or nodes", d.used, d.refused, d.changes)
		if d.used < 60*hours || d.refused < 6*hours || d.changes < 2*hours {
			t.Fatal("too little happened: the test shows nothing")
		}
		h.converged()
	})
}

type days struct {
	h       *harness
	random  *rand.Rand
	timeout time.Duration
	next    int
	ends    map[int]session.Time // of the sessions that live
	alone   map[int]bool         // these are not used
	loss    session.Time         // when a node last took uses with it
	steps   int
	slot    int // of the next change among the steps

	used, refused, changes int
}

func (d *days) login(alone bool) {
	d.alone[d.next] = alone
	d.ends[d.next] = d.h.make(d.node(), d.next, d.timeout)
	d.next++
}

func (d *days) node() *cluster.Cluster {
	names := d.h.others("")
	return d.h.nodes[names[d.random.IntN(len(names))]]
}

func (d *days) step() {
	t := d.h.t
	t.Helper()
	grace := session.Granularity(d.timeout, 0) + session.TouchSlack + 2*time.Second
	for i := range d.next {
		end, lives := d.ends[i]
		if !lives {
			continue
		}
		c := d.node()
		now := c.Now()
		known := d.loss <= end.Add(-d.timeout-grace) // nobody has forgotten a use of it
		switch left := end.Sub(now); {
		case d.alone[i] && left < 0:
			if _, err := lookup(t, c, key(i), cluster.Quorum); err == nil && (known || -left > grace) {
				t.Fatalf("session %d is accepted %v after its end", i, -left)
			} else if err != nil {
				wantErr(t, err, session.ErrSessionIdle)
				delete(d.ends, i)
				d.refused++
				d.login(true)
			}
		case d.alone[i]:
		case left < stepTime || d.random.IntN(8) == 0:
			if _, err := use(t, c, key(i), cluster.Quorum); err != nil {
				t.Fatalf("session %d, %v before its end, on %s: %v", i, left, c.Stats().Name, err)
			}
			d.ends[i] = now.Add(d.timeout)
			d.used++
		}
	}
	d.disturb()
}

// stepTime is longer than it takes from one step to the next: two minutes, and a change with a minute in which a node is
// down, and patience until all are ready.
const stepTime = 6 * time.Minute

// stepsPerChange is among how many steps one is a change. Which one is left to chance, that there is one is not: what the
// test shows rests on it.
const stepsPerChange = 13

func (d *days) disturb() {
	place := d.steps % stepsPerChange
	if d.steps++; place == 0 {
		d.slot = d.random.IntN(stepsPerChange)
	}
	if place != d.slot {
		return
	}
	h := d.h
	name := h.names[d.random.IntN(3)]
	switch d.random.IntN(3) {
	case 0:
		h.operate(func(ctx context.Context) error { return d.node().TransferLeadership(ctx, name) })
	case 1:
		h.drain(name)
		h.start(name)
	case 2:
		time.Sleep(2 * session.TouchSlack) // what is younger may be lost, and is no promise
		h.crash(name)
		d.loss = d.node().Now()
		time.Sleep(time.Duration(d.random.Int64N(int64(time.Minute))))
		h.start(name)
	}
	d.changes++
	h.ready(h.names...)
}
