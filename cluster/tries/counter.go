package tries

import (
	"time"

	"cloakroom/cluster/session"
)

// counter is known by when it will be empty: each failure moves that on by what one failure takes to be forgotten.
type counter struct {
	empty session.Time // of a known address: when it is forgotten
	next  session.Time // before this there is no further try

	term, seq uint64 // of the last change: the later one is the truth
}

// level returns how many failures are not forgotten.
func (c counter) level(k kind, now session.Time) int {
	left := c.empty.Sub(now)
	if left <= 0 {
		return 0
	}
	if k == kindKnown {
		return levelOfName
	}
	leak := ruleOf(k).leak
	return int((left + leak - 1) / leak)
}

// wait returns how long until the next try.
func (c counter) wait(now session.Time) time.Duration { return max(0, c.next.Sub(now)) }

// fail counts a failure.
func (c *counter) fail(k kind, now session.Time) {
	r := ruleOf(k)
	c.empty = max(c.empty, now).Add(r.leak)
	if over := c.level(k, now) - r.free; over >= 0 {
		c.next = now.Add(r.delay(over))
	}
}

// forgive takes a failure back. The try before which there was no delay may be made again.
func (c *counter) forgive(k kind, now session.Time) {
	c.empty = c.empty.Add(-ruleOf(k).leak)
	c.next = min(c.next, now)
}

// bound keeps what was heard within what counting could have led to, so that no message locks anybody out. It reports
// whether that changed anything.
func (c *counter) bound(k kind, now session.Time) bool {
	heard := *c
	if k == kindKnown {
		c.empty, c.next = min(c.empty, now.Add(KnownFor)), 0
		return *c != heard
	}
	r := ruleOf(k)
	c.empty = min(c.empty, now.Add(time.Duration(r.free+maxLevels)*r.leak))
	c.next = min(c.next, now.Add(r.longest))
	return *c != heard
}

// before reports whether another change came later.
func (c counter) before(term, seq uint64) bool {
	return c.term < term || c.term == term && c.seq < seq
}

// delay returns the delay after so many failures above the free ones.
func (r rule) delay(over int) time.Duration {
	return min(r.first<<min(over, maxLevels), r.longest)
}
