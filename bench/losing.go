package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// loss is how a node is lost.
type loss string

// The losses.
const (
	lossKill   loss = "kill"   // the leader, by SIGKILL
	lossStop   loss = "stop"   // the leader, in order
	lossFreeze loss = "freeze" // a follower, by SIGSTOP, until the round is over
)

// losing says under which load a node is lost, and for how long before and after.
type losing struct {
	connections int     // of each load
	puts        float64 // a second
	lookups     float64 // a second, of sessions that no put changes; may be 0
	changed     float64 // a second, of sessions that the puts change; may be 0
	before      time.Duration
	after       time.Duration // at most; a cluster that has not acknowledged a put by then has failed
	settle      time.Duration // how long to go on once writes are back; a frozen node is frozen for so long
}

// round loses a node once and gets it back.
func (l *losing) round(ctx context.Context, cluster *peer.Cloakroom, sessions *peer.Sessions, how loss) (outcome, error) {
	if err := cluster.WaitWhole(ctx); err != nil {
		return outcome{}, err
	}
	node, err := cluster.Leader(ctx)
	if err != nil {
		return outcome{}, err
	}
	if how == lossFreeze {
		node = cluster.Follower(node)
	}
	saw := newWitnesses()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	loads := l.start(running, cluster.Service(node), sessions, saw)
	m, err := l.lose(ctx, cluster, node, how)
	if err == nil {
		l.watch(running, saw, m.gone)
	}
	cancel()
	err = errors.Join(err, loads.wait())
	if how == lossFreeze {
		err = errors.Join(err, cluster.Thaw(node))
	}
	if err != nil {
		return outcome{}, err
	}
	o := newOutcome(how, cluster.NodeName(node), m, saw)
	if how == lossFreeze {
		return o, nil
	}
	return o, cluster.Restart(ctx, node)
}

// witnesses are what the loads of a round have seen.
type witnesses struct {
	puts, lookups, changed *witness
	result                 *load.Result // of the lookups
}

func newWitnesses() *witnesses { return &witnesses{&witness{}, &witness{}, &witness{}, nil} }

// start starts the loads. The puts change few sessions, each about once a second: these are the ones that lookups may
// have to wait for.
func (l *losing) start(ctx context.Context, others *peer.Service, sessions *peer.Sessions, saw *witnesses) *together {
	few, quiet := sessions, sessions
	if l.lookups > 0 && sessions.Len() > 1 {
		few, quiet = sessions.Split(min(max(int(l.puts), 1), sessions.Len()/2))
	}
	loads := newTogether(ctx)
	run := func(result **load.Result, rate float64, open load.Open, w *witness) {
		if rate > 0 {
			loads.run(result, load.Config{
				Workers: l.connections, Duration: l.before + l.after, Rate: rate, Open: open, Observe: w.observe,
			})
		}
	}
	var ignored [2]*load.Result
	run(&ignored[0], l.puts, others.Put(few, peer.ValueBytes), saw.puts)
	run(&ignored[1], l.changed, others.Lookup(few, peer.Verify, ""), saw.changed)
	run(&saw.result, l.lookups, others.Lookup(quiet, peer.Verify, ""), saw.lookups)
	return loads
}

// moments are when a node was lost.
type moments struct {
	lost time.Time // right before
	gone time.Time // what was sent after that, the node can't have answered: it is not there, or was never asked
}

// lose waits until the load has run for a while, and loses the node.
func (l *losing) lose(ctx context.Context, cluster *peer.Cloakroom, node int, how loss) (m moments, err error) {
	select {
	case <-time.After(l.before):
	case <-ctx.Done():
		return m, ctx.Err()
	}
	m.lost = time.Now()
	m.gone = m.lost
	switch how {
	case lossKill:
		err = cluster.Kill(node)
		m.gone = time.Now()
	case lossStop:
		err = cluster.Terminate(node)
	case lossFreeze:
		err = cluster.Freeze(node)
	}
	if err != nil {
		return m, fmt.Errorf("lose %s: %w", cluster.NodeName(node), err)
	}
	return m, nil
}

// watch returns when a put that was sent after that moment has been acknowledged, lookups have been answered, where there are
// any, and the cluster has had time to settle; or when the time for that is over.
func (l *losing) watch(ctx context.Context, saw *witnesses, gone time.Time) {
	ctx, cancel := context.WithTimeout(ctx, l.after)
	defer cancel()
	ticker := time.NewTicker(watchPause)
	defer ticker.Stop()
	for !saw.puts.acknowledged(gone) || l.lookups > 0 && !saw.lookups.answered(gone) || l.changed > 0 && !saw.changed.answered(gone) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-time.After(l.settle):
	case <-ctx.Done():
	}
}

// witness remembers the calls of one load.
type witness struct {
	mu    sync.Mutex
	calls []load.Observation // bounded: rate × duration of a round
}

func (w *witness) observe(o load.Observation) {
	if errors.Is(o.Err, context.Canceled) {
		return // the round was over: that is nobody's failure
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, o)
}

// answered says whether a call has ended after that moment, whatever came of it.
func (w *witness) answered(after time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.calls, func(o load.Observation) bool { return o.Done.After(after) })
}

// acknowledged says whether a call that was sent after that moment was good.
func (w *witness) acknowledged(after time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.calls, func(o load.Observation) bool { return o.Err == nil && o.Sent.After(after) })
}
