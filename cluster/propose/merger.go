package propose

import (
	"context"
	"errors"
	"sync"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
)

// merger is the leader's half: it makes one log entry of what has arrived from all nodes.
type merger struct {
	log    Log
	now    func() (session.Time, bool)
	admit  func(session.Command) error
	known  func() uint8
	office Office
	pool   *pool
	pace   *pace
	stats  *counters
}

func newMerger(cfg Config, stats *counters) *merger {
	waiting := newPool()
	return &merger{
		log: cfg.Log, now: cfg.Now, admit: cfg.Admit, known: cfg.Known, office: cfg.Office, stats: stats,
		pool: waiting, pace: newPace(waiting),
	}
}

// submit queues the calls and waits for the outcome of each.
func (m *merger) submit(calls []*call) []outcome {
	outcomes := make([]outcome, len(calls))
	taken, left := m.pool.add(calls)
	for i := range outcomes[taken:] {
		outcomes[taken+i].verdict = left
	}
	for i, c := range calls[:taken] {
		outcomes[i] = <-c.done
	}
	return outcomes
}

// run proposes entries until ctx ends and waits for those in flight. What is left then is never proposed.
func (m *merger) run(ctx context.Context) {
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	defer func() { finishAll(m.pool.close(), notAppended) }()
	for m.pace.wait(ctx) {
		// The office is awaited before gathering: what arrives meanwhile goes into the same entry.
		err := m.office.Enter(ctx)
		batch := m.pool.take()
		if err != nil { // the next leader is asked
			finishAll(batch, notAppended)
			m.pace.release()
			continue
		}
		if batch = m.admitted(batch); len(batch) == 0 {
			m.pace.release()
			continue
		}
		m.pace.proposed(len(batch))
		begun := time.Now()
		p := m.proposeBatch(ctx, batch)
		inFlight.Go(func() { m.conclude(ctx, batch, p, begun) })
	}
}

// admitted finishes the calls that must not get into the log and returns the others, in the same array.
func (m *merger) admitted(batch []*call) []*call {
	kept := batch[:0]
	for _, c := range batch {
		if m.known != nil && session.VersionOf(c.cmd) > session.MinVersion {
			c.cmd = session.ForVersion(c.cmd, m.known()) // the node that it comes from may have thought all newer; it gets no larger
		}
		if err := m.judge(c.cmd); err != nil {
			c.finish(m.denial(err))
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

func (m *merger) judge(cmd session.Command) error {
	if err := checkVersion(cmd, m.known); err != nil {
		return err
	}
	if m.admit == nil {
		return nil
	}
	return m.admit(cmd)
}

// denial is the outcome of a command that was not admitted. A node that has lost the office meanwhile has no say in it:
// the next leader is asked.
func (m *merger) denial(err error) outcome {
	if !m.log.IsLeader() {
		return outcome{verdict: notAppended}
	}
	var o outcome
	o.verdict = denied
	o.result.Err, _ = errors.AsType[*session.Error](err)
	if o.result.Err == nil {
		panic("BUG: Admit must refuse with an error that has a code: " + err.Error())
	}
	// One that can't be sent would cost the others of its batch their outcomes.
	if _, unfit := session.AppendResult(nil, o.result); unfit != nil {
		panic("BUG: Admit must refuse with an error that fits into a frame: " + unfit.Error())
	}
	return o
}

// checkVersion refuses a command that not every member knows. What every version knows is never asked about.
func checkVersion(cmd session.Command, known func() uint8) error {
	if known == nil {
		return nil
	}
	if version := session.VersionOf(cmd); version > session.MinVersion && version > known() {
		return ErrUpgradePending
	}
	return nil
}

// proposal is an entry that was handed to the log, or could not be.
type proposal struct {
	future consensus.Future
	at     lease.Time // read before
	err    error      // surely not in the log
}

func (m *merger) proposeBatch(ctx context.Context, batch []*call) proposal {
	commands := make([]session.Command, len(batch))
	size := 0
	for i, c := range batch {
		commands[i] = c.cmd
		size += c.size
	}
	return m.propose(ctx, commands, size)
}

func (m *merger) propose(ctx context.Context, commands []session.Command, size int) proposal {
	stamp, known := m.now()
	if !known {
		return proposal{err: consensus.ErrNotLeader}
	}
	entry := session.Entry{Stamp: stamp, Commands: commands}
	data, err := session.EncodeEntry(make([]byte, 0, 16+size), &entry)
	if err != nil {
		return proposal{err: err}
	}
	m.stats.entries.Add(1)
	m.stats.entryCommands.Add(uint64(len(commands)))
	at := m.office.Clock() // not after: the entry may be committed before Propose returns, and another leader be elected
	return proposal{future: m.log.Propose(ctx, data), at: at}
}

// conclude brings a batch its outcomes. It waits for the entry without a limit of its own: raft resolves every one, at the
// latest when its leader loses the office.
func (m *merger) conclude(ctx context.Context, batch []*call, p proposal, begun time.Time) {
	var entry consensus.Applied
	err := p.err
	if err == nil {
		entry, err = p.future.Wait(context.Background())
	}
	if err == nil {
		m.office.Committed(lease.OtherCommand, entry.Term, entry.Index, p.at, false)
	}
	m.pace.applied(begun) // before the rest: a lost member that holds a lease must not keep the log from going on
	switch {
	case errors.Is(err, consensus.ErrLeadershipLost):
		finishAll(batch, unknown)
	case err != nil:
		finishAll(batch, notAppended)
	case !m.stable(ctx, entry.Index):
		finishAll(batch, unknown) // it is in the log, but what came of it must not be told
	default:
		m.office.Learn(entry.Index) // for this node's own callers
		finishWith(batch, entry)
	}
}

// stable waits until results at index may be told. Those that refuse a command wait too: they show what it met.
func (m *merger) stable(ctx context.Context, index uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, StableTimeout)
	defer cancel()
	return m.office.Await(ctx, index) == nil
}

func finishAll(batch []*call, v verdict) {
	for _, c := range batch {
		c.finish(outcome{verdict: v})
	}
}

func finishWith(batch []*call, entry consensus.Applied) {
	if len(entry.Results) != len(batch) {
		panic("BUG: the machine answered another number of commands than the entry has")
	}
	for i, c := range batch {
		c.finish(outcome{verdict: applied, index: entry.Index, result: entry.Results[i]})
	}
}
