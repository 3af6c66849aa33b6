//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	joinTime      = 3 * time.Second
	behindWrites  = 900 // puts of behindBytes: more than the log that is kept behind a snapshot
	behindBytes   = 3000
	behindWorkers = 8
	behindRounds  = 6
	// installedWithin is how long a node that is behind may take to get a snapshot.
	installedWithin = 20 * time.Second
)

func memberFaults() []fault {
	return []fault{
		{"join-remove", "a new node joins, votes, and is removed again", all, joinTime, armJoin},
		{"transfer", "the leadership is transferred to another voter", all, 0, armTransfer},
		{"behind", "a follower is away until the log that it needs is gone, and gets a snapshot", all, 0, armBehind((*scene).follower, false)},
		{"behind-replica", "the read replica is away until the log that it needs is gone, and gets a snapshot", all, 0, armBehind((*scene).readReplica, false)},
		{"wiped", "a follower loses its disk and joins anew, by a snapshot", all, 0, armBehind((*scene).follower, true)},
	}
}

// join lets the spare node in, and removes it again.
type join struct {
	scene *scene
	how   string
}

func armJoin(_ context.Context, s *scene) (injection, error) { return &join{scene: s}, nil }

func (j *join) targets() []*node { return []*node{j.scene.spare} }

func (j *join) inject(ctx context.Context) error {
	begun := time.Now()
	if err := j.scene.spare.start(j.scene.ended); err != nil {
		return err
	}
	if err := j.scene.awaitReady(ctx, j.scene.spare); err != nil {
		return err
	}
	ready := time.Since(begun)
	if err := j.scene.awaitWhole(ctx); err != nil {
		return err
	}
	j.how = fmt.Sprintf("ready after %v, a voter after %v", round(ready), round(time.Since(begun)))
	return nil
}

func (j *join) proof(ctx context.Context) (string, error) {
	view, err := j.scene.members(ctx)
	if err != nil {
		return "", err
	}
	m, ok := view.member(j.scene.spare.name)
	if !ok || m.AppliedIndex == 0 {
		return "", errNoBite{"it is no member"}
	}
	return fmt.Sprintf("%s; one of %d members", j.how, len(view.Members)), nil
}

// heal removes the node, which then ends by itself, and empties its disk: it is another one when it joins again.
func (j *join) heal(ctx context.Context) error {
	p := j.scene.spare.expectEnd()
	leader, _, err := j.scene.awaitLeader(ctx, 0, recoverWithin)
	if err != nil {
		return err
	}
	if _, err := leader.command(ctx, "remove", j.scene.spare.name, "--yes"); err != nil {
		return err
	}
	if !p.within(stopWithin) {
		return fmt.Errorf("%s was removed and still runs after %v", j.scene.spare.name, stopWithin)
	}
	return j.scene.spare.wipe()
}

// transfer hands the leadership to a chosen voter.
type transfer struct {
	scene *scene
	to    *node
	from  int64 // of its log
	took  time.Duration
}

func armTransfer(_ context.Context, s *scene) (injection, error) {
	to, err := s.follower()
	return &transfer{scene: s, to: to}, err
}

func (t *transfer) targets() []*node { return nil }

// inject asks until the node leads: on a busy machine the one that stood for election may not win it, and the one that led
// is content all the same.
func (t *transfer) inject(ctx context.Context) error {
	t.from = t.to.logSize()
	begun := time.Now()
	var err error
	_ = until(ctx, recoverWithin, func() bool {
		var leader *node
		if leader, _, err = t.scene.awaitLeader(ctx, 0, recoverWithin); err != nil || leader == t.to {
			return true
		}
		_, err = leader.command(ctx, "transfer-leadership", t.to.name)
		return err != nil && !strings.Contains(err.Error(), "not-transferred")
	})
	t.took = time.Since(begun)
	return err
}

func (t *transfer) proof(context.Context) (string, error) {
	line, err := t.to.logged(t.from, "this node leads")
	if err != nil {
		return "", err
	}
	if line == "" {
		return "", errNoBite{t.to.name + " has not led"}
	}
	return fmt.Sprintf("%s, asked for %v", shorten(line), round(t.took)), nil
}

func (t *transfer) heal(context.Context) error { return nil }

// behind keeps a node away while the others write more than the log that they keep for it.
type behind struct {
	scene *scene
	node  *node
	wiped bool
	how   string
}

func armBehind(choose func(*scene) (*node, error), wiped bool) func(context.Context, *scene) (injection, error) {
	return on(choose, func(s *scene, n *node) injection { return &behind{scene: s, node: n, wiped: wiped} })
}

func (b *behind) targets() []*node { return []*node{b.node} }

func (b *behind) inject(ctx context.Context) error {
	if _, err := b.node.kill(); err != nil {
		return err
	}
	if b.wiped {
		if err := b.node.wipe(); err != nil {
			return err
		}
	}
	before, err := b.scene.snapshots(ctx)
	if err != nil {
		return err
	}
	for round := 1; ; round++ {
		if err := b.scene.flood(ctx); err != nil {
			return err
		}
		now, err := b.scene.snapshots(ctx)
		if err != nil {
			return err
		}
		if now >= before+2 || round == behindRounds {
			break // the log that the first of them left is gone with the second
		}
	}
	from := b.node.logSize()
	if err := b.node.start(b.scene.ended); err != nil {
		return err
	}
	if err := b.scene.awaitReady(ctx, b.node); err != nil {
		return err
	}
	// It says that it is ready before it has caught up. Whether it was given a snapshot at all is for the proof to say.
	_ = until(ctx, installedWithin, func() bool {
		b.how, err = b.node.logged(from, installedWords...)
		return b.how != "" || err != nil
	})
	return err
}

// installedWords are in the line by which the library says that a snapshot has come from the leader.
var installedWords = []string{"nstalled remote snapshot"}

func (b *behind) proof(context.Context) (string, error) {
	if b.how == "" {
		return "", errNoBite{"no snapshot was installed"}
	}
	return shorten(b.how), nil
}

func (b *behind) heal(context.Context) error { return b.scene.startAll([]*node{b.node}) }

// snapshots is how many the leader has taken.
func (s *scene) snapshots(ctx context.Context) (int, error) {
	leader, _, err := s.awaitLeader(ctx, 0, recoverWithin)
	if err != nil {
		return 0, err
	}
	view, err := leader.gauges(ctx)
	return int(view["raft_snapshots_total"]), err
}

// flood writes a lot, into one session of its own.
func (s *scene) flood(ctx context.Context) error {
	client := &http.Client{Timeout: clientTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: behindWorkers}}
	defer client.CloseIdleConnections()
	var leader *node
	var token string
	var err error
	// Two passwords are hashed for it, behind those of all clients: on a busy machine that may take more than a request's
	// time. Meanwhile the leader may be another one; where its disk is full, it ends.
	_ = until(ctx, recoverWithin, func() bool {
		if leader, _, err = s.awaitLeader(ctx, 0, recoverWithin); err == nil {
			token, err = s.floodSession(ctx, client, leader)
		}
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	value := strings.Repeat("x", behindBytes)
	var group sync.WaitGroup
	for range behindWorkers {
		group.Go(func() {
			for range behindWrites / behindWorkers {
				// That some are refused is no matter: what counts is that the log grows.
				_, _ = send(ctx, client, http.MethodPost, leader.url("/api/2/session/put"), "flood="+value, "Cookie", fusionCookie+"="+token, "Content-Type", formType)
			}
		})
	}
	group.Wait()
	return nil
}

// floodSession makes a user, under a name of its own as the outcome of the last attempt may be unknown, and logs in.
func (s *scene) floodSession(ctx context.Context, client *http.Client, leader *node) (string, error) {
	user := "flood-" + strconv.Itoa(s.next()) + "-user"
	if err := makeUser(ctx, leader, user); err != nil {
		return "", err
	}
	r, err := send(ctx, client, http.MethodPost, leader.url("/api/session"),
		fmt.Sprintf(`{"username":%q,"password":%q}`, user, userWord), "Content-Type", "application/json")
	if err != nil {
		return "", err
	}
	token := tokenOf(r.header, fusionCookie)
	if token == "" {
		return "", fmt.Errorf("log in as %s: %d %s", user, r.status, r.code)
	}
	return token, nil
}
