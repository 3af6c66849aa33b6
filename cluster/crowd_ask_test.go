package cluster_test

import (
	"context"
	"errors"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/history"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// What the clients ask, and what they make of the answers.

// create logs a user in.
func (c *crowd) create(id int, user string, idle time.Duration) *ticket {
	tk := &ticket{user: user, key: session.KeyOf([]byte("token " + c.value())), idle: idle}
	rev, outcome := c.login(id, tk)
	if outcome == history.Dropped {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	tk.rev = rev
	for _, u := range c.users {
		if u.name == user {
			u.sessions = append(u.sessions, tk)
		}
	}
	return tk
}

// again tries to make a session with a key that was used before.
func (c *crowd) again(id int, tk *ticket) {
	if rev, outcome := c.login(id, tk); outcome == history.Done {
		c.saw(tk, rev)
	}
}

func (c *crowd) login(id int, tk *ticket) (rev uint64, outcome history.Outcome) {
	cmd := &session.Create{
		Key: tk.key, Realm: session.NativeRealm, Username: tk.user, RealmRev: c.realmRev, Surface: session.SurfaceService,
		Idle: time.Hour, Lifetime: 24 * time.Hour, Attrs: []session.Attr{{Key: "a", Value: c.value()}},
	}
	if tk.idle > 0 {
		cmd.Idle = tk.idle
	}
	op := history.Operation{Client: id, Kind: history.Create, User: tk.user, Key: tk.key.String(), Attrs: attrsOf(cmd.Attrs), Idle: tk.idle}
	return c.do(op, cmd)
}

func (c *crowd) put(id int, tk *ticket, compare bool) {
	cmd := &session.Put{Key: tk.key, Attrs: []session.Attr{{Key: string("abc"[c.intn(3)]), Value: c.value()}}}
	if compare {
		cmd.IfRev = c.revOf(tk)
	}
	rev, outcome := c.do(history.Operation{Client: id, Kind: history.Put, User: tk.user, Key: tk.key.String(), Attrs: attrsOf(cmd.Attrs), IfRev: cmd.IfRev}, cmd)
	if outcome == history.Done {
		c.saw(tk, rev)
	}
}

func (c *crowd) delete(id int, tk *ticket) {
	cmd := &session.Delete{Key: tk.key, Names: []string{string("abc"[c.intn(3)])}}
	if c.intn(4) == 0 {
		cmd.Names = nil
	}
	rev, outcome := c.do(history.Operation{Client: id, Kind: history.Remove, User: tk.user, Key: tk.key.String(), Names: cmd.Names}, cmd)
	if outcome == history.Done {
		c.saw(tk, rev)
	}
}

func (c *crowd) invalidate(id int, tk *ticket) bool {
	_, outcome := c.do(history.Operation{Client: id, Kind: history.End, User: tk.user, Key: tk.key.String()}, &session.Invalidate{Key: tk.key, Reason: session.EndedByLogout})
	return outcome == history.Done
}

func (c *crowd) endAll(id int, user string) bool {
	_, outcome := c.do(history.Operation{Client: id, Kind: history.EndAll, User: user}, &session.EndUser{Realm: session.NativeRealm, Username: user})
	return outcome == history.Done
}

func (c *crowd) get(id int, tk *ticket, use bool) history.Outcome {
	name, node := c.pick(id)
	return c.getAt(id, tk, name, node, use)
}

func (c *crowd) getAt(id int, tk *ticket, name string, node *cluster.Cluster, use bool) history.Outcome {
	return c.read(history.Operation{Client: id, Node: name, Kind: history.Get, User: tk.user, Key: tk.key.String(), Use: use}, tk, node)
}

func (c *crowd) verify(id int, tk *ticket) {
	name, node := c.pick(id)
	c.read(history.Operation{Client: id, Node: name, Kind: history.Verify, User: tk.user, Key: tk.key.String()}, tk, node)
}

func (c *crowd) read(op history.Operation, tk *ticket, node *cluster.Cluster) history.Outcome {
	if node == nil {
		return history.Dropped
	}
	level := c.s.level
	if level != cluster.Quorum && c.intn(8) == 0 {
		level = cluster.Quorum // they must agree with each other
	}
	ctx, cancel := context.WithTimeout(c.s.t.Context(), callTimeout)
	defer cancel()
	lookup := node.Lookup
	if op.Use {
		lookup = node.Use
	}
	call := c.s.recorder.Begin(op)
	begun := time.Now()
	view, _, err := lookup(ctx, tk.key, level)
	var whole *session.Session
	if err == nil && op.Kind == history.Get {
		whole, err = node.Whole(ctx, tk.key, level)
	}
	c.ended(begun)
	switch outcome := c.outcome(op, err); {
	case outcome == history.Refused:
		call.Refused(refusal(err))
		return outcome
	case err != nil: // a read that shows nothing, though it may have been noted as a use
		if op.Use {
			call.Unknown()
		} else {
			call.Dropped()
		}
		return history.Dropped
	}
	var answer history.Answer
	if op.Kind == history.Get {
		if whole.Rev < view.Session.Rev {
			c.s.t.Errorf("revision %d of a session, after %d", whole.Rev, view.Session.Rev)
		}
		answer = history.Answer{Rev: whole.Rev, Attrs: attrsOf(whole.Attrs)}
		c.saw(tk, whole.Rev)
	}
	call.Done(answer)
	return history.Done
}

// do brings a command in at some node. Where the session may be idle for too long it looks first, as the API does.
func (c *crowd) do(op history.Operation, cmd session.Command) (rev uint64, outcome history.Outcome) {
	name, node := c.pick(op.Client)
	if node == nil {
		return 0, history.Dropped
	}
	op.Node = name
	ctx, cancel := context.WithTimeout(c.s.t.Context(), callTimeout)
	defer cancel()
	call := c.s.recorder.Begin(op)
	begun := time.Now()
	result, err := node.Do(ctx, cmd)
	c.ended(begun)
	switch outcome = c.outcome(op, err); outcome {
	case history.Done:
		answer := history.Answer{Rev: result.Rev}
		if op.Kind == history.EndAll {
			ended := int(result.Ended)
			answer.Ended = &ended
		}
		call.Done(answer)
	case history.Refused:
		call.Refused(refusal(err))
	case history.Unknown:
		call.Unknown()
	case history.Dropped:
		call.Dropped()
	}
	return result.Rev, outcome
}

func (c *crowd) ended(begun time.Time) {
	c.count.Add(1)
	took := int64(time.Since(begun))
	for {
		longest := c.slowest.Load()
		if took <= longest || c.slowest.CompareAndSwap(longest, took) {
			return
		}
	}
}

// passing are the errors that a client may see while something is wrong. Nothing has changed then.
var passing = []error{
	cluster.ErrNoLeader, cluster.ErrTimeout, cluster.ErrOverloaded, cluster.ErrJoining, cluster.ErrCutOff, cluster.ErrDraining, wire.ErrUnreachable,
}

// outcome says what an answer shows.
func (c *crowd) outcome(op history.Operation, err error) history.Outcome {
	switch {
	case err == nil:
		return history.Done
	case refusal(err) != 0:
		return history.Refused
	case errors.Is(err, cluster.ErrOutcomeUnknown):
		return history.Unknown
	}
	for _, e := range passing {
		if errors.Is(err, e) {
			return history.Dropped
		}
	}
	c.s.t.Errorf("%v of %s at %s: %v", op.Kind, op.User, op.Node, err)
	return history.Unknown
}

func refusal(err error) history.Refusal {
	switch {
	case errors.Is(err, session.ErrSessionInvalid), errors.Is(err, session.ErrSessionIdle):
		return history.NotLive
	case errors.Is(err, session.ErrConflict):
		return history.Conflict
	case errors.Is(err, session.ErrKeyUsed):
		return history.KeyUsed
	}
	return 0
}

func (c *crowd) revOf(tk *ticket) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tk.rev
}

func (c *crowd) saw(tk *ticket, rev uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tk.rev = max(tk.rev, rev)
}

func attrsOf(attrs []session.Attr) []history.Attr {
	out := make([]history.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = history.Attr(a)
	}
	return out
}
