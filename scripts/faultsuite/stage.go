//go:build linux

package main

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"cloakroom/cluster/history"
)

// stage is where the clients play: slots with a client at each node, whose users change all some seconds.
type stage struct {
	cluster *cluster
	tally   *tally
	users   *supply
	judges  *judges
	http    *http.Client
	clock   func() time.Duration
	pause   time.Duration
	life    time.Duration
	idle    time.Duration
	slots   []*slot
	group   sync.WaitGroup
}

// newStage makes slots, and a client in each for each node.
func newStage(c *cluster, t *tally, judges *judges) *stage {
	begun := time.Now()
	s := &stage{
		cluster: c, tally: t, judges: judges, users: newSupply(c, "user-", 2*casts),
		clock: func() time.Duration { return time.Since(begun) },
		pause: meanPause, life: castLife, idle: c.cfg.idle,
		http: &http.Client{
			Timeout:       clientTimeout,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 4 * casts},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	nodes := append(slices.Clone(c.nodes), c.spare)
	for i := range casts {
		one := new(slot)
		for _, n := range nodes {
			one.lanes = append(one.lanes, &lane{id: i*maxNodes + n.number, node: n, slot: one, stage: s, news: make(chan news, 1)})
		}
		s.slots = append(s.slots, one)
	}
	return s
}

// open begins the play. It goes on until ctx ends; the requests that are then under way have calls.
func (s *stage) open(ctx, calls context.Context) {
	s.group.Go(func() { s.users.run(ctx) })
	for _, one := range s.slots {
		for _, l := range one.lanes {
			s.group.Go(func() { l.run(ctx, calls) })
		}
	}
	for _, w := range watchers(s) {
		s.group.Go(func() { w.run(ctx, calls) })
	}
	s.group.Go(func() { s.direct(ctx) })
}

// close waits until all clients have left, and all histories are with the judges.
func (s *stage) close() { s.group.Wait() }

// direct brings new casts onto the stage, and sends the histories of those who leave to the judges.
func (s *stage) direct(ctx context.Context) {
	var old *play
	for ctx.Err() == nil {
		next := &play{recorder: history.New(s.clock)}
		if s.replace(ctx, next) {
			s.dismiss(old)
			old = next
		}
		if !pause(ctx, s.life) {
			break
		}
	}
	for _, one := range s.slots {
		one.set(nil)
	}
	s.dismiss(old)
}

// replace puts a new cast into each slot. It waits for users: without a leader there are none, and a play goes on for
// longer.
func (s *stage) replace(ctx context.Context, next *play) bool {
	names := make([]string, 0, len(s.slots))
	for len(names) < len(s.slots) {
		select {
		case name := <-s.users.ready:
			names = append(names, name)
		case <-ctx.Done():
			return false
		}
	}
	for i, one := range s.slots {
		one.set(&cast{user: names[i], play: next})
	}
	return true
}

// dismiss hands a play over once its last operation is over.
func (s *stage) dismiss(p *play) {
	if p == nil {
		return
	}
	s.group.Go(func() {
		p.acting.Wait()
		s.judges.submit(p.recorder)
	})
}
