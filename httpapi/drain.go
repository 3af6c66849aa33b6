package httpapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloakroom/httpapi/exchange"
)

// Retire makes /readyz answer 503 from now on, so that load balancers look elsewhere. Requests are served as before, but
// each answer closes its connection: whoever keeps one would otherwise send the next request on it at the moment when it
// is closed, and could not know what became of that.
func (s *Server) Retire() {
	s.health.visits.begin()
	s.health.draining.Store(true)
}

// Quiet waits, after Retire, until load balancers have looked elsewhere: for DrainTimes.Notice at least, and until no
// request has come for DrainTimes.Quiet, but not for longer than DrainTimes.Most. Health checks don't count. Where
// nobody has made any for checkMost, nobody will be told by one: then it waits for DrainTimes.Notice only, whatever comes.
func (s *Server) Quiet(ctx context.Context, t DrainTimes) {
	if !s.health.visits.watched() {
		t.Most = t.Notice
	}
	s.health.visits.await(ctx, t)
}

// DrainTimes bound the wait for load balancers.
type DrainTimes struct{ Notice, Quiet, Most time.Duration }

// Drain retires the server, stops listening for API requests, serves the connections that there are until they are quiet,
// closes them and waits until the requests under way are answered. The control socket and the operator's listener go on
// until Close.
func (s *Server) Drain(ctx context.Context) error {
	s.Retire()
	if s.public != nil && s.public.Retire() {
		s.health.visits.await(ctx, DrainTimes{Notice: s.health.visits.since() + farewellQuiet, Quiet: farewellQuiet, Most: s.health.visits.since() + farewellMost})
	}
	if err := s.api.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	return nil
}

// farewell ends a request of a server that is to stop.
func (s *Server) farewell(rc *exchange.Request) {
	if rc.Control {
		return
	}
	rc.Ctx.SetConnectionClose()
	if rc.Route == nil || !rc.Route.Vital {
		s.health.visits.note()
	}
}

// visits is when a server that is to stop began to say so, when it was asked something last, and when somebody last
// looked whether it is ready.
type visits struct {
	mu                   sync.Mutex
	begun, last, checked time.Time // zero: not yet
}

func (v *visits) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.begun.IsZero() {
		v.begun = time.Now()
	}
}

func (v *visits) note() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = time.Now()
}

// check notes a health check, before the server is to stop as well.
func (v *visits) check() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.checked = time.Now()
}

// watched reports whether a load balancer may be there that asks whether the server is ready.
func (v *visits) watched() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.checked.IsZero() && v.begun.Sub(v.checked) < checkMost
}

func (v *visits) since() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.begun)
}

func (v *visits) await(ctx context.Context, t DrainTimes) {
	for left := v.left(t); left > 0; left = v.left(t) {
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// left returns how long to wait as far as is known now: somebody may ask meanwhile.
func (v *visits) left(t DrainTimes) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	until := v.begun.Add(t.Notice)
	if quiet := v.last.Add(t.Quiet); !v.last.IsZero() && quiet.After(until) {
		until = quiet
	}
	if most := v.begun.Add(t.Most); until.After(most) {
		until = most
	}
	return time.Until(until)
}
