package idle

import (
	"context"
	"time"

	"cloakroom/cluster/session"
)

// pacer keeps the number of touches below MaxTouchRate, whatever the number of active sessions: it makes the lag longer
// after which a use is due, and shorter again.
type pacer struct {
	office  *office
	changed time.Time // when the pace last did, or the office began
	last    load      // at the last look
	settled load      // at the last change, or a whole lag ago
}

// load is how much there is to replicate at one moment.
type load struct {
	at      time.Time
	waiting int    // uses, on all nodes
	done    uint64 // uses that this leader has brought into the log
}

// rate is how many uses a second have come into the log from then to now.
func (now load) rate(then load) int {
	return int(float64(now.done-then.done) / max(1, now.at.Sub(then.at).Seconds()))
}

func newPacer(o *office) *pacer {
	now := o.load()
	return &pacer{office: o, changed: now.at, last: now, settled: now}
}

func (p *pacer) run(ctx context.Context) { every(ctx, PaceInterval, p.look) }

// look changes the pace if that is due. What a leader has seen is not handed on: a new one begins with the pace in force.
func (p *pacer) look(ctx context.Context) {
	var pace session.Pace
	p.office.cfg.Machine.Read(func(m *session.Machine) { pace = m.Pace() })
	now, last := p.office.load(), p.last
	p.last = now
	few := false
	if now.at.Sub(p.settled.at) >= p.lag(pace.Touch) { // a change shows its effect only after the whole lag
		few = now.rate(p.settled) < paceLow && now.waiting < PaceBacklog/4
		p.settled = now
	}
	switch {
	case now.waiting > PaceBacklog && now.waiting >= last.waiting && now.rate(last) > paceLow:
		// The log takes what it can, and still more is waiting: this is no crowd that has come once, nor a log that stands.
		p.raise(ctx, pace)
	case pace.Touch > 0 && few:
		p.propose(ctx, session.Pace{Touch: p.finer(pace.Touch), Grace: pace.Grace})
	case pace.Grace > pace.Touch && now.at.Sub(p.changed) >= p.office.cfg.Idle+2*session.TouchSlack:
		// There may have been a session until now whose last use was at the coarser pace, and is known to one node only.
		p.propose(ctx, session.Pace{Touch: pace.Touch, Grace: pace.Touch})
	}
}

// lag is that of the sessions made here.
func (p *pacer) lag(pace time.Duration) time.Duration {
	return session.Granularity(p.office.cfg.Idle, pace)
}

// raise makes touches rarer by half. What expiry forgives must have grown before the touches leave more out.
func (p *pacer) raise(ctx context.Context, pace session.Pace) {
	lag := p.lag(pace.Touch)
	coarser := p.lag(min(lag*3/2, session.MaxPace))
	if coarser == lag {
		return // it is at its limit: uses wait for longer
	}
	if pace.Grace < coarser {
		pace.Grace = coarser
		if !p.propose(ctx, pace) {
			return
		}
	}
	pace.Touch = coarser
	p.propose(ctx, pace)
}

// finer is the step below a pace, 0 where the normal one is as fine.
func (p *pacer) finer(pace time.Duration) time.Duration {
	finer := p.lag(pace) * 2 / 3
	if p.lag(finer) <= p.lag(0) {
		return 0
	}
	return finer
}

func (p *pacer) propose(ctx context.Context, pace session.Pace) bool {
	if err := p.office.propose(ctx, &pace); err != nil {
		p.office.cfg.Logger.Debug("pace of touches not changed", "error", err) // not all members know how, perhaps
		return false
	}
	p.office.cfg.Logger.Info("pace of touches changed", "touch", pace.Touch, "grace", pace.Grace)
	p.settled = p.office.load()
	p.changed = p.settled.at
	return true
}

func (o *office) load() load {
	now := load{at: time.Now()}
	now.waiting, now.done = o.board.load()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.backlogs {
		if now.at.Sub(b.at) < PaceInterval { // else the node is gone, or has nothing to send
			now.waiting += b.uses
		}
	}
	return now
}
