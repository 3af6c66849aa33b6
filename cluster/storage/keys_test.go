package storage

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
)

// TestResealAsksForASnapshot: it must be newer than the newest one if that is in the way, and only then; what is sealed
// otherwise is gone, or sealed anew.
func TestResealAsksForASnapshot(t *testing.T) {
	keys := keytest.Keys(t, 3)
	inner := NewMemoryStores()
	d, err := Wrap(inner, keytest.Ring(t, keys[0]))
	if err != nil {
		t.Fatal(err)
	}
	write := func(index uint64) {
		t.Helper()
		sink, err := d.Snapshots.Create(1, index, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
	}
	reseal := func(want bool, snapshot uint64) {
		t.Helper()
		watch := Watch{Limit: time.Minute, OnFail: func(err error) { t.Error(err) }}
		err := d.Reseal(t.Context(), watch, func(newer bool) error {
			if newer != want {
				t.Errorf("it must be newer: %v", newer)
			}
			if snapshot > 0 {
				write(snapshot)
			}
			return nil
		})
		if err != nil || d.NeedsReseal() {
			t.Errorf("%+v, %v", d.AtRest(), err)
		}
	}
	logs := testEntries(1, 10)
	storeAll(t, d.Log, logs)
	write(5)
	if err := d.ReplaceKeys([]keyring.Key{keys[1], keys[0]}); err != nil {
		t.Fatal(err)
	}
	reseal(true, 6)
	if err := d.ReplaceKeys([]keyring.Key{keys[2], keys[1]}); err != nil {
		t.Fatal(err)
	}
	write(7)
	reseal(false, 0)
	if err := d.ReplaceKeys(keys[2:]); err != nil {
		t.Fatal(err)
	}
	readAll(t, d.Log, logs)
	if list, err := inner.Snapshots.List(); err != nil || len(list) != 1 || list[0].Index != 7 {
		t.Errorf("%v, %v", list, err)
	}
	failed := errors.New("failed")
	if err := d.ReplaceKeys([]keyring.Key{keys[0], keys[2]}); err != nil {
		t.Fatal(err)
	}
	if err := d.Reseal(t.Context(), Watch{}, func(bool) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("without a snapshot: %v", err)
	}
}
