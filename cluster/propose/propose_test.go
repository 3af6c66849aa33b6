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
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// pair is two nodes: a leader with a log, and one that forwards to it. It runs in fake time.
type pair struct {
	leader, follower *Proposer
	log              *fakeLog
	link             *fakeLink
}

// fakeLog is a log whose entries are applied when the test says so, or at once.
type fakeLog struct {
	mu      sync.Mutex
	lead    bool
	refuse  error // what Propose ends with
	hold    chan struct{}
	answer  session.Result // to each command
	entries [][]session.Command
	during  func() error // called by Propose, which ends with what it returns
	changed chan struct{}
}

func (l *fakeLog) Propose(_ context.Context, data []byte) consensus.Future {
	entry, err := session.DecodeEntry(data)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.during != nil {
		if err := l.during(); err != nil {
			return fakeFuture{err: err}
		}
	}
	if l.refuse != nil {
		return fakeFuture{err: l.refuse}
	}
	l.entries = append(l.entries, entry.Commands)
	results := make([]session.Result, len(entry.Commands))
	for i := range results {
		results[i] = l.answer
	}
	return fakeFuture{hold: l.hold, index: uint64(len(l.entries)), term: 7, results: results}
}

func (l *fakeLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// changeLocked makes a change and tells of it.
func (l *fakeLog) changeLocked(change func()) {
	change()
	if l.changed != nil {
		close(l.changed)
	}
	l.changed = nil
}

func (l *fakeLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *fakeLog) IsLeader() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lead
}

func (l *fakeLog) LeaderID() string {
	if l.IsLeader() {
		return "leader"
	}
	return ""
}

func (l *fakeLog) Applied() uint64                           { return 0 }
func (l *fakeLog) WaitApplied(context.Context, uint64) error { return nil }

func (l *fakeLog) commands() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.entries {
		n += len(e)
	}
	return n
}

type fakeFuture struct {
	hold    chan struct{}
	index   uint64
	term    uint64
	results []session.Result
	err     error
}

func (f fakeFuture) Wait(context.Context) (consensus.Applied, error) {
	if f.hold != nil {
		<-f.hold
	}
	return consensus.Applied{Index: f.index, Term: f.term, Results: f.results}, f.err
}

// remoteLog is how the follower sees the log: led by another.
type remoteLog struct{ log *fakeLog }

func (r remoteLog) Propose(context.Context, []byte) consensus.Future {
	return fakeFuture{err: consensus.ErrNotLeader}
}
func (r remoteLog) IsLeader() bool                            { return false }
func (r remoteLog) LeaderID() string                          { return r.log.LeaderID() }
func (r remoteLog) Changed() <-chan struct{}                  { return r.log.Changed() }
func (r remoteLog) WaitApplied(context.Context, uint64) error { return nil }
func (r remoteLog) Applied() uint64                           { return 0 }

// fakeLink carries requests to the leader; a test can lose them before or after they are carried out.
type fakeLink struct {
	mu      sync.Mutex
	handler wire.Handler
	before  error
	after   error
	calls   int
}

func (l *fakeLink) Handle(_ wire.Kind, h wire.Handler) { l.handler = h }

func (l *fakeLink) Call(ctx context.Context, _ string, _ wire.Kind, body []byte) ([]byte, error) {
	l.mu.Lock()
	before, after := l.before, l.after
	l.calls++
	l.mu.Unlock()
	if before != nil {
		return nil, before
	}
	answer, err := l.handler(ctx, wire.Peer{}, body)
	if after != nil {
		return nil, after
	}
	return answer, err
}

func newPair(t *testing.T) *pair { return newPairWith(t, nil, nil) }

func newPairWith(t *testing.T, leads, follows Office) *pair {
	p := &pair{log: &fakeLog{lead: true}, link: &fakeLink{}}
	now := func() (session.Time, bool) { return 1, true }
	p.leader = New(Config{Log: p.log, Peers: p.link, Now: now, Office: leads})
	p.follower = New(Config{Log: remoteLog{p.log}, Peers: &noHandler{p.link}, Now: now, Office: follows})
	p.leader.Open()
	p.follower.Open()
	t.Cleanup(func() {
		for _, n := range []*Proposer{p.follower, p.leader} {
			if n.ctx.Err() == nil {
				n.Close()
			}
		}
	})
	return p
}

// noHandler is the link as the follower uses it: nobody calls it.
type noHandler struct{ *fakeLink }

func (*noHandler) Handle(wire.Kind, wire.Handler) {}

func bubble(t *testing.T, fn func(t *testing.T, p *pair)) {
	clustertest.Bubble(t, func(t *testing.T) { fn(t, newPair(t)) })
}

func TestCommandsShareEntries(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		release := make(chan struct{})
		p.log.set(func() { p.log.hold = release })
		const callers = 1000
		errs := make(chan error, callers)
		for i := range callers {
			from := p.follower
			if i%2 == 0 {
				from = p.leader
			}
			go func() {
				_, _, err := from.Do(t.Context(), &session.Tick{})
				errs <- err
			}()
		}
		synctest.Wait() // everything that can move has moved; the entries in flight wait
		close(release)
		for range callers {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if n := p.log.commands(); n != callers {
			t.Fatalf("%d commands in the log, want %d", n, callers)
		}
		if n := len(p.log.entries); n > callers/8 {
			t.Fatalf("%d entries for %d commands: they are not merged", n, callers)
		}
	})
}

// Each way to lose a command, and what its caller must be told. Only what is certain may be sent again.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(p *pair)
		want error
		sent int // commands in the log afterwards
	}{
		{"node not reached", func(p *pair) { p.link.before = wire.ErrUnreachable }, wire.ErrNoLeader, 0},
		{"answer lost", func(p *pair) { p.link.after = wire.ErrLost }, ErrOutcomeUnknown, 1},
		{"office lost before the append", func(p *pair) { p.log.refuse = consensus.ErrNotLeader }, wire.ErrNoLeader, 0},
		{"office lost after the append", func(p *pair) { p.log.refuse = consensus.ErrLeadershipLost }, ErrOutcomeUnknown, 0},
		{"leader closed before the append", func(p *pair) { p.log.refuse = consensus.ErrShutdown }, wire.ErrNoLeader, 0},
		{"leader overloaded", func(p *pair) { p.link.before = wire.ErrOverloaded }, wire.ErrOverloaded, 0},
		{"garbage for an answer", func(p *pair) { p.link.before = session.ErrBadEncoding }, ErrOutcomeUnknown, 0},
		{"no leader", func(p *pair) { p.log.lead = false }, wire.ErrNoLeader, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pair) {
				p.log.set(func() { c.harm(p) })
				_, _, err := p.follower.Do(t.Context(), &session.Tick{})
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if n := p.log.commands(); n != c.sent {
					t.Errorf("%d commands in the log, want %d", n, c.sent)
				}
			})
		})
	}
}

// A command that met a moment without a leader is sent when there is one, once.
func TestWaitsForALeader(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.log.set(func() { p.log.lead = false })
		done := make(chan error, 1)
		go func() {
			_, _, err := p.follower.Do(t.Context(), &session.Tick{})
			done <- err
		}()
		time.Sleep(LeaderWait / 2)
		p.log.set(func() { p.log.lead = true })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := p.log.commands(); n != 1 {
			t.Fatalf("%d commands in the log, want 1", n)
		}
	})
}

// A caller that gives up learns whether its command was sent.
func TestGivingUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.log.set(func() { p.log.lead = false })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := p.follower.Do(ctx, &session.Tick{}); !errors.Is(err, wire.ErrTimeout) {
			t.Fatalf("without a leader: error %v, want %v", err, wire.ErrTimeout)
		}
		hold := make(chan struct{})
		p.log.set(func() { p.log.lead, p.log.hold = true, hold })
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := p.follower.Do(ctx, &session.Tick{}); !errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("with the entry in flight: error %v, want %v", err, ErrOutcomeUnknown)
		}
		close(hold)
		synctest.Wait()
		if n := p.log.commands(); n != 1 {
			t.Fatalf("%d commands in the log: the one that was given up before it was sent is among them", n)
		}
	})
}

func TestFullQueueRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		hold := make(chan struct{})
		p.log.set(func() { p.log.hold = hold })
		const callers = MaxQueue + MaxMergeQueue + (MaxEntriesInFlight+MaxBatchesInFlight+2)*MaxEntryCommands
		errs := make(chan error, callers)
		for range callers {
			go func() {
				_, _, err := p.leader.Do(t.Context(), &session.Tick{})
				errs <- err
			}()
		}
		synctest.Wait()
		select {
		case err := <-errs:
			if !errors.Is(err, wire.ErrOverloaded) {
				t.Fatalf("error %v, want %v", err, wire.ErrOverloaded)
			}
		default:
			t.Fatal("nobody was refused: the queue has no bound")
		}
		close(hold)
		refused := 1
		for range callers - 1 {
			switch err := <-errs; {
			case errors.Is(err, wire.ErrOverloaded):
				refused++
			case err != nil:
				t.Fatal(err)
			}
		}
		if n := p.log.commands(); n+refused != callers {
			t.Fatalf("%d applied and %d refused of %d", n, refused, callers)
		}
		if got := p.leader.Stats().Refused; got != uint64(refused) {
			t.Fatalf("%d counted as refused, want %d", got, refused)
		}
	})
}

func TestTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		uses := make([]session.Use, 4096)
		_, _, err := p.follower.Do(t.Context(), &session.Touch{Uses: uses})
		if err == nil {
			t.Fatal("a command above the limit was taken")
		}
	})
}

func TestCloseRefusesWhatIsQueued(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.log.set(func() { p.log.lead = false })
		errs := make(chan error, 100)
		for range 100 {
			go func() {
				_, _, err := p.follower.Do(t.Context(), &session.Tick{})
				errs <- err
			}()
		}
		synctest.Wait()
		p.follower.Close()
		for range 100 {
			if err := <-errs; !errors.Is(err, wire.ErrNoLeader) {
				t.Fatalf("error %v, want %v", err, wire.ErrNoLeader)
			}
		}
	})
}
