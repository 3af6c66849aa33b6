package idle

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/session"
)

// The whole cluster starts. The time is that of most wall clocks, whichever node leads.
func TestColdStart(t *testing.T) {
	const h = time.Hour
	for _, c := range []struct {
		name    string
		walls   []time.Duration // of a, b, c, …; a leads
		down    string          // nodes that do not answer
		back    time.Duration   // when those do answer after all
		applied time.Duration   // the latest stamp, ahead of true time
		want    time.Duration
		took    time.Duration
	}{
		{name: "all are right", walls: []time.Duration{0, 0, 0}},
		{name: "the leader is ahead", walls: []time.Duration{2 * h, 0, 0}},
		{name: "the leader is behind", walls: []time.Duration{-2 * h, 0, 0}},
		{name: "another one is ahead", walls: []time.Duration{0, 2 * h, 0}},
		{name: "another one is behind", walls: []time.Duration{0, 0, -2 * h}},
		{name: "one ahead, one behind", walls: []time.Duration{-2 * h, 2 * h, 0}},
		{name: "two of five", walls: []time.Duration{2 * h, 2 * h, 0, 0, 0}},
		{name: "one node alone", walls: []time.Duration{2 * h}, want: 2 * h},
		{name: "the earlier of two: the leader's", walls: []time.Duration{0, 2 * h}},
		{name: "the earlier of two: the other's", walls: []time.Duration{2 * h, 0}},
		{name: "one is missing, the others agree", walls: []time.Duration{0, 0, 0}, down: "c", took: StragglerTime},
		{name: "one is missing, the others disagree", walls: []time.Duration{2 * h, 0, 0}, down: "c", took: ColdPatience},
		{name: "one is late, the others disagree", walls: []time.Duration{2 * h, 0, 2 * h}, down: "c", back: time.Second, want: 2 * h, took: time.Second},
		{name: "all others are missing", walls: []time.Duration{0, 0, 0}, down: "bc", took: ColdPatience},
		{name: "behind the machine", walls: []time.Duration{0, 0, 0}, applied: 3 * h, want: 3 * h},
		{name: "ahead of the machine", walls: []time.Duration{0, 0, 0}, applied: -3 * h},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := []string{"a", "b", "c", "d", "e"}[:len(c.walls)]
			inLab(t, names, func(t *testing.T, l *lab) {
				for i, name := range names {
					n := l.nodes[name]
					n.wall, n.down = c.walls[i], bytes.Contains([]byte(c.down), []byte(name))
					if c.applied != 0 {
						n.applied = session.TimeOf(time.Now().Add(c.applied))
					}
					n.boot()
				}
				if c.back > 0 {
					time.AfterFunc(c.back, func() { l.nodes[c.down].set(func() { l.nodes[c.down].down = false }) })
				}
				begun := time.Now()
				l.elect("a")
				if took := time.Since(begun); took < c.took || took > c.took && c.took <= StragglerTime || took > c.took+ColdPause+SyncTimeout {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				l.nodes["a"].wantSynced(true)
				l.nodes["a"].wantTime(c.want)
				for _, n := range l.nodes {
					n.set(func() { n.down = false })
					n.follow()
				}
				time.Sleep(SyncInterval)
				for _, n := range l.nodes {
					n.wantSynced(true)
					n.wantTime(c.want)
				}
			})
		})
	}
}

// A node that knows cluster time tells a leader that has just started, whoever else answers. That is no cold start.
func TestLeaderThatKnowsNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		knows []string
	}{{"all others know", []string{"b", "c"}}, {"one knows", []string{"c"}}} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, []string{"a", "b", "c"}, func(t *testing.T, l *lab) {
				l.warm(5 * time.Hour)
				for _, h := range l.nodes {
					h.halt()
					h.boot()
				}
				l.elect("")
				for _, name := range c.knows {
					l.nodes[name].clock.change(func(r *reckoning, mono micros) {
						r.set(sample{offset: micros(time.Now().Add(-5*time.Hour).UnixMicro()) - mono}, mono)
						r.floor = 0
					})
				}
				l.elect("a")
				l.nodes["a"].wantSynced(true)
				l.nodes["a"].wantTime(-5 * time.Hour)
			})
		})
	}
}

// Who is elected and then not a leader any more has started nothing: it follows the next leader.
func TestColdStartOfALeaderNoMore(t *testing.T) {
	inLab(t, []string{"a", "b", "c"}, func(t *testing.T, l *lab) {
		a := l.nodes["a"]
		a.set(func() { a.wall = 2 * time.Hour })
		a.boot()
		l.delay = func() time.Duration { return 100 * time.Millisecond }
		time.AfterFunc(50*time.Millisecond, func() { l.set(func() { l.leader = "b" }) })
		a.lead()
		a.wantSynced(false)
		l.nodes["b"].lead()
		a.follow()
		time.Sleep(time.Second)
		a.wantSynced(true)
		a.wantTime(0)
	})
}

// Who waits for the time is told as soon as it is known, and again after it was in doubt; until then nothing.
func TestAwaitTime(t *testing.T) {
	inLab(t, []string{"a", "b"}, func(t *testing.T, l *lab) {
		n := l.nodes["a"]
		n.wall = 2 * time.Hour
		n.boot()
		l.nodes["b"].boot()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if at, err := n.clock.Await(ctx); err == nil {
			t.Fatalf("a cold clock vouches for %v", at)
		}
		heard := make(chan session.Time)
		wait := func() {
			at, err := n.clock.Await(t.Context())
			if err != nil {
				t.Error(err)
			}
			heard <- at
		}
		go wait()
		synctest.Wait()
		l.elect("a")
		if at, now := <-heard, n.clock.Now(); at.Sub(now).Abs() > time.Second {
			t.Errorf("told %v, it is %v", at, now)
		}
		n.clock.change(func(r *reckoning, _ micros) { r.trust = suspect })
		go wait()
		synctest.Wait()
		select {
		case at := <-heard:
			t.Errorf("a clock in doubt vouches for %v", at)
		default:
		}
		n.clock.change(func(r *reckoning, _ micros) { r.trust = synced })
		<-heard
	})
}
