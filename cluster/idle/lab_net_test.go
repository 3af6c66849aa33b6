package idle_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

func (n *node) IsLeader() bool {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	return n.lab.leader == n.name
}

func (n *node) LeaderID() string {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	return n.lab.leader
}

func (n *node) others() ([]string, error) {
	n.lab.mu.Lock()
	ids := slices.Clone(n.lab.names)
	n.lab.mu.Unlock()
	n.Read(func(m *session.Machine) {
		for _, member := range m.Members() {
			if !slices.Contains(ids, member.ID) {
				ids = append(ids, member.ID)
			}
		}
	})
	return slices.DeleteFunc(ids, func(id string) bool { return id == n.name }), nil
}

func (n *node) Read(fn func(*session.Machine)) {
	n.state.RLock()
	defer n.state.RUnlock()
	fn(n.machine)
}

func (n *node) Mutate(fn func(*session.Machine)) {
	n.state.Lock()
	defer n.state.Unlock()
	fn(n.machine)
}

func (n *node) machineClock() (now session.Time) {
	n.Read(func(m *session.Machine) { now = m.Clock() })
	return now
}

func (n *node) WaitApplied(ctx context.Context, index uint64) error {
	for {
		n.state.RLock()
		applied, moved := n.machine.Applied(), n.moved
		n.state.RUnlock()
		if applied >= index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// catchUp applies what the node has not, if the log reaches it.
func (n *node) catchUp() {
	l := n.lab
	l.mu.Lock()
	log := l.log
	reached := n.up && n.stalled == nil && (l.leader == n.name || l.leader == "" || l.linkedLocked(n.name, l.leader))
	l.mu.Unlock()
	if !reached {
		return
	}
	n.state.Lock()
	defer n.state.Unlock()
	for i := n.machine.Applied(); i < uint64(len(log)); i++ {
		n.machine.Apply(i+1, log[i])
	}
	close(n.moved)
	n.moved = make(chan struct{})
}

// restore replaces the node's machine by one read from a snapshot.
func (n *node) restore() {
	n.state.Lock()
	defer n.state.Unlock()
	var b bytes.Buffer
	if _, err := n.machine.Snapshot(nil).WriteTo(&b); err != nil {
		n.lab.t.Fatal(err)
	}
	m, err := session.Restore(&b)
	if err != nil {
		n.lab.t.Fatal(err)
	}
	n.machine = m
}

// do is the node's way into the log.
func (n *node) do(ctx context.Context, cmd session.Command) (session.Result, error) {
	l := n.lab
	l.mu.Lock()
	leader, term, delay, commit := l.leader, l.terms, l.delay, l.commit
	ok := l.leadsLocked(leader) && (leader == n.name || l.linkedLocked(n.name, leader))
	l.mu.Unlock()
	if !ok {
		return session.Result{}, wire.ErrNoLeader
	}
	if leader != n.name {
		time.Sleep(delay)
	}
	l.awaitThaw()
	l.count(cmd)
	if err := l.admit(cmd); err != nil {
		return session.Result{}, err
	}
	at := l.nodes[leader]
	stamp, synced := at.clock.Stamp()
	if !synced {
		return session.Result{}, wire.ErrNoLeader
	}
	time.Sleep(commit + l.slowness(cmd))
	l.mu.Lock()
	if !l.leadsLocked(leader) || l.terms != term {
		l.mu.Unlock()
		return session.Result{}, wire.ErrNoLeader
	}
	entry := &session.Entry{Stamp: stamp, Commands: []session.Command{cmd}}
	l.log = append(l.log, entry)
	index := uint64(len(l.log))
	l.proposed = append(l.proposed, proposal{at: stamp, cmd: cmd})
	nodes := l.nodes
	l.mu.Unlock()
	result := at.applyNow(index)
	for _, other := range nodes {
		if other != at {
			time.AfterFunc(delay, other.catchUp)
		}
	}
	l.awaitStable(index)
	if leader != n.name {
		time.Sleep(delay)
	}
	if result.Err != nil {
		return result, result.Err
	}
	return result, nil
}

// applyNow applies the log up to an index and returns the result of its last command.
func (n *node) applyNow(index uint64) (result session.Result) {
	n.lab.mu.Lock()
	log := n.lab.log
	n.lab.mu.Unlock()
	n.state.Lock()
	defer n.state.Unlock()
	for i := n.machine.Applied(); i < index; i++ {
		results := n.machine.Apply(i+1, log[i])
		result = results[len(results)-1]
	}
	close(n.moved)
	n.moved = make(chan struct{})
	return result
}

func (l *lab) admit(cmd session.Command) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse == nil {
		return nil
	}
	return l.refuse(cmd)
}

func (l *lab) count(cmd session.Command) {
	if c, ok := cmd.(*session.Touch); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.touched[time.Now().Unix()] += len(c.Uses)
	}
}

func (n *node) Handle(kind wire.Kind, h wire.Handler) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	n.handlers[kind] = h
}

// Call asks another node. A dead one refuses at once; one behind a cut, or that is stalled, lets the caller wait.
func (n *node) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	l := n.lab
	if err := l.travel(ctx, n.name, id); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.block != nil && l.block(kind, n.name, id) {
		l.mu.Unlock()
		return nil, wire.ErrUnreachable
	}
	to := l.nodes[id]
	handle, answers := to.handlers[kind], to.answers
	l.mu.Unlock()
	if handle == nil {
		return nil, wire.ErrUnknownRequest
	}
	if answers != nil {
		answers(kind, n.name, body)
	}
	answer, err := handle(ctx, wire.Peer{ID: n.name}, body)
	if lost := l.travel(ctx, id, n.name); lost != nil {
		return nil, wire.ErrLost
	}
	if err != nil {
		var coded *session.Error
		if !errors.As(err, &coded) {
			return nil, wire.ErrInternal
		}
		return nil, &session.Error{Code: coded.Code, Message: coded.Message}
	}
	return answer, nil
}

func (l *lab) travel(ctx context.Context, from, to string) error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return wire.ErrLost
		}
	}
	for {
		l.mu.Lock()
		x, y := l.nodes[from], l.nodes[to]
		if x == nil || y == nil || !x.up || !y.up {
			l.mu.Unlock()
			return wire.ErrUnreachable
		}
		stalled, cut := y.stalled, l.cuts[[2]string{from, to}]
		if x.stalled != nil {
			stalled = x.stalled
		}
		l.mu.Unlock()
		switch {
		case cut:
			<-ctx.Done()
			return wire.ErrLost
		case stalled == nil:
			return nil
		}
		select {
		case <-stalled:
		case <-ctx.Done():
			return wire.ErrLost
		}
	}
}
