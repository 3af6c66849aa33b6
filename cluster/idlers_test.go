package cluster_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/history"
	"cloakroom/cluster/session"
)

// idleTimeout is that of the sessions which end by themselves. A use is told to others when it is 4 s later than what they
// know.
const idleTimeout = time.Minute

const (
	idleUsers  = 6
	idleUses   = 6                       // of a session that is kept, until it is left alone
	justInTime = 1500 * time.Millisecond // before the end: the last moment that is safe with all that may be wrong with clocks
)

// idlers are users who come by now and then, through all scenes and the quiet between them: always in time, until they
// stay away.
type idlers struct {
	s     *stage
	stop  atomic.Bool
	group sync.WaitGroup
}

func newIdlers(s *stage) *idlers {
	d := &idlers{s: s}
	for i := range idleUsers {
		d.group.Go(func() { d.user(clients + 1 + i) })
	}
	return d
}

func (d *idlers) leave() {
	d.stop.Store(true)
	d.group.Wait()
}

func (d *idlers) user(id int) {
	c := d.s.crowd
	for n := 0; !d.stop.Load(); n++ {
		tk := c.create(id, fmt.Sprintf("idle%d.%d", id, n), idleTimeout)
		if tk == nil {
			time.Sleep(time.Second)
			continue
		}
		d.keep(id, tk)
		d.sleep(idleTimeout - justInTime + time.Duration(c.intn(int(10*time.Second))))
		for range 3 { // now, and no more as a use, it must go, and be gone everywhere
			c.get(id, tk, false)
			d.sleep(3 * time.Second)
		}
	}
}

// keep uses a session again and again, for a while.
func (d *idlers) keep(id int, tk *ticket) {
	c := d.s.crowd
	for n := 0; n < idleUses && !d.stop.Load(); n++ {
		wait := idleTimeout - justInTime
		if c.intn(3) == 0 {
			wait = time.Duration(c.intn(int(wait)))
		}
		d.sleep(wait)
		if !d.visit(id, tk) {
			return
		}
		if c.intn(2) == 0 { // once more, too soon for others to be told
			d.sleep(time.Duration(c.intn(int(session.Granularity(idleTimeout, 0)))))
			d.visit(id, tk)
		}
	}
}

// visit uses a session, and tries elsewhere if it gets no answer. False: it is over.
func (d *idlers) visit(id int, tk *ticket) bool {
	c := d.s.crowd
	for range 5 {
		switch c.get(id, tk, true) {
		case history.Refused:
			return false
		case history.Done: // before a change, the API looks a session up
			if c.intn(8) == 0 {
				c.put(id, tk, false)
			}
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

func (d *idlers) sleep(long time.Duration) {
	for ; long > 0 && !d.stop.Load(); long -= time.Second {
		time.Sleep(min(long, time.Second))
	}
}
