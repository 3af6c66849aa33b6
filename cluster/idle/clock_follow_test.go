package idle

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A follower's estimate, answer by answer.
func TestEstimate(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name   string
		delays []time.Duration // there, back, there, back, …
		then   func(l *lab)    // before the last question
		want   time.Duration   // of the error
	}{
		{name: "half the round trip is added", delays: []time.Duration{100 * ms, 100 * ms}},
		{name: "it can't be more exact than that", delays: []time.Duration{0, 100 * ms}, want: -50 * ms},
		{name: "a fast answer corrects", delays: []time.Duration{0, 100 * ms, 0, 2 * ms}, want: -1 * ms},
		{name: "a slow answer does not", delays: []time.Duration{1 * ms, 1 * ms, 50 * ms, 150 * ms}},
		{name: "two slow ones allow less than each", delays: []time.Duration{0, 100 * ms, 100 * ms, 0}},
		{
			name: "a slow answer that contradicts is right", delays: []time.Duration{1 * ms, 1 * ms, 50 * ms, 50 * ms},
			then: func(l *lab) {
				l.nodes["l"].clock.change(func(r *reckoning, mono micros) { r.offset += microsIn(time.Hour) })
			},
			want: time.Hour,
		},
		{
			name: "after an hour a slow answer corrects, too", delays: []time.Duration{1 * ms, 1 * ms, 100 * ms, 0},
			then: func(*lab) { time.Sleep(time.Hour) }, want: 50 * ms,
		},
		{
			name: "no answer changes nothing", delays: []time.Duration{1 * ms, 1 * ms, time.Hour, time.Hour},
		},
		{
			name: "nor does one of a leader that is not sure", delays: []time.Duration{1 * ms, 1 * ms, 1 * ms, 1 * ms},
			then: func(l *lab) {
				l.nodes["l"].clock.change(func(r *reckoning, mono micros) { r.offset += microsIn(time.Hour); r.trust = suspect })
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, []string{"l", "f"}, func(t *testing.T, l *lab) {
				h := l.nodes["f"]
				h.set(func() { h.wall = 2 * time.Hour; h.down = true })
				l.elect("l")
				h.boot()
				delays := c.delays
				l.delay = func() time.Duration {
					d := delays[0]
					delays = delays[1:]
					return d
				}
				f := follower{clock: h.clock, log: h, peers: h}
				for len(delays) > 0 {
					if c.then != nil && len(delays) == 2 {
						c.then(l)
					}
					before := len(delays)
					f.step(t.Context())
					switch before - len(delays) {
					case 0:
						time.Sleep(SyncPause)
					case 1:
						delays = delays[1:] // the way back of a question that was given up
					}
				}
				h.wantSynced(true)
				h.wantTime(c.want)
				time.Sleep(10 * time.Minute) // it goes on by itself
				h.wantTime(c.want)
			})
		})
	}
}

// Questions: many at first and to a new leader, then few, and none from the leader.
func TestQuestions(t *testing.T) {
	inLab(t, []string{"a", "b", "c"}, func(t *testing.T, l *lab) {
		l.warm(0)
		count := func(h *host) int {
			l.mu.Lock()
			defer l.mu.Unlock()
			defer func() { h.calls = 0 }()
			return h.calls
		}
		a, b := l.nodes["a"], l.nodes["b"]
		if got := count(b); got != SyncBurst {
			t.Errorf("%d questions at first, want %d", got, SyncBurst)
		}
		count(a)
		time.Sleep(time.Minute)
		if got, want := count(b), int(time.Minute/SyncInterval); got < want-1 || got > want {
			t.Errorf("%d questions in a minute, want %d", got, want)
		}
		count(l.nodes["c"])
		l.elect("c")
		time.Sleep(GuardInterval + SyncBurst*SyncPause)
		if got := count(b); got != SyncBurst {
			t.Errorf("%d questions to a new leader, want %d", got, SyncBurst)
		}
		if got := count(l.nodes["c"]); got != 0 {
			t.Errorf("%d questions by a leader", got)
		}
		count(a)
		l.elect("a")
		time.Sleep(time.Minute)
		if got := count(a); got != 0 {
			t.Errorf("the leader asked %d times", got)
		}
		l.elect("") // nobody to ask
		count(b)
		time.Sleep(time.Minute)
		if got := count(b); got != 0 {
			t.Errorf("%d questions without a leader", got)
		}
		b.wantSynced(true)
		b.wantTime(0)
	})
}

// The leader changes every few seconds, with clocks that run unequally, wall clocks that say what they like, and
// messages that take as long as they like: cluster time continues, everywhere.
func TestLeaderChanges(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			names := []string{"a", "b", "c", "d", "e"}
			inLab(t, names, func(t *testing.T, l *lab) {
				r := rand.New(rand.NewPCG(seed, 1))
				for _, h := range l.nodes {
					h.set(func() { h.wall = time.Duration(r.IntN(48)-24) * time.Hour })
					h.boot()
				}
				l.warm(0)
				l.set(func() { l.delay = random(seed, 100*time.Microsecond, 20*time.Millisecond) })
				for _, h := range l.nodes {
					h.set(func() { h.rate = float64(r.IntN(201)-100) / 1e6 })
				}
				time.Sleep(SyncInterval)
				begun := l.nodes["a"].off()
				l.watch(func() {
					for range 300 {
						leader := names[r.IntN(len(names))]
						if set := l.nodes[names[r.IntN(len(names))]]; r.IntN(10) == 0 {
							set.set(func() { set.wall += time.Duration(r.IntN(48)-24) * time.Hour })
						}
						l.elect(leader)
						time.Sleep(time.Duration(1+r.IntN(5000)) * time.Millisecond)
						for _, h := range l.nodes {
							h.wantNear(l.nodes[leader].off(), 40*time.Millisecond)
						}
					}
				})
				// No more than the worst of the monotonic clocks, and what is left of the round trips.
				passed := time.Since(l.start)
				drift := l.nodes["a"].off() - begun
				t.Logf("cluster time drifted by %v in %v", drift, passed)
				if drift.Abs() > passed/2000 {
					t.Errorf("cluster time drifted by %v in %v", drift, passed)
				}
			})
		})
	}
}
