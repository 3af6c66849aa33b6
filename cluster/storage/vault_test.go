package storage

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
)

func openVault(t testing.TB, inner raft.LogStore, keys *keyring.Ring) *vault {
	t.Helper()
	v := newVault(inner, keys)
	if err := v.survey(); err != nil {
		t.Fatal(err)
	}
	return v
}

func storeAll(t testing.TB, s raft.LogStore, logs []*raft.Log) {
	t.Helper()
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
}

func readAll(t testing.TB, s raft.LogStore, want []*raft.Log) {
	t.Helper()
	for _, w := range want {
		var l raft.Log
		if err := s.GetLog(w.Index, &l); err != nil || !sameEntry(&l, w) {
			t.Errorf("entry %d: %+v, %v", w.Index, l, err)
		}
	}
}

// TestVaultMixed: a log from before there were keys is read on, with sealed entries behind the plain ones.
func TestVaultMixed(t *testing.T) {
	keys := keytest.Keys(t, 3)
	inner := raft.NewInmemStore()
	logs := testEntries(5, 40)
	storeAll(t, openVault(t, inner, nil), logs[:10])
	storeAll(t, openVault(t, inner, keytest.Ring(t, keys[0])), logs[10:20])
	storeAll(t, openVault(t, inner, keytest.Ring(t, keys[1], keys[0])), logs[20:30])
	v := openVault(t, inner, keytest.Ring(t, keys[2], keys[1], keys[0]))
	storeAll(t, v, logs[30:])
	readAll(t, v, logs)
	want := map[cover]uint64{{}: 10, {true, keys[0].ID()}: 10, {true, keys[1].ID()}: 10, {true, keys[2].ID()}: 10}
	for c, n := range v.use.count() {
		if want[c] != n {
			t.Errorf("%d entries under %v", n, c)
		}
	}
	for name, missing := range map[string]*keyring.Ring{
		"the oldest": keytest.Ring(t, keys[2], keys[1]), "one between": keytest.Ring(t, keys[2], keys[0]),
		"the newest": keytest.Ring(t, keys[1], keys[0]), "all": keytest.Ring(t, keytest.Keys(t, 1)...),
	} {
		if err := newVault(inner, missing).survey(); !errors.Is(err, ErrWrongDataKeys) {
			t.Errorf("%s missing: %v", name, err)
		}
	}
	if err := newVault(inner, nil).survey(); !errors.Is(err, ErrNoDataKeys) {
		t.Errorf("without keys: %v", err)
	}

	// All anew, under the first.
	if err := v.reseal(t.Context(), func(write func() error) error { return write() }); err != nil {
		t.Fatal(err)
	}
	readAll(t, v, logs)
	v = openVault(t, inner, keytest.Ring(t, keys[2]))
	readAll(t, v, logs)
	if c := v.use.count(); len(c) != 1 || c[cover{true, keys[2].ID()}] != 40 {
		t.Errorf("after sealing anew: %v", c)
	}
}

// TestVaultResealsInBatches: large logs too, with a key that changes meanwhile.
func TestVaultResealsInBatches(t *testing.T) {
	keys := keytest.Keys(t, 3)
	inner := raft.NewInmemStore()
	ring := keytest.Ring(t, keys[0])
	v := openVault(t, inner, ring)
	var logs []*raft.Log
	for i := range uint64(3 * resealEntries) {
		logs = append(logs, &raft.Log{Index: i + 1, Term: 1, Data: []byte("x")})
	}
	storeAll(t, v, logs)
	if err := ring.Replace([]keyring.Key{keys[1], keys[0]}); err != nil {
		t.Fatal(err)
	}
	batches := 0
	err := v.reseal(t.Context(), func(write func() error) error {
		if batches++; batches == 2 {
			if err := ring.Replace([]keyring.Key{keys[2], keys[1], keys[0]}); err != nil {
				t.Error(err)
			}
			if err := v.DeleteRange(1, 10); err != nil {
				t.Error(err)
			}
			storeAll(t, v, testEntries(3*resealEntries+1, 3))
		}
		return write()
	})
	if err != nil || batches < 3 {
		t.Fatalf("%d batches, %v", batches, err)
	}
	readAll(t, v, logs[10:])
	readAll(t, v, testEntries(3*resealEntries+1, 3))
	if c := v.use.count(); c[cover{true, keys[0].ID()}] != 0 {
		t.Errorf("under the first key there are still entries: %v", c)
	}
}

// TestVaultRefuses: entries that somebody has put into the store.
func TestVaultRefuses(t *testing.T) {
	key := keytest.Keys(t, 1)[0]
	ring := keytest.Ring(t, key)
	logs := testEntries(1, 10)
	fresh := func() (*raft.InmemStore, *vault) {
		inner := raft.NewInmemStore()
		v := openVault(t, inner, ring)
		storeAll(t, v, logs)
		return inner, v
	}
	inner, v := fresh()
	storeAll(t, inner, []*raft.Log{logs[9]}) // plain
	if err := v.GetLog(10, &raft.Log{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a plain entry while the log is open: %v", err)
	}
	if err := newVault(inner, ring).survey(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a plain entry behind sealed ones: %v", err)
	}

	inner, _ = fresh()
	v = newVault(swapped{inner, 3, 4}, ring)
	if err := v.survey(); err != nil {
		t.Fatal(err)
	}
	for i := uint64(3); i <= 4; i++ {
		if err := v.GetLog(i, &raft.Log{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("entry %d, in the place of another: %v", i, err)
		}
	}
	if err := openVault(t, raft.NewInmemStore(), nil).StoreLogs([]*raft.Log{{Index: 1, Extensions: []byte("x")}}); err == nil {
		t.Error("stored an entry that will be taken for a sealed one")
	}
}

// swapped is a store in which two entries have changed places.
type swapped struct {
	raft.LogStore
	a, b uint64
}

func (s swapped) GetLog(index uint64, log *raft.Log) error {
	switch index {
	case s.a:
		index = s.b
	case s.b:
		index = s.a
	}
	return s.LogStore.GetLog(index, log)
}

// TestVaultCounts: what was removed is no longer in use.
func TestVaultCounts(t *testing.T) {
	keys := keytest.Keys(t, 2)
	inner := raft.NewInmemStore()
	ring := keytest.Ring(t, keys[0])
	v := openVault(t, inner, ring)
	storeAll(t, v, testEntries(1, 10))
	if err := ring.Replace([]keyring.Key{keys[1], keys[0]}); err != nil {
		t.Fatal(err)
	}
	storeAll(t, v, testEntries(11, 10))
	d := &Disk{vault: v, snapshots: newSealedSnapshots(&memorySnapshots{}, ring)}
	old, current := keys[0].ID().String(), keys[1].ID().String()
	if s := d.AtRest(); s.Current != current || !slices.Equal(s.Keys, []string{old, current}) || s.OtherEntries != 10 {
		t.Errorf("%+v", s)
	}
	if err := v.DeleteRange(1, 10); err != nil {
		t.Fatal(err)
	}
	if s := d.AtRest(); !slices.Equal(s.Keys, []string{current}) || s.OtherEntries != 0 {
		t.Errorf("%+v", s)
	}
}

// TestKeyOfUnfinishedSnapshot: a key is in use from the first byte that is written under it.
func TestKeyOfUnfinishedSnapshot(t *testing.T) {
	keys := keytest.Keys(t, 2)
	ring := keytest.Ring(t, keys[0])
	inner := &memorySnapshots{}
	d := &Disk{vault: openVault(t, raft.NewInmemStore(), ring), snapshots: newSealedSnapshots(inner, ring)}
	write := func(index uint64) raft.SnapshotSink {
		sink, err := d.snapshots.Create(1, index, 1, testServers, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write([]byte("state")); err != nil {
			t.Fatal(err)
		}
		return sink
	}
	slow, given := write(10), write(11)
	if err := d.ReplaceKeys([]keyring.Key{keys[1], keys[0]}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(given.Cancel(), d.ReplaceKeys(keys[1:])); !errors.Is(err, ErrKeyInUse) {
		t.Errorf("while a snapshot is written: %v", err)
	}
	if err := errors.Join(slow.Close(), d.ReplaceKeys(keys[1:])); !errors.Is(err, ErrKeyInUse) {
		t.Errorf("with the snapshot: %v", err)
	}
	if err := errors.Join(write(20).Close(), d.snapshots.dropOthers(cover{true, keys[1].ID()})); err != nil {
		t.Fatal(err)
	}
	if list, err := inner.List(); err != nil || len(list) != 1 || list[0].Index != 20 {
		t.Errorf("%v, %v", list, err)
	}
	if err := d.ReplaceKeys(keys[1:]); err != nil {
		t.Errorf("without it: %v", err)
	}
	if _, r, err := d.snapshots.Open(inner.kept[0].meta.ID); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(r); err != nil || string(b) != "state" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestPlainEntriesAreSealedFromTheBack: a plain log that is sealed only in part can be opened, and sealed to the end.
func TestPlainEntriesAreSealedFromTheBack(t *testing.T) {
	inner := raft.NewInmemStore()
	var logs []*raft.Log // small ones, so that a batch is full by their number
	for i := range uint64(3 * resealEntries) {
		logs = append(logs, &raft.Log{Index: i + 1, Term: 1, Data: []byte("x")})
	}
	storeAll(t, openVault(t, inner, nil), logs)
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	current := cover{true, ring.First().ID()}
	for batch := 1; batch <= 2; batch++ {
		v := openVault(t, inner, ring)
		storeAll(t, v, testEntries(uint64(len(logs)+batch), 1))
		ctx, cancel := context.WithCancel(t.Context())
		err := v.reseal(ctx, func(write func() error) error {
			cancel()
			return write()
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		readAll(t, v, logs)
		v = openVault(t, inner, ring)
		if c := v.use.count(); c[current] != uint64(batch*(resealEntries+1)) || c[cover{}] != uint64((3-batch)*resealEntries) {
			t.Errorf("after %d of 3 batches: %v", batch, c)
		}
	}
	if err := openVault(t, inner, ring).reseal(t.Context(), func(write func() error) error { return write() }); err != nil {
		t.Fatal(err)
	}
	v := openVault(t, inner, ring)
	readAll(t, v, logs)
	if c := v.use.count(); len(c) != 1 || c[current] != uint64(len(logs)+2) {
		t.Errorf("in the end: %v", c)
	}
}

// sealedMeanwhile is a store whose log is sealed anew right after an entry was read.
type sealedMeanwhile struct {
	raft.LogStore
	then func()
}

func (s *sealedMeanwhile) GetLog(index uint64, log *raft.Log) error {
	err := s.LogStore.GetLog(index, log)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return err
}

// TestReadWhileSealed: who has read a plain entry right before the whole log was sealed gets it.
func TestReadWhileSealed(t *testing.T) {
	inner := &sealedMeanwhile{LogStore: raft.NewInmemStore()}
	logs := testEntries(1, 20)
	storeAll(t, openVault(t, inner, nil), logs)
	v := openVault(t, inner, keytest.Ring(t, keytest.Keys(t, 1)...))
	inner.then = func() {
		if err := v.reseal(t.Context(), func(write func() error) error { return write() }); err != nil {
			t.Error(err)
		}
	}
	readAll(t, v, logs)
	if v.plainTo.Load() != 0 {
		t.Error("plain entries are still taken")
	}
}
