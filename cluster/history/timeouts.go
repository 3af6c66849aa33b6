package history

import (
	"fmt"
	"math"
	"sort"
	"time"
)

// forever is later than any history.
const forever = time.Duration(math.MaxInt64 / 4)

// addExpiries gives each session that may have ended by itself, and was refused, the end that nobody asked for. The places
// of all operations are doubled first, so that there is room between any two.
func (p *partition) addExpiries(h *History, rules Rules) {
	spread := make([]*Operation, 0, len(p.ops))
	for _, op := range p.ops {
		twice := *op
		twice.Call, twice.Return = 2*op.Call, 2*op.Return
		spread = append(spread, &twice)
	}
	p.ops = spread
	for key := range p.number {
		from, ok := mayExpire(p.of(key), rules)
		if !ok {
			continue
		}
		next := sort.Search(len(h.marks), func(i int) bool { return h.marks[i] >= from })
		if next == len(h.marks) {
			continue // the history was over by then
		}
		p.ops = append(p.ops, &Operation{
			Client: -1, Node: "time", Kind: expire, User: p.user, Key: key, Call: 2*int64(next+1) - 1, Begun: from,
		})
	}
}

// mayExpire returns the earliest moment at which a session may have ended by itself. False: nothing says that it did.
func mayExpire(ops []*Operation, rules Rules) (from time.Duration, ok bool) {
	from = forever
	refused := false
	var lastUse time.Duration
	for _, op := range ops {
		refused = refused || op.Outcome == Refused && op.Refusal == NotLive
		if op.Outcome == Done && op.uses() && (op.changes() || rules.Firm == nil || rules.Firm(op)) {
			lastUse = max(lastUse, op.Begun)
		}
	}
	for _, op := range ops {
		if op.Kind != Create || op.Outcome == Refused || op.Outcome == Dropped {
			continue
		}
		if op.Lifetime > 0 {
			from = min(from, op.Begun+op.Lifetime-rules.Early)
		}
		if op.Idle > 0 {
			from = min(from, max(lastUse, op.Begun)+op.Idle-rules.Early)
		}
	}
	return from, refused && from < forever
}

// checkLate looks for sessions that were accepted after their timeouts.
func (p *partition) checkLate(r *Report, rules Rules) {
	for key := range p.number {
		ops := p.of(key)
		for _, create := range ops {
			if create.Kind != Create || create.Outcome != Done {
				continue
			}
			for _, op := range ops {
				if op == create || op.Outcome != Done {
					continue
				}
				if by, late := tooLate(ops, create, op, rules.Late); late {
					r.add(Violation{User: p.user, What: fmt.Sprintf("a session was accepted %v after its end", by), Text: lines(ops...)})
					return
				}
			}
		}
	}
}

// tooLate reports whether an operation was accepted though the session's time was over when it began.
func tooLate(ops []*Operation, create, op *Operation, late time.Duration) (by time.Duration, yes bool) {
	over := forever
	if create.Lifetime > 0 {
		over = create.Ended + create.Lifetime
	}
	if create.Idle > 0 {
		over = min(over, lastUseBefore(ops, op)+create.Idle)
	}
	by = op.Begun - over
	return by, by > late
}

// lastUseBefore returns the latest moment at which a session may have been used before an operation was answered. What
// was refused for a conflict, or dropped on its way, may have been a use all the same: a node looks the session up first.
func lastUseBefore(ops []*Operation, op *Operation) (at time.Duration) {
	for _, u := range ops {
		if u == op || !u.uses() || u.Call > op.Return {
			continue
		}
		switch {
		case u.Outcome == Unknown:
			return forever / 2
		case u.Outcome == Refused && u.Refusal != Conflict:
		default:
			at = max(at, u.Ended)
		}
	}
	return at
}
