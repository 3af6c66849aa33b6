package storage

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring/keytest"
)

// testEntries returns entries of all sizes and types, from an index on.
func testEntries(from uint64, count int) []*raft.Log {
	var logs []*raft.Log
	for i := range count {
		l := &raft.Log{Index: from + uint64(i), Term: 3, Type: raft.LogCommand, Data: []byte(strings.Repeat("secret", i))}
		if i%3 == 1 {
			l.Type = raft.LogConfiguration
		}
		logs = append(logs, l)
	}
	return logs
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && len(a.Extensions) == len(b.Extensions)
}

func TestSealEntries(t *testing.T) {
	keys := keytest.Keys(t, 2)
	logs, want := testEntries(7, 20), testEntries(7, 20)
	sealed, err := sealEntries(keys[1], logs)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(logs, want, sameEntry) {
		t.Error("the library's entries have changed")
	}
	nonces := map[string]bool{}
	for i, l := range sealed {
		if bytes.Contains(l.Data, []byte("secret")) || bytes.Contains(l.Extensions, []byte("secret")) {
			t.Errorf("entry %d is not sealed", i)
		}
		nonces[string(l.Extensions[sealNonceAt:])] = true
		before := bytes.Clone(l.Data)
		got := *l
		if err := openEntry(keytest.Ring(t, keys...), &got); err != nil || !sameEntry(&got, want[i]) {
			t.Errorf("entry %d: %+v, %v", i, got, err)
		}
		if !bytes.Equal(l.Data, before) {
			t.Errorf("entry %d: the sealed one has changed, which a store in memory keeps", i)
		}
	}
	if len(nonces) != len(sealed) {
		t.Errorf("%d nonces for %d entries", len(nonces), len(sealed))
	}
}

// TestSealedEntryIsBound: every bit of a sealed entry counts, and so does its place.
func TestSealedEntryIsBound(t *testing.T) {
	keys := keytest.Keys(t, 2)
	ring := keytest.Ring(t, keys...)
	sealed, err := sealEntries(keys[0], testEntries(7, 5))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, want error, change func(l *raft.Log)) {
		t.Helper()
		l := *sealed[4]
		l.Data, l.Extensions = bytes.Clone(l.Data), bytes.Clone(l.Extensions)
		change(&l)
		if err := openEntry(ring, &l); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse("index", ErrDamaged, func(l *raft.Log) { l.Index++ })
	refuse("term", ErrDamaged, func(l *raft.Log) { l.Term-- })
	refuse("type", ErrDamaged, func(l *raft.Log) { l.Type = raft.LogNoop })
	refuse("data of another", ErrDamaged, func(l *raft.Log) { l.Data, l.Extensions = sealed[3].Data, sealed[3].Extensions })
	refuse("another key", ErrDamaged, func(l *raft.Log) {
		id := keys[1].ID()
		copy(l.Extensions[1:], id[:])
	})
	refuse("unknown key", ErrWrongDataKeys, func(l *raft.Log) { l.Extensions[1] ^= 1 })
	refuse("version", ErrDamaged, func(l *raft.Log) { l.Extensions[0]++ })
	refuse("short seal", ErrDamaged, func(l *raft.Log) { l.Extensions = l.Extensions[:sealSize-1] })
	refuse("long seal", ErrDamaged, func(l *raft.Log) { l.Extensions = append(l.Extensions, 0) })
	for i := range sealed[4].Data {
		refuse("bit", ErrDamaged, func(l *raft.Log) { l.Data[i] ^= 4 })
		refuse("cut", ErrDamaged, func(l *raft.Log) { l.Data = l.Data[:i] })
	}
	for i := range nonceSize {
		refuse("nonce", ErrDamaged, func(l *raft.Log) { l.Extensions[sealNonceAt+i] ^= 4 })
	}
	l := *sealed[4]
	if err := openEntry(nil, &l); !errors.Is(err, ErrNoDataKeys) || !strings.Contains(err.Error(), keys[0].ID().String()) {
		t.Errorf("without keys: %v", err)
	}
	if err := openEntry(keytest.Ring(t, keys[1]), &l); !errors.Is(err, ErrWrongDataKeys) || !strings.Contains(err.Error(), keys[0].ID().String()) {
		t.Errorf("with another: %v", err)
	}
}
