package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// massExpiry measures lookups while many sessions end by their idle timeout.
type massExpiry struct{}

var _ scenario = massExpiry{}

const (
	quiet         = "quiet"
	whileExpiring = "while they expire"
	endedSessions = "sessions ended"
)

func (massExpiry) about() about {
	return about{
		Name: "expiry", What: "latency of lookups (GET /auth/verify) of up to 1,000 sessions in use on the leader of a second cluster, before and while all its other sessions reach their idle timeout, as fast after each other as they were made",
		Loop: openLoop, Main: append([]string{endedSessions}, latencies...), OwnOnly: true,
	}
}

// expiring is one run of the scenario.
type expiring struct {
	f       *field
	cluster *peer.Cloakroom
	doomed  int
	used    int
	idle    time.Duration
}

func (massExpiry) begin(ctx context.Context, f *field) ([]turn, error) {
	e := &expiring{f: f, doomed: f.set.Expiring}
	if e.doomed == 0 {
		e.doomed = min(f.set.Sessions, largestExpiry)
	}
	// The fill, and the measurement before it, must fit into the idle timeout.
	e.idle = time.Duration(2*float64(e.doomed)/f.filledPerSecond()*float64(time.Second)) + 2*(f.set.RoundTime+f.set.Warmup) + expiryMargin
	return []turn{{name: us, take: e.take}}, e.start(ctx)
}

// start starts the cluster. How many sessions are used follows from the idle timeout: each of them must be, often enough.
func (e *expiring) start(ctx context.Context) (err error) {
	e.idle = e.idle.Round(time.Second)
	e.used = max(1, min(expiryUsers, int(e.f.set.Rate*e.idle.Seconds()/expiryUses)))
	cfg := e.f.config()
	cfg.Idle = e.idle
	e.cluster, err = e.f.extraCluster(ctx, cfg, 1)
	return err
}

// errTooSlow is a machine that makes sessions so slowly that the first expire before the last are there, or stands still for
// so long that those expire which are to be used all the time.
var errTooSlow = errors.New("the machine took too much of the sessions' idle timeout")

// take lets sessions go once. A machine that has become slower since the first fill gets another cluster, with more time.
func (e *expiring) take(ctx context.Context) ([]sample, error) {
	for try := 1; ; try++ {
		samples, err := e.takeOnce(ctx)
		if !errors.Is(err, errTooSlow) || try == expiryTries {
			return samples, err
		}
		e.f.app.progressf("expiry: %v of %v; once more with twice as much", err, e.idle)
		e.idle *= 2
		if err := errors.Join(e.f.endScenario(), e.start(ctx)); err != nil {
			return nil, err
		}
	}
}

// takeOnce measures. The sessions that are looked up are new in each round, and are used all the time.
func (e *expiring) takeOnce(ctx context.Context) ([]sample, error) {
	used, began, spent, err := e.fill(ctx)
	if err != nil && time.Since(began) > e.idle/2 {
		return nil, errors.Join(errTooSlow, err) // what was made first is gone, our own login perhaps
	}
	if err != nil {
		return nil, err
	}
	set, filled := e.f.set, time.Now()
	ends := began.Add(e.idle) // of the first session
	quietFrom := filled.Add(set.Warmup)
	if ends.Sub(quietFrom) < set.RoundTime {
		return nil, errTooSlow
	}
	leader, err := e.cluster.Leader(ctx)
	if err != nil {
		return nil, err
	}
	held, err := e.cluster.Held(ctx)
	if err != nil {
		return nil, err
	}
	var saw seen
	until := ends.Add(max(set.RoundTime, spent+expirySlack))
	cfg := set.open(e.cluster.ServiceAt(leader).Lookup(used, peer.Verify, ""))
	cfg.Warmup, cfg.Duration, cfg.Observe = 0, time.Until(until), saw.observe
	res, err := load.Run(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := judge(res, set.AllowErrors); err != nil {
		if err = explained(err, res); saw.pause(filled) > e.idle/2 {
			err = errors.Join(errTooSlow, err) // the machine stood still, and what should have been used was not
		}
		return nil, err
	}
	still, err := e.left(ctx, held-e.doomed/fewestExpired)
	if err != nil {
		return nil, err
	}
	before, during := saw.between(quietFrom, ends), saw.between(ends, until)
	before.Figures[endedSessions], during.Figures[endedSessions] = 0, float64(held-still)
	return []sample{{Who: quiet, reading: before}, {Who: whileExpiring, reading: during}}, nil
}

// left returns how many sessions there are, once they are no more than most: nodes refuse them all at once, and end them a
// little later.
func (e *expiring) left(ctx context.Context, most int) (int, error) {
	for late := time.Now().Add(expiryAtMost); ; {
		left, err := e.cluster.Held(ctx)
		if err != nil || left <= most {
			return left, err
		}
		if time.Now().After(late) {
			return 0, fmt.Errorf("there are %d sessions, and not %d or less: too few of %d have expired to measure anything", left, most, e.doomed)
		}
		if err := wait(ctx, watchPause); err != nil {
			return 0, err
		}
	}
}

// fill makes the sessions that are to expire, and those that are used meanwhile. It logs out before it could be idle itself.
func (e *expiring) fill(ctx context.Context) (used *peer.Sessions, began time.Time, spent time.Duration, err error) {
	s := e.cluster.Service()
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Open(ctx); err != nil {
		return nil, time.Now(), 0, err
	}
	began = time.Now()
	if _, err := s.FillFor(ctx, "bench-doomed", e.doomed, newBar(e.f.app, "sessions that are to expire", e.doomed).set); err != nil {
		return nil, began, 0, err
	}
	spent = time.Since(began)
	used, err = s.FillFor(ctx, "bench-used", e.used, func(int) {})
	return used, began, spent, err
}
