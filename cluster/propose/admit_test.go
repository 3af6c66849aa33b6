package propose

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// errNoRoom refuses, and is known on no other node: it must travel with all that it says.
var errNoRoom = &session.Error{Code: "no-room", Message: "there is no room here"}

// gate is a policy that a test sets.
type gate struct {
	mu     sync.Mutex
	refuse error // nil: everything passes; else only ticks do
	known  uint8
	asked  int
}

func (g *gate) admit(cmd session.Command) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if cmd.Kind() == session.KindTick {
		return nil
	}
	return g.refuse
}

func (g *gate) version() uint8 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known
}

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// newer is a command that version 1 does not know.
func newer() session.Command {
	return &session.PutMember{Member: session.Member{ID: "n", Name: "n", Pin: session.PinVoter}}
}

// gated is a pair whose leader has a gate.
func gated(t *testing.T, fn func(t *testing.T, p *pair, g *gate)) {
	bubble(t, func(t *testing.T, p *pair) {
		g := &gate{known: session.MaxVersion}
		p.leader.merger.admit, p.leader.merger.known = g.admit, g.version // before the first command
		fn(t, p, g)
	})
}

// The one who asked gets the refusal as it was given, at once and only once, on whatever node.
func TestRefusalReachesItsCaller(t *testing.T) {
	for _, from := range []string{"leader", "another node"} {
		t.Run(from, func(t *testing.T) {
			gated(t, func(t *testing.T, p *pair, g *gate) {
				asker := p.leader
				if from == "another node" {
					asker = p.follower
				}
				g.set(func() { g.refuse = errNoRoom })
				result, index, err := asker.Do(t.Context(), &session.Put{Attrs: []session.Attr{{Key: "k", Value: "v"}}})
				if !errors.Is(err, errNoRoom) || err.Error() != errNoRoom.Message || index != 0 || !errors.Is(result.Err, errNoRoom) {
					t.Errorf("answer %+v, index %d, error %v", result, index, err)
				}
				if _, ok := errors.AsType[*session.Error](err); !ok {
					t.Errorf("the error is a %T", err)
				}
				if n := p.log.commands(); n != 0 {
					t.Errorf("%d commands in the log", n)
				}
				if g.asked != 1 {
					t.Errorf("the policy was asked %d times: a refusal is not to be tried again", g.asked)
				}
				want := Stats{Proposed: 1, Denied: 1}
				if got := asker.Stats(); got.Proposed != want.Proposed || got.Denied != want.Denied || got.Unknown != 0 || got.Refused != 0 {
					t.Errorf("counted %+v, want %+v", got, want)
				}
			})
		})
	}
}

// One that is refused takes nobody with it, and each gets its own answer.
func TestRefusalsLeaveTheBatch(t *testing.T) {
	gated(t, func(t *testing.T, p *pair, g *gate) {
		g.set(func() { g.refuse = errNoRoom })
		var batch []*call
		for i := range 100 {
			var cmd session.Command = &session.Tick{}
			if i%3 == 0 {
				cmd = &session.Delete{Names: []string{"k"}}
			}
			batch = append(batch, newCall(cmd, 8))
		}
		frame, err := encodeBatch(batch)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := p.leader.serve(t.Context(), wire.Peer{}, frame)
		if err != nil {
			t.Fatal(err)
		}
		outcomes, err := decodeOutcomes(answer, len(batch))
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			switch {
			case i%3 == 0 && (o.verdict != denied || !errors.Is(o.result.Err, errNoRoom)):
				t.Errorf("command %d: %+v, want a refusal", i, o)
			case i%3 != 0 && (o.verdict != applied || o.index == 0 || o.result.Err != nil):
				t.Errorf("command %d: %+v, want it applied", i, o)
			}
		}
		if n := p.log.commands(); n != 66 {
			t.Errorf("%d commands in the log, want 66", n)
		}
		for _, entry := range p.log.entries {
			for _, cmd := range entry {
				if cmd.Kind() != session.KindTick {
					t.Errorf("a refused command is in the log: %T", cmd)
				}
			}
		}
	})
}

// A batch of which nothing remains makes no entry and gives its place back.
func TestAllRefused(t *testing.T) {
	gated(t, func(t *testing.T, p *pair, g *gate) {
		g.set(func() { g.refuse = errNoRoom })
		for range 3 * MaxEntriesInFlight {
			if _, _, err := p.leader.Do(t.Context(), &session.Sweep{}); !errors.Is(err, errNoRoom) {
				t.Fatal(err)
			}
		}
		if got := p.leader.Stats(); got.Entries != 0 || got.EntryCommands != 0 {
			t.Errorf("counted %+v, want no entry", got)
		}
		if _, _, err := p.leader.Do(t.Context(), &session.Tick{}); err != nil {
			t.Errorf("after the refusals: %v", err)
		}
	})
}

// A node that has lost the office does not refuse in the name of the next leader.
func TestRefusalByAFormerLeader(t *testing.T) {
	gated(t, func(t *testing.T, p *pair, g *gate) {
		p.leader.merger.admit = func(cmd session.Command) error {
			err := g.admit(cmd)
			p.log.set(func() { p.log.lead = err == nil })
			return err
		}
		g.set(func() { g.refuse = errNoRoom })
		done := make(chan error, 1)
		go func() {
			_, _, err := p.follower.Do(t.Context(), &session.Sweep{})
			done <- err
		}()
		synctest.Wait()
		g.set(func() { g.refuse = nil })
		p.log.set(func() { p.log.lead = true })
		if err := <-done; err != nil {
			t.Errorf("under the next leader: %v", err)
		}
		if n := p.log.commands(); n != 1 {
			t.Errorf("%d commands in the log, want 1", n)
		}
	})
}

// What not all members know gets into no log: not from here, and not from a node that knows no better.
func TestVersions(t *testing.T) {
	gated(t, func(t *testing.T, p *pair, g *gate) {
		g.set(func() { g.known = 1 })
		if _, _, err := p.follower.Do(t.Context(), newer()); !errors.Is(err, ErrUpgradePending) {
			t.Errorf("from a node that does not ask: %v", err)
		}
		p.follower.known = g.version
		calls := p.link.calls
		if _, _, err := p.follower.Do(t.Context(), newer()); !errors.Is(err, ErrUpgradePending) {
			t.Errorf("from another node: %v", err)
		}
		if p.link.calls != calls {
			t.Error("it was sent to a leader that may not be able to read it")
		}
		if got := p.follower.Stats(); got.Denied != 2 || got.Unknown != 0 {
			t.Errorf("counted %+v", got)
		}
		if _, _, err := p.leader.Do(t.Context(), newer()); !errors.Is(err, ErrUpgradePending) {
			t.Errorf("from the leader: %v", err)
		}
		if n := p.log.commands(); n != 0 {
			t.Errorf("%d commands in the log", n)
		}
		g.set(func() { g.known = 0 }) // a cluster without members: the first commands make them
		if _, _, err := p.follower.Do(t.Context(), &session.Genesis{}); err != nil {
			t.Errorf("what every version knows: %v", err)
		}
		g.set(func() { g.known = 2 })
		if _, _, err := p.follower.Do(t.Context(), newer()); err != nil {
			t.Errorf("when all know it: %v", err)
		}
	})
}

// A policy that answers with an error that no other node could read is a fault of ours.
func TestUselessRefusals(t *testing.T) {
	m := newMerger(Config{Log: &fakeLog{lead: true}}, new(counters))
	for name, err := range map[string]error{
		"no code":    errors.New("no"),
		"empty code": &session.Error{Message: "no"},
		"too long":   &session.Error{Code: "no", Message: strings.Repeat("x", 64<<10)},
		"no error":   (*session.Error)(nil),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("nobody was told")
				}
			}()
			m.denial(err)
		})
	}
}

func TestAdmissionDoesNotAllocate(t *testing.T) {
	m := newMerger(Config{Log: &fakeLog{lead: true}, Admit: room, Known: known}, new(counters))
	batch := fullBatch(t)
	if n := testing.AllocsPerRun(100, func() { batch = m.admitted(batch) }); n != 0 || len(batch) != MaxEntryCommands {
		t.Errorf("%v allocations, %d commands left", n, len(batch))
	}
}

func room(cmd session.Command) error { return guard.Admit(cmd, false, false) }
func known() uint8                   { return session.MaxVersion }

func fullBatch(t testing.TB) []*call {
	var batch []*call
	for range MaxEntryCommands {
		cmd := &session.Put{Key: session.KeyOf([]byte("k")), Attrs: []session.Attr{{Key: "key", Value: "value"}}}
		encoded, err := session.AppendCommand(nil, cmd)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, newCall(cmd, len(encoded)))
	}
	return batch
}

// nowhere is a log that keeps nothing.
type nowhere struct{ *fakeLog }

func (nowhere) Propose(context.Context, []byte) consensus.Future { return fakeFuture{} }

// What a merger does for an entry of 512 commands, without a policy and with the one of a node.
func BenchmarkMerger(b *testing.B) {
	disk, err := guard.OpenDisk(guard.DiskConfig{Path: b.TempDir(), Reserve: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	memory := guard.OpenMemory(guard.MemoryConfig{Limit: -1, Logger: slog.New(slog.DiscardHandler)})
	defer memory.Close()
	admit := func(cmd session.Command) error { return guard.Admit(cmd, disk.Low(), memory.Full()) }
	for _, c := range []struct {
		name string
		cfg  Config
	}{{"admit nil", Config{}}, {"admit", Config{Admit: admit, Known: known}}} {
		b.Run(c.name, func(b *testing.B) {
			c.cfg.Log, c.cfg.Now, c.cfg.Office = nowhere{&fakeLog{lead: true}}, func() (session.Time, bool) { return 1, true }, noOffice{}
			m := newMerger(c.cfg, new(counters))
			batch := fullBatch(b)
			b.ReportAllocs()
			for b.Loop() {
				batch = m.admitted(batch)
				if p := m.proposeBatch(b.Context(), batch); p.err != nil {
					b.Fatal(p.err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxEntryCommands, "ns/command")
		})
	}
}

// Ending sessions is not refused for what can be left out of it, who does: not on a node that knows how few know of that,
// and not at a leader that knows it when the other does not.
func TestEndsGoOnWhileAnOlderNodeIsThere(t *testing.T) {
	gated(t, func(t *testing.T, p *pair, g *gate) {
		g.set(func() { g.known = 3 })
		end := &session.EndUser{Realm: "native", Username: "ann", Reason: session.EndedByRecheck, By: "node n1"}
		for range 2 {
			for _, from := range []*Proposer{p.follower, p.leader} {
				if _, _, err := from.Do(t.Context(), end); err != nil {
					t.Errorf("refused: %v", err)
				}
			}
			p.follower.known = g.version
		}
		if n := p.log.commands(); n != 4 {
			t.Errorf("%d commands in the log, want 4", n)
		}
		if end.By == "" {
			t.Error("the caller's command was changed")
		}
	})
}
