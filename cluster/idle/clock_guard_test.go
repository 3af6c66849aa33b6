package idle

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// An administrator sets the wall clock of a machine. That costs a question, also while a node is dead, and changes
// nothing.
func TestWallClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, -2 * MaxJump, 2 * MaxJump, time.Hour} {
		for _, name := range []string{"leader", "follower"} {
			t.Run(fmt.Sprint(name, " ", by), func(t *testing.T) {
				inLab(t, []string{"leader", "follower", "other"}, func(t *testing.T, l *lab) {
					l.warm(5 * time.Hour)
					there := false
					l.set(func() {
						l.delay = func() time.Duration { // the way there is the longer one: answers seem to be ahead
							if there = !there; there {
								return 40 * time.Millisecond
							}
							return time.Millisecond
						}
					})
					h := l.nodes[name]
					l.nodes["other"].set(func() { l.nodes["other"].down = true })
					h.set(func() { h.wall = by })
					l.watch(func() {
						for set := time.Now(); h.clock.Synced() && time.Since(set) <= GuardInterval; {
							time.Sleep(time.Millisecond)
						}
						h.wantSynced(false)
						h.wantTime(-5 * time.Hour)
						time.Sleep(2 * StragglerTime)
						for _, n := range l.nodes {
							n.wantSynced(true)
							n.wantTime(-5 * time.Hour)
						}
					})
					if got := h.clock.Stats().Jumps; got != 1 {
						t.Errorf("%d jumps, want 1", got)
					}
				})
			})
		}
	}
}

// Slewing a wall clock as kernels do, or a program that had to wait, is no jump.
func TestNoJump(t *testing.T) {
	inLab(t, []string{"a", "b"}, func(t *testing.T, l *lab) {
		l.warm(0)
		a := l.nodes["a"]
		for range 3600 {
			a.set(func() { a.wall += 500 * time.Microsecond })
			time.Sleep(time.Second)
		}
		a.halt()
		time.Sleep(time.Hour)
		a.follow()
		time.Sleep(time.Minute)
		if got := a.clock.Stats().Jumps; got != 0 {
			t.Errorf("%d jumps", got)
		}
		a.wantTime(0)
		l.nodes["b"].halt()
		b := l.nodes["b"].clock
		for i := range 8 {
			b.source.Wall = func() time.Time { // the machine is so busy that it gets on with this only later
				time.Sleep(time.Duration(i&1) * 10 * time.Second)
				defer time.Sleep(time.Duration(i&2) * 10 * time.Second)
				return time.Now()
			}
			b.look()
		}
		if got := b.Stats().Jumps; got != 0 {
			t.Errorf("%d jumps of a machine that was busy", got)
		}
	})
}

// suspension is how long machines are suspended.
const suspension = 10 * time.Minute

// A machine is suspended. Cluster time goes on without it, and it catches up.
func TestSuspendedFollower(t *testing.T) {
	for _, wallToo := range []bool{false, true} {
		t.Run(fmt.Sprintf("follower, wall clock too: %v", wallToo), func(t *testing.T) {
			inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
				l.warm(5 * time.Hour)
				l.set(func() { l.delay = func() time.Duration { return 20 * time.Millisecond } })
				f := l.nodes["f"]
				l.watch(func() {
					f.suspend(suspension, wallToo)
					if !wallToo { // otherwise nobody can tell before the next answer
						f.wantSynced(false)
						f.wantTime(-5*time.Hour - suspension)
					}
					time.Sleep(SyncInterval + time.Second)
					f.wantSynced(true)
					f.wantTime(-5 * time.Hour)
				})
			})
		})
	}
	t.Run("follower that applies an entry", func(t *testing.T) {
		inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
			l.warm(5 * time.Hour)
			f := l.nodes["f"]
			f.suspend(suspension, true)
			f.wantTime(-5*time.Hour - suspension)
			now := l.nodes["l"].clock.Now()
			f.set(func() { f.applied = now })
			f.wantTime(-5 * time.Hour)
		})
	})
	t.Run("while it waits for an answer", func(t *testing.T) {
		inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
			l.warm(5 * time.Hour)
			f := l.nodes["f"]
			f.halt()
			l.set(func() {
				l.delay = func() time.Duration { // by its own monotonic clock the answer takes no time
					f.lost += 200 * time.Millisecond
					return 200 * time.Millisecond
				}
			})
			fo := follower{clock: f.clock, log: f, peers: f}
			fo.step(t.Context())
			f.wantSynced(false)
			l.set(func() { l.delay = func() time.Duration { return 0 } })
			f.follow()
			f.wantSynced(true)
			f.wantTime(-5 * time.Hour)
		})
	})
}

// A leader that stood still asks the others before it stamps anything, and goes on from where they are.
func TestSuspendedLeader(t *testing.T) {
	t.Run("elected anew before it looks", func(t *testing.T) {
		inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
			l.warm(5 * time.Hour)
			f := l.nodes["f"]
			f.halt()
			f.set(func() { f.lost += suspension })
			l.elect("f")
			f.wantSynced(true)
			f.wantTime(-5 * time.Hour)
		})
	})
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("out of reach: %v", cut), func(t *testing.T) {
			inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
				l.warm(5 * time.Hour)
				leader := l.nodes["l"]
				if cut {
					for _, name := range []string{"f", "o"} {
						l.nodes[name].set(func() { l.nodes[name].down = true })
					}
				}
				l.watch(func() {
					leader.suspend(suspension, false)
					if cut {
						time.Sleep(time.Minute)
						leader.wantSynced(false)
						l.nodes["o"].set(func() { l.nodes["o"].down = false })
						time.Sleep(2 * time.Second)
					}
					leader.wantSynced(true)
					leader.wantTime(-5 * time.Hour)
				})
			})
		})
	}
	t.Run("asked before it looks", func(t *testing.T) {
		inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
			l.warm(5 * time.Hour)
			leader := l.nodes["l"]
			leader.halt()
			leader.set(func() { leader.lost += suspension })
			time.Sleep(2 * SyncInterval)
			l.nodes["f"].wantTime(-5 * time.Hour) // that did not count
			leader.follow()
			leader.wantSynced(true)
			leader.wantTime(-5 * time.Hour)
		})
	})
	t.Run("the first to answer stood still, too", func(t *testing.T) {
		inLab(t, []string{"l", "f", "o", "p", "q"}, func(t *testing.T, l *lab) {
			l.warm(5 * time.Hour)
			for _, name := range []string{"o", "p", "q"} {
				l.nodes[name].set(func() { l.nodes[name].far = 3 * StragglerTime })
			}
			for _, name := range []string{"l", "f"} {
				l.nodes[name].halt()
				l.nodes[name].set(func() { l.nodes[name].lost += suspension })
			}
			l.nodes["l"].follow()
			time.Sleep(4 * StragglerTime)
			l.nodes["l"].wantSynced(true)
			l.nodes["l"].wantNear(-5*time.Hour, 2*StragglerTime)
		})
	})
	t.Run("no other knows better", func(t *testing.T) {
		inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
			l.warm(5 * time.Hour)
			for _, name := range []string{"f", "o"} {
				l.nodes[name].halt()
				l.nodes[name].boot()
			}
			l.nodes["l"].suspend(suspension, false)
			l.nodes["l"].wantSynced(true)
			l.nodes["l"].wantTime(-5*time.Hour - suspension)
		})
	})
}

// All machines stood still, one for less long than the others: all they know together is how long that one did not.
func TestAllSuspended(t *testing.T) {
	inLab(t, []string{"l", "f", "o"}, func(t *testing.T, l *lab) {
		l.warm(5 * time.Hour)
		l.watch(func() {
			var group sync.WaitGroup
			for _, h := range l.nodes {
				lost := suspension
				if h.name == "f" {
					lost -= time.Minute
				}
				group.Go(func() { h.suspend(lost, false) })
			}
			group.Wait()
			time.Sleep(5 * time.Second)
			for _, h := range l.nodes {
				h.wantSynced(true)
				h.wantTime(-5*time.Hour - (suspension - time.Minute)) // it stood still
			}
		})
	})
}
