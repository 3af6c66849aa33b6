package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster"
	"cloakroom/cluster/backup"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// loneLayer is a listener that nobody dials.
type loneLayer struct{ net.Listener }

func (loneLayer) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) { return nil, net.ErrClosed }

// openLog opens the log of a data directory, outside of any cluster.
func openLog(t *testing.T, id, dir string) *consensus.Node {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := consensus.Config{NodeID: id, Dir: dir, Ephemeral: dir == "", Layer: loneLayer{ln}}
	n, err := consensus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if !n.HasState() {
		if err := n.Bootstrap([]consensus.Server{{ID: id, Addr: id, Voter: true}}); err != nil {
			t.Fatal(err)
		}
	}
	for changed := n.Changed(); !n.IsLeader(); changed = n.Changed() {
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond): // the change may have come before the channel
		case <-t.Context().Done():
			t.Fatal("no leader")
		}
	}
	return n
}

func proposeTo(t *testing.T, n *consensus.Node, cmds ...session.Command) {
	t.Helper()
	entry, err := session.EncodeEntry(nil, &session.Entry{Stamp: 1_700_000_000_000, Commands: cmds})
	if err != nil {
		t.Fatal(err)
	}
	applied, err := n.Propose(t.Context(), entry).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range applied.Results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// aBackup is of a cluster with three sessions of a realm's users.
func aBackup(t *testing.T) []byte {
	t.Helper()
	n := openLog(t, "n1", "")
	proposeTo(t, n, &session.Genesis{ClusterID: "former", RealmID: "r", AdminID: "a", ServiceID: "s"})
	proposeTo(t, n, &session.PutMember{Member: session.Member{ID: "n1", Name: "n1", MaxVersion: session.MaxVersion}})
	proposeTo(t, n, &session.CreateUser{ID: "u", Realm: session.NativeRealm, Username: "ann"})
	var realmRev, userRev uint64
	n.Read(func(m *session.Machine) {
		native, _ := m.RealmByName(session.NativeRealm)
		user, _ := m.UserByID("u")
		realmRev, userRev = native.Rev, user.Rev
	})
	for i := range byte(3) {
		proposeTo(t, n, &session.Create{
			Key: session.Key{i, 1}, Realm: session.NativeRealm, Username: "ann", Surface: session.SurfaceFusion, UserID: "u",
			UserRev: userRev, RealmRev: realmRev, Idle: time.Hour, Lifetime: time.Hour,
		})
	}
	info := backup.Info{Node: "n1", Level: backup.Quorum}
	c, err := n.Capture(info.Describe)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := backup.NewSource(info, c, nil).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func founding(t *testing.T, dir string, keep bool) *cluster.Founding {
	t.Helper()
	return &cluster.Founding{DataDir: dir, Keys: newRing(t, testKey()), KeepSessions: keep, By: "a test", Logger: logger()}
}

// stateOf reads the log of a data directory.
func stateOf(t *testing.T, dir string, keys *keyring.Ring) *consensus.State {
	t.Helper()
	s, err := consensus.ReadState(filepath.Join(dir, "raft"), keys, logger())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// list is the names of what is in a directory.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A restored directory holds the backup's state as that of another cluster, with no member but its node, and its sessions
// only if that was said. It is encrypted if there are data keys, whether the backup was or not.
func TestRestore(t *testing.T) {
	t.Parallel()
	file := aBackup(t)
	data := newDataKeys(t)
	for _, test := range []struct {
		keep bool
		keys *keyring.Ring
	}{{false, nil}, {true, nil}, {true, data}} {
		dir := filepath.Join(t.TempDir(), "new")
		f := founding(t, dir, test.keep)
		f.DataKeys = test.keys
		info, founded, err := f.Restore(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if founded.Former != "former" || founded.Index != info.Index || founded.Sessions != 3 || founded.Kept != test.keep {
			t.Errorf("%+v", founded)
		}
		if got := list(t, dir); !slices.Equal(got, []string{"node.json", "raft"}) {
			t.Errorf("in the directory: %q", got)
		}
		s := stateOf(t, dir, test.keys)
		live := 0
		for i := range byte(3) {
			if _, ok := s.Machine.Lookup(session.Key{i, 1}); ok {
				live++
			}
		}
		if m := s.Machine; m.ClusterID() != founded.Cluster || founded.Cluster == "former" || len(m.Members()) != 0 || s.Index <= info.Index ||
			(live == 3) != test.keep || !test.keep && live != 0 {
			t.Errorf("cluster %s, members %v, index %d, %d sessions (keep: %v)", m.ClusterID(), m.Members(), s.Index, live, test.keep)
		}
	}
}

func newDataKeys(t *testing.T) *keyring.Ring {
	t.Helper()
	key, err := keyring.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New([]keyring.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// What is refused changes nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	file := aBackup(t)
	refusal := errors.New("no")
	for name, test := range map[string]struct {
		file  []byte
		there string // in the data directory
		check func(*session.Machine) error
		want  error
	}{
		"damaged":       {append(bytes.Clone(file[:len(file)-1]), file[len(file)-1]^1), "", nil, backup.ErrDamaged},
		"truncated":     {file[:len(file)/2], "", nil, backup.ErrTruncated},
		"foreign":       {[]byte("something else"), "", nil, backup.ErrForeign},
		"checked":       {file, "", func(*session.Machine) error { return refusal }, refusal},
		"a node's":      {file, "node.json", nil, cluster.ErrNotEmpty},
		"half a node's": {file, "raft", nil, cluster.ErrNotEmpty},
		"unfinished":    {file, "unfinished", nil, cluster.ErrNotEmpty},
	} {
		dir := t.TempDir()
		if test.there != "" {
			if err := os.WriteFile(filepath.Join(dir, test.there), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := list(t, dir)
		f := founding(t, dir, true)
		f.Check = test.check
		if _, _, err := f.Restore(bytes.NewReader(test.file)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if after := list(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: %q is there, it was %q", name, after, before)
		}
	}
	// Something in the way, in the middle of it.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := founding(t, filepath.Join(dir, "file"), true).Restore(bytes.NewReader(file)); err == nil {
		t.Error("restored into a file")
	}
}

// formerNode is the data directory of a node of a cluster with three sessions, which has a snapshot and some log.
func formerNode(t *testing.T, file []byte) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "former")
	_, founded, err := founding(t, dir, true).Restore(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	n := openLog(t, founded.Node, filepath.Join(dir, "raft"))
	for i := range 2 {
		var roles []session.Command
		for j := range 10 {
			roles = append(roles, &session.CreateRole{ID: fmt.Sprintf("id%d-%d", i, j), Name: fmt.Sprintf("role%d-%d", i, j)})
		}
		proposeTo(t, n, roles...)
	}
	copied := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // as a crash leaves it
		t.Fatal(err)
	}
	return copied
}

// A recovered node has all of its log, as another cluster, and what there was before is kept as it was.
func TestRecover(t *testing.T) {
	t.Parallel()
	dir := formerNode(t, aBackup(t))
	before := stateOf(t, dir, nil)
	removed := filepath.Join(t.TempDir(), "removed")
	copyDir(t, dir, removed)
	replaceIn(t, filepath.Join(removed, "node.json"), `"admitted": true`, `"admitted": true, "dismissed": true`)
	if found, err := founding(t, removed, true).Survey(); err != nil || !found.Removed {
		t.Errorf("of a node that was taken out of its cluster: %+v, %v", found, err)
	}
	f := founding(t, dir, true)
	found, err := f.Survey()
	if err != nil || found.Index != before.Index || found.Sessions != 3 || found.Cluster != "" || found.Removed {
		t.Fatalf("%+v, %v", found, err)
	}
	founded, err := f.Recover()
	if err != nil {
		t.Fatal(err)
	}
	after := stateOf(t, dir, nil)
	if founded.Former != before.Machine.ClusterID() || founded.Index != before.Index || after.Machine.ClusterID() != founded.Cluster ||
		founded.Cluster == founded.Former || after.Index <= before.Index || after.Term < before.Term {
		t.Errorf("%+v, index %d after %d", founded, after.Index, before.Index)
	}
	if got, want := len(after.Machine.Roles()), 22; got != want {
		t.Errorf("%d roles, not %d", got, want)
	}
	if kept := stateOf(t, founded.Copy, nil); kept.Machine.Hash() != before.Machine.Hash() {
		t.Error("the copy has another state")
	}
	if got := list(t, dir); len(got) != 3 || !strings.HasPrefix(got[0], "before-recovery-") || !slices.Equal(got[1:], []string{"node.json", "raft"}) {
		t.Errorf("in the directory: %q", got)
	}
}

// TestSurveyTellsTerms: of two logs that went apart the shorter one may be the one that a majority followed.
func TestSurveyTellsTerms(t *testing.T) {
	t.Parallel()
	dir := formerNode(t, aBackup(t))
	state := stateOf(t, dir, nil)
	for _, last := range []struct{ term, index uint64 }{{state.Term, state.Index + 7}, {state.Term + 1, state.Index + 1}} {
		state.Term, state.Index = last.term, last.index
		log := filepath.Join(dir, "raft")
		remove(t, log)
		if err := consensus.WriteState(log, nil, state, []consensus.Server{{ID: "n1", Addr: "n1", Voter: true}}, logger()); err != nil {
			t.Fatal(err)
		}
		if found, err := founding(t, dir, true).Survey(); err != nil || found.Term != last.term || found.Index != last.index {
			t.Errorf("%+v, %v; want %+v", found, err, last)
		}
	}
	if founded, err := founding(t, dir, true).Recover(); err != nil || founded.Term != state.Term {
		t.Errorf("%+v, %v", founded, err)
	}
}

// A recovery that was cut short anywhere leaves a directory that no node starts on, and that the next recovery makes the
// same of as if nothing had happened.
func TestRecoverAfterCrash(t *testing.T) {
	t.Parallel()
	file := aBackup(t)
	before := formerNode(t, file)
	want := stateOf(t, before, nil)
	after := filepath.Join(t.TempDir(), "after")
	copyDir(t, before, after)
	founded, err := founding(t, after, true).Recover()
	if err != nil {
		t.Fatal(err)
	}
	unfinished := func(dir string, path ...string) string {
		return filepath.Join(append([]string{dir, "unfinished"}, path...)...)
	}
	newRaft := func(dir, to string) { copyDir(t, filepath.Join(after, "raft"), to) }
	kept := func(dir string) { // as far as the identity was kept
		copyFile(t, filepath.Join(before, "node.json"), unfinished(dir, "former", "node.json"))
	}
	moved := func(dir string) { // the former log is out of its place
		kept(dir)
		move(t, filepath.Join(dir, "raft"), unfinished(dir, "former", "raft"))
	}
	for i, crash := range []func(dir string){
		func(dir string) { mkdir(t, unfinished(dir)) },
		func(dir string) { mkdir(t, unfinished(dir, "raft")) },
		func(dir string) { newRaft(dir, unfinished(dir, "raft")) },
		func(dir string) { newRaft(dir, unfinished(dir, "raft")); mkdir(t, unfinished(dir, "former")) },
		func(dir string) { newRaft(dir, unfinished(dir, "raft")); kept(dir) },
		func(dir string) { newRaft(dir, unfinished(dir, "raft")); moved(dir) },
		func(dir string) { moved(dir); newRaft(dir, filepath.Join(dir, "raft")) },
		func(dir string) {
			moved(dir)
			newRaft(dir, filepath.Join(dir, "raft"))
			copyFile(t, filepath.Join(after, "node.json"), filepath.Join(dir, "node.json"))
		},
	} {
		dir := filepath.Join(t.TempDir(), "crashed")
		copyDir(t, before, dir)
		crash(dir)
		refusesToStart(t, dir)
		f := founding(t, dir, true)
		if found, err := f.Survey(); err != nil || found.Index != want.Index {
			t.Errorf("crash %d: %+v, %v", i, found, err)
		}
		again, err := f.Recover()
		if err != nil {
			t.Errorf("crash %d: %v", i, err)
			continue
		}
		if again.Former != founded.Former || again.Index != want.Index || again.Sessions != 3 {
			t.Errorf("crash %d: %+v", i, again)
		}
		if kept := stateOf(t, again.Copy, nil); kept.Machine.Hash() != want.Machine.Hash() {
			t.Errorf("crash %d: the copy has another state", i)
		}
		if got, want := contents(t, filepath.Join(again.Copy, "node.json")), contents(t, filepath.Join(before, "node.json")); got != want {
			t.Errorf("crash %d: the copy is of another node: %s, not %s", i, got, want)
		}
		if s := stateOf(t, dir, nil); s.Machine.ClusterID() != again.Cluster || len(list(t, dir)) != 3 {
			t.Errorf("crash %d: cluster %s, %q", i, s.Machine.ClusterID(), list(t, dir))
		}
	}

	// It was complete but for the mark.
	mkdir(t, unfinished(after))
	refusesToStart(t, after)
	again, err := founding(t, after, true).Recover()
	if err != nil || again.Former != founded.Cluster {
		t.Errorf("%+v, %v", again, err)
	}
}

// A restore that was cut short anywhere leaves a directory that no node starts on, until it was emptied or all of the state
// is there for a recovery to begin with.
func TestRestoreAfterCrash(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "whole")
	if _, _, err := founding(t, whole, true).Restore(bytes.NewReader(aBackup(t))); err != nil {
		t.Fatal(err)
	}
	raftOf := func(dir string) string { return filepath.Join(dir, "raft") }
	for name, test := range map[string]struct {
		crash func(dir string)
		want  error
	}{
		"nothing yet":          {func(string) {}, cluster.ErrNoState},
		"half a log":           {func(dir string) { mkdir(t, raftOf(filepath.Join(dir, "unfinished"))) }, cluster.ErrNoState},
		"the log, not its own": {func(dir string) { copyDir(t, raftOf(whole), raftOf(dir)) }, cluster.ErrNoState},
		"all but the mark":     {func(dir string) { copyDir(t, whole, dir) }, nil},
	} {
		dir := filepath.Join(t.TempDir(), "crashed")
		mkdir(t, filepath.Join(dir, "unfinished"))
		test.crash(dir)
		refusesToStart(t, dir)
		founded, err := founding(t, dir, true).Recover()
		if !errors.Is(err, test.want) || err == nil && founded.Sessions != 3 {
			t.Errorf("%s: %+v, %v", name, founded, err)
		}
		if err != nil {
			refusesToStart(t, dir)
		}
	}
}

func refusesToStart(t *testing.T, dir string) {
	t.Helper()
	c, err := cluster.Open(cluster.Config{
		Name: "n1", DataDir: dir, Key: testKey(), Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", Idle: time.Minute, Expect: 1, Logger: logger(),
	})
	if !errors.Is(err, cluster.ErrUnfinished) {
		t.Errorf("a node starts: %v, %v", c, err)
	}
}

// What can't be recovered is left as it is.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	former := formerNode(t, aBackup(t))
	for name, test := range map[string]struct {
		spoil func(dir string)
		key   wire.ClusterKey
		want  error
	}{
		"nothing there":    {func(dir string) { remove(t, filepath.Join(dir, "node.json")) }, testKey(), cluster.ErrNoState},
		"no log":           {func(dir string) { remove(t, filepath.Join(dir, "raft")) }, testKey(), cluster.ErrNoState},
		"no snapshot":      {func(dir string) { remove(t, filepath.Join(dir, "raft", "snapshots")) }, testKey(), cluster.ErrBadState},
		"no identity":      {func(dir string) { truncate(t, filepath.Join(dir, "node.json")) }, testKey(), cluster.ErrBadState},
		"another key":      {func(string) {}, newKey("another"), cluster.ErrForeignData},
		"a newer identity": {func(dir string) { replaceIn(t, filepath.Join(dir, "node.json"), `"version": 1`, `"version": 3`) }, testKey(), cluster.ErrNewState},
	} {
		dir := filepath.Join(t.TempDir(), "spoilt")
		copyDir(t, former, dir)
		test.spoil(dir)
		before := list(t, dir)
		f := founding(t, dir, true)
		f.Keys = newRing(t, test.key)
		if _, err := f.Survey(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.Recover(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if after := list(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: %q is there, it was %q", name, after, before)
		}
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, b, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
}

func replaceIn(t *testing.T, path, old, with string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(b, []byte(old), []byte(with)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestOriginIsToldOnce: the first start after a restore says where the state comes from, and no later one. What is not told
// yet is told by the next start, and a recovery in between is what counts.
func TestOriginIsToldOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	f := founding(t, dir, true)
	if _, _, err := f.Restore(bytes.NewReader(aBackup(t))); err != nil {
		t.Fatal(err)
	}
	start := func(refused bool) (told []cluster.Origin) {
		t.Helper()
		cfg := cluster.Config{
			Name: "n1", DataDir: dir, Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", Expect: 1, Keys: newRing(t, testKey()), Idle: time.Hour, Logger: logger(),
			OnOrigin: func(_ string, from cluster.Origin) { told = append(told, from) },
		}
		if refused {
			cfg.Keys = newRing(t, wire.DevelopmentKey())
		}
		c, err := cluster.Open(cfg)
		if (err != nil) != refused {
			t.Fatal(err)
		}
		if err == nil {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return told
	}
	if told := start(true); len(told) != 0 {
		t.Errorf("under another key: %v", told)
	}
	told := start(false)
	if len(told) != 1 || told[0].By != "a test" || told[0].Former != "former" || !told[0].Kept || time.Since(told[0].At) > time.Hour || told[0].Index == 0 {
		t.Errorf("at the first start: %+v", told)
	}
	if told := start(false); len(told) != 0 {
		t.Errorf("at the second start: %v", told)
	}
	f.By, f.KeepSessions = "a recovery in a test", false
	for range 2 {
		if _, err := f.Recover(); err != nil {
			t.Fatal(err)
		}
	}
	if told := start(false); len(told) != 1 || told[0].By != f.By || told[0].Kept || !told[0].Made.IsZero() {
		t.Errorf("after two recoveries: %+v", told)
	}
}
