package cluster_test

import (
	"slices"
	"time"
)

// fault is one harm to a stage. It is done, shown to bite, and undone, while the crowd works.
type fault struct {
	name string
	do   func(s *stage)
}

// faults returns all of them.
func faults() []fault {
	return []fault{
		{"leader killed", func(s *stage) { s.kill(s.leader()) }},
		{"follower killed", func(s *stage) { s.kill(s.follower()) }},
		{"all killed", (*stage).killAll},
		{"leader stopped", func(s *stage) { s.stop(s.leader()) }},
		{"follower stopped", func(s *stage) { s.stop(s.follower()) }},
		{"rolling restart", (*stage).rolling},
		{"leader isolated", func(s *stage) { s.isolate(s.leader()) }},
		{"follower isolated", func(s *stage) { s.isolate(s.follower()) }},
		{"minority with the leader", (*stage).minority},
		{"leader not heard", func(s *stage) { s.oneWay(s.leader(), true) }},
		{"leader deaf", func(s *stage) { s.oneWay(s.leader(), false) }},
		{"follower not heard", func(s *stage) { s.oneWay(s.follower(), true) }},
		{"follower deaf", func(s *stage) { s.oneWay(s.follower(), false) }},
		{"one link cut", (*stage).oneLink},
		{"delay", (*stage).delay},
		{"delay and cut", (*stage).delayAndCut},
		{"loss", (*stage).loss},
		{"slow leader", func(s *stage) { s.slowNode(s.leader()) }},
		{"slow follower", func(s *stage) { s.slowNode(s.follower()) }},
		{"slow follower, then cut off", (*stage).slowAndCut},
		{"leader with a slow disk", func(s *stage) { s.slowDisk(s.leader()) }},
		{"follower with a slow disk", func(s *stage) { s.slowDisk(s.follower()) }},
		{"transfer", (*stage).transfer},
		{"transfer and kill", (*stage).transferAndKill},
		{"transfer beside one that hears late", (*stage).transferBeside},
		{"voter joins and is removed", func(s *stage) { s.join(joinOnly) }},
		{"replica joins and is removed", func(s *stage) { s.join(replica) }},
		{"leader removed", (*stage).removeLeader},
		{"snapshot to one that was away", func(s *stage) { s.snapshot(true) }},
		{"snapshot to one that was cut off", func(s *stage) { s.snapshot(false) }},
		{"clock jumps", (*stage).jump},
	}
}

// hold lets the crowd work for a while.
func (s *stage) hold(most time.Duration) { time.Sleep(time.Duration(s.random.Int64N(int64(most)))) }

// leader returns the node that leads in the latest term, once there is one.
func (s *stage) leader() string {
	s.t.Helper()
	name, _ := s.leaderAmong(s.running())
	return name
}

func (s *stage) leaderAmong(names []string) (name string, term uint64) {
	s.t.Helper()
	s.h.until("a leader", func() bool {
		name, term = s.leads(names)
		return name != ""
	})
	return name, term
}

// leads returns who leads in the latest term; "": nobody.
func (s *stage) leads(names []string) (name string, term uint64) {
	for _, n := range names {
		if st := s.h.nodes[n].Stats(); st.IsLeader && st.Term > term {
			name, term = n, st.Term
		}
	}
	return name, term
}

// follower returns a node that does not lead, a read replica or a voter.
func (s *stage) follower() string {
	s.t.Helper()
	others := s.h.others(s.leader())
	return others[s.random.IntN(len(others))]
}

func (s *stage) running() []string { return s.h.others("") }

// untilNewLeader waits until others lead, in a later term.
func (s *stage) untilNewLeader(among []string, than uint64) {
	s.t.Helper()
	s.h.until("a new leader", func() bool {
		_, term := s.leads(among)
		return term > than
	})
}

// untilBehind waits until a node has missed entries that the others have.
func (s *stage) untilBehind(name string) {
	s.t.Helper()
	const missed = 10
	from := s.h.nodes[name].Stats().AppliedIndex
	s.h.until(name+" misses something", func() bool {
		for _, other := range s.h.others(name) {
			if s.h.nodes[other].Stats().AppliedIndex > max(from, s.h.nodes[name].Stats().AppliedIndex)+missed {
				return true
			}
		}
		return false
	})
}

// untilWritten waits until some writes more have come through on the nodes that run.
func (s *stage) untilWritten() {
	s.t.Helper()
	from := s.applied()
	s.h.until("writes go on", func() bool { return s.applied() > from+10 })
}

func (s *stage) applied() (index uint64) {
	for _, name := range s.running() {
		index = max(index, s.h.nodes[name].Stats().AppliedIndex)
	}
	return index
}

// kill takes the power from a node while clients ask it, and starts it again on its data.
func (s *stage) kill(name string) {
	_, term := s.leads(s.running())
	led := s.h.nodes[name].Stats().IsLeader
	defer s.harms.begin(name)()
	s.h.crash(name)
	s.crowd.remove(name)
	if led {
		s.untilNewLeader(s.running(), term)
	}
	s.untilWritten()
	s.hold(3 * time.Second)
	s.start(name, s.role(name)...)
	s.h.ready(name)
}

// killAll takes the power from the whole cluster. When all start, cluster time goes on from their wall clocks: of these
// no more than one may be wrong.
func (s *stage) killAll() {
	names := s.running()
	wrong := names[s.random.IntN(len(names))]
	for name, w := range s.walls {
		if name != wrong {
			w.offset.Store(0)
		}
	}
	_, term := s.leads(names)
	defer s.harms.begin(names...)()
	for _, name := range names {
		s.h.crash(name)
		s.crowd.remove(name)
	}
	s.hold(5 * time.Second)
	for _, name := range names {
		s.start(name, s.role(name)...)
	}
	s.h.ready(names...)
	s.untilNewLeader(names, term)
}

// stop stops a node in order, out of sight of the clients, and starts it again.
func (s *stage) stop(name string) {
	_, term := s.leads(s.running())
	led := s.h.nodes[name].Stats().IsLeader
	s.drain(name)
	if led {
		s.untilNewLeader(s.running(), term)
	}
	s.untilWritten()
	s.hold(3 * time.Second)
	s.start(name, s.role(name)...)
	s.h.ready(name)
}

func (s *stage) drain(name string) {
	s.crowd.remove(name)
	s.h.drain(name)
}

// role is how a node is started again.
func (s *stage) role(name string) []option {
	if name == "r1" {
		return []option{replica}
	}
	return nil
}

func (s *stage) rolling() {
	for _, name := range s.running() {
		s.drain(name)
		s.start(name, s.role(name)...)
		s.h.ready(name)
	}
}

// isolate cuts one node off from all others. Its clients stay with it.
func (s *stage) isolate(name string) {
	_, term := s.leads(s.running())
	others := s.h.others(name)
	led := s.h.nodes[name].Stats().IsLeader
	defer s.harms.begin(name)()
	s.h.net.Partition([]string{name}, others)
	if led {
		s.untilNewLeader(others, term)
	}
	s.untilBehind(name)
	s.hold(5 * time.Second)
	s.h.net.Heal()
}

// minority leaves the leader with a part of the nodes that can't elect anybody.
func (s *stage) minority() {
	for range 3 {
		leader, term := s.leaderAmong(s.running())
		with := []string{leader}
		if others := s.h.others(leader); slices.Contains(s.running(), "r1") {
			with = append(with, "r1")
		} else {
			with = append(with, others[0])
		}
		rest := slices.DeleteFunc(s.running(), func(n string) bool { return slices.Contains(with, n) })
		end := s.harms.begin(with...)
		s.h.net.Partition(with, rest)
		s.untilNewLeader(rest, term)
		s.untilBehind(leader)
		s.hold(3 * time.Second)
		s.h.net.Heal()
		end()
		s.h.ready(s.crowd.names()...)
	}
}

// oneWay lets a node hear and not be heard, or the other way round. Others are what they were for each other.
func (s *stage) oneWay(name string, mute bool) {
	_, term := s.leads(s.running())
	led := s.h.nodes[name].Stats().IsLeader
	defer s.harms.begin(name)()
	for _, other := range s.h.others(name) {
		if mute {
			s.h.net.Cut(name, other)
		} else {
			s.h.net.Cut(other, name)
		}
	}
	switch {
	case led:
		s.untilNewLeader(s.h.others(name), term)
	case mute: // it hears all, and its answers are missed
		s.hold(2 * time.Second)
		s.untilWritten()
	default:
		s.untilBehind(name)
	}
	s.hold(5 * time.Second)
	s.h.net.Heal()
}

// oneLink cuts the leader and one other off from each other; all others reach both.
func (s *stage) oneLink() {
	leader := s.leader()
	other := s.follower()
	defer s.harms.begin(leader, other)()
	s.h.net.Cut(leader, other)
	s.h.net.Cut(other, leader)
	s.hold(2 * time.Second)
	s.untilWritten()
	s.hold(4 * time.Second)
	s.h.net.Heal()
}

// untilSlow waits until an operation has taken so long.
func (s *stage) untilSlow(took time.Duration) {
	s.t.Helper()
	s.crowd.slowest.Store(0)
	s.h.until("slow operations", func() bool { return time.Duration(s.crowd.slowest.Load()) >= took })
}

func (s *stage) delay() {
	d := time.Duration(10+s.random.IntN(40)) * time.Millisecond
	s.h.net.SetDelay(d)
	s.untilSlow(2 * d)
	s.hold(4 * time.Second)
	s.h.net.SetDelay(time.Millisecond)
}

func (s *stage) delayAndCut() {
	s.h.net.SetDelay(40 * time.Millisecond)
	s.untilSlow(80 * time.Millisecond)
	s.isolate(s.leader())
	s.h.net.SetDelay(time.Millisecond)
}

func (s *stage) loss() {
	before := s.h.net.Lost()
	s.h.net.SetLoss(0.4)
	s.hold(8 * time.Second)
	s.h.until("lost packets", func() bool { return s.h.net.Lost() > before+10 })
	s.h.net.SetLoss(0)
}

func (s *stage) slowNode(name string) {
	d := time.Duration(20+s.random.IntN(80)) * time.Millisecond
	s.lag(name, d, d)
	s.untilSlow(2 * d)
	s.hold(4 * time.Second)
	s.lag(name, 0, 0)
}

func (s *stage) slowDisk(name string) {
	disk := s.disks[name]
	before := disk.slowed.Load()
	disk.pause.Store(int64(20+s.random.IntN(180)) * int64(time.Millisecond))
	s.h.until("slow writes to the disk", func() bool { return disk.slowed.Load() > before+3 })
	s.hold(4 * time.Second)
	disk.pause.Store(0)
}

// leaseTime is longer than a lease lasts: whoever held one does no more.
const leaseTime = 1200 * time.Millisecond

// slowAndCut cuts a node off that hears everything late: what it was granted last arrives when nobody hears it any more.
func (s *stage) slowAndCut() {
	for range 3 {
		name := s.follower()
		d := s.hearsLate(name)
		s.hold(2 * time.Second)
		others := s.h.others(name)
		end := s.harms.begin(name)
		for _, other := range others {
			s.h.net.Cut(name, other)
		}
		time.Sleep(d)
		s.h.net.Partition([]string{name}, others)
		time.Sleep(leaseTime + d)
		s.untilBehind(name)
		s.h.net.Heal()
		s.lag(name, 0, 0)
		end()
		s.h.ready(s.crowd.names()...)
	}
}

// hearsLate lets everything come late to a node, though not so late that it is granted no leases.
func (s *stage) hearsLate(name string) time.Duration {
	d := time.Duration(150+s.random.IntN(70)) * time.Millisecond
	s.lag(name, d, 0)
	s.untilSlow(d)
	return d
}

// lag makes all ways to a node and from it longer.
func (s *stage) lag(name string, to, from time.Duration) {
	for _, other := range s.h.others(name) {
		s.h.net.SetLag(other, name, to)
		s.h.net.SetLag(name, other, from)
	}
}
