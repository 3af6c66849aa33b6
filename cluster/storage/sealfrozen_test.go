package storage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring/keytest"
)

var update = flag.Bool("update", false, "write the frozen files that are missing; those that are there stay as they are")

// TestFrozenSeal opens an entry and a snapshot as version 1 has sealed them. The files never change: a later version that
// can't open them can't take over a member's data.
func TestFrozenSeal(t *testing.T) {
	ring := keytest.Ring(t, fuzzKey(t))
	want := &raft.Log{Index: 7, Term: 3, Type: raft.LogConfiguration, Data: []byte("frozen entry")}
	got := frozenEntry(t)
	if err := openEntry(ring, got); err != nil || !sameEntry(got, want) {
		t.Errorf("entry: %+v, %v", got, err)
	}
	b, plain := frozenStream(t)
	if got, err := openStream(ring, testBinding(), bytes.NewReader(b)); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("snapshot: %q, %v", got, err)
	}
}

func frozenEntry(t testing.TB) *raft.Log {
	t.Helper()
	l := &raft.Log{Index: 7, Term: 3, Type: raft.LogConfiguration, Data: []byte("frozen entry")}
	sealed, err := sealEntries(fuzzKey(t), []*raft.Log{l})
	if err != nil {
		t.Fatal(err)
	}
	b := frozenHex(t, "sealed-entry-1.hex", append(bytes.Clone(sealed[0].Extensions), sealed[0].Data...))
	l.Extensions, l.Data = b[:sealSize], b[sealSize:]
	return l
}

func frozenStream(t testing.TB) (sealed, plain []byte) {
	t.Helper()
	plain = []byte("frozen snapshot")
	return frozenHex(t, "sealed-snapshot-1.hex", sealedStream(t, fuzzKey(t), plain)), plain
}

// frozenHex returns what is in the file; with -update, a file that is missing is made of fresh.
func frozenHex(t testing.TB, name string, fresh []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *update {
		text = append([]byte(hex.EncodeToString(fresh)), '\n')
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
