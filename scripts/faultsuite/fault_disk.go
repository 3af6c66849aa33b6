//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	diskDelay   = 80 * time.Millisecond
	slowTime    = 4 * time.Second
	fullWithin  = 60 * time.Second // until a node finds that its disk is full: it must want to write
	slowSamples = 12
	slowPause   = 150 * time.Millisecond
)

func diskFaults() []fault {
	slow := func(s *scene, n *node) injection { return &slowDisk{scene: s, node: n} }
	full := func(s *scene, n *node) injection { return &fullDisk{scene: s, node: n} }
	return []fault{
		{"slow-disk-leader", "each write of the leader's log takes 80 ms longer", all, slowTime, on((*scene).theLeader, slow)},
		{"slow-disk-follower", "each write of a follower's log takes 80 ms longer", all, slowTime, on((*scene).follower, slow)},
		{"full-disk-leader", "the leader's disk is full to the last byte", all, 0, on((*scene).theLeader, full)},
		{"full-disk-follower", "a follower's disk is full to the last byte", all, 0, on((*scene).follower, full)},
	}
}

// slowDisk holds up each write of a node's log. That it bites is read off the node's own count of its writes and of the
// time that they take; how far a follower falls behind depends on how much there is to write.
type slowDisk struct {
	scene *scene
	node  *node
	took  time.Duration // by a write of the log, while it was slow
	wrote int           // in that time
}

func (d *slowDisk) targets() []*node { return []*node{d.node} }

func (d *slowDisk) inject(ctx context.Context) error {
	if err := replaceFile(d.node.diskFile(), diskDelay.String()); err != nil {
		return err
	}
	before, err := d.node.gauges(ctx)
	if err != nil {
		return err
	}
	// There must be something to write.
	probe := newSupply(d.scene.cluster, fmt.Sprintf("slow-%d-", d.scene.next()), 0)
	for i := range slowSamples {
		if !pause(ctx, slowPause) {
			return ctx.Err()
		}
		_ = probe.make(ctx, fmt.Sprintf("%s%d", probe.prefix, i)) // that it may fail when the office changes is no matter
	}
	after, err := d.node.gauges(ctx)
	if err != nil {
		return err
	}
	d.wrote = int(after["raft_log_write_duration_seconds_count"] - before["raft_log_write_duration_seconds_count"])
	if d.wrote > 0 {
		seconds := after["raft_log_write_duration_seconds_sum"] - before["raft_log_write_duration_seconds_sum"]
		d.took = time.Duration(seconds / float64(d.wrote) * float64(time.Second))
	}
	return nil
}

func (d *slowDisk) proof(context.Context) (string, error) {
	how := fmt.Sprintf("%d writes of its log took %v each", d.wrote, round(d.took))
	// The first of them may have begun before the disk was slow.
	if d.wrote < 2 || d.took < diskDelay*9/10 {
		return "", errNoBite{how}
	}
	return how, nil
}

func (d *slowDisk) heal(context.Context) error { return replaceFile(d.node.diskFile(), "") }

// replaceFile writes a file that may be read at any moment.
func replaceFile(path, text string) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// fullDisk takes all the room there is. A node that can't write its log ends: it could keep no promise.
type fullDisk struct {
	scene *scene
	node  *node
	from  int64 // of its log
	how   string
}

func (d *fullDisk) targets() []*node { return []*node{d.node} }

func (d *fullDisk) ballast() string { return filepath.Join(d.node.dataDir(), "ballast") }

func (d *fullDisk) inject(ctx context.Context) error {
	d.from = d.node.logSize()
	p := d.node.expectEnd()
	file, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill disk of %s: %w", d.node.name, err)
	}
	defer func() { _ = file.Close() }() // a full disk is what it is for
	block := make([]byte, 64<<10)
	// What the node frees meanwhile, or preallocated, is taken as well.
	for end := time.Now().Add(fullWithin); !p.over() && time.Now().Before(end); {
		if _, err := file.Write(block); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("fill disk of %s: %w", d.node.name, err)
		}
		// There may be room in the log's file yet.
		if err := d.scene.flood(ctx); err != nil && !pause(ctx, pollInterval) { // it may have been the node that ended
			return ctx.Err()
		}
	}
	if p.over() {
		d.how = p.state()
	}
	return nil
}

func (d *fullDisk) proof(context.Context) (string, error) {
	if d.how == "" {
		return "", errNoBite{fmt.Sprintf("the node still runs %v after its disk is full", fullWithin)}
	}
	for _, words := range [][]string{{"can't go on", "no space"}, {"can't go on", "disk"}, {"cloakroom:", "disk"}, {"no space left"}} {
		line, err := d.node.logged(d.from, words...)
		if err != nil {
			return "", err
		}
		if line != "" {
			return d.how + ": " + shorten(line), nil
		}
	}
	return "", errNoBite{"the node ended (" + d.how + ") without a word about its disk: " + d.node.lastWords()}
}

func (d *fullDisk) heal(context.Context) error {
	if d.node.running() {
		if _, err := d.node.kill(); err != nil {
			return err
		}
	}
	if err := os.Remove(d.ballast()); err != nil {
		return fmt.Errorf("make room for %s: %w", d.node.name, err)
	}
	return d.scene.startAll([]*node{d.node})
}

// shorten keeps a line of a log readable in a report.
func shorten(line string) string {
	const most = 160
	if _, message, ok := strings.Cut(line, "msg="); ok {
		line = message
	}
	if len(line) > most {
		return line[:most] + "…"
	}
	return line
}
