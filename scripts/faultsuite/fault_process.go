//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

const (
	shortPause = 300 * time.Millisecond // less than a lease, and than an election takes
	longPause  = 3 * time.Second        // more than both
	deadTime   = 2 * time.Second        // of a killed node
)

func processFaults() []fault {
	killed := func(s *scene, n *node) injection { return &kill{scene: s, node: n} }
	frozen := func(s *scene, n *node) injection { return &freeze{scene: s, node: n} }
	frozenLong := func(s *scene, n *node) injection { return &freeze{scene: s, node: n, long: true} }
	restarted := func(s *scene, n *node) injection { return &restart{scene: s, nodes: []*node{n}} }
	return []fault{
		{"kill-leader", "kill -9 of the leader", leaders, deadTime, on((*scene).theLeader, killed)},
		{"kill-follower", "kill -9 of a follower", followers, deadTime, on((*scene).follower, killed)},
		{"kill-replica", "kill -9 of the read replica", replicas, deadTime, on((*scene).readReplica, killed)},
		{"pause-leader", "the leader is stopped for less than a lease", leaders, shortPause, on((*scene).theLeader, frozen)},
		{"pause-follower", "a follower is stopped for less than a lease", followers, shortPause, on((*scene).follower, frozen)},
		{"freeze-leader", "the leader is stopped for longer than a lease", leaders, longPause, on((*scene).theLeader, frozenLong)},
		{"freeze-follower", "a follower is stopped for longer than a lease", followers, longPause, on((*scene).follower, frozenLong)},
		{"freeze-replica", "the read replica is stopped for longer than a lease", replicas, longPause, on((*scene).readReplica, frozenLong)},
		{"restart-leader", "the leader stops in order and comes back", all, 0, on((*scene).theLeader, restarted)},
		{"restart-follower", "a follower stops in order and comes back", all, 0, on((*scene).follower, restarted)},
		{"rolling-restart", "all nodes restart in order, one after another", all, 0, armRolling},
	}
}

// kill ends a process at once, and starts it again.
type kill struct {
	scene *scene
	node  *node
	how   string
}

func (k *kill) targets() []*node { return []*node{k.node} }

func (k *kill) inject(context.Context) (err error) {
	k.how, err = k.node.kill()
	return err
}

func (k *kill) proof(ctx context.Context) (string, error) {
	if !strings.Contains(k.how, "killed") {
		return "", errNoBite{"the process ended otherwise: " + k.how}
	}
	if k.node != k.scene.leader {
		return k.how, nil
	}
	who, err := k.scene.replaced(ctx, k.node, k.scene.term)
	return k.how + "; " + who, err
}

func (k *kill) heal(context.Context) error { return k.scene.startAll([]*node{k.node}) }

// startAll starts those of the nodes that don't run.
func (s *scene) startAll(nodes []*node) error {
	var errs []error
	for _, n := range nodes {
		if !n.running() {
			errs = append(errs, n.start(s.ended))
		}
	}
	return errors.Join(errs...)
}

// freeze stops a process and lets it go on.
type freeze struct {
	scene *scene
	node  *node
	long  bool
}

func (f *freeze) targets() []*node { return []*node{f.node} }

func (f *freeze) inject(context.Context) error { return f.node.signal(syscall.SIGSTOP) }

func (f *freeze) proof(ctx context.Context) (string, error) {
	frozen, err := f.node.frozen()
	if err != nil {
		return "", err
	}
	if !frozen {
		return "", errNoBite{"the process runs"}
	}
	const proof = "the process is stopped"
	if f.node != f.scene.leader || !f.long {
		return proof, nil
	}
	who, err := f.scene.replaced(ctx, f.node, f.scene.term)
	return proof + "; " + who, err
}

func (f *freeze) heal(context.Context) error { return f.node.signal(syscall.SIGCONT) }

// restart stops nodes in order and starts them again, one after another.
type restart struct {
	scene *scene
	nodes []*node
	took  []string
}

func armRolling(_ context.Context, s *scene) (injection, error) {
	return &restart{scene: s, nodes: s.nodes}, nil
}

func (r *restart) targets() []*node { return r.nodes }

func (r *restart) inject(ctx context.Context) error {
	for _, n := range r.nodes {
		begun := time.Now()
		if err := n.stop(); err != nil {
			return err
		}
		stopped := time.Since(begun)
		if err := n.start(r.scene.ended); err != nil {
			return err
		}
		if err := r.scene.awaitReady(ctx, n); err != nil {
			return err
		}
		r.took = append(r.took, fmt.Sprintf("%s stopped in %v, ready again after %v", n.name, round(stopped), round(time.Since(begun))))
		if len(r.nodes) > 1 { // the next one must not take the majority with it
			if err := r.scene.awaitWhole(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *restart) proof(context.Context) (string, error) { return strings.Join(r.took, "; "), nil }

// heal starts what could not be started, or not be stopped in time.
func (r *restart) heal(context.Context) error { return r.scene.startAll(r.nodes) }

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
