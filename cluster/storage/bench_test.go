package storage

import (
	"bytes"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
)

// BenchmarkAppend measures one write of 64 entries of 300 bytes to a log on disk, plain and sealed; and without the disk,
// what sealing costs by itself.
func BenchmarkAppend(b *testing.B) {
	sealed := keytest.Ring(b, keytest.Keys(b, 1)...)
	for _, kind := range []struct {
		name string
		keys *keyring.Ring
	}{{"plain", nil}, {"sealed", sealed}} {
		b.Run("disk/"+kind.name, func(b *testing.B) {
			d := opened(b, b.TempDir(), kind.keys)
			defer func() {
				if err := d.Close(); err != nil {
					b.Error(err)
				}
			}()
			benchmarkAppend(b, d.Log)
		})
		b.Run("memory/"+kind.name, func(b *testing.B) { benchmarkAppend(b, newVault(discardLog{}, kind.keys)) })
	}
}

func benchmarkAppend(b *testing.B, store raft.LogStore) {
	data := bytes.Repeat([]byte("x"), 300)
	next := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		logs := make([]*raft.Log, 64)
		for i := range logs {
			logs[i] = &raft.Log{Index: next, Term: 1, Data: data}
			next++
		}
		if err := store.StoreLogs(logs); err != nil {
			b.Fatal(err)
		}
	}
}

// discardLog keeps nothing.
type discardLog struct{ raft.LogStore }

func (discardLog) StoreLogs([]*raft.Log) error { return nil }

// BenchmarkOpenEntry measures what reading a sealed entry of 300 bytes costs beside the store.
func BenchmarkOpenEntry(b *testing.B) {
	key := keytest.Keys(b, 1)[0]
	ring := keytest.Ring(b, key)
	sealed, err := sealEntries(key, []*raft.Log{{Index: 1, Term: 1, Data: bytes.Repeat([]byte("x"), 300)}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		l := *sealed[0]
		if err := openEntry(ring, &l); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealStream measures what sealing a snapshot costs beside the disk.
func BenchmarkSealStream(b *testing.B) {
	key := keytest.Keys(b, 1)[0]
	part := noise(32 << 10)
	b.SetBytes(int64(len(part)))
	w, err := newSealWriter(io.Discard, key, testBinding())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := w.Write(part); err != nil {
			b.Fatal(err)
		}
	}
}
