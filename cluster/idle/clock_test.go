package idle

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// What a clock has shown it never takes back, and what Floor was told holds at once, also while it is cold.
func TestFloor(t *testing.T) {
	inLab(t, []string{"l", "f"}, func(t *testing.T, l *lab) {
		f := l.nodes["f"]
		f.set(func() { f.wall = time.Hour })
		f.boot()
		cluster := session.TimeOf(time.Now())
		ahead := cluster.Add(time.Minute)
		f.clock.Floor(ahead) // cold, and far ahead of that already
		f.clock.Floor(cluster)
		f.wantTime(time.Hour)
		l.elect("l")
		f.follow()
		synctest.Wait()
		f.wantSynced(true)
		f.wantTime(time.Minute) // not an hour, but not before the floor
		time.Sleep(30 * time.Second)
		f.wantTime(30 * time.Second) // it stands
		time.Sleep(time.Minute)
		f.wantTime(0)
		now := f.clock.Now()
		f.clock.Floor(now.Add(100 * time.Millisecond))
		f.wantTime(100 * time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		f.wantTime(100 * time.Millisecond) // it goes on from there, until the leader's next answer
		time.Sleep(SyncInterval)
		f.wantTime(0)
		f.clock.Floor(now)
		f.wantTime(0)
	})
}

// A leader's clock does not stand, even if what it has shown was ahead of its estimate: stamps would all be the same.
func TestLeaderGoesOnFromWhatItShowed(t *testing.T) {
	inLab(t, []string{"l", "f"}, func(t *testing.T, l *lab) {
		l.warm(0)
		f := l.nodes["f"]
		f.halt()
		f.clock.Floor(f.clock.Now().Add(time.Hour))
		fo := follower{clock: f.clock, log: f, peers: f}
		fo.step(t.Context())
		time.Sleep(time.Second)
		f.wantTime(time.Hour - time.Second) // the leader has corrected it
		l.elect("f")
		time.Sleep(time.Second)
		f.wantTime(time.Hour - time.Second)
	})
}

// A node that has not led or heard of cluster time yet has nothing to tell, and stamps nothing.
func TestUnknownTimeIsNotTold(t *testing.T) {
	inLab(t, []string{"a"}, func(t *testing.T, l *lab) {
		a := l.nodes["a"]
		ask := func(kind wire.Kind, body ...byte) ([]byte, error) {
			return a.handlers[kind](t.Context(), wire.Peer{}, body)
		}
		if _, err := ask(KindTime, 1); !errors.Is(err, ErrNotSynced) {
			t.Fatalf("error %v, want %v", err, ErrNotSynced)
		}
		a.wantSynced(false)
		wall := binary.BigEndian.AppendUint64([]byte{1, 0}, uint64(time.Now().UnixMicro()))
		if answer, err := ask(KindWall, 1); err != nil || !bytes.Equal(answer, wall) {
			t.Fatalf("answer %x, want %x, error %v", answer, wall, err)
		}
		a.set(func() { a.wall = time.Hour }) // by who looks after the machine, since the start
		wall = binary.BigEndian.AppendUint64([]byte{1, 0}, uint64(time.Now().Add(time.Hour).UnixMicro()))
		if answer, err := ask(KindWall, 1); err != nil || !bytes.Equal(answer, wall) {
			t.Fatalf("answer %x, want %x, error %v", answer, wall, err)
		}
		l.elect("a")
		wall[1] = 2
		if answer, err := ask(KindTime, 1); err != nil || !bytes.Equal(answer, wall) {
			t.Fatalf("answer %x, want %x, error %v", answer, wall, err)
		}
		a.clock.change(func(r *reckoning, _ micros) { r.trust = suspect })
		a.wantSynced(false)
		wall[1] = 1
		if answer, err := ask(KindTime, 1); err != nil || !bytes.Equal(answer, wall) {
			t.Fatalf("answer %x, want %x, error %v", answer, wall, err)
		}
		for _, kind := range []wire.Kind{KindTime, KindWall} {
			for _, body := range [][]byte{nil, {0}, {2}, {1, 0}} {
				if _, err := ask(kind, body...); !errors.Is(err, session.ErrBadEncoding) {
					t.Errorf("kind %d, question %x: error %v, want %v", kind, body, err, session.ErrBadEncoding)
				}
			}
		}
	})
}

// Answers that make no sense are none.
func TestBadAnswers(t *testing.T) {
	at := func(micros int64) []byte { return binary.BigEndian.AppendUint64([]byte{1, 2}, uint64(micros)) }
	for _, c := range []struct {
		name   string
		answer []byte
		ok     bool
	}{
		{"good", at(1000), true},
		{"the last moment", at(int64(session.MaxTime) * 1000), true},
		{"past it", at(int64(session.MaxTime)*1000 + 1), false},
		{"before 1970", at(-1), false},
		{"nothing", nil, false},
		{"short", at(1000)[:9], false},
		{"long", append(at(1000), 0), false},
		{"another version", append([]byte{2}, at(1000)[1:]...), false},
		{"unknown trust", append([]byte{1, 3}, at(1000)[2:]...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, []string{"l", "f"}, func(t *testing.T, l *lab) {
				l.nodes["l"].handlers[KindTime] = func(context.Context, wire.Peer, []byte) ([]byte, error) { return c.answer, nil }
				f := l.nodes["f"]
				f.follow()
				f.wantSynced(c.ok)
			})
		})
	}
}

// A follower that was ahead stands until cluster time has come as far.
func TestAheadStands(t *testing.T) {
	inLab(t, []string{"l", "f"}, func(t *testing.T, l *lab) {
		l.warm(0)
		leader, f := l.nodes["l"], l.nodes["f"]
		leader.clock.change(func(r *reckoning, _ micros) { r.offset -= microsIn(10 * time.Minute); r.floor = 0 })
		leader.wantTime(-10 * time.Minute)
		l.watch(func() {
			time.Sleep(SyncInterval + time.Second)
			stands := f.clock.Now()
			time.Sleep(9 * time.Minute)
			if now := f.clock.Now(); now != stands {
				t.Errorf("the clock went on by %v", now.Sub(stands))
			}
			time.Sleep(time.Minute)
			f.wantTime(-10 * time.Minute)
		})
	})
}

// A goroutine that reads the monotonic clock just when the reckoning is replaced shows no time by the old one: the new
// one does not know of it.
func TestReadWhileItChanges(t *testing.T) {
	var clock *Clock
	mono, between := time.Hour, func() {}
	read := func() time.Duration {
		f := between
		between = func() {}
		f()
		return mono
	}
	clock = NewClock(func() session.Time { return 0 }, WithSource(Source{Wall: time.Now, Mono: read}))
	clock.change(func(r *reckoning, mono micros) { r.lead(mono) })
	begun := clock.Now()
	between = func() {
		clock.change(func(r *reckoning, _ micros) { r.offset -= microsIn(time.Minute) })
		mono += time.Second
	}
	if now := clock.Now(); now != begun {
		t.Fatalf("it went on by %v", now.Sub(begun))
	}
	between = func() {
		if clock.current.Load() != nil {
			t.Error("others can read by the old reckoning after change has found out what was shown by it")
		}
	}
	clock.change(func(*reckoning, micros) {})
}

// Time goes back on no goroutine, whatever is changed meanwhile.
func TestNeverBackwards(t *testing.T) {
	var applied atomic.Int64
	clock := NewClock(func() session.Time { return session.Time(applied.Load()) })
	clock.change(func(r *reckoning, mono micros) { r.lead(mono) })
	_, first := clock.read()
	real := first.offset
	var shown atomic.Int64
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := shown.Load()
				now, _ := clock.read()
				if int64(now) < before {
					t.Errorf("%d was shown after %d", now, before)
					return
				}
				for seen := shown.Load(); seen < int64(now) && !shown.CompareAndSwap(seen, int64(now)); seen = shown.Load() {
				}
			}
		})
	}
	for seed := range uint64(2) {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 7))
			for range 50_000 {
				switch r.IntN(10_000) { // seldom, or time would run by them alone
				case 0:
					at := clock.Now() + 1
					if clock.Floor(at); clock.Now() < at {
						t.Errorf("time before its floor")
					}
				case 1:
					applied.Store(int64(clock.Now() + 1))
				default:
					d := micros(r.IntN(2000) - 1000)
					clock.change(func(r *reckoning, mono micros) { r.set(sample{offset: real + d}, mono) })
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

func TestNowAllocatesNothing(t *testing.T) {
	clock := NewClock(func() session.Time { return 0 })
	if n := testing.AllocsPerRun(100, func() { clock.Now() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkNow reads a clock as each lookup does: by how the machine's clock is read.
func BenchmarkNow(b *testing.B) {
	var mu sync.RWMutex
	var held session.Time
	var stored atomic.Int64
	for _, c := range []struct {
		name    string
		machine func() session.Time
	}{
		{"atomic", func() session.Time { return session.Time(stored.Load()) }},
		{"read lock", func() session.Time {
			mu.RLock()
			defer mu.RUnlock()
			return held
		}},
	} {
		clock := NewClock(c.machine)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clock.Now()
			}
		})
		b.Run(c.name+", parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					clock.Now()
				}
			})
		})
	}
}
