package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"cloakroom/cluster/backup"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
)

// Why no cluster is founded on a state. Nothing has been changed then.
var (
	ErrNotEmpty  = &session.Error{Code: "data-dir-not-empty", Message: "the data directory belongs to a node already: a backup is restored into an empty one, before the node's first start"}
	ErrNoState   = &session.Error{Code: "nothing-to-recover", Message: "there is no state of a cluster in the data directory"}
	ErrBadState  = &session.Error{Code: "data-dir-damaged", Message: "the data directory is damaged: recover another node's, or restore a backup"}
	ErrNewState  = &session.Error{Code: "data-dir-newer", Message: "the data directory was written by a newer program: use that one, or a later one"}
	ErrKeyNeeded = &session.Error{Code: "wrong-cluster-key", Message: "a secret in the state is sealed under another cluster key: add that one to the file as a further line (--cluster-key-file)"}
)

// ErrUnfinished refuses a data directory that a restore or a recovery has not come to an end with.
var ErrUnfinished = errors.New("a restore or a recovery of this data directory was cut short: recover it again, or empty it and restore the backup again")

// Founding makes of a former cluster's state the data directory that a new cluster begins with. The directory must be the
// caller's alone: no node may run on it. What root writes there is given to the directory's owner: a user that exists only
// while the node runs can't do it.
//
// The new cluster has an id of its own and one member, this node, under a new id: so no member of the former one is let in,
// none is listened to, and none can vote. The others join with empty data directories. It has command numbers of its own,
// too, because the former cluster may have gone on beyond the state, and revisions of that are in somebody's hands; its clock
// goes on from the state's, and as after any cold start, from the wall clock if that is later. So sessions age while nobody
// serves them.
//
// What was acknowledged after the state is lost, and that is not only what was stored: a session that was ended after it is
// live in it. Logout is final, so sessions are ended, all of them, unless KeepSessions says otherwise: then those come back.
type Founding struct {
	DataDir      string
	Keys         *wire.KeyRing // the first is the new cluster's, all open what is sealed
	DataKeys     *keyring.Ring // nil: the data directory is not encrypted
	KeepSessions bool
	By           string                       // who ends the sessions, for those who ask why
	Check        func(*session.Machine) error // refuses a state, nil: none
	Logger       *slog.Logger
}

// Founded is what has come of it.
type Founded struct {
	Former   string       `json:"former"`  // id of the cluster that was
	Cluster  string       `json:"cluster"` // and of the one that will be
	Node     string       `json:"node"`    // id of its first member
	Term     uint64       `json:"term"`    // of the last entry that is in the state
	Index    uint64       `json:"index"`   // of that, too
	Clock    session.Time `json:"-"`       // its cluster time
	Sessions int          `json:"sessions"`
	Kept     bool         `json:"kept"` // the sessions go on
	Users    int          `json:"users"`
	Removed  bool         `json:"removed,omitempty"` // the former node had been taken out of its cluster
	Copy     string       `json:"copy,omitempty"`    // directory with what there was before
}

// Origin is where the state of a new cluster comes from.
type Origin struct {
	By     string    `json:"by"`            // Founding.By
	At     time.Time `json:"at"`            // when that was
	Made   time.Time `json:"made,omitzero"` // when the backup was, if it is one
	Former string    `json:"former"`        // id of the cluster that was
	Index  uint64    `json:"index"`         // of the last entry that is in the state
	Kept   bool      `json:"kept"`          // its sessions go on
}

// String says it for a log that people read.
func (o Origin) String() string {
	made := ""
	if !o.Made.IsZero() {
		made = " made at " + o.Made.UTC().Format(time.RFC3339)
	}
	sessions := "its sessions were ended"
	if o.Kept {
		sessions = "its sessions go on"
	}
	return fmt.Sprintf("founded by %s%s, from cluster %s up to index %d, at %s; %s", o.By, made, o.Former, o.Index, o.At.UTC().Format(time.RFC3339), sessions)
}

// unfinishedDir is in a data directory that is neither the one nor the other. No node starts on it.
const unfinishedDir = "unfinished"

// Restore founds a cluster on a backup, in an empty data directory. After an error nothing is there that was not before.
func (f *Founding) Restore(file io.ReadSeeker) (backup.Info, *Founded, error) {
	d := &dataDir{path: f.DataDir}
	if slices.ContainsFunc([]string{identityFile, raftDir, bootstrapFile, unfinishedDir}, d.has) {
		return backup.Info{}, nil, ErrNotEmpty
	}
	info, machine, err := backup.Read(file, f.DataKeys)
	if err != nil {
		return info, nil, err
	}
	state := &consensus.State{Machine: machine, Index: info.Index, Term: max(info.Term, 1)}
	founded, err := f.found(state)
	if err != nil {
		return info, nil, err
	}
	err = f.prepare(d, state, founded)
	if err == nil {
		err = d.move(filepath.Join(unfinishedDir, raftDir), raftDir)
	}
	if err == nil {
		err = d.become(founded, f.Keys.First(), f.origin(founded, info.Made))
	}
	if err == nil {
		err = d.finish()
	}
	if err != nil {
		return info, nil, errors.Join(err, d.removeAll(raftDir, identityFile, unfinishedDir))
	}
	return info, founded, nil
}

// found makes the state that of the new cluster.
func (f *Founding) found(state *consensus.State) (*Founded, error) {
	m := state.Machine
	if m.ClusterID() == "" {
		return nil, ErrNoState
	}
	if f.Check != nil {
		if err := f.Check(m); err != nil {
			return nil, err
		}
	}
	stats := m.Stats()
	founded := &Founded{
		Former: m.ClusterID(), Cluster: uuid.NewString(), Node: uuid.NewString(), Term: state.Term, Index: state.Index,
		Clock: m.Clock(), Sessions: stats.Sessions, Users: stats.Users, Kept: f.KeepSessions,
	}
	if err := m.Refound(founded.Cluster); err != nil {
		return nil, fmt.Errorf("found cluster %s: %w", founded.Cluster, err)
	}
	state.Index = max(state.Index, m.Applied()) + 1
	if f.KeepSessions {
		m.Advance(state.Index)
		return founded, nil
	}
	for _, r := range m.Apply(state.Index, &session.Entry{Commands: []session.Command{&session.EndAll{By: f.By}}}) {
		if r.Err != nil {
			return nil, fmt.Errorf("end the sessions: %w", r.Err)
		}
	}
	return founded, nil
}

func (f *Founding) origin(founded *Founded, made time.Time) *Origin {
	return &Origin{
		By: f.By, At: time.Now().UTC().Truncate(time.Second), Made: made, Former: founded.Former, Index: founded.Index, Kept: founded.Kept,
	}
}

// prepare writes the new log beside whatever is there.
func (f *Founding) prepare(d *dataDir, state *consensus.State, founded *Founded) error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := os.Mkdir(d.file(unfinishedDir), 0o700); err != nil {
		return fmt.Errorf("begin in data directory: %w", err)
	}
	// An address in raft's configuration is the node's id, see roster.
	first := []consensus.Server{{ID: founded.Node, Addr: founded.Node, Voter: true}}
	if err := consensus.WriteState(filepath.Join(d.file(unfinishedDir), raftDir), f.DataKeys, state, first, f.Logger); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

// become makes the directory that of the new cluster's first member. When it has seen its sessions last is not known, as
// after a crash: they get the grace of idle sessions.
func (d *dataDir) become(founded *Founded, key wire.ClusterKey, origin *Origin) error {
	d.id = identity{Version: identityAtRest, NodeID: founded.Node, ClusterID: founded.Cluster, Admitted: true, KeyCheck: keyCheck(key), Origin: origin}
	if err := d.save(); err != nil {
		return err
	}
	return d.removeAll(bootstrapFile)
}

// finish lets nodes start on the directory, as the user that it belongs to.
func (d *dataDir) finish() error {
	if err := storage.Inherit(d.path, ownNames); err != nil {
		return fmt.Errorf("give the data directory to its owner: %w", err)
	}
	if err := d.removeAll(unfinishedDir); err != nil {
		return err
	}
	return d.sync()
}

// move renames something in the directory; it is on disk when this returns.
func (d *dataDir) move(from, to string) error {
	if err := os.Rename(d.file(from), d.file(to)); err != nil {
		return fmt.Errorf("put %s in place: %w", to, err)
	}
	return errors.Join(roster.SyncDir(filepath.Dir(d.file(from))), roster.SyncDir(filepath.Dir(d.file(to))))
}

func (d *dataDir) removeAll(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

func (d *dataDir) sync() error { return roster.SyncDir(d.path) }
