//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"time"

	"cloakroom/cluster/history"
)

// watcher is a client with one session at a time, who watches that nobody active is logged out and nobody idle stays in.
// It goes from node to node. What it does is a history of its own, which the rules about timeouts are applied to.
type watcher struct {
	lane  *lane // its node changes
	stage *stage
	kind  watch
}

// watch is a way to use a session.
type watch int

const (
	// keeper uses its session well within the timeout, again and again.
	keeper watch = iota
	// latecomer uses it twice, the second time so soon that this use is not replicated, and comes back just in time.
	latecomer
	// sleeper uses it a few times, comes back when nobody may take it in any more, and tries every node.
	sleeper
	watches // their number
)

// watchers returns some of each kind.
func watchers(s *stage) []*watcher {
	var list []*watcher
	for i := range idleGroups * int(watches) {
		l := &lane{id: -1 - i, node: s.cluster.nodes[0], slot: new(slot), stage: s}
		list = append(list, &watcher{lane: l, stage: s, kind: watch(i % int(watches))})
	}
	return list
}

// run uses one session after another. Watchers begin at different times, so as not to come back all at once.
func (w *watcher) run(ctx, calls context.Context) {
	if !pause(ctx, rand.N(w.stage.idle)) {
		return
	}
	for ctx.Err() == nil {
		user, ok := w.stage.users.take()
		if !ok {
			if !pause(ctx, pollInterval) {
				return
			}
			continue
		}
		c := &cast{user: user, play: &play{recorder: history.New(w.stage.clock)}}
		if w.watch(ctx, calls, c) {
			w.stage.judges.submit(c.play.recorder)
		}
		if !pause(ctx, rand.N(time.Second)) {
			return
		}
	}
}

// watch uses one session. False: there was none, so there is nothing to judge.
func (w *watcher) watch(ctx, calls context.Context, c *cast) bool {
	w.move()
	w.lane.create(calls, c)
	t, _ := c.pick()
	if t == nil {
		return false
	}
	switch w.kind {
	case keeper:
		w.keep(ctx, calls, c, t)
	case latecomer:
		w.comeLate(ctx, calls, c, t)
	case sleeper:
		w.sleep(ctx, calls, c, t)
	case watches:
		panic("BUG: no way to use a session")
	}
	return true
}

// move goes to another node that runs.
func (w *watcher) move() {
	if running := w.stage.cluster.everyone(); len(running) > 0 {
		w.lane.node = running[rand.IntN(len(running))]
	}
}

// use looks the session up, at one node after another until one answers. False: none did, or it is over.
func (w *watcher) use(ctx, calls context.Context, c *cast, t *ticket, within time.Duration) bool {
	for end := time.Now().Add(within); ; w.move() {
		switch v := w.lane.verify(calls, c, t); {
		case v.outcome == history.Done:
			return true
		case v.outcome == history.Refused || time.Now().After(end) || !pause(ctx, pollInterval):
			return false
		}
	}
}

// keep comes back long before the timeout: a use that is lost with its node does no harm then.
func (w *watcher) keep(ctx, calls context.Context, c *cast, t *ticket) {
	idle := w.stage.idle
	for range keeps {
		if !pause(ctx, idle/8+rand.N(idle/4)) {
			return
		}
		w.move()
		if !w.use(ctx, calls, c, t, idle/8) {
			return
		}
	}
}

func (w *watcher) comeLate(ctx, calls context.Context, c *cast, t *ticket) {
	// The create was the first use. The second one is not ahead of it by the granularity yet.
	if !pause(ctx, granularity(w.stage.idle)*8/10) || !w.use(ctx, calls, c, t, 0) {
		return
	}
	// Whoever has to ask a node that does not answer takes half a second for it.
	if !pause(ctx, w.stage.idle-max(2*activeMargin, granularity(w.stage.idle)*35/100)) {
		return
	}
	w.move()
	w.lane.verify(calls, c, t)
}

func (w *watcher) sleep(ctx, calls context.Context, c *cast, t *ticket) {
	for range rand.IntN(3) {
		if !pause(ctx, rand.N(2*granularity(w.stage.idle))) || !w.use(ctx, calls, c, t, 0) {
			return
		}
	}
	if !pause(ctx, w.stage.idle+w.stage.judges.rules.Late+pollInterval) {
		return
	}
	for _, n := range w.stage.cluster.everyone() {
		w.lane.node = n
		w.lane.verify(calls, c, t)
	}
}
