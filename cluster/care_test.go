package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
)

// removeAfter is how long a node may be dead in these tests.
const removeAfter = time.Minute

func removing(c *cluster.Config) { c.RemoveAfter = removeAfter }

// five starts five voters that remove dead ones.
func five(t *testing.T, n *clustertest.Network) *harness {
	h := newHarness(t, n, 5, "n1", "n2", "n3", "n4", "n5")
	h.startAll(removing)
	h.user(h.nodes["n1"])
	h.create(h.nodes["n1"], key(1))
	return h
}

// openAgain waits until a node asks to be opened again, and does it.
func (h *harness) openAgain(name string, options ...option) {
	h.t.Helper()
	select {
	case err := <-h.fatal:
		wantErr(h.t, err, cluster.ErrOpenAgain)
	case <-time.After(patience):
		h.t.Fatalf("%s did not ask to be opened again", name)
	}
	h.close(name)
	h.start(name, options...)
}

func (h *harness) untilRoles(c *cluster.Cluster, want map[string]string) {
	h.t.Helper()
	var got map[string]string
	defer func() {
		if h.t.Failed() {
			h.t.Logf("roles %v, want %v", got, want)
		}
	}()
	h.until("the members", func() bool {
		got = roles(h.t, c)
		return maps.Equal(got, want)
	})
}

func voters(names ...string) map[string]string {
	m := make(map[string]string)
	for _, name := range names {
		m[name] = "voter"
	}
	return m
}

// Five nodes that lose two for good become three, which survive another loss. A lost one that comes back with its old
// data joins as a new node.
func TestDeadMembersAreRemoved(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := five(t, n)
		h.crash("n4")
		h.crash("n5")
		time.Sleep(removeAfter / 2)
		if got := roles(t, h.nodes["n1"]); len(got) != 5 {
			t.Fatalf("members %v: one was removed too early", got)
		}
		h.untilRoles(h.nodes["n1"], voters("n1", "n2", "n3"))
		h.crash("n3")
		h.do(h.nodes["n1"], &session.Put{Key: key(1), Attrs: []session.Attr{{Key: "a", Value: "b"}}})
		h.start("n3", removing)
		h.ready("n3")

		h.start("n4", removing)
		h.openAgain("n4", removing)
		h.ready("n4")
		h.untilRoles(h.nodes["n1"], voters("n1", "n2", "n3", "n4"))
		if _, err := lookup(t, h.nodes["n4"], key(1), cluster.Quorum); err != nil {
			t.Fatal(err)
		}
		h.converged()
	})
}

// With three voters a dead one stays a member: two are no better than two of three.
func TestLastDeadVoterStays(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll(removing)
		h.crash("n3")
		time.Sleep(10 * removeAfter)
		if got := roles(t, h.nodes["n1"]); !maps.Equal(got, voters("n1", "n2", "n3")) {
			t.Fatalf("members %v", got)
		}
		h.start("n3", removing)
		h.ready("n3")
		h.converged()
	})
}

// Two halves find each other again by themselves. A node that was cut off for so long that it was removed comes back as
// a new one, without anybody's help but that of whoever opens it again.
func TestHealedHalves(t *testing.T) {
	for name, away := range map[string]time.Duration{"for a moment": removeAfter / 2, "until it was removed": 3 * removeAfter} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, n *clustertest.Network) {
				h := five(t, n)
				id := h.nodes["n5"].Stats().NodeID
				n.Partition([]string{"n1", "n2", "n3", "n4"}, []string{"n5"})
				time.Sleep(away)
				h.do(h.nodes["n1"], &session.Invalidate{Key: key(1), Reason: session.EndedByLogout})
				n.Heal()
				removed := away > removeAfter
				if removed {
					h.openAgain("n5", removing)
				}
				h.ready("n5")
				h.untilRoles(h.nodes["n1"], voters("n1", "n2", "n3", "n4", "n5"))
				if again := h.nodes["n5"].Stats().NodeID; (again != id) != removed {
					t.Fatalf("node id %s, before %s", again, id)
				}
				_, err := lookup(t, h.nodes["n5"], key(1), cluster.Quorum)
				wantErr(t, err, session.ErrSessionInvalid)
				h.converged()
			})
		})
	}
}

// An operator's word on a vote lasts: over announcements, restarts and other leaders.
func TestPromoteAndDemote(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.names, h.host["n4"] = append(h.names, "n4"), "n4"
		h.start("n4", replica)
		h.ready("n4")
		h.operate(func(ctx context.Context) error { return h.nodes["n1"].Promote(ctx, "n4") })
		h.untilRoles(h.nodes["n1"], voters("n1", "n2", "n3", "n4"))
		h.operate(func(ctx context.Context) error { return h.nodes["n2"].Demote(ctx, "n3") })
		want := map[string]string{"n1": "voter", "n2": "voter", "n3": "non-voter", "n4": "voter"}
		h.untilRoles(h.nodes["n1"], want)
		h.drain("n3")
		h.start("n3")
		h.drain("n4")
		h.start("n4", replica)
		h.ready("n4")
		h.operate(func(ctx context.Context) error { return h.nodes["n1"].TransferLeadership(ctx, "") })
		time.Sleep(3 * roster.AnnounceInterval)
		h.untilRoles(h.nodes["n2"], want)
		wantErr(t, h.nodes["n1"].Promote(t.Context(), "n9"), roster.ErrMemberNotFound)
	})
}

func (h *harness) operate(fn func(ctx context.Context) error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	if err := fn(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// handOver has a node ask for the transfer, as often as an operator who is told to try again: a voter that was to take
// the leadership and was not elected stays a candidate for a while, and such a one does not hear raft's request.
func (h *harness) handOver(at, to string) {
	h.t.Helper()
	h.operate(func(ctx context.Context) error {
		for {
			err := h.nodes[at].TransferLeadership(ctx, to)
			if !errors.Is(err, roster.ErrNotTransferred) || ctx.Err() != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A leader whose vote is taken, or who is removed, hands over first, whichever node is asked.
func TestLeaderIsDemotedAndRemoved(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := five(t, n)
		leader := h.leader()
		h.operate(func(ctx context.Context) error { return h.nodes[leader].Demote(ctx, leader) })
		h.until("demoted", func() bool { return roles(t, h.nodes[leader])[leader] == "non-voter" })
		h.do(h.nodes[leader], &session.Tick{})
		next := h.leader()
		h.operate(func(ctx context.Context) error { return h.nodes[leader].Remove(ctx, next) })
		select {
		case err := <-h.fatal:
			wantErr(t, err, roster.ErrDismissed)
		case <-time.After(patience):
			t.Fatal("the removed node was not told")
		}
		h.close(next)
		h.until("removed", func() bool { return roles(t, h.nodes[leader])[next] == "" })
		if _, err := cluster.Open(h.config(next)); !errors.Is(err, roster.ErrDismissed) {
			t.Fatalf("a dismissed node starts again: %v", err)
		}
		h.do(h.nodes[leader], &session.Tick{})
	})
}

// The leadership goes where an operator sends it, and away from a node that is to be left alone.
func TestTransferAndDrain(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		for _, name := range h.names {
			h.operate(func(ctx context.Context) error { return h.nodes["n2"].TransferLeadership(ctx, name) })
			h.until(name+" leads", func() bool { return h.nodes[name].Stats().IsLeader })
		}
		h.operate(func(ctx context.Context) error { return h.nodes["n3"].SetDraining(ctx, true) })
		wantErr(t, h.nodes["n3"].Ready(), cluster.ErrDraining)
		h.until("another leader", func() bool { return !h.nodes["n3"].Stats().IsLeader && h.nodes["n1"].Stats().LeaderID != "" })
		h.operate(func(ctx context.Context) error { return h.nodes["n1"].TransferLeadership(ctx, "n3") })
		h.until("handed over again", func() bool {
			return !h.nodes["n3"].Stats().IsLeader && h.nodes["n1"].Stats().LeaderID != h.nodes["n3"].Stats().NodeID
		})
		h.do(h.nodes["n3"], &session.Tick{}) // it still takes part
		h.operate(func(ctx context.Context) error { return h.nodes["n3"].SetDraining(ctx, false) })
		h.ready("n3")
	})
}

// An operator sends the leadership from a node that is taken out of service meanwhile, and then hands it over by itself:
// one waits for the other, and they do not undo each other.
func TestHandOversTakeTurns(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		leads := func() bool { return h.nodes["n3"].Stats().IsLeader }
		n.SetDelay(100 * time.Millisecond) // a hand-over takes longer than the next look at the own fitness
		for range 10 {
			h.operate(func(ctx context.Context) error { return h.nodes["n3"].SetDraining(ctx, false) })
			h.until("n3 leads", func() bool {
				// With so late messages its election may come to nothing, and another one be quicker with the next.
				h.handOver("n3", "n3")
				time.Sleep(10 * time.Second)
				return leads()
			})
			var group sync.WaitGroup
			group.Go(func() { h.handOver("n3", "n1") })
			h.operate(func(ctx context.Context) error { return h.nodes["n3"].SetDraining(ctx, true) })
			group.Wait()
			h.until("n3 leads no more", func() bool { return !leads() })
			h.do(h.nodes["n3"], &session.Tick{})
		}
	})
}

// What one member does not know is not proposed.
func TestCommandsWaitForTheLastUpgrade(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.names, h.host["n4"] = append(h.names, "n4"), "n4"
		h.start("n4", replica)
		h.ready("n4")
		var old session.Member
		read(t, h.nodes["n1"], func(m *session.Machine) { old, _ = m.Member(h.nodes["n3"].Stats().NodeID) })
		old.MaxVersion = 1 // until it announces itself again
		h.do(h.nodes["n1"], &session.PutMember{Member: old})
		for _, name := range h.names {
			wantErr(t, h.nodes[name].Promote(t.Context(), "n4"), propose.ErrUpgradePending)
		}
		time.Sleep(2 * roster.AnnounceInterval)
		h.operate(func(ctx context.Context) error { return h.nodes["n1"].Promote(ctx, "n4") })
		h.untilRoles(h.nodes["n1"], voters("n1", "n2", "n3", "n4"))
	})
}

// A member that is lost is missing for as long as it is a member, and no longer.
func TestMissingMembers(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		missing := func(want int) func() bool {
			return func() bool { return h.nodes["n1"].Stats().MembersMissing == want }
		}
		h.until("nobody is missing", missing(0))
		h.crash("n3")
		h.until("n3 is missing", missing(1))
		time.Sleep(12 * time.Minute)
		if s := h.nodes["n1"].Stats(); s.MembersMissing != 1 || s.GossipFailed != 0 {
			t.Errorf("later %d are missing, and gossip knows %d as failed", s.MembersMissing, s.GossipFailed)
		}
		h.start("n3")
		h.ready("n3")
		h.until("n3 is there again", missing(0))
		h.drain("n3")
		h.until("n3 is stopped", missing(1))
		h.operate(func(ctx context.Context) error { return h.nodes["n1"].Remove(ctx, "n3") })
		h.until("n3 is no member", missing(0))
	})
}

// Who has no leader says once what that means and who is missing, and once that it is over. An election is no such case.
func TestNoLeaderIsSaidOnce(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		var lines lineBuffer
		listening := func(c *cluster.Config) { c.Logger = slog.New(slog.NewTextHandler(&lines, nil)) }
		h.start("n1", listening)
		time.Sleep(time.Minute) // it belongs to no cluster yet
		h.start("n2")
		h.start("n3")
		h.ready("n1", "n2", "n3")
		h.handOver("n1", "n2")
		h.crash("n2")
		h.until("another leader", func() bool { s := h.nodes["n1"].Stats(); return s.LeaderID != "" && s.Leader != "n2" })
		h.start("n2")
		h.ready("n2")
		const no, again = "no leader is known", "there is a leader again"
		if got := lines.all(); strings.Contains(got, no) || strings.Contains(got, again) {
			t.Errorf("without need:\n%s", got)
		}
		h.crash("n2")
		h.crash("n3")
		time.Sleep(time.Minute)
		if got := lines.all(); strings.Count(got, no) != 1 || !strings.Contains(got, " voters=3 needed=2 alive=n1 missing=n2,n3") {
			t.Errorf("with one of three:\n%s", got)
		}
		h.start("n3")
		h.ready("n3")
		h.until("n1 says that it is over", func() bool { return strings.Contains(lines.all(), again) })
		if got := lines.all(); strings.Count(got, no) != 1 || strings.Count(got, again) != 1 {
			t.Errorf("with two of three:\n%s", got)
		}
	})
}

// lineBuffer is a log.
type lineBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *lineBuffer) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A leader without room on its disk hands over to a node that has some.
func TestFullDiskCostsTheLeadership(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.start("n1", full)
		h.start("n2")
		h.start("n3")
		h.ready(h.names...)
		h.until("n1 does not lead", func() bool { return !h.nodes["n1"].Stats().IsLeader })
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		h.operate(func(ctx context.Context) error { return h.nodes["n3"].SetDraining(ctx, true) })
		for _, m := range h.nodes["n2"].Members(t.Context()) {
			if m.DiskLow != (m.Name == "n1") || m.Draining != (m.Name == "n3") || m.AppliedIndex == 0 {
				t.Errorf("n2 shows %+v", m)
			}
		}
		h.operate(func(ctx context.Context) error { return h.nodes["n3"].SetDraining(ctx, false) })
		h.operate(func(ctx context.Context) error { return h.nodes["n1"].TransferLeadership(ctx, "n1") })
		h.until("n1 does not lead", func() bool { return !h.nodes["n1"].Stats().IsLeader && h.nodes["n1"].Stats().LeaderID != "" })
		h.create(h.nodes["n1"], key(2))
	})
}

// A leader that has refused for want of room, and comes back into office when there is room again, refuses nothing.
func TestRefusalsEndWithTheOffice(t *testing.T) {
	for name, c := range map[string]struct {
		option option
		want   error
	}{
		"disks":  {full, guard.ErrDiskLow},
		"memory": {func(c *cluster.Config) { c.MemoryLimit = 1 }, guard.ErrLimitMemory},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, n *clustertest.Network) {
				h := newHarness(t, n, 3, "n1", "n2", "n3")
				h.startAll()
				h.user(h.nodes["n1"])
				lead := func() {
					h.handOver(h.leader(), "n1")
					h.until("n1 leads", func() bool { return h.nodes["n1"].Stats().IsLeader })
				}
				lead()
				others := []string{"n2", "n3"}
				for _, name := range others {
					h.drain(name)
					h.start(name, c.option)
					h.ready(name)
				}
				h.until("refused", func() bool {
					_, err := do(t, h.nodes["n1"], h.login(h.nodes["n1"], key(1)))
					return errors.Is(err, c.want)
				})
				n.Partition([]string{"n1"}, others)
				h.until("n1 does not lead", func() bool { return !h.nodes["n1"].Stats().IsLeader })
				for _, name := range others {
					h.close(name)
				}
				for _, name := range others {
					h.start(name)
				}
				h.ready(others...)
				n.Heal()
				h.ready(h.names...)
				login := h.login(h.nodes["n1"], key(2))
				lead()
				h.do(h.nodes["n1"], login)
			})
		})
	}
}

func full(c *cluster.Config) { c.DiskReserve = 1 << 60 }

// Where most disks are full, or the leader's memory, nothing new is stored; sessions can be used and ended all the same.
func TestNoRoom(t *testing.T) {
	for name, c := range map[string]struct {
		option option
		want   error
	}{
		"disks":  {full, guard.ErrDiskLow},
		"memory": {func(c *cluster.Config) { c.MemoryLimit = 1 }, guard.ErrLimitMemory},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, n *clustertest.Network) {
				h := newHarness(t, n, 3, "n1", "n2", "n3")
				h.startAll()
				h.user(h.nodes["n1"])
				h.create(h.nodes["n1"], key(1))
				for _, name := range h.names {
					h.drain(name)
					h.start(name, c.option)
					h.ready(name)
				}
				h.until("refused", func() bool {
					_, err := do(t, h.nodes["n1"], h.login(h.nodes["n1"], key(2)))
					return errors.Is(err, c.want)
				})
				for _, name := range h.names {
					_, err := do(t, h.nodes[name], h.login(h.nodes[name], key(3)))
					wantErr(t, err, c.want)
					for _, m := range h.nodes[name].Members(t.Context()) {
						if m.DiskLow != errors.Is(c.want, guard.ErrDiskLow) || m.MemoryFull != errors.Is(c.want, guard.ErrLimitMemory) || m.AppliedIndex == 0 {
							t.Errorf("%s shows %+v", name, m)
						}
					}
					if _, err := lookup(t, h.nodes[name], key(1), cluster.Quorum); err != nil {
						t.Fatalf("lookup on %s: %v", name, err)
					}
				}
				h.do(h.nodes["n2"], &session.Invalidate{Key: key(1), Reason: session.EndedByLogout})
			})
		})
	}
}
