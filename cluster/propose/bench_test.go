package propose

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
)

// instant is a log that applies at once and keeps nothing.
type instant struct {
	*fakeLog
	index atomic.Uint64
}

func (l *instant) Propose(_ context.Context, data []byte) consensus.Future {
	entry, err := session.DecodeEntry(data)
	if err != nil {
		panic(err)
	}
	return fakeFuture{index: l.index.Add(1), results: make([]session.Result, len(entry.Commands))}
}

// BenchmarkPropose is the way of a command on the leader, whose log costs nothing: one caller, so that each command is an
// entry, and many. An office that never holds anything up must cost next to nothing.
func BenchmarkPropose(b *testing.B) {
	for _, office := range []struct {
		name   string
		office Office
	}{{"no office", nil}, {"office", &openOffice{}}} {
		for _, callers := range []int{1, 256} {
			b.Run(fmt.Sprintf("%s, callers %d", office.name, callers), func(b *testing.B) {
				p := New(Config{
					Log: &instant{fakeLog: &fakeLog{lead: true}}, Peers: &noHandler{&fakeLink{}}, Office: office.office,
					Now: func() (session.Time, bool) { return 1, true },
				})
				p.Open()
				defer p.Close()
				b.ReportAllocs()
				b.ResetTimer()
				var group sync.WaitGroup
				var serial atomic.Int64
				for range callers {
					group.Go(func() { propose(b, p, &serial) })
				}
				group.Wait()
				b.ReportMetric(float64(p.Stats().EntryCommands)/float64(p.Stats().Entries), "commands/entry")
			})
		}
	}
}

// propose takes its part of the commands, as many at a time as there are callers: b.Loop has one.
func propose(b *testing.B, p *Proposer, serial *atomic.Int64) {
	cmd := &session.Put{Key: session.KeyOf([]byte("k")), Attrs: []session.Attr{{Key: "key", Value: "value"}}}
	for serial.Add(1) <= int64(b.N) {
		if _, _, err := p.Do(b.Context(), cmd); err != nil {
			b.Error(err)
		}
	}
}

// quiet is a log that applies one command at once and allocates nothing.
type quiet struct {
	*fakeLog
	results []session.Result
}

func (l *quiet) IsLeader() bool { return true }

func (l *quiet) Applied() uint64 { return 1 }

func (l *quiet) Propose(context.Context, []byte) consensus.Future { return l }

func (l *quiet) Wait(context.Context) (consensus.Applied, error) {
	return consensus.Applied{Index: 1, Results: l.results}, nil
}

// What the way of a lone command on the leader allocates: its entry, its batch, and the goroutine and the context that wait
// for it. Commands that share an entry have nothing of their own.
func TestDoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget things on purpose under the race detector")
	}
	const most = 9
	p := New(Config{
		Log: &quiet{fakeLog: &fakeLog{}, results: make([]session.Result, 1)}, Peers: &noHandler{&fakeLink{}},
		Now: func() (session.Time, bool) { return 1, true },
	})
	p.Open()
	defer p.Close()
	cmd := &session.Put{Key: session.KeyOf([]byte("k")), Attrs: []session.Attr{{Key: "key", Value: "value"}}}
	got := testing.AllocsPerRun(200, func() {
		if _, _, err := p.Do(t.Context(), cmd); err != nil {
			t.Error(err)
		}
	})
	if got > most {
		t.Errorf("%v allocations, want %d at most", got, most)
	}
	each := testing.AllocsPerRun(200, func() {
		c := p.calls.Get().(*call)
		if err := c.reset(cmd); err != nil {
			t.Error(err)
		}
		p.calls.Put(c)
	})
	if each > 0 {
		t.Errorf("%v allocations for a command, want none", each)
	}
}

// openOffice never holds anything up.
type openOffice struct {
	noOffice
	start     time.Time
	committed atomic.Uint64
}

func (o *openOffice) Clock() lease.Time { return lease.Time(time.Since(o.start)) }

func (o *openOffice) Committed(_ lease.CommandKind, _, index uint64, _ lease.Time, _ bool) {
	o.committed.Store(index)
}
