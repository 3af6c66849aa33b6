package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/roster"
)

// The faults of who leads and who is a member, of logs that were cut short, and of clocks.

// voter returns a voter that does not lead.
func (s *stage) voter() string {
	voters := slices.DeleteFunc(s.h.others(s.leader()), func(n string) bool { return n == "r1" })
	return voters[s.random.IntN(len(voters))]
}

func (s *stage) transfer() {
	for range 3 {
		to := s.voter()
		_, term := s.leads(s.running())
		s.h.handOver(s.follower(), to)
		s.untilNewLeader(s.running(), term)
		s.hold(time.Second)
	}
}

// transferBeside hands over while one node hears late that its lease is asked back, and of what the next leader does.
func (s *stage) transferBeside() {
	for range 3 {
		to, beside := s.voter(), s.follower()
		if to == beside {
			continue
		}
		s.hearsLate(beside)
		s.hold(time.Second)
		_, term := s.leads(s.running())
		s.h.handOver(s.leader(), to)
		s.untilNewLeader(s.running(), term)
		s.hold(2 * time.Second)
		s.lag(beside, 0, 0)
	}
}

// transferAndKill kills the leader that has just handed over, or the one that has just taken over.
func (s *stage) transferAndKill() {
	from, to := s.leader(), s.voter()
	s.h.handOver(from, to)
	s.hold(100 * time.Millisecond)
	if s.random.IntN(2) == 0 {
		from = to
	}
	s.kill(from)
}

// join lets a new node in, serves from it, and removes it.
func (s *stage) join(as option) {
	s.joined++
	name := fmt.Sprintf("x%d", s.joined)
	s.h.host[name] = name
	s.h.names = append(s.h.names, name)
	dismissed := make(chan error, 1)
	s.start(name, as, func(c *cluster.Config) { c.OnFatal = func(err error) { dismissed <- err } })
	s.h.ready(name)
	s.hold(3 * time.Second)
	s.remove(name, dismissed)
}

// remove takes a node out, and stops it when it knows.
func (s *stage) remove(name string, dismissed <-chan error) {
	s.t.Helper()
	s.h.operate(func(ctx context.Context) error { return s.h.nodes[s.follower()].Remove(ctx, name) })
	select {
	case err := <-dismissed:
		if !errors.Is(err, roster.ErrDismissed) {
			s.t.Fatalf("%s ends: %v", name, err)
		}
	case <-time.After(patience):
		s.t.Fatalf("%s was not told that it is removed", name)
	}
	s.crowd.remove(name)
	s.h.close(name)
	s.h.names = slices.DeleteFunc(s.h.names, func(n string) bool { return n == name })
}

// removeLeader lets a new voter in, makes it leader, and removes it.
func (s *stage) removeLeader() {
	s.joined++
	name := fmt.Sprintf("x%d", s.joined)
	s.h.host[name] = name
	s.h.names = append(s.h.names, name)
	dismissed := make(chan error, 1)
	s.start(name, joinOnly, func(c *cluster.Config) { c.OnFatal = func(err error) { dismissed <- err } })
	s.h.ready(name)
	s.h.until(name+" votes", func() bool { return roles(s.t, s.h.nodes[name])[name] == "voter" })
	s.h.operate(func(ctx context.Context) error { return s.h.nodes[name].TransferLeadership(ctx, name) })
	s.h.until(name+" leads", func() bool { return s.h.nodes[name].Stats().IsLeader })
	s.hold(2 * time.Second)
	s.remove(name, dismissed)
}

// underWay is more entries than raft sends to a node that does not answer: they arrive after the cut.
const underWay = 400

// snapshot keeps a node away for longer than the log goes back.
func (s *stage) snapshot(killed bool) {
	name := s.follower()
	before := s.h.nodes[name].Stats().Restores
	from := s.h.nodes[name].Stats().LastLogIndex
	defer s.harms.begin(name)()
	if killed {
		before = 0
		s.h.crash(name)
		s.crowd.remove(name)
	} else {
		s.h.net.Partition([]string{name}, s.h.others(name))
		from += underWay
	}
	s.crowd.heavy.Store(true)
	s.h.until("a log that begins later", func() bool {
		leader, _ := s.leads(s.h.others(name))
		return leader != "" && s.firstIndex(leader) > from+1
	})
	s.crowd.heavy.Store(false)
	s.h.net.Heal()
	if killed {
		s.start(name, s.role(name)...)
	}
	s.h.until("a snapshot installed", func() bool { return s.h.nodes[name].Stats().Restores > before })
	s.h.ready(name)
}

func (s *stage) firstIndex(name string) uint64 {
	s.t.Helper()
	index, err := s.h.stores[name].Log.FirstIndex()
	if err != nil {
		s.t.Fatal(err)
	}
	return index
}

// jump sets wall clocks forward and back.
func (s *stage) jump() {
	for range 4 {
		names := s.running()
		w := s.walls[names[s.random.IntN(len(names))]]
		before := w.read.Load()
		w.offset.Add(int64(time.Duration(s.random.Int64N(int64(4*time.Hour))) - 2*time.Hour))
		s.h.until("a look at the clock", func() bool { return w.read.Load() > before })
		s.hold(2 * time.Second)
	}
}
