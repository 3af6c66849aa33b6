//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cloakroom/cluster/history"
)

// lane is one client: it asks one node, one thing at a time.
type lane struct {
	id    int
	node  *node
	slot  *slot
	stage *stage
	news  chan news // capacity 1
}

// run plays until ctx ends. Its requests have calls.
func (l *lane) run(ctx, calls context.Context) {
	for {
		var told news
		timer := time.NewTimer(time.Duration(rand.ExpFloat64() * float64(l.stage.pause)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case told = <-l.news:
			timer.Stop()
		case <-timer.C:
		}
		if !l.node.running() {
			continue
		}
		c := l.slot.enter()
		if c == nil {
			continue
		}
		if told.cast == c {
			l.look(calls, c, told.ticket)
		} else {
			l.act(calls, c)
		}
		c.play.acting.Done()
	}
}

// act does something at random.
func (l *lane) act(ctx context.Context, c *cast) {
	t, live := c.pick()
	if t == nil || live == 0 && rand.IntN(3) == 0 || live < maxLive && rand.IntN(12) == 0 {
		l.create(ctx, c)
		return
	}
	rev, _, known := c.known(t)
	switch dice := rand.IntN(100); {
	case dice < 30 || dice < 98 && !known:
		l.get(ctx, c, t)
	case dice < 58:
		l.verify(ctx, c, t)
	case dice < 74:
		l.put(ctx, c, t, 0)
	case dice < 86:
		l.put(ctx, c, t, rev) // 0, for any, if nobody was told one
	case dice < 89:
		l.remove(ctx, c, t)
	case dice < 98:
		l.end(ctx, c, t)
	default:
		l.endAll(ctx, c)
	}
}

// look asks for a session that has just changed somewhere.
func (l *lane) look(ctx context.Context, c *cast, t *ticket) {
	if rand.IntN(2) == 0 {
		l.get(ctx, c, t)
		return
	}
	l.verify(ctx, c, t)
}

func (l *lane) begin(c *cast, op history.Operation) history.Call {
	op.Client, op.Node, op.User = l.id, l.node.name, c.user
	return c.play.recorder.Begin(op)
}

// finish notes what became of an operation that needs no more of its answer.
func (l *lane) finish(call history.Call, kind history.Kind, v verdict, answer history.Answer) {
	l.stage.tally.note(l.node, kind, v)
	switch v.outcome {
	case history.Done:
		call.Done(answer)
	case history.Refused:
		call.Refused(v.refusal)
	case history.Dropped:
		call.Dropped()
	default:
		call.Unknown()
	}
}

func (l *lane) send(ctx context.Context, method, path, body string, header ...string) (reply, error) {
	return send(ctx, l.stage.http, method, l.node.url(path), body, header...)
}

const formType = "application/x-www-form-urlencoded"

// create logs in, by either surface. A login that was not answered has made a session that nobody can use, or none: it is
// no part of the history.
func (l *lane) create(ctx context.Context, c *cast) {
	label, ok := c.label()
	if !ok {
		return
	}
	name, anonymous := fusionCookie, ""
	if rand.IntN(4) == 0 {
		if r, err := l.send(ctx, http.MethodGet, "/index.csp", ""); judge(r, err).outcome == history.Done {
			name, anonymous = mmonitCookie, tokenOf(r.header, mmonitCookie)
		}
	}
	call := l.begin(c, history.Operation{Kind: history.Create, Key: label, Idle: l.stage.idle})
	r, err := l.login(ctx, c.user, anonymous)
	v := judge(r, err)
	if v.outcome == history.Unknown {
		l.stage.tally.note(l.node, history.Create, v)
		call.Dropped()
		return
	}
	if v.outcome == history.Done {
		token := tokenOf(r.header, name)
		if token == "" {
			token = anonymous // it goes on, authenticated
		}
		defer l.slot.tell(l, c, c.made(label, name, token))
	}
	l.finish(call, history.Create, v, history.Answer{})
}

// login is that of Fusion's surface, or with an anonymous token that of M/Monit's.
func (l *lane) login(ctx context.Context, user, anonymous string) (reply, error) {
	if anonymous == "" {
		body := fmt.Sprintf(`{"username":%q,"password":%q}`, user, userWord)
		return l.send(ctx, http.MethodPost, "/api/session", body, "Content-Type", "application/json")
	}
	form := url.Values{"z_username": {user}, "z_password": {userWord}}
	return l.send(ctx, http.MethodPost, "/z_security_check", form.Encode(), "Content-Type", formType, "Cookie", mmonitCookie+"="+anonymous)
}

func (l *lane) get(ctx context.Context, c *cast, t *ticket) {
	call := l.begin(c, history.Operation{Kind: history.Get, Key: t.label, Use: true})
	r, err := l.send(ctx, http.MethodGet, "/api/2/session/get", "", "Cookie", t.cookie)
	v, answer := judge(r, err), history.Answer{Rev: revision(r.header)}
	if v.outcome == history.Done {
		var csrf string
		if answer.Attrs, csrf, err = attributes(r.body); err != nil {
			v = verdict{odd: "attributes that are none"}
		}
		c.saw(t, answer.Rev, csrf)
	}
	l.finish(call, history.Get, v, answer)
	l.see(c, t, v)
}

// verify asks whether a session lives, as a proxy does.
func (l *lane) verify(ctx context.Context, c *cast, t *ticket) verdict {
	call := l.begin(c, history.Operation{Kind: history.Verify, Key: t.label, Use: true})
	r, err := l.send(ctx, http.MethodGet, "/auth/verify", "", "Cookie", t.cookie)
	v := judge(r, err)
	if name := r.header.Get("Remote-User"); v.outcome == history.Done && name != c.user {
		v = verdict{odd: "verified as somebody else"}
	}
	l.finish(call, history.Verify, v, history.Answer{})
	l.see(c, t, v)
	return v
}

// put sets attributes; with a revision, if the session still has it.
func (l *lane) put(ctx context.Context, c *cast, t *ticket, ifRev uint64) {
	attrs := []history.Attr{{Key: "k" + strconv.Itoa(rand.IntN(3)), Value: strconv.FormatUint(rand.Uint64(), 36)}}
	call := l.begin(c, history.Operation{Kind: history.Put, Key: t.label, Attrs: attrs, IfRev: ifRev})
	form := url.Values{attrs[0].Key: {attrs[0].Value}}
	l.change(ctx, c, t, call, history.Put, "/api/2/session/put", form, ifRev)
}

// remove deletes one attribute, or all of them.
func (l *lane) remove(ctx context.Context, c *cast, t *ticket) {
	var names []string
	form := url.Values{"key": {""}}
	if rand.IntN(2) == 0 {
		names = []string{"k" + strconv.Itoa(rand.IntN(3))}
		form.Set("key", names[0])
	}
	call := l.begin(c, history.Operation{Kind: history.Remove, Key: t.label, Names: names})
	l.change(ctx, c, t, call, history.Remove, "/api/2/session/delete", form, 0)
}

func (l *lane) change(ctx context.Context, c *cast, t *ticket, call history.Call, kind history.Kind, path string, form url.Values, ifRev uint64) {
	_, csrf, _ := c.known(t)
	header := []string{"Cookie", t.cookie, "Content-Type", formType, csrfName, csrf}
	if ifRev > 0 {
		header = append(header, "If-Match", `"`+strconv.FormatUint(ifRev, 10)+`"`)
	}
	r, err := l.send(ctx, http.MethodPost, path, form.Encode(), header...)
	v, rev := judge(r, err), revision(r.header)
	if v.outcome == history.Done {
		c.saw(t, rev, "")
		defer l.slot.tell(l, c, t)
	}
	l.finish(call, kind, v, history.Answer{Rev: rev})
	l.see(c, t, v)
}

// end logs out, by either surface.
func (l *lane) end(ctx context.Context, c *cast, t *ticket) {
	call := l.begin(c, history.Operation{Kind: history.End, Key: t.label})
	_, csrf, _ := c.known(t)
	method, path := http.MethodDelete, "/api/session"
	if rand.IntN(2) == 0 {
		method, path = http.MethodPost, "/api/2/session/invalidate"
	}
	r, err := l.send(ctx, method, path, "", "Cookie", t.cookie, "Content-Type", formType, csrfName, csrf)
	v := judge(r, err)
	if v.outcome == history.Done {
		c.ended(t)
		defer l.slot.tell(l, c, t)
	}
	l.finish(call, history.End, v, history.Answer{})
	l.see(c, t, v)
}

// endAll ends all sessions of the user, as an administrator does.
func (l *lane) endAll(ctx context.Context, c *cast) {
	call := l.begin(c, history.Operation{Kind: history.EndAll})
	r, err := endAll(ctx, l.node, c.user)
	v := judge(r, err)
	if v.outcome == history.Done {
		if gone := c.endedAll(); len(gone) > 0 {
			defer l.slot.tell(l, c, gone[rand.IntN(len(gone))])
		}
	}
	l.finish(call, history.EndAll, v, history.Answer{})
}

// see notes that a session was refused.
func (l *lane) see(c *cast, t *ticket, v verdict) {
	if v.refusal == history.NotLive {
		c.ended(t)
	}
}
