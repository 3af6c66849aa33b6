package storage

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
)

// fuzzKey is the same in every run, as seeds need it.
func fuzzKey(t testing.TB) keyring.Key {
	t.Helper()
	keys, err := keyring.Parse([]byte("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="))
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

// FuzzOpenEntry: what was not sealed is never opened, whatever it looks like, and nothing panics.
func FuzzOpenEntry(f *testing.F) {
	ring := keytest.Ring(f, fuzzKey(f))
	valid := frozenEntry(f) // the fuzzer runs in several processes: all know the same
	l := valid
	f.Add(l.Index, l.Term, byte(l.Type), l.Extensions, l.Data)
	f.Add(l.Index+1, l.Term, byte(l.Type), l.Extensions, l.Data)
	f.Add(l.Index, l.Term, byte(l.Type), l.Extensions[:sealNonceAt], l.Data)
	f.Add(uint64(1), uint64(1), byte(0), []byte(nil), []byte("plain"))
	f.Fuzz(func(t *testing.T, index, term uint64, kind byte, seal, data []byte) {
		given := raft.Log{Index: index, Term: term, Type: raft.LogType(kind), Extensions: seal, Data: data}
		l := given
		err := openEntry(ring, &l)
		switch {
		case len(seal) == 0:
			if err != nil || !sameEntry(&l, &given) {
				t.Fatalf("plain: %v", err)
			}
		case err == nil:
			if !sameEntry(valid, &given) || !bytes.Equal(valid.Extensions, seal) {
				t.Fatal("opened what was not sealed")
			}
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongDataKeys):
			t.Fatalf("no reason that people know: %v", err)
		}
	})
}

// FuzzOpenStream likewise for snapshots.
func FuzzOpenStream(f *testing.F) {
	ring := keytest.Ring(f, fuzzKey(f))
	good, plain := frozenStream(f)
	f.Add(good)
	f.Add(good[:streamHeader])
	f.Add(good[:streamHeader-3])
	f.Add(append(bytes.Clone(good), 0))
	f.Add([]byte{1}) // the version of a plain one
	f.Add(append(append(bytes.Clone(good[:streamHeader]), noise(sealedChunk)...), good[streamHeader:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSealedSnapshots(oneSnapshot{b}, ring)
		_, r, err := s.Open("x")
		if err == nil {
			var got []byte
			got, err = io.ReadAll(r)
			sealed := len(b) > 0 && b[0] == streamMark
			if err == nil && sealed && (!bytes.Equal(b, good) || !bytes.Equal(got, plain)) {
				t.Fatal("opened what was not sealed")
			}
			if err == nil && !sealed && !bytes.Equal(b, got) {
				t.Fatal("a plain one has changed")
			}
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongDataKeys) {
			t.Fatalf("no reason that people know: %v", err)
		}
		_, _ = s.look("x") // must not panic either
	})
}

// oneSnapshot is a store with one file in it, bound as testBinding says.
type oneSnapshot struct{ file []byte }

func (oneSnapshot) Create(raft.SnapshotVersion, uint64, uint64, raft.Configuration, uint64, raft.Transport) (raft.SnapshotSink, error) {
	return nil, errors.New("full")
}

func (o oneSnapshot) List() ([]*raft.SnapshotMeta, error) {
	return []*raft.SnapshotMeta{{ID: "x"}}, nil
}

func (o oneSnapshot) Open(string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta := &raft.SnapshotMeta{ID: "x", Index: 17, Term: 3, Configuration: testServers, ConfigurationIndex: 2, Size: int64(len(o.file))}
	return meta, io.NopCloser(bytes.NewReader(o.file)), nil
}
