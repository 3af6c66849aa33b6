package idle

import (
	"context"
	"slices"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// hear judges sessions that are over as far as their replicated last use says, and brings what it finds into the log:
// the ends of those that are, the last uses of those that are not. The verdicts hold where the index is applied. It may
// be called for any session at any time: what is not over is left alone. Where a lookup waits, uses don't queue up on
// the board.
func (o *office) hear(ctx context.Context, queries []query, lookup bool) (verdicts []verdict, index uint64, err error) {
	now, ok := o.cfg.Clock.Stamp()
	if !ok || !o.cfg.Log.IsLeader() {
		return nil, 0, wire.ErrNoLeader
	}
	keys := make([]session.Key, len(queries))
	for i, q := range queries {
		keys[i] = q.key
	}
	h := hearing{now: now, early: time.Since(o.begun) < OfficeGrace, facts: o.facts(keys)}
	h.survey.later = make([]session.Time, len(keys))
	if slices.ContainsFunc(h.facts, h.open) {
		if err := o.question(ctx, &h, keys); err != nil {
			return nil, 0, err
		}
	}
	verdicts = make([]verdict, len(queries))
	var over []session.Key
	var used []session.Use
	for i, q := range queries {
		v, last := h.judge(i, q.use)
		verdicts[i] = v
		switch {
		case v == ended && h.facts[i].live:
			over = append(over, q.key)
		case last > 0:
			used = append(used, session.Use{Key: q.key, At: last})
		}
	}
	if err := o.expireNow(ctx, now, over); err != nil {
		return nil, 0, err
	}
	if !lookup {
		// What does not fit is asked about again. Where many sessions come due at once, uses of now go before.
		if waiting, _ := o.board.load(); waiting < PaceBacklog/2 {
			_ = o.board.post(used, nil)
		}
	} else if err := o.touchNow(ctx, used); err != nil {
		return nil, 0, err
	}
	return verdicts, o.applied(), nil
}

// question finds out what the judgement needs to know.
func (o *office) question(ctx context.Context, h *hearing, keys []session.Key) (err error) {
	if h.survey, err = o.survey(ctx, h.now, keys); err != nil {
		return err
	}
	if h.lacks() {
		o.excuse(ctx, h.now, &h.survey)
	}
	h.reach = h.survey.reach()
	// Read last: a node that was not asked because it had gone before is counted. It may have served until its lease ran out.
	o.cfg.Machine.Read(func(m *session.Machine) { h.reach = max(h.reach, m.LostAt().Add(session.TouchSlack+o.cfg.Lease)) })
	return nil
}

// expireNow proposes the end of sessions. The machine ends those whose last use has not moved meanwhile.
func (o *office) expireNow(ctx context.Context, cutoff session.Time, keys []session.Key) error {
	for some := range slices.Chunk(keys, ExpireBatch) {
		if err := o.propose(ctx, &session.Expire{Cutoff: cutoff, Keys: some}); err != nil {
			return err
		}
		o.stats.expires.Add(1)
	}
	return nil
}

// touchNow proposes uses past the board, at a rate of their own. What would take too long is refused at once.
func (o *office) touchNow(ctx context.Context, uses []session.Use) error {
	for some := range slices.Chunk(uses, TouchBatch) {
		if !o.grey.wait(ctx, len(some)) {
			return wire.ErrOverloaded
		}
		if _, err := o.touch(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// hearing is one question about some sessions, and what follows from the answers.
type hearing struct {
	now    session.Time // the moment that the question is about
	early  bool         // the leader is new
	facts  []fact
	survey survey
	reach  session.Time // all uses after it are known
}

// open reports whether a session needs to be asked about.
func (h *hearing) open(f fact) bool { return f.live && f.idleAt() <= h.now && f.expires > h.now }

// lacks reports whether a session might be ended if more were known of the nodes.
func (h *hearing) lacks() bool {
	reach := h.survey.reach()
	for i, f := range h.facts {
		if h.open(f) && h.survey.later[i].Add(f.idle) <= h.now && f.rep < reach && (h.early || h.now < f.idleAt().Add(f.grace)) {
			return true
		}
	}
	return false
}

// judge returns the verdict about a session, and the last use that the log has to know of, 0 for none.
func (h *hearing) judge(i int, use bool) (v verdict, last session.Time) {
	f, later := h.facts[i], h.survey.later[i]
	switch {
	case !f.live || f.expires <= h.now:
		return ended, 0
	case f.idleAt() > h.now:
		// The lookup's node was behind, or its clock is a little ahead.
		if use && h.now.Sub(f.rep) >= f.lag {
			return alive, h.now
		}
		return alive, 0
	case later.Add(f.idle) > h.now:
		if use {
			return alive, h.now
		}
		return alive, later
	case h.reach <= f.rep:
		return ended, 0
	case h.now < f.idleAt().Add(f.grace):
		// The lookup is accepted, so more than one node must know of the use.
		if use {
			return undecided, h.now
		}
		return undecided, 0
	case h.early:
		return unsettled, 0
	}
	return ended, 0
}
