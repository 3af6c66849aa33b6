package consensus

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// TestSnapshotByBytes: snapshots come with the bytes of the log, not with the number of its entries, and what stays
// behind them is bounded in bytes too.
func TestSnapshotByBytes(t *testing.T) {
	const limit = 1 << 20
	inFakeTime(t, Config{SnapshotBytes: limit, TrailingBytes: limit / 8}, func(t *testing.T, c *trio) {
		n := c.leader()
		for range 500 {
			c.mustAt(n, &session.Tick{})
		}
		time.Sleep(5 * time.Minute) // twice the time after which the library looks by default
		if s := n.Stats(); s.Snapshots != 0 || s.LogBytes > limit/3 {
			t.Fatalf("after ticks and some time: %d snapshots, %d bytes", s.Snapshots, s.LogBytes)
		}
		wrote := 0
		for n.Stats().Snapshots < 3 {
			entry := encode(t, c.role(1000), c.role(1000), c.role(1000), c.role(1000))
			if _, err := n.Propose(t.Context(), entry).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if wrote += len(entry); wrote > 5*limit {
				t.Fatalf("%d snapshots after %d bytes", n.Stats().Snapshots, wrote)
			}
			time.Sleep(time.Millisecond)
		}
		if wrote < 2*limit {
			t.Errorf("3 snapshots after %d bytes", wrote)
		}
		c.equal()
		for id, n := range c.nodes {
			first, err := n.log.FirstIndex()
			if err != nil {
				t.Fatal(err)
			}
			s := n.Stats()
			if kept := int64(s.SnapshotIndex+1-first) * 4100; kept > limit/3 || first <= 500 {
				t.Errorf("%s keeps %d bytes behind the snapshot, from entry %d", id, kept, first)
			}
			if s.Snapshots < 2 {
				t.Errorf("%s has taken %d snapshots", id, s.Snapshots)
			}
		}
		// What was written before a restart counts.
		before := n.Stats().LogBytes
		id := n.cfg.NodeID
		c.stop(id)
		if after := c.start(id).Stats().LogBytes; after < before-limit/8 || after > before+limit/8 {
			t.Errorf("%d bytes of log after the restart, %d before", after, before)
		}
	})
}

// deletions notes the ranges that are removed.
type deletions struct {
	raft.LogStore
	ranges [][2]uint64
}

func (d *deletions) DeleteRange(first, last uint64) error {
	d.ranges = append(d.ranges, [2]uint64{first, last})
	return d.LogStore.DeleteRange(first, last)
}

// entryOverhead is what EntrySize counts beside an entry's data.
const entryOverhead = 64

// TestDeleteRange: the end of a log goes in one step, or a crash would leave a hole; the front in several.
func TestDeleteRange(t *testing.T) {
	inner := &deletions{LogStore: raft.NewInmemStore()}
	s := newLogStore(inner, Config{SnapshotBytes: 1 << 20}.withDefaults(), healthy(t))
	const n = 3 * deleteChunk
	for i := uint64(1); i <= n; i++ {
		if err := s.StoreLog(&raft.Log{Index: i}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range [][2]uint64{{n - 5000, n}, {0, 5000}} {
		if err := s.DeleteRange(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := [][2]uint64{{n - 5000, n}, {1, deleteChunk}, {deleteChunk + 1, 5000}}
	if got, want := s.meter.since(), int64(n-5001)*entryOverhead; got < want-s.meter.step || got > want+s.meter.step {
		t.Errorf("%d bytes of log are left, want %d", got, want)
	}
	if !slices.Equal(inner.ranges, want) {
		t.Errorf("%v, want %v", inner.ranges, want)
	}
}

func TestReconcile(t *testing.T) {
	for _, test := range []struct {
		name        string
		first, last uint64 // of a log of term 1
		index, term uint64 // of the snapshot
		wantFirst   uint64 // 0: empty
		want        error
	}{
		{"empty log", 0, 0, 10, 2, 0, nil},
		{"ends before it", 1, 9, 10, 2, 0, nil},
		{"ends with it", 1, 10, 10, 1, 1, nil},
		{"goes on beyond it", 1, 20, 10, 1, 1, nil},
		{"has another entry in its place", 1, 20, 10, 2, 0, ErrDiverged},
		{"ends with another entry", 1, 10, 10, 2, 0, ErrDiverged},
		{"begins behind it", 11, 20, 10, 1, 11, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := raft.NewInmemStore()
			s := newLogStore(inner, Config{}.withDefaults(), healthy(t))
			for i := test.first; i > 0 && i <= test.last; i++ {
				if err := s.StoreLog(&raft.Log{Index: i, Term: 1}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.reconcile(&raft.SnapshotMeta{Index: test.index, Term: test.term}); !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
			if first, err := s.FirstIndex(); err != nil || first != test.wantFirst {
				t.Errorf("the log begins at %d, %v", first, err)
			}
		})
	}
}

func TestMeter(t *testing.T) {
	m := newMeter(1, 10*(100+entryOverhead))
	fill := func(from, to uint64) {
		for i := from; i <= to; i++ {
			m.add([]*raft.Log{{Index: i, Data: []byte(strings.Repeat("x", 100))}})
		}
	}
	const one = 100 + entryOverhead
	expect := func(since int64, keep uint64) {
		t.Helper()
		if got := m.since(); got != since*one {
			t.Errorf("%d bytes beyond the snapshot, want %d entries of %d", got, since, one)
		}
		if got := m.keep(); got != keep {
			t.Errorf("keeps %d, want %d", got, keep)
		}
	}
	expect(0, 0)
	fill(1, 5)
	expect(5, 5)
	fill(6, 100)
	expect(100, 10)
	m.covered(90)
	expect(10, 10)
	m.covered(50) // older
	expect(10, 10)
	m.truncate(96)
	expect(5, 10)
	fill(96, 100)
	expect(10, 10)
	m.covered(100)
	expect(0, 10)
	m.truncate(1)
	if m.since() != 0 {
		t.Errorf("%d bytes in an empty log", m.since())
	}
	fill(101, 105)
	if len(m.marks) > 60 || m.since() != 5*one {
		t.Errorf("%d marks, %d bytes", len(m.marks), m.since())
	}
}

// TestShortenEmptyLog: the library shortens the front of a log that an installed snapshot has cleared. The log goes on.
func TestShortenEmptyLog(t *testing.T) {
	s := newLogStore(storage.NewMemoryStores().Log, Config{}.withDefaults(), healthy(t))
	store := func(index uint64) {
		if err := s.StoreLog(&raft.Log{Index: index, Term: 1, Type: raft.LogCommand}); err != nil {
			t.Fatal(err)
		}
	}
	for index := range uint64(5) {
		store(1 + index)
	}
	for _, r := range [][2]uint64{{1, 5}, {0, 1}} {
		if err := s.DeleteRange(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
		if last, err := s.LastIndex(); err != nil || last != 0 {
			t.Errorf("the empty log ends with %d, %v", last, err)
		}
	}
	store(100)
	if last, err := s.LastIndex(); err != nil || last != 100 {
		t.Errorf("the log ends with %d, %v", last, err)
	}
}
