package cluster_test

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/klauspost/compress/zstd"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// frozenNodes is what three nodes of the previous version have left when they were stopped in order: the program of that
// version itself wrote it, with snapshots after 3 kB of log, and log behind them. nodes.txt says which version that was, when they were
// stopped, and which sessions lived. The files never change: a new version brings new ones in their place.
const frozenNodes = "testdata/previous/nodes"

// mixed is a cluster of nodes of two versions, begun on what nodes of the older one have left.
type mixed struct {
	*harness
	live, ended []session.Key // as frozen

	mu       sync.Mutex
	serving  map[string]*cluster.Cluster // to which clients are sent
	present  []session.Key               // logged in under load and not logged out
	gone     []session.Key               // the others
	failures map[string]int
	lookups  int
	logouts  int
	changes  int
}

func newMixed(t *testing.T, n *clustertest.Network) *mixed {
	m := &mixed{harness: newHarness(t, n, 3, "n1", "n2", "n3"), serving: map[string]*cluster.Cluster{}, failures: map[string]int{}}
	m.tune = small
	text, err := os.ReadFile(frozenNodes + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	var stopped time.Time
	for line := range strings.Lines(string(text)) {
		word := strings.Fields(line)
		switch word[0] {
		case "version":
			if word[1] != fmt.Sprint(previous) {
				t.Fatalf("the frozen nodes are of version %s: freeze those of version %d", word[1], previous)
			}
		case "time":
			if stopped, err = time.Parse(time.RFC3339, word[1]); err != nil {
				t.Fatal(err)
			}
		case "live":
			m.live = append(m.live, keyOf(t, word[2]))
		case "ended":
			m.ended = append(m.ended, keyOf(t, word[2]))
		}
	}
	unpackNodes(t, m.dir)
	for _, name := range m.names {
		m.stores[name], m.ids[name] = storesOf(t, filepath.Join(m.dir, name))
	}
	time.Sleep(time.Until(stopped.Add(time.Second))) // fake: from the year 2000 on
	return m
}

// keyOf is the key of a token as a cookie carries it.
func keyOf(t *testing.T, token string) session.Key {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(token, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	return session.KeyOf(raw)
}

func unpackNodes(t *testing.T, dir string) {
	t.Helper()
	compressed, err := os.ReadFile(frozenNodes + ".tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	plain, err := decoder.DecodeAll(compressed, nil)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(bytes.NewReader(plain)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var content []byte
			content, err = io.ReadAll(archive)
			err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// as makes a node one that knows no later version.
func as(version uint8) option { return func(c *cluster.Config) { c.Version = version } }

// storesOf returns in memory what a frozen directory holds of a log and snapshots, and the node's id. The tests write much,
// and slow disks would hold them up; that the files can be opened where they are is for TestFrozenNodes.
func storesOf(t *testing.T, dir string) (*storage.Stores, string) {
	t.Helper()
	db, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "raft", "raft.db")})
	if err != nil {
		t.Fatal(err)
	}
	s := storage.NewMemoryStores()
	first, err1 := db.FirstIndex()
	last, err2 := db.LastIndex()
	errs := []error{err1, err2}
	for i := first; i <= last; i++ {
		var entry raft.Log
		errs = append(errs, db.GetLog(i, &entry), s.Log.StoreLog(&entry))
	}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm"} {
		n, err := db.GetUint64([]byte(key))
		errs = append(errs, err, s.Stable.SetUint64([]byte(key), n))
	}
	vote, err := db.Get([]byte("LastVoteCand"))
	errs = append(errs, err, s.Stable.Set([]byte("LastVoteCand"), vote), db.Close())
	files, err := raft.NewFileSnapshotStore(filepath.Join(dir, "raft"), 2, io.Discard)
	if err = errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	list, err := files.List()
	if err != nil || len(list) == 0 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	meta, source, err := files.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := s.Snapshots.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(sink, source)
	id := struct{ NodeID string }{}
	text, err3 := os.ReadFile(filepath.Join(dir, "node.json"))
	if err := errors.Join(err, source.Close(), sink.Close(), err3, json.Unmarshal(text, &id)); err != nil {
		t.Fatal(err)
	}
	return s, id.NodeID
}

// start starts a node as a program that knows no later version.
func (m *mixed) start(name string, version uint8) {
	m.t.Helper()
	m.harness.start(name, as(version))
}

// ready waits until nodes are, and sends clients to them.
func (m *mixed) ready(names ...string) {
	m.t.Helper()
	m.harness.ready(names...)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		m.serving[name] = m.nodes[name]
	}
}

// leave sends the clients of a node elsewhere and stops it in order.
func (m *mixed) leave(name string) {
	m.t.Helper()
	m.mu.Lock()
	delete(m.serving, name)
	m.mu.Unlock()
	time.Sleep(time.Second) // fake: who has been sent to it has its answer
	m.drain(name)
}

// says returns the version that a node says it knows, as the others have heard, and version the one that is in use.
func (m *mixed) says(name string) (known uint8) {
	m.read(func(machine *session.Machine) {
		for _, member := range machine.Members() {
			if member.Name == name {
				known = member.MaxVersion
			}
		}
	})
	return known
}

func (m *mixed) version(name string) (version uint8) {
	read(m.t, m.nodes[name], func(machine *session.Machine) { version = machine.Version() })
	return version
}

func (m *mixed) read(fn func(*session.Machine)) {
	m.t.Helper()
	read(m.t, m.nodes[m.leader()], fn)
}

// entries makes so many entries that a snapshot is taken of them, and that the log does not reach back any more.
func (m *mixed) entries() {
	m.t.Helper()
	leader := m.nodes[m.leader()]
	from := leader.Stats()
	for i := 0; i < 200 || leader.Stats().Snapshots < from.Snapshots+3; i++ {
		m.do(leader, &session.Put{Key: m.live[0], Attrs: []session.Attr{{Key: "n", Value: fmt.Sprint(i, strings.Repeat(".", 100))}}})
	}
}

// checkFrozen looks at every node for what was acknowledged by the nodes of the previous version.
func (m *mixed) checkFrozen() {
	m.t.Helper()
	for name, c := range m.nodes {
		for i, k := range m.live {
			if _, err := use(m.t, c, k, cluster.Lease); err != nil {
				m.t.Errorf("%s: session %d that the previous version had made: %v", name, i, err)
			}
		}
		for i, k := range m.ended {
			if _, err := use(m.t, c, k, cluster.Lease); !errors.Is(err, session.ErrSessionInvalid) {
				m.t.Errorf("%s: session %d that the previous version had ended: %v", name, i, err)
			}
		}
	}
}
