package propose

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// A command that its caller has given up before it got an entry never gets one, on the leader too.
func TestGivingUpAtTheLeader(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.stable.Raise(1 << 40)
		shut := make(chan struct{})
		leads.set(func() { leads.shut = shut })
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, _, err := p.leader.Do(ctx, &session.Tick{}); !errors.Is(err, wire.ErrTimeout) {
				t.Errorf("error %v, want %v", err, wire.ErrTimeout)
			}
			cancel()
		}
		time.AfterFunc(time.Second, func() {
			if n := p.leader.Stats().Queued; n != 4 {
				t.Errorf("%d commands wait, three of which were given up", n)
			}
			leads.set(func() { leads.shut = nil })
			close(shut)
		})
		if _, _, err := p.leader.Do(t.Context(), &session.Tick{}); err != nil {
			t.Error(err)
		}
		if n := p.log.commands(); n != 1 || p.leader.Stats().Queued != 0 {
			t.Errorf("%d commands in the log, %d wait", n, p.leader.Stats().Queued)
		}
	})
}

// An outcome that comes when its caller has gone is nobody else's.
func TestLateOutcomeIsNobodys(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		hold := make(chan struct{})
		p.log.set(func() { p.log.hold = hold })
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, _, err := p.leader.Do(ctx, &session.Tick{}); !errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("error %v, want %v", err, ErrOutcomeUnknown)
			}
			cancel()
		}
		time.AfterFunc(time.Second, func() { close(hold) })
		for want := uint64(4); want < 7; want++ {
			if _, index, err := p.leader.Do(t.Context(), &session.Tick{}); err != nil || index != want {
				t.Errorf("index %d, %v, want %d", index, err, want)
			}
		}
	})
}

// The leader's own callers can't take the places of all others.
func TestOwnCallersLeaveRoom(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.stable.Raise(1 << 40)
		shut := make(chan struct{})
		leads.set(func() { leads.shut = shut })
		const callers = MaxQueue + 3
		answers := make(chan error, callers)
		for range callers {
			go func() {
				_, _, err := p.leader.Do(t.Context(), &session.Tick{})
				answers <- err
			}()
		}
		synctest.Wait()
		if len(answers) != callers-MaxQueue {
			t.Errorf("%d of %d were refused", len(answers), callers)
		}
		other := ask(t, p.follower)
		synctest.Wait()
		if len(other) > 0 {
			t.Errorf("another node's: %v", (<-other).err)
		}
		leads.set(func() { leads.shut = nil })
		close(shut)
		refused := 0
		for range callers {
			switch err := <-answers; {
			case errors.Is(err, wire.ErrOverloaded):
				refused++
			case err != nil:
				t.Error(err)
			}
		}
		if got := <-other; got.err != nil || refused != callers-MaxQueue {
			t.Errorf("%d refused, another node's: %v", refused, got.err)
		}
	})
}

// What waits at a proposer that is closed, opened or not, is told so.
func TestCloseUnopened(t *testing.T) {
	bubble(t, func(t *testing.T, _ *pair) {
		p := New(Config{
			Log: &fakeLog{lead: true}, Peers: &noHandler{&fakeLink{}},
			Now: func() (session.Time, bool) { return 1, true },
		})
		waiting := ask(t, p)
		synctest.Wait()
		p.Close()
		if got := <-waiting; !errors.Is(got.err, wire.ErrNoLeader) {
			t.Errorf("error %v, want %v", got.err, wire.ErrNoLeader)
		}
	})
}

// A leader that closes has an answer for all that wait for an entry, those that were sent again too.
func TestCloseWithMoreThanAnEntry(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.set(func() { leads.deposed = errDeposed })
		const callers = MaxBatchesInFlight * MaxEntryCommands
		answers := make([]<-chan answered, callers)
		for i := range answers {
			answers[i] = ask(t, p.leader)
		}
		synctest.Wait()
		leads.set(func() { leads.deposed, leads.shut = nil, make(chan struct{}) })
		time.Sleep(2 * RetryPause) // all are there, from batches
		p.leader.Close()
		for _, a := range answers {
			if got := <-a; !errors.Is(got.err, wire.ErrNoLeader) {
				t.Errorf("error %v, want %v", got.err, wire.ErrNoLeader)
			}
		}
	})
}

// laggard is a node whose machine takes its time.
type laggard struct {
	remoteLog
	applied uint64
	takes   time.Duration
}

func (l laggard) Applied() uint64 { return l.applied }

func (l laggard) WaitApplied(ctx context.Context, _ uint64) error {
	select {
	case <-time.After(l.takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A result is told when this node has applied it as well, or lags by more than ApplyWait.
func TestWaitsForOwnMachine(t *testing.T) {
	for name, c := range map[string]struct {
		applied     uint64
		takes, want time.Duration
	}{
		"is there already":  {applied: 1, takes: time.Hour},
		"a moment later":    {takes: ApplyWait / 2, want: ApplyWait / 2},
		"far behind others": {takes: time.Hour, want: ApplyWait},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pair) {
				p.follower.log = laggard{remoteLog{p.log}, c.applied, c.takes}
				start := time.Now()
				if got := <-ask(t, p.follower); got.err != nil || got.index != 1 || time.Since(start) != c.want {
					t.Errorf("%+v after %v, want %v", got, time.Since(start), c.want)
				}
			})
		})
	}
}

// The pool by itself: an entry has as many commands and bytes as it may have, and what has come too late is not taken.
func TestPool(t *testing.T) {
	p := newPool()
	for _, size := range []int{MaxEntryBytes / 2, MaxEntryBytes / 4, MaxEntryBytes / 2, MaxEntryBytes, 1} {
		if v := p.addOwn(newCall(&session.Tick{}, size)); v != queued {
			t.Fatalf("verdict %d", v)
		}
	}
	for i, want := range []int{2, 1, 1, 1, 0} {
		if got := len(p.take()); got != want {
			t.Errorf("take %d: %d commands, want %d", i, got, want)
		}
	}
	calls := make([]*call, MaxMergeQueue+1)
	for i := range calls {
		calls[i] = newCall(&session.Tick{}, 1)
	}
	if taken, left := p.add(calls); taken != MaxMergeQueue || left != overloaded {
		t.Errorf("took %d, the rest %d", taken, left)
	}
	if v := p.addOwn(calls[MaxMergeQueue]); v != overloaded {
		t.Errorf("verdict %d of a full pool", v)
	}
	if n := len(p.take()); n != MaxEntryCommands {
		t.Errorf("an entry of %d commands", n)
	}
	if n := len(p.close()); n != MaxMergeQueue-MaxEntryCommands || p.waiting() != 0 {
		t.Errorf("%d were left, %d wait", n, p.waiting())
	}
	if v := p.addOwn(calls[0]); v != notAppended {
		t.Errorf("verdict %d of a closed pool", v)
	}
	if taken, left := p.add(calls[:1]); taken != 0 || left != notAppended {
		t.Errorf("a closed pool took %d, the rest %d", taken, left)
	}
}
