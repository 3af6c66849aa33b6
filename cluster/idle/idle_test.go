package idle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// station is a node's clock with what it hears of the leader.
type station struct {
	leads   bool
	leader  string
	told    session.Time // the leader's answer
	delay   time.Duration
	fail    error
	handler wire.Handler
}

func (s *station) IsLeader() bool   { return s.leads }
func (s *station) LeaderID() string { return s.leader }

func (s *station) Handle(_ wire.Kind, h wire.Handler) { s.handler = h }

func (s *station) Call(context.Context, string, wire.Kind, []byte) ([]byte, error) {
	time.Sleep(s.delay)
	if s.fail != nil {
		return nil, s.fail
	}
	return binary.BigEndian.AppendUint64(nil, uint64(s.told)), nil
}

func TestClock(t *testing.T) {
	wall := func() session.Time { return session.TimeOf(time.Now()) }
	for _, c := range []struct {
		name string
		run  func(s *station, machine *session.Time, c *Clock)
		want func() session.Time
	}{
		{"cold start", func(*station, *session.Time, *Clock) {}, wall},
		{"cold start behind the machine", func(_ *station, machine *session.Time, _ *Clock) {
			*machine = wall().Add(2 * time.Hour)
		}, func() session.Time { return wall().Add(2 * time.Hour) }},
		{"a follower whose wall clock is two hours ahead", func(s *station, _ *session.Time, c *Clock) {
			s.leader, s.told = "l", wall().Add(-2*time.Hour)
			c.Sync(context.Background(), s, s)
		}, func() session.Time { return wall().Add(-2 * time.Hour) }},
		{"half the round trip is added", func(s *station, _ *session.Time, c *Clock) {
			s.leader, s.told, s.delay = "l", 1000, 200*time.Millisecond
			c.Sync(context.Background(), s, s)
		}, func() session.Time { return 1100 }},
		{"it goes on by itself", func(s *station, _ *session.Time, c *Clock) {
			s.leader, s.told = "l", 1000
			c.Sync(context.Background(), s, s)
			s.fail = wire.ErrUnreachable
			time.Sleep(time.Hour)
			c.Sync(context.Background(), s, s)
		}, func() session.Time { return session.Time(1000).Add(time.Hour) }},
		{"a new leader goes on from its estimate", func(s *station, _ *session.Time, c *Clock) {
			s.leader, s.told = "l", 1000
			c.Sync(context.Background(), s, s)
			s.leads = true
			c.Lead(context.Background(), []string{"other"}, s)
			time.Sleep(time.Minute)
		}, func() session.Time { return session.Time(1000).Add(time.Minute) }},
		{"a new leader that knows nothing asks the others", func(s *station, _ *session.Time, c *Clock) {
			s.leads, s.told = true, wall().Add(-2*time.Hour)
			c.Lead(context.Background(), []string{"other"}, s)
		}, func() session.Time { return wall().Add(-2 * time.Hour) }},
		{"a cold start: the others know nothing", func(s *station, _ *session.Time, c *Clock) {
			s.leads, s.fail = true, ErrNotSynced
			c.Lead(context.Background(), []string{"other"}, s)
		}, wall},
		{"it goes on from a machine that is ahead", func(_ *station, machine *session.Time, c *Clock) {
			*machine = wall().Add(time.Hour)
			c.Now()
			time.Sleep(time.Minute)
		}, func() session.Time { return wall().Add(time.Hour) }},
		{"a slow answer does not correct", func(s *station, _ *session.Time, c *Clock) {
			s.leader, s.told = "l", 1000
			c.Sync(context.Background(), s, s)
			s.told, s.delay = 5000, 2*MaxRoundTrip
			c.Sync(context.Background(), s, s)
		}, func() session.Time { return session.Time(1000).Add(2 * MaxRoundTrip) }},
		{"a leader asks nobody", func(s *station, _ *session.Time, c *Clock) {
			s.leads, s.leader, s.told = true, "me", 1000
			c.Sync(context.Background(), s, s)
		}, wall},
	} {
		t.Run(c.name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				var machine session.Time
				s := &station{}
				clock := NewClock(func() session.Time { return machine })
				c.run(s, &machine, clock)
				if got, want := clock.Now(), c.want(); got != want {
					t.Fatalf("cluster time %v, want %v", got.Std(), want.Std())
				}
			})
		})
	}
}

// A node that has not led or heard of cluster time yet has nothing to tell, and stamps nothing.
func TestUnknownTimeIsNotTold(t *testing.T) {
	s := &station{}
	clock := NewClock(func() session.Time { return 0 })
	clock.Serve(s)
	if _, err := s.handler(t.Context(), wire.Peer{}, nil); !errors.Is(err, ErrNotSynced) {
		t.Fatalf("error %v, want %v", err, ErrNotSynced)
	}
	if _, ok := clock.Stamp(); ok {
		t.Fatal("a node that does not know the time stamps entries")
	}
	clock.Lead(t.Context(), nil, s)
	answer, err := s.handler(t.Context(), wire.Peer{}, nil)
	if err != nil || len(answer) != 8 {
		t.Fatalf("answer %x, %v", answer, err)
	}
}

// recorder takes the commands of a Keeper.
type recorder struct {
	mu       sync.Mutex
	commands []session.Command
	fail     error
}

func (r *recorder) do(_ context.Context, cmd session.Command) (session.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return session.Result{}, r.fail
	}
	r.commands = append(r.commands, cmd)
	return session.Result{}, nil
}

// touched returns how many uses were proposed, and in how many commands.
func (r *recorder) touched() (uses, commands int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, cmd := range r.commands {
		uses += len(cmd.(*session.Touch).Uses)
	}
	return uses, len(r.commands)
}

func newKeeper(t *testing.T, idle time.Duration) (*Keeper, *recorder) {
	r := &recorder{}
	s := &station{}
	k := New(Config{
		Idle: idle, Clock: NewClock(func() session.Time { return 0 }), Log: s, Peers: s, Do: r.do,
		Logger: slog.New(slog.DiscardHandler),
	})
	k.Open()
	t.Cleanup(k.Close)
	return k, r
}

func key(n int) session.Key { return session.KeyOf(fmt.Append(nil, n)) }

// However often sessions are looked up, each costs one use in a touch a minute, and touches are few.
func TestTouchesAreCoalesced(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		k, r := newKeeper(t, 30*time.Minute)
		const sessions = 5000
		for range 50 { // a lookup of each every second
			time.Sleep(time.Second)
			for i := range sessions {
				k.Used(key(i))
			}
		}
		time.Sleep(11 * time.Second) // the minute is over
		uses, commands := r.touched()
		if uses != sessions || commands != (sessions+session.MaxTouches-1)/session.MaxTouches {
			t.Fatalf("%d uses in %d commands for %d sessions", uses, commands, sessions)
		}
		time.Sleep(5 * time.Minute)
		if again, _ := r.touched(); again != uses {
			t.Fatalf("%d uses were proposed again although nothing was looked up", again-uses)
		}
	})
}

// Without a leader, a flush of many uses gives up after the first touches that failed.
func TestFlushGivesUp(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		k, r := newKeeper(t, 30*time.Minute)
		var tries atomic.Int32
		k.cfg.Do = func(context.Context, session.Command) (session.Result, error) {
			tries.Add(1)
			time.Sleep(3 * time.Second)
			return session.Result{}, wire.ErrNoLeader
		}
		for i := range 20 * session.MaxTouches {
			k.Used(key(i))
		}
		start := time.Now()
		k.Flush(t.Context())
		if took := time.Since(start); took > 3*time.Second || tries.Load() > TouchesInFlight {
			t.Fatalf("a flush without a leader took %v and %d tries", took, tries.Load())
		}
		k.cfg.Do = r.do
		k.Flush(t.Context())
		if uses, _ := r.touched(); uses != 20*session.MaxTouches {
			t.Fatalf("%d uses were replicated afterwards, want %d", uses, 20*session.MaxTouches)
		}
	})
}

// A use that could not be replicated is not forgotten.
func TestTouchIsTriedAgain(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		k, r := newKeeper(t, 30*time.Minute)
		r.fail = wire.ErrNoLeader
		k.Used(key(1))
		time.Sleep(90 * time.Second)
		r.mu.Lock()
		r.fail = nil
		r.mu.Unlock()
		time.Sleep(time.Minute)
		if uses, _ := r.touched(); uses != 1 {
			t.Fatalf("%d uses were proposed, want 1", uses)
		}
	})
}

func TestCheck(t *testing.T) {
	const idle = 30 * time.Minute
	for _, c := range []struct {
		name    string
		unused  time.Duration // since the replicated last use
		usedAgo time.Duration // since the use that this node knows; 0: none
		life    time.Duration
		want    error
	}{
		{"fresh", time.Minute, 0, time.Hour, nil},
		{"within the grace of touches under way", idle + Grace(idle) - time.Millisecond, 0, 9 * time.Hour, nil},
		{"past it", idle + Grace(idle), 0, 9 * time.Hour, session.ErrSessionIdle},
		{"past it, but used here", 2 * idle, idle - time.Millisecond, 9 * time.Hour, nil},
		{"past it, used here too long ago", 2 * idle, idle, 9 * time.Hour, session.ErrSessionIdle},
		{"lifetime over", 0, time.Millisecond, 0, session.ErrSessionInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				k, r := newKeeper(t, idle)
				r.fail = wire.ErrNoLeader // uses stay here
				now := k.cfg.Clock.Now()
				s := &session.Session{Key: key(1), Idle: idle, LastUse: now, Expires: now.Add(c.unused + c.life)}
				time.Sleep(c.unused - c.usedAgo)
				if c.usedAgo > 0 {
					k.Used(s.Key)
					time.Sleep(c.usedAgo)
				}
				if err := k.Check(s); !errors.Is(err, c.want) {
					t.Fatalf("error %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestGranularity(t *testing.T) {
	for _, c := range []struct{ idle, want time.Duration }{
		{time.Second, time.Second}, {time.Minute, 4 * time.Second}, {15 * time.Minute, time.Minute}, {8 * time.Hour, time.Minute},
	} {
		if got := Granularity(c.idle); got != c.want {
			t.Errorf("idle timeout %v: touches every %v, want %v", c.idle, got, c.want)
		}
	}
}
