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
	queue chan *call
	slots chan struct{} // one for each entry in flight
	ended chan struct{} // closed when run has returned: what is queued then is never proposed
	stats *counters
}

func newMerger(log Log, now func() (session.Time, bool), stats *counters) *merger {
	return &merger{
		log: log, now: now, stats: stats,
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
		future, err := m.propose(ctx, batch)
		inFlight.Go(func() {
			m.deliver(batch, future, err)
			<-m.slots
		})
	}
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
