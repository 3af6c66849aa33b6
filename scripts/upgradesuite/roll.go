package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// suite is an upgrade under way.
type suite struct {
	*cluster
	load *load
	out  io.Writer
}

// roll replaces all nodes under load: followers first, the leader last. On the way the first goes back once, and is killed
// once.
func roll(ctx context.Context, c *cluster, out io.Writer) error {
	l, err := newLoad(ctx, c)
	if err != nil {
		return err
	}
	s := &suite{cluster: c, load: l, out: out}
	order, err := s.order(ctx)
	if err != nil {
		return err
	}
	stop := l.run(ctx)
	err = s.steps(ctx, order)
	stop()
	if err = errors.Join(err, l.verdict(ctx)); err != nil {
		return err
	}
	s.say("%d lookups, the slowest took %v; %d logins, %d logouts, %d changes; %d requests were made at a second node; none failed",
		l.lookups.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond), l.logins.Load(), l.logouts.Load(), l.changes.Load(), l.retried.Load())
	s.say("every node: %d sessions live, %d ended", len(l.live)+1, len(l.ended))
	return s.sameState(ctx)
}

func (s *suite) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

// order returns the followers, then the leader.
func (s *suite) order(ctx context.Context) ([]*node, error) {
	v, err := s.nodes[0].view(ctx)
	if err != nil {
		return nil, err
	}
	var order, last []*node
	for _, n := range s.nodes {
		if n.name == v.Leader {
			last = append(last, n)
			continue
		}
		order = append(order, n)
	}
	return append(order, last...), nil
}

func (s *suite) steps(ctx context.Context, order []*node) error {
	first, second, last := order[0], order[1], order[2]
	newer := s.newVersion > s.oldVersion
	mixed := func() error { return nil }
	if newer {
		mixed = func() error { return s.newest(ctx, http.StatusConflict) }
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{first.name + ": new", func() error { return s.replace(ctx, first, s.newBinary) }},
		{"what is newer is refused", mixed},
		{first.name + ": back to old, in order", func() error { return s.replace(ctx, first, s.oldBinary) }},
		{first.name + ": new again", func() error { return s.replace(ctx, first, s.newBinary) }},
		{"leadership to " + first.name + ", which is new", func() error { return s.lead(ctx, first) }},
		{"leadership to " + second.name + ", which is old", func() error { return s.lead(ctx, second) }},
		{first.name + ": killed", func() error { return first.stop(syscall.SIGKILL) }},
		{"the old program on what that has left", func() error { return s.afterCrash(ctx, first) }},
		{first.name + ": new again", func() error { return errors.Join(first.start(s.newBinary), first.awaitReady(ctx)) }},
		{second.name + ": new", func() error { return s.replace(ctx, second, s.newBinary) }},
		{"what is newer is refused", mixed},
		{"leadership to " + last.name + ", which is old", func() error { return s.lead(ctx, last) }},
		{last.name + ": new", func() error { return s.replace(ctx, last, s.newBinary) }},
		{"what is newer is taken", func() error { return s.newest(ctx, http.StatusOK) }},
		{"the old program, now that all are new", func() error { return s.noWayBack(ctx, first) }},
	} {
		begun := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		s.say("%6.2f s  %s", time.Since(begun).Seconds(), step.what)
		if err := s.pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pause lets the clients go on for a while.
func (s *suite) pause(ctx context.Context) error {
	timer := time.NewTimer(underLoad / 4)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replace stops a node in order and starts another program on its data.
func (s *suite) replace(ctx context.Context, n *node, binary string) error {
	if err := n.stop(syscall.SIGTERM); err != nil {
		return err
	}
	if err := n.start(binary); err != nil {
		return err
	}
	return n.awaitReady(ctx)
}

// lead makes a node the leader, as an operator would.
func (s *suite) lead(ctx context.Context, n *node) error {
	return await(ctx, settleWithin, n.name+" leads", func() (bool, error) {
		if v, err := n.view(ctx); err == nil && v.Leader == n.name {
			return true, nil
		}
		_, _, err := s.load.send(ctx, n, http.MethodPost, "/api/cluster/leader", s.load.admin, fmt.Sprintf(`{"to":%q}`, n.name))
		return false, err
	})
}

// newest asks for what only this tree's version knows.
func (s *suite) newest(ctx context.Context, want int) error {
	return await(ctx, settleWithin, fmt.Sprint("answer ", want), func() (bool, error) {
		for _, n := range s.nodes {
			v, err := n.view(ctx)
			if err != nil {
				return false, err
			}
			if v.Version == 0 {
				continue // the older program
			}
			status, text, err := s.load.send(ctx, n, http.MethodPut, "/api/limits", s.load.admin, `{"sessionsPerUser":1000}`)
			switch {
			case err != nil:
				return false, err
			case status == http.StatusOK && want != status, status == http.StatusConflict && !strings.Contains(text, "upgrade-pending"):
				return false, fmt.Errorf("%s answers %d %s", n.name, status, text)
			case status != want:
				return false, nil
			}
		}
		return true, nil
	})
}

// afterCrash starts the old program on the data of a new one that was killed: it can't know what is in the journal.
func (s *suite) afterCrash(ctx context.Context, n *node) error {
	if s.guarded {
		s.say("          it knows by itself what a crash leaves")
		return nil
	}
	why, err := n.refuses(ctx, s.oldBinary)
	if err != nil {
		return err
	}
	s.say("          it says: %.200s", why)
	return nil
}

// noWayBack starts the old program when the log holds what it does not know.
func (s *suite) noWayBack(ctx context.Context, n *node) error {
	if s.newVersion == s.oldVersion {
		s.say("          it knows the same commands, so it may run")
		return errors.Join(s.replace(ctx, n, s.oldBinary), s.replace(ctx, n, s.newBinary))
	}
	if err := n.stop(syscall.SIGTERM); err != nil {
		return err
	}
	why, err := n.refuses(ctx, s.oldBinary)
	if err != nil {
		return err
	}
	s.say("          it says: %.200s", why)
	return errors.Join(n.start(s.newBinary), n.awaitReady(ctx))
}

// sameState takes a backup at each node until all three are of one index, and compares what is in them.
func (s *suite) sameState(ctx context.Context) error {
	var index uint64
	var sum [sha256.Size]byte
	err := await(ctx, settleWithin, "three backups of one index", func() (bool, error) {
		for i, n := range s.nodes {
			status, text, err := s.load.send(ctx, n, http.MethodPost, "/api/cluster/backup", s.load.admin, "")
			if err != nil || status != http.StatusOK {
				return false, fmt.Errorf("backup of %s: %d %w", n.name, status, err)
			}
			at, state, err := split([]byte(text))
			switch {
			case err != nil:
				return false, err
			case i == 0:
				index, sum = at, state
			case at != index:
				return false, nil
			case state != sum:
				return false, fmt.Errorf("%s has another state than %s at index %d", n.name, s.nodes[0].name, index)
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, n := range s.nodes {
		v, err := n.view(ctx)
		if err != nil {
			return err
		}
		for _, m := range v.Members {
			if m.Role != "voter" || m.State != "alive" || m.Version != s.newVersion {
				return fmt.Errorf("%s says of %s: %s, %s, version %d", n.name, m.Name, m.Role, m.State, m.Version)
			}
		}
		if len(v.Members) != nodes || v.Version != s.newVersion {
			return fmt.Errorf("%s knows %d members, of version %d together", n.name, len(v.Members), v.Version)
		}
	}
	s.say("every node: the same state at index %d (%x), %d voters, version %d", index, sum[:6], nodes, s.newVersion)
	return nil
}

// split reads a backup: see package backup. It returns the index, and the sum of the state.
func split(file []byte) (index uint64, sum [sha256.Size]byte, err error) {
	const mark, length = 20, 4
	if len(file) < mark+1+length+sha256.Size {
		return 0, sum, fmt.Errorf("a backup of %d bytes", len(file))
	}
	rest := file[mark+1:]
	n := int(binary.BigEndian.Uint32(rest))
	if n > len(rest)-length-sha256.Size {
		return 0, sum, errors.New("a backup with a head that is too long")
	}
	var head struct{ Index uint64 }
	if err := json.NewDecoder(bytes.NewReader(rest[length : length+n])).Decode(&head); err != nil {
		return 0, sum, fmt.Errorf("head of a backup: %w", err)
	}
	return head.Index, sha256.Sum256(rest[length+n : len(rest)-sha256.Size]), nil
}
