package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/storage"
)

// TestSealingIsCutShort: a crash while the log is rewritten leaves the old one, and what was begun is removed.
func TestSealingIsCutShort(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, Config{})
	tell(t, n, "a", 20)
	hash, applied := hashOf(n), n.Applied()
	closeNode(t, n)

	unfinished := filepath.Join(dir, logFile+tempSuffix)
	if err := os.WriteFile(unfinished, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	closeNode(t, alone(t, dir, Config{}))
	if _, err := os.Stat(unfinished); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}

	if err := os.MkdirAll(filepath.Join(unfinished, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := tryDisk(t, "n1", dir, Config{}); err == nil {
		t.Fatal("what is in the way was passed over")
	}
	if err := os.RemoveAll(unfinished); err != nil {
		t.Fatal(err)
	}
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	n = alone(t, dir, Config{DataKeys: ring})
	if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
		t.Errorf("another state, %v", err)
	}
}

// TestEncryptedDamage: a bit that has changed, and an end that is missing, are found when the node starts.
func TestEncryptedDamage(t *testing.T) {
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	for name, damage := range map[string]func(t *testing.T, dir string){
		"a bit of the snapshot": func(t *testing.T, dir string) { flip(t, filepath.Join(onlySnapshot(t, dir), stateFile)) },
		"the end of the snapshot": func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(onlySnapshot(t, dir), stateFile), 100); err != nil {
				t.Fatal(err)
			}
		},
		"an empty snapshot": func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(onlySnapshot(t, dir), stateFile), 0); err != nil {
				t.Fatal(err)
			}
		},
		"no state": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(onlySnapshot(t, dir), stateFile)); err != nil {
				t.Fatal(err)
			}
		},
		"the description of the snapshot": func(t *testing.T, dir string) {
			path := filepath.Join(onlySnapshot(t, dir), metaFile)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(b, []byte(`"ID":"n1"`), []byte(`"ID":"n9"`), 1)
			if bytes.Equal(b, changed) {
				t.Fatalf("%s", b)
			}
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"an entry": func(t *testing.T, dir string) {
			changeEntry(t, dir, func(data []byte) { data[len(data)/2] ^= 1 })
		},
		"an entry's tag": func(t *testing.T, dir string) {
			changeEntry(t, dir, func(data []byte) { data[len(data)-1] ^= 0x80 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := alone(t, dir, Config{DataKeys: ring, TrailingLogs: 5})
			tell(t, n, "a", 20)
			snapshot(t, n)
			tell(t, n, "b", 5)
			closeNode(t, n)
			damage(t, dir)
			_, err := tryDisk(t, "n1", dir, Config{DataKeys: ring})
			if !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("open: %v", err)
			}
			t.Log(err)
		})
	}
}

// changeEntry changes the last entry in its place in the file.
func changeEntry(t *testing.T, dir string, change func([]byte)) {
	t.Helper()
	path := filepath.Join(dir, logFile)
	db, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{ReadOnly: true}})
	if err != nil {
		t.Fatal(err)
	}
	last, err := db.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var log raft.Log // as it lies there
	if err := errors.Join(db.GetLog(last, &log), db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := bytes.Index(b, log.Data); at >= 0; at = bytes.Index(b, log.Data) {
		change(b[at : at+len(log.Data)])
		found++
	}
	if found == 0 {
		t.Fatal("the entry is not in the file")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestModes: nobody but the owner may look at what a node has made, whatever the umask, and what was open is closed.
func TestModes(t *testing.T) {
	private := func(dir string) {
		t.Helper()
		count := 0
		walk(t, dir, func(path string, info fs.FileInfo) {
			count++
			if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[info.IsDir()]; info.Mode().Perm() != want {
				t.Errorf("%s: %v", path, info.Mode())
			}
		})
		if count < 8 {
			t.Errorf("%d files and directories", count)
		}
	}
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	dir := filepath.Join(t.TempDir(), "raft")
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	for _, keys := range []*keyring.Ring{nil, ring, ring} {
		n := alone(t, dir, Config{DataKeys: keys})
		tell(t, n, "a", 1)
		snapshot(t, n)
		tell(t, n, fmt.Sprint(time.Now().UnixNano()), 1)
		snapshot(t, n)
		private(dir)
		closeNode(t, n)
		private(dir)
	}
	walk(t, dir, func(path string, info fs.FileInfo) {
		if err := os.Chmod(path, info.Mode().Perm()|0o055); err != nil {
			t.Fatal(err)
		}
	})
	out := &logBuffer{}
	n := alone(t, dir, Config{DataKeys: ring, Logger: out.logger()})
	private(dir)
	if lines := strings.Count(out.String(), "others could read the data directory"); lines != 1 {
		t.Errorf("%d lines about it", lines)
	}
	closeNode(t, n)
}

// TestJournalIsPlain: what a node without keys has left in the journal is not in the directory once there are keys.
func TestJournalIsPlain(t *testing.T) {
	from := t.TempDir()
	n := alone(t, from, Config{})
	tell(t, n, "a", 20)
	hash, applied := hashOf(n), n.Applied()
	to := crash(t, from)
	if found := findTale(t, to); !slices.Contains(found, filepath.Join(to, journalFile)) {
		t.Fatalf("the tell-tale is in %v alone", found)
	}
	sealed := onDisk(t, "n1", to, Config{DataKeys: keytest.Ring(t, keytest.Keys(t, 1)...)})
	untilLeader(t, sealed)
	if err := sealed.WaitApplied(t.Context(), applied); err != nil || hashOf(sealed) != hash {
		t.Errorf("another state, %v", err)
	}
	if found := findTale(t, to); len(found) > 0 {
		t.Errorf("the tell-tale is in %v", found)
	}
}
