package propose

import (
	"errors"
	"testing"
	"testing/synctest"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
)

// The office's own commands get into the log though it is shut and everything else waits.
func TestDirect(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, follows *fakeOffice) {
		leads.set(func() { leads.shut = make(chan struct{}) })
		waiting := ask(t, p.follower)
		synctest.Wait()
		p.log.during = func() error {
			leads.set(func() { leads.clock += 5 })
			return nil
		}
		p.log.answer = session.Result{Rev: 4}
		for i := range 2 * MaxEntriesInFlight {
			entry, proposed, err := p.leader.Direct(t.Context(), &session.Tick{})
			if err != nil || entry.Index != uint64(1+i) || entry.Term != 7 || len(entry.Results) != 1 || entry.Results[0].Rev != 4 {
				t.Fatalf("%+v, %v", entry, err)
			}
			if proposed != lease.Time(5*i) {
				t.Errorf("proposed at %d, before it was %d", proposed, 5*i)
			}
		}
		if len(leads.committed) > 0 || len(waiting) > 0 || p.leader.Stats().Entries != 2*MaxEntriesInFlight {
			t.Errorf("committed %v, %d answers, %+v", leads.committed, len(waiting), p.leader.Stats())
		}
		if _, _, err := p.follower.Direct(t.Context(), &session.Tick{}); !errors.Is(err, consensus.ErrNotLeader) {
			t.Errorf("on another node: %v", err)
		}
		p.leader.known = func() uint8 { return session.MinVersion }
		if _, _, err := p.leader.Direct(t.Context(), newer()); !errors.Is(err, ErrUpgradePending) {
			t.Errorf("what not all members know: %v", err)
		}
		hold := make(chan struct{})
		p.log.set(func() { p.log.hold = hold })
		p.log.set(func() { p.log.refuse = consensus.ErrLeadershipLost })
		close(hold)
		if _, _, err := p.leader.Direct(t.Context(), &session.Tick{}); !errors.Is(err, consensus.ErrLeadershipLost) {
			t.Errorf("an office that is lost: %v", err)
		}
		p.leader.Close()
		if _, _, err := p.leader.Direct(t.Context(), &session.Tick{}); !errors.Is(err, consensus.ErrShutdown) {
			t.Errorf("on a node that was closed: %v", err)
		}
		p.log.set(func() { p.log.changeLocked(func() { p.log.lead = false }) })
		if got := <-waiting; got.err == nil {
			t.Errorf("what waited at a leader that was closed: %+v", got)
		}
	})
}
