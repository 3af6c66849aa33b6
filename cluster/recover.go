package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
)

// formerDir is in unfinishedDir what the directory held before; in the end it gets a name with copyPrefix.
const (
	formerDir  = "former"
	copyPrefix = "before-recovery-"
)

// Survey says what Recover would find, and changes nothing: Cluster and Node are empty. By the term, and where that is the
// same by the index, one sees which of several nodes that are left has the most of what was acknowledged (Raft, section 5.4.1): a
// leader that was cut off may have a longer log, whose end is nobody else's, and in whose place others have put entries of a
// later term.
func (f *Founding) Survey() (*Founded, error) {
	d := &dataDir{path: f.DataDir}
	dir := d.file(raftDir)
	if former := filepath.Join(unfinishedDir, formerDir, raftDir); d.has(former) {
		dir = d.file(former)
	}
	state, removed, err := f.read(d, dir)
	if err != nil {
		return nil, err
	}
	stats := state.Machine.Stats()
	return &Founded{
		Former: state.Machine.ClusterID(), Term: state.Term, Index: state.Index, Clock: state.Machine.Clock(),
		Sessions: stats.Sessions, Users: stats.Users, Removed: removed,
	}, nil
}

// Recover founds a cluster on what one node of a former cluster has, when a majority of that is lost for good. The state is
// that of the whole log: what was acknowledged is in it if this node had it, and so may be what was not. It takes the
// place of what there was, of which a copy stays in the data directory.
//
// A crash at any moment leaves the former state, the new one, or a directory that no node starts on and that Recover sets
// right when it is called again.
func (f *Founding) Recover() (*Founded, error) {
	d := &dataDir{path: f.DataDir}
	if err := storage.CheckLinks(d.path, ownNames); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := d.putBack(); err != nil {
		return nil, fmt.Errorf("undo what was cut short: %w", err)
	}
	// The mark stays until there is something to go on with: of a restore that was cut short there may be a log and no
	// identity, and a node that started on that would be a stranger to its own log.
	state, removed, err := f.read(d, d.file(raftDir))
	if err != nil {
		return nil, err
	}
	founded, err := f.found(state)
	if err != nil {
		return nil, err
	}
	founded.Removed = removed
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("undo what was cut short: %w", err)
	}
	if err := f.prepare(d, state, founded); err != nil {
		return nil, errors.Join(err, d.undo())
	}
	if err := d.replace(founded, f.Keys.First(), f.origin(founded, time.Time{})); err != nil {
		return nil, errors.Join(err, d.undo())
	}
	kept := copyPrefix + time.Now().UTC().Format("20060102T150405.000Z")
	if err := d.move(filepath.Join(unfinishedDir, formerDir), kept); err != nil {
		return nil, errors.Join(err, d.undo())
	}
	founded.Copy = d.file(kept)
	return founded, d.finish()
}

// read puts together the state in a directory, and reports whether the node had been taken out of its cluster.
func (f *Founding) read(d *dataDir, dir string) (state *consensus.State, removed bool, err error) {
	text, err := os.ReadFile(d.file(identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, ErrNoState
	}
	if err != nil {
		return nil, false, fmt.Errorf("read node id: %w", err)
	}
	var id identity
	if err := json.Unmarshal(text, &id); err != nil {
		return nil, false, fmt.Errorf("%w (%s can't be read)", ErrBadState, identityFile)
	}
	if !id.known() {
		return nil, false, fmt.Errorf("%w (version %d of %s)", ErrNewState, id.Version, identityFile)
	}
	if !slices.ContainsFunc(f.Keys.Keys(), func(k wire.ClusterKey) bool { return keyCheck(k) == id.KeyCheck }) {
		return nil, false, ErrForeignData
	}
	state, err = consensus.ReadState(dir, f.DataKeys, f.Logger)
	switch {
	case err == nil && state.Machine.ClusterID() == "", errors.Is(err, storage.ErrNoState):
		return nil, false, ErrNoState
	case errors.Is(err, session.ErrUnknownKind):
		return nil, false, fmt.Errorf("%w (%w)", ErrNewState, err)
	case errors.Is(err, storage.ErrDamaged), errors.Is(err, session.ErrBadEncoding):
		return nil, false, fmt.Errorf("%w (%w)", ErrBadState, err)
	}
	return state, id.Dismissed || id.Anew, err
}

// replace puts the new log in the place of the former one, of which everything is kept.
func (d *dataDir) replace(founded *Founded, key wire.ClusterKey, origin *Origin) error {
	former := d.file(filepath.Join(unfinishedDir, formerDir))
	if err := os.Mkdir(former, 0o700); err != nil {
		return fmt.Errorf("keep what there was: %w", err)
	}
	for _, name := range []string{identityFile, bootstrapFile} {
		if err := keep(d.file(name), filepath.Join(former, name)); err != nil {
			return fmt.Errorf("keep what there was: %w", err)
		}
	}
	if err := d.move(raftDir, filepath.Join(unfinishedDir, formerDir, raftDir)); err != nil {
		return err
	}
	if err := d.move(filepath.Join(unfinishedDir, raftDir), raftDir); err != nil {
		return err
	}
	return d.become(founded, key, origin)
}

// keep copies a small file, if it is there.
func keep(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return roster.WriteFile(to, data)
}

// undo takes back what was not finished. What is finished but for its last step, in which the mark goes, stays.
func (d *dataDir) undo() error {
	if err := d.putBack(); err != nil {
		return err
	}
	return d.finish()
}

// putBack puts the former log back in its place, and who it belongs to. The mark stays.
func (d *dataDir) putBack() error {
	former := filepath.Join(unfinishedDir, formerDir)
	if !d.has(filepath.Join(former, raftDir)) {
		return nil
	}
	if err := d.removeAll(raftDir); err != nil { // the new one, which can be made again
		return err
	}
	for _, name := range []string{identityFile, bootstrapFile} {
		if err := keep(d.file(filepath.Join(former, name)), d.file(name)); err != nil {
			return err
		}
	}
	return d.move(filepath.Join(former, raftDir), raftDir)
}
