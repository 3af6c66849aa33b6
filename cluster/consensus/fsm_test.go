package consensus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
)

// newTestFSM returns a machine on its own, and what it said when it failed.
func newTestFSM() (*fsm, *failures) {
	f := newFSM(session.MaxVersion)
	said := &failures{err: map[string]error{}}
	f.onApplied = func(uint64, uint64, bool) {}
	f.onFatal = func(err error) { said.note("", err) }
	f.onReplacing = func() {}
	f.onInstalled = func(*raft.SnapshotMeta) error { return nil }
	return f, said
}

func command(index uint64, data []byte) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}
}

// TestAppliedAfterVisible stops an apply in the middle: a reader holds the lock that it waits for. The index must not
// be known before the data can be seen.
func TestAppliedAfterVisible(t *testing.T) {
	f, _ := newTestFSM()
	for _, log := range []*raft.Log{
		command(1, encode(t, &session.Tick{})),
		{Index: 2, Term: 1, Type: raft.LogConfiguration},
	} {
		before := f.applied.Load()
		done := make(chan struct{})
		f.read(func(*session.Machine) {
			go func() {
				f.ApplyBatch([]*raft.Log{log})
				close(done)
			}()
			for f.mu.TryRLock() { // until the writer is waiting
				f.mu.RUnlock()
				runtime.Gosched()
			}
			if now := f.applied.Load(); now != before {
				t.Errorf("index %d is known before its entry can be seen", now)
			}
		})
		<-done
		if now := f.applied.Load(); now != log.Index {
			t.Errorf("applied %d", now)
		}
	}
}

// TestUnknownEntryStops: an entry that is not understood is never skipped.
func TestUnknownEntryStops(t *testing.T) {
	for name, bad := range map[string][]byte{
		"unknown kind": unknownKind(t),
		"garbage":      []byte("\xffgarbage"),
		"empty":        nil,
	} {
		f, said := newTestFSM()
		good := encode(t, &session.Tick{})
		answers := f.ApplyBatch([]*raft.Log{command(1, good), command(2, bad), command(3, good)})
		if _, ok := answers[0].(Applied); !ok {
			t.Errorf("%s: the entry before it: %v", name, answers[0])
		}
		for i := 1; i < 3; i++ {
			if _, ok := answers[i].(error); !ok {
				t.Errorf("%s: entry %d: %v", name, i+1, answers[i])
			}
		}
		if f.applied.Load() != 1 {
			t.Errorf("%s: applied %d", name, f.applied.Load())
		}
		f.ApplyBatch([]*raft.Log{command(4, good), {Index: 5, Type: raft.LogConfiguration}})
		if f.applied.Load() != 1 {
			t.Errorf("%s: went on to %d", name, f.applied.Load())
		}
		if err := said.of(""); err == nil || name == "unknown kind" && !errors.Is(err, session.ErrUnknownKind) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.Snapshot(); err == nil {
			t.Errorf("%s: took a snapshot that says to hold the entry", name)
		}
		if err := f.Restore(source(t, 9)); err == nil {
			t.Errorf("%s: was restored", name)
		}
	}
}

// unknownKind returns an entry with a command of a kind that no version knows yet.
func unknownKind(t *testing.T) []byte {
	t.Helper()
	b := encode(t, &session.Tick{})
	for i := range b {
		for _, kind := range []byte{101, 127, 200} {
			changed := bytes.Clone(b)
			changed[i] = kind
			if _, err := session.DecodeEntry(changed); errors.Is(err, session.ErrUnknownKind) {
				return changed
			}
		}
	}
	t.Fatal("no byte of an entry makes an unknown kind")
	return nil
}

func TestUnknownKindStopsNode(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		leader := c.leader()
		before := leader.Applied()
		_, err := leader.Propose(t.Context(), unknownKind(t)).Wait(t.Context())
		if !errors.Is(err, ErrLeadershipLost) {
			t.Errorf("the proposal: %v", err)
		}
		// The others stop as they learn that it is committed; the last one alone can't.
		check := func(when string) {
			stopped := 0
			for id, n := range c.nodes {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := n.WaitApplied(ctx, before+1); err == nil || n.Applied() > before {
					t.Errorf("%s: %s is at %d, %v", when, id, n.Applied(), err)
				}
				cancel()
			}
			time.Sleep(time.Second) // waiters give up a moment before OnFatal is told
			for id := range c.nodes {
				if errors.Is(c.fatal.of(id), session.ErrUnknownKind) {
					stopped++
				}
			}
			if stopped < 2 {
				t.Errorf("%s: %d nodes have stopped", when, stopped)
			}
		}
		check("first")
		c.fatal.clear()
		for _, id := range []string{"n1", "n2", "n3"} {
			c.stop(id)
		}
		for _, id := range []string{"n1", "n2", "n3"} {
			c.start(id)
		}
		check("after a restart")
	})
}

// source returns a snapshot of a machine that has applied an index, as the library hands it to Restore.
func source(t *testing.T, index uint64) io.ReadCloser {
	t.Helper()
	m := session.New()
	entry, err := session.DecodeEntry(encode(t, &session.Tick{}))
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(index, entry)
	var b bytes.Buffer
	if err := writeSnapshot(&b, m.Snapshot(nil)); err != nil {
		t.Fatal(err)
	}
	return &snapshotSource{ReadCloser: io.NopCloser(&b), meta: &raft.SnapshotMeta{ID: "s", Index: index}, live: true}
}

// TestRestoreBackward: a machine is never turned back, whether the snapshot's name or its content is too old.
func TestRestoreBackward(t *testing.T) {
	f, said := newTestFSM()
	replacing := 0
	f.onReplacing = func() { replacing++ }
	tick := encode(t, &session.Tick{})
	f.ApplyBatch([]*raft.Log{command(10, tick)})
	if err := f.Restore(source(t, 20)); err != nil || f.applied.Load() != 20 {
		t.Fatalf("%v, applied %d", err, f.applied.Load())
	}
	if err := f.Restore(source(t, 20)); err != nil { // the same again
		t.Error(err)
	}
	lying := source(t, 15)
	lying.(*snapshotSource).meta.Index = 30
	at := uint64(20)
	for _, old := range []io.ReadCloser{source(t, 19), lying} {
		if err := f.Restore(old); !errors.Is(err, ErrBackward) {
			t.Errorf("restored to an older state: %v", err)
		}
		f.read(func(m *session.Machine) {
			if m.Applied() != at || f.applied.Load() != at {
				t.Errorf("the machine is at %d, applied %d", m.Applied(), f.applied.Load())
			}
		})
		at++
		f.ApplyBatch([]*raft.Log{command(at, tick)}) // it goes on
	}
	if err := said.of(""); err != nil {
		t.Errorf("a late request has stopped the node: %v", err)
	}
	for range maxRefusals {
		if err := f.Restore(source(t, 5)); !errors.Is(err, ErrBackward) {
			t.Errorf("restored to an older state: %v", err)
		}
	}
	if err := said.of(""); !errors.Is(err, ErrBackward) {
		t.Errorf("the leader insists, and the node says %v", err)
	}
	if replacing != 2 {
		t.Errorf("told of %d restores, two were carried out", replacing)
	}
}

// TestApplyTwice: an entry that the machine holds already is not applied again.
func TestApplyTwice(t *testing.T) {
	f, said := newTestFSM()
	tick := encode(t, &session.Tick{})
	f.ApplyBatch([]*raft.Log{command(10, tick)})
	f.ApplyBatch([]*raft.Log{command(10, tick)})
	if said.of("") == nil {
		t.Error("applied twice")
	}
}
