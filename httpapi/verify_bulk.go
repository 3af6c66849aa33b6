package httpapi

import (
	"sync"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
)

// checker checks many tokens in one call.
type checker struct {
	checks  checks
	pool    sync.Pool // of *bulkCheck
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
}

// verifySessions is POST /api/sessions/verify {"tokens":[…]}: which of many tokens are good, and whose, in the order of the
// request; for callers with the role service or admin. Tokens are never echoed. To be checked is no use.
//
// Whoever may ask can find out whose a token is, so it is bounded and audited by caller.
func (c *checker) verifySessions(rc *exchange.Request) error {
	p, err := c.callers.Authorize(rc, session.RoleService, session.RoleAdmin)
	if err != nil {
		return err
	}
	in, _ := c.pool.Get().(*bulkCheck)
	if in == nil {
		in = &bulkCheck{}
	}
	defer c.pool.Put(in)
	if err := in.read(rc); err != nil {
		return err
	}
	level, err := c.state.Level(rc)
	if err != nil {
		return err
	}
	if wait := c.checks.take(p.Name(), len(in.tokens), time.Now()); wait > 0 {
		return exchange.WaitFor(exchange.ErrChecks, wait)
	}
	b := append(rc.Buf[:0], `{"sessions":[`...)
	b, good, err := c.appendAllChecked(b, rc, in, level)
	if err != nil {
		return err // nothing is half told
	}
	c.diary.AuditChecks(rc, p, len(in.tokens), good)
	rc.Ctx.Response.Header.SetContentType(exchange.TypeJSON)
	rc.Buf = rc.Ctx.Response.SwapBody(append(b, `]}`...)) // a copy of a MB would cost more than the JSON does
	return nil
}

// appendAllChecked appends what is to be said of each token: of those that this node knows at once all together, of the
// others one by one where their turn comes.
func (c *checker) appendAllChecked(b []byte, rc *exchange.Request, in *bulkCheck, level cluster.Level) (all []byte, good int, err error) {
	next := 0 // the first token of which nothing is said yet
	one := func(view *session.View, refused error) {
		if next > 0 {
			b = append(b, ',')
		}
		next++
		switch {
		case refused == nil:
			good++
			b = appendChecked(b, view)
		case exchange.IsSignedOut(refused):
			b = append(b, `{"active":false}`...)
		default:
			err = refused
		}
	}
	upTo := func(i int) {
		for next < i && err == nil {
			view, refused := c.check(rc, in, next, level)
			one(&view, refused)
		}
	}
	c.state.Cluster.Glances(in.keys, level, func(i int, view *session.View, refused error) {
		if upTo(i); err != nil || !in.good[i] {
			return
		}
		if refused == nil && !in.fits(i, view) {
			refused = session.ErrSessionInvalid
		}
		one(view, refused)
	})
	upTo(len(in.tokens))
	return b, good, err
}

// check looks one token up, of whatever surface, in the form that it was handed out in.
func (c *checker) check(rc *exchange.Request, in *bulkCheck, i int, level cluster.Level) (session.View, error) {
	if !in.good[i] {
		return session.View{}, session.ErrSessionInvalid
	}
	view, at, err := c.state.Cluster.Lookup(c.state.Deadlines.Until(rc.Start), in.keys[i], level)
	if at < level {
		return session.View{}, cluster.ErrCutOff
	}
	if err == nil && !in.fits(i, &view) {
		err = session.ErrSessionInvalid
	}
	view.Session.LastUse = c.state.Cluster.LastUse(in.keys[i], view.Session.LastUse)
	return view, err
}

func appendChecked(b []byte, view *session.View) []byte {
	sess := &view.Session
	b = exchange.AppendString(append(b, `{"active":true,"user":{"id":`...), sess.UserID)
	b = exchange.AppendString(append(b, `,"username":`...), sess.Username)
	b = exchange.AppendString(append(b, `,"realmName":`...), sess.Realm)
	b = append(b, `},"roles":[`...)
	roles := exchange.RolesOf(*view)
	for i, name := 0, roles.Next(); name != ""; i, name = i+1, roles.Next() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(exchange.AppendString(append(b, `{"name":`...), name), '}')
	}
	b = exchange.AppendHandle(append(b, `],"handle":"`...), sess.Key)
	b = exchange.AppendTime(append(b, `","idleExpiresAt":`...), min(sess.LastUse.Add(sess.Idle), sess.Expires))
	return append(b, '}')
}

// checks bounds how many tokens each caller may have checked a second, on this node: a bucket that leaks for each of them.
type checks struct {
	processors int // that the node may use

	mu    sync.Mutex
	until map[string]time.Time // by caller: when the bucket is empty
}

// take counts n tokens, or returns how long to wait before they may be asked about.
func (c *checks) take(caller string, n int, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, empty := range c.until {
		if !empty.After(now) {
			delete(c.until, other) // callers are few: they have a role
		}
	}
	empty := c.until[caller]
	if empty.Before(now) {
		empty = now
	}
	if full := empty.Sub(now) - checkBurst; full > 0 {
		return full
	}
	if c.until == nil {
		c.until = map[string]time.Time{}
	}
	c.until[caller] = empty.Add(time.Duration(n) * time.Second / time.Duration(maxChecks*c.processors))
	return 0
}
