package recheck

import (
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// round is one pass over a realm's users.
type round struct {
	loop  *Loop
	realm string
	state *state // of the realm; its fields are under loop.mu
	users []string

	gone    int      // users found gone, forced ones aside
	held    []string // those of them who wait for the end of the round
	faults  int      // checks in a row without an answer
	unclear int
	example error // of what was unclear or failed
}

// outcome is what a check says about the rest of the round.
type outcome uint8

const (
	goOn   outcome = iota
	giveUp         // nothing more can be learnt in this round
)

func (r *round) run() {
	defer r.loop.with(func() { r.state.busy = false })
	var first int
	r.loop.with(func() { first, r.state.skip = r.state.skip, 0 })
	gap := max(spread(r.loop.cfg.Interval)/time.Duration(len(r.users)), minGap)
	due := time.Now()
	for i := range r.users {
		if !r.loop.sleep(max(time.Until(due), 0)) {
			return
		}
		at := (first + i) % len(r.users)
		if r.check(r.users[at]) == giveUp {
			// What the check met may be this user's own: the next round begins behind it.
			r.loop.with(func() { r.state.skip = at + 1 })
			return
		}
		due = latest(due.Add(gap), time.Now().Add(minGap))
	}
	r.finish()
}

// spread is the part of an interval in which checks begin. The rest is room for answers that come late, so that the round
// is over when the next one is due.
func spread(interval time.Duration) time.Duration { return interval * 9 / 10 }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// with runs fn under the loop's lock.
func (l *Loop) with(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// check asks for one user and does what follows from the answer.
func (r *round) check(username string) outcome {
	return r.ask(username, func(ctx context.Context, verdict realm.Verdict) outcome {
		if verdict.Gone {
			return r.take(ctx, username, verdict)
		}
		r.setRoles(ctx, username, verdict.Roles)
		return goOn
	})
}

// ask asks for one user, and calls then with a clear answer that is newer than what the user's last login was told.
func (r *round) ask(username string, then func(context.Context, realm.Verdict) outcome) outcome {
	l := r.loop
	select {
	case l.checks <- struct{}{}:
		defer func() { <-l.checks }()
	case <-l.ctx.Done():
		return giveUp
	}
	if !l.cfg.Cluster.Leading() {
		return giveUp
	}
	ctx, cancel := context.WithTimeout(l.ctx, checkTimeout)
	defer cancel()
	owner := session.Owner{Realm: r.realm, Username: username}
	_, before, err := l.cfg.Cluster.RolesOf(ctx, owner)
	if err != nil {
		return r.fail(err)
	}
	verdict, err := l.cfg.Realms.Recheck(ctx, r.realm, username)
	l.with(func() { l.stats.Checks++ })
	switch {
	case l.ctx.Err() != nil, errors.Is(err, realm.ErrRecheckImpossible):
		return giveUp
	case errors.Is(err, realm.ErrRecheckUnclear):
		r.answers(nil)
		l.with(func() { l.stats.Unclear++ })
		r.note(err)
		return goOn
	case err != nil:
		return r.fault(err)
	}
	r.answers(nil)
	switch _, newest, err := l.cfg.Cluster.RolesOf(ctx, owner); {
	case err != nil:
		return r.fail(err)
	case newest > before:
		return goOn
	}
	return then(ctx, verdict)
}

// fail notes that the cluster could not be asked or did not do what was decided.
func (r *round) fail(err error) outcome {
	r.loop.with(func() { r.loop.stats.Failed++ })
	r.note(err)
	return goOn
}

// fault passes a user over at whom the realm did not answer, unless it is the realm that is out. One user at whom it always
// fails must not keep the round from its end: who waits for that would stay logged in.
func (r *round) fault(err error) outcome {
	r.faults++
	var out bool
	r.loop.with(func() {
		out = r.state.outage || r.faults >= min(maxFaults, len(r.users))
		if !out {
			r.loop.stats.PassedOver++
		}
	})
	if out {
		r.answers(err)
		return giveUp
	}
	r.note(err)
	return goOn
}

// answers notes whether the realm answers, and logs when that changes.
func (r *round) answers(err error) {
	if err == nil {
		r.faults = 0
	}
	var was bool
	r.loop.with(func() { was, r.state.outage = r.state.outage, err != nil })
	switch {
	case err != nil && !was:
		r.loop.cfg.Logger.Warn("a realm can't be asked about its users: their sessions go on", "realm", r.realm, "error", err)
	case err == nil && was:
		r.loop.cfg.Logger.Info("a realm can be asked about its users again", "realm", r.realm)
	}
}

func (r *round) note(err error) {
	r.unclear++
	if r.example == nil {
		r.example = err
	}
}

// take ends a gone user's sessions, or puts the user by when there are too many of them.
func (r *round) take(ctx context.Context, username string, verdict realm.Verdict) outcome {
	if verdict.Forced {
		r.end(ctx, username, verdict.Reason)
		return goOn
	}
	r.gone++
	var braked bool
	r.loop.with(func() { braked = r.state.braked })
	if r.tooMany(braked) {
		r.brake(braked)
		return giveUp
	}
	if !braked && r.gone <= freeGone {
		r.end(ctx, username, verdict.Reason)
	} else if len(r.held) < maxHeld {
		r.held = append(r.held, username)
	}
	return goOn
}

// tooMany reports whether more of the realm's users are gone than can be believed. Once they were, it takes a round in
// which most are there to make few of them believable again: the 10 who were ended at first are not asked for any more.
func (r *round) tooMany(braked bool) bool {
	return (braked || r.gone > freeGone) && 2*r.gone > len(r.users)
}

// brake ends the round, and with it what it would have ended.
func (r *round) brake(was bool) {
	r.loop.with(func() { r.state.braked = true })
	if !was {
		r.loop.cfg.Logger.Error("more than half of a realm's users are gone from its directory: their sessions go on. "+
			`If they are gone indeed, set "recheck": {"force": true} in the realm's configuration for a round`,
			"realm", r.realm, "gone", r.gone, "users", len(r.users))
	}
}

// finish ends the sessions of those who were put by: everybody has been asked for by now, and they are no more than half.
// They are asked for once more: meanwhile the directory may have been mended.
func (r *round) finish() {
	for _, username := range r.held {
		end := func(ctx context.Context, verdict realm.Verdict) outcome {
			if verdict.Gone {
				r.end(ctx, username, verdict.Reason)
			}
			return goOn
		}
		if !r.loop.sleep(minGap) || r.ask(username, end) == giveUp {
			return
		}
	}
	var braked, logged bool
	r.loop.with(func() {
		braked, r.state.braked = r.state.braked, false
		logged, r.state.unclear = r.state.unclear, r.unclear > 0
	})
	if braked {
		r.loop.cfg.Logger.Info("a realm's users are in its directory again, or their end was confirmed", "realm", r.realm)
	}
	if r.unclear > 0 && !logged {
		r.loop.cfg.Logger.Warn("some of a realm's users could not be checked", "realm", r.realm, "users", r.unclear, "example", r.example)
	}
}

// end ends a user's sessions.
func (r *round) end(ctx context.Context, username, why string) {
	l := r.loop
	result, err := l.cfg.Cluster.Do(ctx, &session.EndUser{
		Realm: r.realm, Username: username, Reason: session.EndedByRecheck,
		By: "node " + l.cfg.Node + " (directory re-check)",
	})
	if err != nil {
		r.fail(err)
		return
	}
	l.with(func() { l.stats.Ended++ })
	l.cfg.Logger.Info("a user's sessions are ended by the directory re-check", "realm", r.realm, "user", username,
		"why", why, "sessions", result.Ended)
}

// setRoles gives a user's sessions the roles of now where they have others.
func (r *round) setRoles(ctx context.Context, username string, roles []string) {
	l := r.loop
	sets, _, err := l.cfg.Cluster.RolesOf(ctx, session.Owner{Realm: r.realm, Username: username})
	differs := func(set []string) bool { return !slices.Equal(set, roles) }
	if err == nil && !slices.ContainsFunc(sets, differs) {
		return
	}
	if err == nil {
		_, err = l.cfg.Cluster.Do(ctx, &session.SetRoles{Realm: r.realm, Username: username, Roles: roles})
	}
	if err != nil {
		r.fail(err)
		return
	}
	l.with(func() { l.stats.RolesChanged++ })
	l.cfg.Logger.Info("a user's roles are changed by the directory re-check", "realm", r.realm, "user", username, "roles", roles)
}
