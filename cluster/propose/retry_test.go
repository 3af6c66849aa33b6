package propose

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/wire"
)

// A leader that was elected a moment ago may refuse because it does not know it yet. It is tried again soon, and less and
// less often.
func TestPausesGrow(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.stable.Raise(1 << 40)
		var refused []time.Time
		p.log.during = func() error {
			if len(refused) == 10 {
				return nil
			}
			refused = append(refused, time.Now())
			return consensus.ErrNotLeader
		}
		if got := <-ask(t, p.follower); got.err != nil {
			t.Fatal(got.err)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 20, 20, 20, 20} {
			if pause := refused[i+1].Sub(refused[i]); pause != want*time.Millisecond {
				t.Errorf("pause %d is %v", i, pause)
			}
		}
	})
}

// A command that finds no leader is sent at the moment that one is heard of, also when that was during its last attempt.
func TestNewLeaderIsHeardOf(t *testing.T) {
	t.Run("while it waits", func(t *testing.T) {
		inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
			leads.stable.Raise(1 << 40)
			p.log.set(func() { p.log.lead = false })
			answers := ask(t, p.follower)
			time.Sleep(time.Second + time.Millisecond)
			start := time.Now()
			p.log.set(func() { p.log.changeLocked(func() { p.log.lead = true }) })
			if got := <-answers; got.err != nil || time.Since(start) > 0 {
				t.Errorf("after %v: %+v", time.Since(start), got)
			}
		})
	})
	t.Run("during an attempt", func(t *testing.T) {
		inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
			leads.stable.Raise(1 << 40)
			p.log.during = func() error {
				time.Sleep(time.Millisecond)
				p.log.changeLocked(func() { p.log.during = nil })
				return consensus.ErrNotLeader
			}
			start := time.Now()
			if got := <-ask(t, p.follower); got.err != nil || time.Since(start) > time.Millisecond {
				t.Errorf("after %v: %+v", time.Since(start), got)
			}
		})
	})
}

// A stop waits neither for the office nor for what is stable, and callers are told what is certain.
func TestCloseInOffice(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		untold := ask(t, p.leader)
		synctest.Wait()
		leads.set(func() { leads.shut = make(chan struct{}) })
		unsent := ask(t, p.leader)
		synctest.Wait()
		start := time.Now()
		p.leader.Close()
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
		if got := <-untold; !errors.Is(got.err, ErrOutcomeUnknown) {
			t.Errorf("in the log: %+v", got)
		}
		if got := <-unsent; !errors.Is(got.err, wire.ErrNoLeader) {
			t.Errorf("not in the log: %+v", got)
		}
		if n := p.log.commands(); n != 1 {
			t.Errorf("%d commands in the log", n)
		}
	})
}
