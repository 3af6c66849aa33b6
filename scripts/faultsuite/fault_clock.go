//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const jumpTime = 3 * time.Second

func clockFaults() []fault {
	jumps := func(choose func(*scene) (*node, error), by ...time.Duration) func(context.Context, *scene) (injection, error) {
		return on(choose, func(s *scene, n *node) injection {
			return &jump{node: n, by: by[s.random.IntN(len(by))]}
		})
	}
	hours := []time.Duration{7 * time.Hour, -5 * time.Hour}
	return []fault{
		{"clock-leader", "the leader's wall clock jumps by hours", clocks, jumpTime, jumps((*scene).theLeader, hours...)},
		{"clock-follower", "a follower's wall clock jumps by hours", clocks, jumpTime, jumps((*scene).follower, hours...)},
		{"clock-replica", "the read replica's wall clock jumps by hours", clocks, jumpTime, jumps((*scene).readReplica, hours...)},
		{"clock-second", "a node's wall clock jumps by a second", clocks, jumpTime, jumps((*scene).member, time.Second, -time.Second)},
	}
}

// jump sets a node's wall clock, and does not set it back: the next jump goes on from there.
type jump struct {
	node *node
	by   time.Duration
	from int64 // of its log
}

func (j *jump) targets() []*node { return []*node{j.node} }

func (j *jump) inject(context.Context) error {
	j.from = j.node.logSize()
	off, err := readOffset(j.node.wallFile())
	if err != nil {
		return err
	}
	return replaceFile(j.node.wallFile(), (off + j.by).String())
}

func (j *jump) proof(ctx context.Context) (string, error) {
	line := ""
	err := until(ctx, readyWithin, func() bool {
		line, _ = j.node.logged(j.from, "the wall clock was set")
		return line != ""
	})
	if err != nil {
		return "", errNoBite{fmt.Sprintf("the node did not notice %v", j.by)}
	}
	return shorten(line), nil
}

func (j *jump) heal(context.Context) error { return nil }

// readOffset reads what a node's wall clock is told to be off by.
func readOffset(path string) (time.Duration, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && strings.TrimSpace(string(text)) == "" {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read offset of a wall clock: %w", err)
	}
	off, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read offset of a wall clock: %w", err)
	}
	return off, nil
}
