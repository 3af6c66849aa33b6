package propose

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// KindBatch is the request that carries a node's batch to the leader.
const KindBatch wire.Kind = 1

// Log is the replicated log: *consensus.Node.
type Log interface {
	Propose(ctx context.Context, entry []byte) consensus.Future
	IsLeader() bool
	LeaderID() string
	Changed() <-chan struct{} // closed when IsLeader or LeaderID changes next
	Applied() uint64
	WaitApplied(ctx context.Context, index uint64) error
}

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// Config is what a Proposer needs.
type Config struct {
	Log   Log
	Peers Peers
	Now   func() (session.Time, bool) // cluster time, which stamps entries; false: not known yet, so nothing is proposed

	// Office is asked by the leader about each entry, and told on every node what is stable. Nil: there are no leases.
	Office Office
	// Admit is asked by the leader about each command right before it is put into an entry. A *session.Error refuses
	// that command alone. It must not block: every command of the cluster waits for it. Nil: everything is admitted.
	Admit func(session.Command) error
	// Known is the highest version of commands that every member knows; what needs a higher one is refused with
	// ErrUpgradePending. It is asked for commands above session.MinVersion only. Nil: every member knows everything.
	Known func() uint8
}

// Stats counts since the start.
type Stats struct {
	Queued        int    // commands of this node's callers that wait for a batch or, on the leader, for their entry
	Proposed      uint64 // commands taken from callers
	Refused       uint64 // of those, refused by a full queue
	Denied        uint64 // of those, not admitted: by the leader, or for their version
	Unknown       uint64 // of those, whose outcome is not known
	Entries       uint64 // entries proposed here as leader
	EntryCommands uint64 // commands in them
}

type counters struct{ proposed, refused, denied, unknown, entries, entryCommands atomic.Uint64 }

// Proposer brings this node's commands into the log, and as leader those of all nodes.
type Proposer struct {
	log    Log
	peers  Peers
	known  func() uint8
	office Office
	merger *merger
	queue  chan *call
	calls  sync.Pool // of *call whose outcome was taken
	stats  counters

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	ended  chan struct{} // closed when Close is done: what is queued then is never sent
}

// New makes a Proposer and registers its request with the stream.
func New(cfg Config) *Proposer {
	if cfg.Office == nil {
		cfg.Office = noOffice{}
	}
	p := &Proposer{
		log: cfg.Log, peers: cfg.Peers, known: cfg.Known, office: cfg.Office,
		queue: make(chan *call, MaxQueue), ended: make(chan struct{}),
	}
	p.calls.New = func() any { return newCall(nil, 0) }
	p.merger = newMerger(cfg, &p.stats)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	cfg.Peers.Handle(KindBatch, p.serve)
	return p
}

// Open starts the batching.
func (p *Proposer) Open() {
	p.group.Go(func() { p.merger.run(p.ctx) })
	p.group.Go(p.run)
}

// Close stops and waits. Commands that were not sent are refused with wire.ErrNoLeader.
func (p *Proposer) Close() {
	p.cancel()
	p.group.Wait()
	finishAll(p.merger.pool.close(), notAppended) // if it was never opened
	close(p.ended)
}

// Stats returns the counters.
func (p *Proposer) Stats() Stats {
	return Stats{
		Queued: len(p.queue) + p.merger.pool.waiting(), Proposed: p.stats.proposed.Load(), Refused: p.stats.refused.Load(), Denied: p.stats.denied.Load(),
		Unknown: p.stats.unknown.Load(), Entries: p.stats.entries.Load(), EntryCommands: p.stats.entryCommands.Load(),
	}
}

// Do brings a command into the log and returns the machine's answer and the index of its entry, 0 if there is none. The
// error is one of this package's, Admit's, or the Err of the result. After any error but ErrOutcomeUnknown the command
// has not taken effect and will not.
func (p *Proposer) Do(ctx context.Context, cmd session.Command) (session.Result, uint64, error) {
	if p.known != nil && session.VersionOf(cmd) > session.MinVersion {
		cmd = session.ForVersion(cmd, p.known())
	}
	c := p.calls.Get().(*call)
	if err := c.reset(cmd); err != nil {
		return session.Result{}, 0, err
	}
	if p.ctx.Err() != nil {
		return session.Result{}, 0, wire.ErrNoLeader
	}
	p.stats.proposed.Add(1)
	if err := checkVersion(cmd, p.known); err != nil {
		p.stats.denied.Add(1)
		return session.Result{}, 0, err
	}
	o := p.bring(ctx, c)
	if o.last() {
		c.cmd = nil
		p.calls.Put(c)
	}
	return p.answer(ctx, o)
}

// bring brings a call to the leader, which may be this node: then there is no batch.
func (p *Proposer) bring(ctx context.Context, c *call) outcome {
	if p.log.IsLeader() {
		o := outcome{verdict: p.merger.pool.addOwn(c)}
		if o.verdict == queued {
			o = c.await(ctx, nil)
		}
		if o.verdict != notAppended {
			return o
		}
		c.again()
	}
	select {
	case p.queue <- c:
		return c.await(ctx, p.ended)
	default:
		return outcome{verdict: overloaded}
	}
}

// Direct proposes a command as an entry of its own, at once: around the queues, and around the Office that keeps commands
// back. It is for the commands that the Office itself depends on, on the leader only. It returns when the entry is applied
// here, with the Office's clock as read before the proposal; Committed is not called, and nothing is waited for: the result
// may not be told to anybody yet. The error is ErrUpgradePending, one of a consensus.Future, or the context's.
func (p *Proposer) Direct(ctx context.Context, cmd session.Command) (consensus.Applied, lease.Time, error) {
	if p.ctx.Err() != nil {
		return consensus.Applied{}, 0, consensus.ErrShutdown
	}
	if err := checkVersion(cmd, p.known); err != nil {
		return consensus.Applied{}, 0, err
	}
	made := p.merger.propose(ctx, []session.Command{cmd}, 0)
	if made.err != nil {
		return consensus.Applied{}, 0, made.err
	}
	entry, err := made.future.Wait(ctx)
	return entry, made.at, err
}

func (p *Proposer) answer(ctx context.Context, o outcome) (session.Result, uint64, error) {
	switch o.verdict {
	case applied:
		if err := p.waitApplied(ctx, o.index); err != nil {
			return session.Result{}, 0, fmt.Errorf("wait for own machine: %w", err)
		}
		if o.result.Err != nil {
			return o.result, o.index, o.result.Err
		}
		return o.result, o.index, nil
	case denied:
		p.stats.denied.Add(1)
		return o.result, 0, o.result.Err
	case overloaded:
		p.stats.refused.Add(1)
		return session.Result{}, 0, wire.ErrOverloaded
	case unknown:
		p.stats.unknown.Add(1)
		return session.Result{}, 0, ErrOutcomeUnknown
	case unsent:
		return session.Result{}, 0, wire.ErrTimeout
	}
	return session.Result{}, 0, wire.ErrNoLeader
}

// waitApplied waits until this node has applied what the leader has. The outcome stands: a node that lags answers all the
// same.
func (p *Proposer) waitApplied(ctx context.Context, index uint64) error {
	if p.log.Applied() >= index {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, ApplyWait)
	defer cancel()
	err := p.log.WaitApplied(wait, index)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, consensus.ErrShutdown) {
		return nil
	}
	return err
}

// run makes batches of what callers have queued.
func (p *Proposer) run() {
	slots := make(chan struct{}, MaxBatchesInFlight)
	var next *call
	for {
		first := next
		if first == nil {
			select {
			case first = <-p.queue:
			case <-p.ctx.Done():
				return
			}
		}
		select {
		case slots <- struct{}{}:
		case <-p.ctx.Done():
			first.finish(outcome{verdict: notAppended})
			return
		}
		var batch []*call
		batch, next = gather(first, p.queue)
		p.group.Go(func() {
			p.send(batch)
			<-slots
		})
	}
}

// send brings a batch to the leader. Only calls that were surely not appended are tried again.
func (p *Proposer) send(batch []*call) {
	deadline := time.Now().Add(LeaderWait)
	for pause := FirstPause; ; pause = min(2*pause, RetryPause) {
		changed := p.log.Changed() // before the attempt: what changes during it may be what it failed for
		batch = p.attempt(batch)
		if len(batch) == 0 {
			return
		}
		if !p.pause(changed, pause) || time.Now().After(deadline) {
			finishAll(batch, notAppended)
			return
		}
	}
}

// attempt sends a batch once and returns the calls that were surely not appended.
func (p *Proposer) attempt(batch []*call) (again []*call) {
	batch = claim(batch)
	if len(batch) == 0 {
		return nil
	}
	outcomes := p.try(batch)
	p.learn(outcomes)
	for i, c := range batch {
		if outcomes[i].verdict == notAppended {
			c.again()
			again = append(again, c)
			continue
		}
		c.finish(outcomes[i])
	}
	return again
}

// learn takes from results that a leader has told what is stable, before their callers can read anything.
func (p *Proposer) learn(outcomes []outcome) {
	highest := uint64(0)
	for _, o := range outcomes {
		if o.verdict == applied {
			highest = max(highest, o.index)
		}
	}
	if highest > 0 {
		p.office.Learn(highest)
	}
}

// pause waits for a change of the leader, but no longer than so long; false means that the proposer is closing.
func (p *Proposer) pause(changed <-chan struct{}, long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-changed:
		return true
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// claim drops the calls that were given up and marks the others as sent.
func claim(batch []*call) []*call {
	kept := batch[:0:0]
	for _, c := range batch {
		if c.send() {
			kept = append(kept, c)
		}
	}
	return kept
}

func (p *Proposer) try(batch []*call) []outcome {
	if p.log.IsLeader() {
		// The merger delivers to the calls that it is given: these get copies, so that the originals may be retried.
		return p.merger.submit(copies(batch))
	}
	leader := p.log.LeaderID()
	if leader == "" {
		return all(len(batch), notAppended)
	}
	body, err := encodeBatch(batch)
	if err != nil {
		panic("BUG: a command that was encoded before can't be encoded: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(p.ctx, BatchTimeout)
	defer cancel()
	answer, err := p.peers.Call(ctx, leader, KindBatch, body)
	if err != nil {
		return all(len(batch), verdictOf(err))
	}
	outcomes, err := decodeOutcomes(answer, len(batch))
	if err != nil {
		return all(len(batch), unknown)
	}
	return outcomes
}

// verdictOf judges a request that failed as a whole. What is not known to be harmless is unknown.
func verdictOf(err error) verdict {
	switch {
	case errors.Is(err, wire.ErrUnreachable), errors.Is(err, consensus.ErrNotLeader):
		return notAppended
	case errors.Is(err, wire.ErrOverloaded):
		return overloaded
	}
	return unknown
}

func all(n int, v verdict) []outcome {
	outcomes := make([]outcome, n)
	for i := range outcomes {
		outcomes[i].verdict = v
	}
	return outcomes
}

func copies(batch []*call) []*call {
	fresh := make([]*call, len(batch))
	for i, c := range batch {
		fresh[i] = newCall(c.cmd, c.size)
	}
	return fresh
}

// serve answers another node's batch.
func (p *Proposer) serve(_ context.Context, _ wire.Peer, body []byte) ([]byte, error) {
	if p.ctx.Err() != nil || !p.log.IsLeader() {
		return nil, consensus.ErrNotLeader
	}
	calls, err := decodeBatch(body)
	if err != nil {
		return nil, err
	}
	return encodeOutcomes(p.merger.submit(calls))
}
