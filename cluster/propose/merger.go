package propose

import (
	"context"
	"errors"
	"sync"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
)

// merger is the leader's half: it makes one log entry of what has arrived from all nodes.
type merger struct {
	log   Log
	now   func() (session.Time, bool)
	admit func(session.Command) error
	known func() uint8
	queue chan *call
	slots chan struct{} // one for each entry in flight
	ended chan struct{} // closed when run has returned: what is queued then is never proposed
	stats *counters
}

func newMerger(cfg Config, stats *counters) *merger {
	return &merger{
		log: cfg.Log, now: cfg.Now, admit: cfg.Admit, known: cfg.Known, stats: stats,
		queue: make(chan *call, MaxMergeQueue),
		slots: make(chan struct{}, MaxEntriesInFlight),
		ended: make(chan struct{}),
	}
}

// submit queues the calls and waits for the outcome of each.
func (m *merger) submit(calls []*call) []outcome {
	outcomes := make([]outcome, len(calls))
	queued := make([]bool, len(calls))
	for i, c := range calls {
		select {
		case m.queue <- c:
			queued[i] = true
		default:
			outcomes[i] = outcome{verdict: overloaded}
		}
	}
	for i, c := range calls {
		if queued[i] {
			outcomes[i] = c.wait(m.ended)
		}
	}
	return outcomes
}

// run proposes entries until ctx ends and waits for those in flight.
func (m *merger) run(ctx context.Context) {
	var inFlight sync.WaitGroup
	defer close(m.ended)
	defer inFlight.Wait()
	var next *call
	for {
		first := next
		if first == nil {
			select {
			case first = <-m.queue:
			case <-ctx.Done():
				return
			}
		}
		// The slot is awaited before gathering: what arrives meanwhile goes into the same entry.
		select {
		case m.slots <- struct{}{}:
		case <-ctx.Done():
			first.finish(outcome{verdict: notAppended})
			return
		}
		var batch []*call
		batch, next = gather(first, m.queue)
		if batch = m.admitted(batch); len(batch) == 0 {
			<-m.slots
			continue
		}
		future, err := m.propose(ctx, batch)
		inFlight.Go(func() {
			m.deliver(batch, future, err)
			<-m.slots
		})
	}
}

// admitted finishes the calls that must not get into the log and returns the others, in the same array.
func (m *merger) admitted(batch []*call) []*call {
	kept := batch[:0]
	for _, c := range batch {
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

func (m *merger) propose(ctx context.Context, batch []*call) (consensus.Future, error) {
	stamp, known := m.now()
	if !known {
		return nil, consensus.ErrNotLeader
	}
	entry := session.Entry{Stamp: stamp, Commands: make([]session.Command, len(batch))}
	size := 16
	for i, c := range batch {
		entry.Commands[i] = c.cmd
		size += c.size
	}
	data, err := session.EncodeEntry(make([]byte, 0, size), &entry)
	if err != nil {
		return nil, err
	}
	m.stats.entries.Add(1)
	m.stats.entryCommands.Add(uint64(len(batch)))
	return m.log.Propose(ctx, data), nil
}

// deliver waits without a limit of its own: raft resolves every entry, at the latest when its leader loses the office.
func (m *merger) deliver(batch []*call, future consensus.Future, err error) {
	var index uint64
	var results []session.Result
	if err == nil {
		index, results, err = future.Wait(context.Background())
	}
	if err == nil && len(results) != len(batch) {
		panic("BUG: the machine answered another number of commands than the entry has")
	}
	for i, c := range batch {
		switch {
		case err == nil:
			c.finish(outcome{verdict: applied, index: index, result: results[i]})
		case errors.Is(err, consensus.ErrLeadershipLost):
			c.finish(outcome{verdict: unknown})
		default:
			c.finish(outcome{verdict: notAppended})
		}
	}
}
