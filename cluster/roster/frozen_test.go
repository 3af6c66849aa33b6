package roster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

var update = flag.Bool("update", false, "write the frozen messages that are missing; those that are there stay as they are")

// The messages of version 1 are frozen: nodes of different builds exchange them. Their fields go by the names of Go's: one
// that is renamed is another one, and older nodes do not see it.
func TestFrozenMessages(t *testing.T) {
	member := session.Member{
		ID: "id-1", Name: "n1", Peer: "10.0.0.1:7000", HTTP: "10.0.0.1:8080", ReadReplica: true, MinVersion: 1, MaxVersion: 4,
		Joined: 946684800000, Pin: session.PinVoter,
	}
	proposal := Proposal{Proposer: "id-1", Attempt: 7, Servers: []Server{{"id-1", "10.0.0.1:7000"}, {"id-2", "10.0.0.2:7000"}}}
	checkFrozen(t, "announcement", announcement{Member: member, Admitted: true, Applied: 1 << 40})
	checkFrozen(t, "welcome", welcome{Accepted: true, Voter: true, Settled: true, ClusterID: "c1"})
	checkFrozen(t, "welcome-elsewhere", welcome{LeaderID: "id-2", LeaderPeer: "10.0.0.2:7000"})
	checkFrozen(t, "condition", condition{Applied: 7, DiskLow: true, MemoryFull: true, Draining: true})
	checkFrozen(t, "change", change{Op: opPromote, ID: "id-2"})
	checkFrozen(t, "proposal", proposal)
}

func checkFrozen[T any](t *testing.T, name string, message T) {
	t.Helper()
	encoded, err := encode(message)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "golden", name+"-v1.hex")
	if _, err := os.Stat(path); *update && errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(hex.EncodeToString(encoded)+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded, frozen) {
		t.Errorf("%s is %x, frozen is %x", name, encoded, frozen)
	}
	if got, err := decode[T](frozen); err != nil || !reflect.DeepEqual(got, message) {
		t.Errorf("%s: read as %+v, %v", name, got, err)
	}
}

// What a later build adds to a message is passed over: it is no reason not to understand the rest.
func TestUnknownFieldsArePassedOver(t *testing.T) {
	type later struct {
		Applied uint64
		News    []string
		DiskLow bool
	}
	body, err := encode(later{Applied: 7, News: []string{"a", "b"}, DiskLow: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode[condition](body); err != nil || got != (condition{Applied: 7, DiskLow: true}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// The file beside the log, as version 1 wrote it.
func TestFrozenRecord(t *testing.T) {
	want := Record{
		Attempt: 2, Promise: &Proposal{Proposer: "id-1", Attempt: 7, Servers: []Server{{"id-1", "10.0.0.1:7000"}}}, Locked: true,
		Released: map[string]uint64{"id-2": 3}, Bootstrapper: true,
	}
	path := filepath.Join("testdata", "golden", "bootstrap-v1.json")
	fresh := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := (FileStore{Path: fresh}).Save(want); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); *update && errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	frozen, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(text, frozen) {
		t.Errorf("%v, written as\n%s\nfrozen is\n%s", err, text, frozen)
	}
	if got, err := (FileStore{Path: path}).Load(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, %v", got, err)
	}
}
