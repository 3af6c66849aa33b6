package propose

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
	"cloakroom/cluster/watermark"
)

var errDeposed = errors.New("deposed")

// fakeOffice is open, with nothing stable, until a test says otherwise. Its clock shows how often it was moved on.
type fakeOffice struct {
	mu        sync.Mutex
	shut      chan struct{} // Enter waits until it is closed; nil: open
	deposed   error         // what Enter ends with
	clock     lease.Time
	committed []commit
	learned   []uint64
	slow      time.Duration // how long Learn takes

	stable watermark.Mark
	lost   chan struct{} // closed: Await fails
}

type commit struct {
	kind        lease.CommandKind
	term, index uint64
	proposed    lease.Time
	handed      bool
}

func (o *fakeOffice) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *fakeOffice) Enter(ctx context.Context) error {
	o.mu.Lock()
	shut := o.shut
	o.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.deposed
}

func (o *fakeOffice) Clock() lease.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clock
}

func (o *fakeOffice) Committed(kind lease.CommandKind, term, index uint64, proposed lease.Time, handed bool) {
	o.set(func() { o.committed = append(o.committed, commit{kind, term, index, proposed, handed}) })
}

func (o *fakeOffice) Await(ctx context.Context, index uint64) error {
	if err := o.stable.Wait(ctx, o.lost, index); err != nil {
		return consensus.ErrNotLeader // though that is not what became of the command
	}
	return nil
}

func (o *fakeOffice) Learn(index uint64) {
	time.Sleep(o.slow)
	o.set(func() { o.learned = append(o.learned, index) })
}

func (o *fakeOffice) learnt() []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]uint64(nil), o.learned...)
}

// inOffice is a pair with an office on each side.
func inOffice(t *testing.T, fn func(t *testing.T, p *pair, leads, follows *fakeOffice)) {
	t.Helper()
	clustertest.Bubble(t, func(t *testing.T) {
		leads, follows := &fakeOffice{lost: make(chan struct{})}, &fakeOffice{}
		fn(t, newPairWith(t, leads, follows), leads, follows)
	})
}

type answered struct {
	index uint64
	err   error
}

// ask proposes a tick and returns where its answer comes.
func ask(t *testing.T, p *Proposer) <-chan answered {
	answers := make(chan answered, 1)
	go func() {
		_, index, err := p.Do(t.Context(), &session.Tick{})
		answers <- answered{index, err}
	}()
	return answers
}

// Nobody learns a result, a refusal by the machine included, before its index is stable. Then its caller knows, and the
// caller's node knows what is stable.
func TestToldWhenStable(t *testing.T) {
	for name, answer := range map[string]session.Result{"result": {Rev: 3}, "refusal": {Err: session.ErrSessionInvalid}} {
		for _, from := range []string{"leader", "another node"} {
			t.Run(name+" at "+from, func(t *testing.T) {
				inOffice(t, func(t *testing.T, p *pair, leads, follows *fakeOffice) {
					asker, office := p.leader, leads
					if from == "another node" {
						asker, office = p.follower, follows
					}
					p.log.answer, office.slow = answer, time.Millisecond
					answers := ask(t, asker)
					time.Sleep(StableTimeout - time.Second)
					synctest.Wait()
					if p.log.commands() != 1 || len(answers) != 0 || len(leads.learnt())+len(follows.learnt()) != 0 {
						t.Fatalf("%d in the log, %d answers, learnt %v and %v", p.log.commands(), len(answers), leads.learnt(), follows.learnt())
					}
					leads.stable.Raise(1)
					if got := <-answers; got.index != 1 || !errors.Is(got.err, errorOf(answer)) {
						t.Errorf("answer %+v", got)
					}
					if got := office.learnt(); len(got) != 1 || got[0] != 1 {
						t.Errorf("learnt %v", got)
					}
				})
			})
		}
	}
}

func errorOf(r session.Result) error {
	if r.Err == nil {
		return nil
	}
	return r.Err
}

// A result that can't be told is no reason to send the command again, whatever the office says.
func TestNeverStable(t *testing.T) {
	t.Run("too late", func(t *testing.T) {
		inOffice(t, func(t *testing.T, p *pair, leads, follows *fakeOffice) {
			start := time.Now()
			if got := <-ask(t, p.follower); !errors.Is(got.err, ErrOutcomeUnknown) || time.Since(start) != StableTimeout {
				t.Errorf("after %v: %+v", time.Since(start), got)
			}
			if n := p.log.commands(); n != 1 || len(follows.learnt()) > 0 || p.follower.Stats().Unknown != 1 {
				t.Errorf("%d in the log, learnt %v, counted %+v", n, follows.learnt(), p.follower.Stats())
			}
		})
	})
	t.Run("office lost", func(t *testing.T) {
		inOffice(t, func(t *testing.T, p *pair, leads, follows *fakeOffice) {
			answers := ask(t, p.follower)
			synctest.Wait()
			close(leads.lost)
			if got := <-answers; !errors.Is(got.err, ErrOutcomeUnknown) {
				t.Errorf("%+v", got)
			}
			if n := p.log.commands(); n != 1 || len(follows.learnt()) > 0 {
				t.Errorf("%d in the log, learnt %v", n, follows.learnt())
			}
		})
	})
}

// What gets no entry shows nothing and waits for nothing, and tells nobody what is stable.
func TestRefusedWithoutEntry(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, follows *fakeOffice) {
		p.leader.merger.admit = func(session.Command) error { return errNoRoom }
		start := time.Now()
		if _, _, err := p.follower.Do(t.Context(), &session.Sweep{}); !errors.Is(err, errNoRoom) || time.Since(start) > 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if len(leads.committed)+len(leads.learnt())+len(follows.learnt()) != 0 {
			t.Errorf("committed %v, learnt %v, %v", leads.committed, leads.learnt(), follows.learnt())
		}
	})
}

// Results that wait to be told hold nothing up: entries go on, each as soon as there is something to propose.
func TestEntriesGoOnMeanwhile(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		const entries = 3 * MaxEntriesInFlight
		outcomes := make(chan outcome, entries)
		for range entries {
			go func() { outcomes <- p.leader.merger.submit([]*call{newCall(&session.Tick{}, 8)})[0] }()
			synctest.Wait()
		}
		if n := len(p.log.entries); n != entries || len(outcomes) > 0 {
			t.Fatalf("%d entries, want %d; %d answers", n, entries, len(outcomes))
		}
		leads.stable.Raise(entries - 1)
		synctest.Wait()
		if len(outcomes) != entries-1 {
			t.Errorf("%d answers, all but one may be told", len(outcomes))
		}
		leads.stable.Raise(entries)
		synctest.Wait()
		for range entries {
			if o := <-outcomes; o.verdict != applied {
				t.Errorf("%+v", o)
			}
		}
	})
}

// While the office is shut, commands queue up to the bound, and make one entry when it opens.
func TestShutOffice(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.stable.Raise(1 << 40)
		shut := make(chan struct{})
		leads.set(func() { leads.shut = shut })
		var answers []<-chan answered
		for range 50 {
			answers = append(answers, ask(t, p.leader), ask(t, p.follower))
			synctest.Wait()
		}
		time.Sleep(time.Second)
		if n := p.log.commands(); n != 0 {
			t.Fatalf("%d commands in the log", n)
		}
		flood := make([]*call, MaxMergeQueue)
		for i := range flood {
			flood[i] = newCall(&session.Tick{}, 8)
		}
		outcomes := make(chan []outcome, 1)
		go func() { outcomes <- p.leader.merger.submit(flood) }()
		synctest.Wait()
		late := p.leader.merger.submit([]*call{newCall(&session.Tick{}, 8)})
		if late[0].verdict != overloaded {
			t.Errorf("with a full queue: %+v", late[0])
		}
		leads.set(func() { leads.shut = nil })
		close(shut)
		for _, a := range answers {
			if got := <-a; got.err != nil {
				t.Error(got.err)
			}
		}
		refused := 0
		for _, o := range <-outcomes {
			if o.verdict == overloaded {
				refused++
			}
		}
		synctest.Wait()
		if first := len(p.log.entries[0]); first != MaxEntryCommands || refused == 0 || refused > 2*len(answers) {
			t.Errorf("the first entry has %d commands; %d were refused", first, refused)
		}
	})
}

// A batch that waits where the office is lost goes to the next leader, once, as soon as there is one.
func TestDeposedWhileShut(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.stable.Raise(1 << 40)
		shut := make(chan struct{})
		leads.set(func() { leads.shut = shut })
		answers := []<-chan answered{ask(t, p.leader), ask(t, p.follower), ask(t, p.follower)}
		synctest.Wait()
		leads.set(func() { leads.deposed = errDeposed })
		close(shut)
		time.Sleep(time.Second) // the log does not know it yet
		if n := p.log.commands(); n != 0 {
			t.Errorf("%d commands were proposed after the office was lost", n)
		}
		p.log.set(func() { p.log.changeLocked(func() { p.log.lead = false }) })
		time.Sleep(time.Second + time.Microsecond)
		leads.set(func() { leads.shut, leads.deposed = nil, nil })
		start := time.Now()
		p.log.set(func() { p.log.changeLocked(func() { p.log.lead = true }) })
		for _, a := range answers {
			if got := <-a; got.err != nil {
				t.Error(got.err)
			}
		}
		if took := time.Since(start); took > 0 || p.log.commands() != len(answers) {
			t.Errorf("%d commands in the log %v after the election", p.log.commands(), took)
		}
	})
}

// Entries prove when they were proposed by a time from before, with the term and index that they got. What got no entry
// proves nothing.
func TestCommitted(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		leads.stable.Raise(1 << 40)
		p.log.during = func() error {
			leads.set(func() { leads.clock++ })
			return nil
		}
		for range 3 {
			if got := <-ask(t, p.follower); got.err != nil {
				t.Fatal(got.err)
			}
		}
		for _, err := range []error{consensus.ErrLeadershipLost, consensus.ErrNotLeader} {
			p.log.set(func() { p.log.refuse = err })
			if got := <-ask(t, p.follower); got.err == nil {
				t.Errorf("%v: %+v", err, got)
			}
		}
		if len(leads.committed) != 3 {
			t.Errorf("committed %+v", leads.committed)
		}
		for i, c := range leads.committed {
			if want := (commit{lease.OtherCommand, 7, uint64(1 + i), lease.Time(i), false}); c != want {
				t.Errorf("committed %+v, want %+v", c, want)
			}
		}
	})
}

// An entry counts for the leases when it is applied, though its results must wait.
func TestCommittedBeforeStable(t *testing.T) {
	inOffice(t, func(t *testing.T, p *pair, leads, _ *fakeOffice) {
		answers := ask(t, p.leader)
		synctest.Wait()
		leads.set(func() {
			if len(leads.committed) != 1 {
				t.Errorf("committed %+v", leads.committed)
			}
		})
		leads.stable.Raise(1)
		<-answers
	})
}
