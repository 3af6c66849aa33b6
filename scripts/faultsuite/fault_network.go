//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	cutTime  = 4 * time.Second // longer than a lease and an election
	lossTime = 5 * time.Second
	slowWay  = 60 * time.Millisecond
	slowMore = 40 * time.Millisecond   // at random on top of it
	lateWay  = 1300 * time.Millisecond // longer than a lease
	// farPause is longer than a lease, but not so long that uses which the node has not replicated cost it its lease.
	farPause = 1500 * time.Millisecond
)

func networkFaults() []fault {
	return []fault{
		{"isolate-leader", "the leader is cut from all other nodes, not from clients", leaders, cutTime, armCut(isolate((*scene).theLeader))},
		{"isolate-pair", "the leader and the read replica are cut from the rest, not from each other", all, cutTime, armCut(isolateWithReplica)},
		{"isolate-follower", "a follower is cut from all other nodes", followers, cutTime, armCut(isolate((*scene).follower))},
		{"isolate-replica", "the read replica is cut from all other nodes", replicas, cutTime, armCut(isolate((*scene).readReplica))},
		{"split-pair", "the link between the leader and one follower is cut", followers, cutTime, armCut(leaderAndFollower(true, true))},
		{"mute-leader", "nothing of the leader's arrives at the others", leaders, cutTime, armCut(oneWay((*scene).theLeader, true))},
		{"deaf-leader", "nothing arrives at the leader", leaders, cutTime, armCut(oneWay((*scene).theLeader, false))},
		{"mute-follower", "nothing of a follower's arrives at the others", followers, cutTime, armCut(oneWay((*scene).follower, true))},
		{"deaf-follower", "nothing arrives at a follower", followers, cutTime, armCut(oneWay((*scene).follower, false))},
		{"one-way", "nothing of the leader's arrives at one follower", followers, cutTime, armCut(leaderAndFollower(true, false))},
		{"lossy", "all links between nodes lose 5 to 20 % of their packets", links, lossTime, armLossy},
		{"far-frozen", "a follower that is far away is stopped for a little longer than a lease", all, farPause, on((*scene).follower, farFrozen)},
		{"late-link", "what the leader sends to one follower arrives 1.3 s later", followers, lossTime, armLate},
		{"slow-link", "one node is 60 to 100 ms away from the others, in each direction", links, lossTime, armSlow((*scene).member)},
		{"slow-leader-link", "the leader is 60 to 100 ms away from the others, in each direction", leaders, lossTime, armSlow((*scene).theLeader)},
	}
}

// severed is a cut while it lasts.
type severed struct {
	scene *scene
	about []*node
	ways  []way
	share int
	lost  bool // the leader can't keep its office
	cut   *cut
}

// chosen is what a cut is about: the nodes that suffer, the ways, and whether the leader loses its office by it.
type chosen struct {
	about []*node
	ways  []way
	lost  bool
}

func armCut(choose func(*scene) (chosen, error)) func(context.Context, *scene) (injection, error) {
	return func(_ context.Context, s *scene) (injection, error) {
		c, err := choose(s)
		if err != nil {
			return nil, err
		}
		return &severed{scene: s, about: c.about, ways: c.ways, share: perMille, lost: c.lost}, nil
	}
}

// isolate cuts a node from all others.
func isolate(choose func(*scene) (*node, error)) func(*scene) (chosen, error) {
	return func(s *scene) (chosen, error) {
		n, err := choose(s)
		if err != nil {
			return chosen{}, err
		}
		c := chosen{about: []*node{n}, lost: n == s.leader}
		for _, other := range s.others(n) {
			c.ways = append(c.ways, both(n.host, other.host)...)
		}
		return c, nil
	}
}

func isolateWithReplica(s *scene) (chosen, error) {
	replica, err := s.readReplica()
	if err != nil {
		return chosen{}, err
	}
	c := chosen{about: []*node{s.leader, replica}, lost: true}
	for _, n := range c.about {
		for _, other := range s.others(c.about...) {
			c.ways = append(c.ways, both(n.host, other.host)...)
		}
	}
	return c, nil
}

// oneWay cuts what a node sends, or what it would receive. A leader that is not heard is replaced; one that hears nothing
// gives its office up.
func oneWay(choose func(*scene) (*node, error), out bool) func(*scene) (chosen, error) {
	return func(s *scene) (chosen, error) {
		n, err := choose(s)
		if err != nil {
			return chosen{}, err
		}
		c := chosen{about: []*node{n}}
		for _, other := range s.others(n) {
			w := way{other.host, n.host}
			if out {
				w = way{n.host, other.host}
			}
			c.ways = append(c.ways, w)
		}
		return c, nil
	}
}

// leaderAndFollower cuts a single link, in one direction or both.
func leaderAndFollower(down, up bool) func(*scene) (chosen, error) {
	return func(s *scene) (chosen, error) {
		n, err := s.follower()
		if err != nil {
			return chosen{}, err
		}
		c := chosen{about: []*node{n}}
		if down {
			c.ways = append(c.ways, way{s.leader.host, n.host})
		}
		if up {
			c.ways = append(c.ways, way{n.host, s.leader.host})
		}
		return c, nil
	}
}

// armLossy makes all links lossy.
func armLossy(_ context.Context, s *scene) (injection, error) {
	l := &severed{scene: s, share: perMille/20 + s.random.IntN(perMille*3/20)}
	nodes := s.everyone()
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to {
				l.ways = append(l.ways, way{from.host, to.host})
			}
		}
	}
	return l, nil
}

func (s *severed) targets() []*node { return s.about }

func (s *severed) inject(context.Context) (err error) {
	s.cut, err = dropSome("cut"+strconv.Itoa(s.scene.next()), s.ways, s.share)
	return err
}

func (s *severed) proof(ctx context.Context) (string, error) {
	n, err := s.cut.dropped()
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", errNoBite{"no packet was dropped"}
	}
	proof := fmt.Sprintf("%d packets dropped on %d ways", n, len(s.ways))
	if s.share < perMille {
		proof += fmt.Sprintf(", %.1f %% of them", float64(s.share)*100/perMille)
	}
	if !s.lost || s.scene.halved {
		return proof, nil
	}
	// Who is cut off with it has no say.
	leader, term, err := s.scene.awaitLeader(ctx, s.scene.term, recoverWithin, s.scene.others(s.about...)...)
	if err != nil {
		return "", errNoBite{proof + ", but " + err.Error()}
	}
	return fmt.Sprintf("%s; %s leads in term %d after %d", proof, leader.name, term, s.scene.term), nil
}

func (s *severed) heal(context.Context) error {
	if s.cut == nil {
		return nil
	}
	return s.cut.lift()
}

// detour holds up what is sent on some ways.
type detour struct {
	scene         *scene
	node          *node // that suffers
	ways          []way
	delay, jitter time.Duration
	relay         *relay
}

// far makes a node one that is far away from the others.
func far(s *scene, n *node) *detour {
	d := &detour{scene: s, node: n, delay: slowWay, jitter: slowMore}
	for _, other := range s.others(n) {
		d.ways = append(d.ways, both(n.host, other.host)...)
	}
	return d
}

func armSlow(choose func(*scene) (*node, error)) func(context.Context, *scene) (injection, error) {
	return on(choose, func(s *scene, n *node) injection { return far(s, n) })
}

func armLate(_ context.Context, s *scene) (injection, error) {
	n, err := s.follower()
	if err != nil {
		return nil, err
	}
	return &detour{scene: s, node: n, ways: []way{{s.leader.host, n.host}}, delay: lateWay}, nil
}

func (d *detour) targets() []*node { return []*node{d.node} }

func (d *detour) inject(context.Context) (err error) {
	d.relay, err = openRelay(d.scene.next(), d.ways, d.delay, d.jitter)
	return err
}

func (d *detour) proof(context.Context) (string, error) {
	n := d.relay.passed.Load()
	if n == 0 {
		return "", errNoBite{"no packet went by the relay"}
	}
	proof := []string{fmt.Sprintf("%d packets held up by %v to %v", n, d.delay, d.delay+d.jitter)}
	if lost := d.relay.lost.Load(); lost > 0 {
		proof = append(proof, fmt.Sprintf("%d lost", lost))
	}
	return strings.Join(proof, ", "), nil
}

func (d *detour) heal(context.Context) error {
	if d.relay == nil {
		return nil
	}
	return d.relay.close()
}

// together is two things that are done to one node.
type together struct{ first, second injection }

func farFrozen(s *scene, n *node) injection {
	return &together{far(s, n), &freeze{scene: s, node: n}}
}

func (t *together) targets() []*node { return t.first.targets() }

func (t *together) inject(ctx context.Context) error {
	if err := t.first.inject(ctx); err != nil {
		return err
	}
	if !pause(ctx, time.Second) { // so that the second finds the first in force
		return ctx.Err()
	}
	return t.second.inject(ctx)
}

func (t *together) proof(ctx context.Context) (string, error) {
	first, err := t.first.proof(ctx)
	if err != nil {
		return "", err
	}
	second, err := t.second.proof(ctx)
	return first + "; " + second, err
}

func (t *together) heal(ctx context.Context) error {
	return errors.Join(t.second.heal(ctx), t.first.heal(ctx))
}
