package tries

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"cloakroom/cluster/wire"
)

// question is a try on its way to the leader.
type question struct {
	try  Try
	over atomic.Bool  // answered, or given up by its caller
	done chan outcome // capacity 1
}

// outcome is what became of a question.
type outcome struct {
	term  uint64
	grant grant
	err   error
}

// finish delivers the outcome. Nobody waits for a try that was given up: it is given back.
func (t *Tries) finish(q *question, o outcome) {
	if q.over.CompareAndSwap(false, true) {
		q.done <- o
		return
	}
	if o.err == nil && o.grant.wait == 0 {
		t.pardon(pardon{Try: q.try, counted: o.grant.counted, term: o.term})
	}
}

// ask makes batches of what callers have queued.
func (t *Tries) ask() {
	slots := make(chan struct{}, MaxRequests)
	for {
		var first *question
		select {
		case first = <-t.queue:
		case <-t.ctx.Done():
			return
		}
		select {
		case slots <- struct{}{}:
		case <-t.ctx.Done():
			t.finish(first, outcome{err: wire.ErrNoLeader})
			return
		}
		batch := gather(first, t.queue)
		t.group.Go(func() {
			t.send(batch)
			<-slots
		})
	}
}

// send brings a batch to the leader, whoever that is. If an answer is lost the tries are asked for again, and may count
// twice; they are never granted by two leaders to the same caller.
func (t *Tries) send(batch []*question) {
	deadline := time.Now().Add(LeaderWait)
	for pause := time.Millisecond; ; pause = min(2*pause, RetryPause) {
		changed := t.log.Changed() // before the attempt: what changes during it may be what it failed for
		batch = waiting(batch)
		if len(batch) == 0 {
			return
		}
		d, err := t.attempt(batch)
		if err == nil {
			for i, q := range batch {
				t.finish(q, outcome{term: d.term, grant: d.grants[i]})
			}
			return
		}
		if overloaded(err) || !t.pauseFor(changed, pause) || time.Now().After(deadline) {
			if !overloaded(err) {
				err = wire.ErrNoLeader
			}
			for _, q := range batch {
				t.finish(q, outcome{err: err})
			}
			return
		}
	}
}

// waiting returns the questions whose callers still wait.
func waiting(batch []*question) []*question {
	kept := batch[:0:0]
	for _, q := range batch {
		if !q.over.Load() {
			kept = append(kept, q)
		}
	}
	return kept
}

func (t *Tries) attempt(batch []*question) (decision, error) {
	tries := make([]Try, len(batch))
	for i, q := range batch {
		tries[i] = q.try
	}
	if d, err := t.decide(tries); err == nil {
		return d, nil
	}
	ctx, cancel := context.WithTimeout(t.ctx, RequestTimeout)
	defer cancel()
	leader, answer, err := t.call(ctx, KindReserve, encodeTries(tries))
	if errors.Is(err, wire.ErrUnknownRequest) && t.old(leader) { // or else it is just starting
		return t.alone(tries)
	}
	if err != nil {
		return decision{}, err
	}
	return decodeDecision(answer, len(batch))
}

// ownTerm stands for what a node has decided alone. Raft's terms begin at 1.
const ownTerm = 0

// alone decides while the leader is of a version that does not know the question yet: each node for itself, as that
// version does.
func (t *Tries) alone(tries []Try) (decision, error) {
	now, ok := t.now()
	if !ok {
		return decision{}, wire.ErrNoLeader
	}
	return decision{term: ownTerm, grants: t.table.reserve(now, ownTerm, tries)}, nil
}
