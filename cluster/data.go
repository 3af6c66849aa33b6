package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/uuid"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// ErrForeignData refuses a data directory that was written under another cluster key.
var ErrForeignData = errors.New("the data directory belongs to another cluster, or the cluster key was exchanged meanwhile: it was written under a cluster key that is not in the file. If it is this cluster's, add the former key to the file as the last line, and take it out when the node has started")

// identity is what a data directory says of its node. It is kept in one small file beside the log.
type identity struct {
	Version   int    `json:"version"`
	NodeID    string `json:"nodeId"`
	ClusterID string `json:"clusterId,omitempty"`
	Admitted  bool   `json:"admitted,omitempty"`  // the cluster has let the node in, and its log is here
	Dismissed bool   `json:"dismissed,omitempty"` // an operator took the node out while it ran
	Anew      bool   `json:"anew,omitempty"`      // what else the directory holds belongs to a former id, and is to go
	// Since is how far back the uses are known that this node has seen: idle.Ever for a new id, or as a stop in order has
	// noted it; gone while the node runs.
	Since    session.Time `json:"since,omitempty"`
	KeyCheck string       `json:"keyCheck"` // tells a wrong cluster key at the start, not by failing handshakes
	// Origin is where the state comes from, until the first start has told of it.
	Origin *Origin `json:"origin,omitempty"`
}

// The versions of identityFile. A directory is of version 2 while a node runs on it, and stays so when that ends without an
// order: then log entries that this node has acknowledged, and votes on them, may be in the journal alone. A program from
// before the journal knows version 1 only, so it refuses what it would misread. After an orderly stop all is where that
// program looks for it.
const (
	identityAtRest  = 1
	identityRunning = 2
)

// known reports whether the file is of a version that this program can read.
func (id identity) known() bool { return id.Version == identityAtRest || id.Version == identityRunning }

// The names in the data directory.
const (
	identityFile  = "node.json"
	raftDir       = "raft"
	bootstrapFile = "bootstrap.json"
)

// ownNames are patterns of all names that a node has in its data directory: with those that roster.WriteFile leaves when the
// process is killed, and those of the program around the cluster.
var ownNames = []string{
	identityFile + "*", raftDir, bootstrapFile + "*", unfinishedDir, copyPrefix + "*", "lock", "control.sock", "audit.log*",
}

// dataDir is a node's directory. Its zero path stands for an ephemeral node, which keeps nothing.
type dataDir struct {
	path string
	id   identity // what is in the file may be ahead of it: see setAnew

	mu   sync.Mutex // around the file
	over bool       // the last word has been written: this id is no member any more
}

// openDataDir makes the directory and the node's id, or reads them. A directory that was written under any of the keys is
// written under the first from then on.
func openDataDir(path string, keys *wire.KeyRing) (*dataDir, error) {
	check := keyCheck(keys.First())
	fresh := identity{Version: identityAtRest, NodeID: uuid.NewString(), Since: idle.Ever, KeyCheck: check}
	if path == "" {
		return &dataDir{id: fresh}, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	d := &dataDir{path: path}
	if d.has(unfinishedDir) {
		return nil, ErrUnfinished
	}
	data, err := os.ReadFile(d.file(identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		d.id = fresh
		return d, d.save()
	}
	if err != nil {
		return nil, fmt.Errorf("read node id: %w", err)
	}
	if err := json.Unmarshal(data, &d.id); err != nil {
		return nil, fmt.Errorf("read node id: %s: %w", d.file(identityFile), err)
	}
	if !d.id.known() || d.id.NodeID == "" {
		return nil, fmt.Errorf("read node id: %s is not of a version that this program knows", d.file(identityFile))
	}
	known := slices.ContainsFunc(keys.Keys(), func(k wire.ClusterKey) bool { return keyCheck(k) == d.id.KeyCheck })
	former := d.id.KeyCheck != check
	d.id.KeyCheck = check
	switch {
	case !known:
		return nil, ErrForeignData
	case d.id.Dismissed:
		return nil, roster.ErrDismissed
	case d.id.Anew:
		return d, d.empty()
	case former:
		return d, d.save()
	}
	return d, nil
}

// empty removes what a former id has left, and then the note of it. A crash in between leaves the note.
func (d *dataDir) empty() error {
	for _, name := range []string{raftDir, bootstrapFile} {
		if err := os.RemoveAll(d.file(name)); err != nil {
			return fmt.Errorf("remove what a former id has left: %w", err)
		}
	}
	d.id.Anew, d.id.Since = false, idle.Ever
	return d.save()
}

// has reports whether something of that name is there. What can't be looked at is.
func (d *dataDir) has(name string) bool {
	_, err := os.Lstat(d.file(name))
	return !errors.Is(err, fs.ErrNotExist)
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// setCluster notes the cluster's id; it is on disk when this returns.
func (d *dataDir) setCluster(id string) error {
	return d.note(false, func() { d.id.ClusterID = id })
}

// setAdmitted notes that the cluster has let this node in, and that it has a log; it is on disk when this returns.
func (d *dataDir) setAdmitted() error {
	return d.note(false, func() { d.id.Admitted = true })
}

// running reports whether the directory is of a node that runs, or that has ended without an order.
func (d *dataDir) running() bool { return d.id.Version == identityRunning }

// setRunning notes that a log is being written, or that it is written out; it is on disk when this returns.
func (d *dataDir) setRunning(running bool) error {
	version := identityAtRest
	if running {
		version = identityRunning
	}
	if d.id.Version == version {
		return nil
	}
	return d.note(false, func() { d.id.Version = version })
}

// setSince notes how far back the uses of this node are known; it is on disk when this returns.
func (d *dataDir) setSince(since session.Time) error {
	if d.id.Since == since {
		return nil
	}
	return d.note(false, func() { d.id.Since = since })
}

// setTold notes that somebody was told where the state comes from; it is on disk when this returns.
func (d *dataDir) setTold() error {
	return d.note(false, func() { d.id.Origin = nil })
}

// setDismissed notes that an operator took this node out; it is on disk when this returns.
func (d *dataDir) setDismissed() error {
	return d.note(true, func() { d.id.Dismissed = true })
}

// setKey notes that the directory belongs to a cluster with that key now; it is on disk when this returns.
func (d *dataDir) setKey(key wire.ClusterKey) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if check := keyCheck(key); d.id.KeyCheck != check && !d.over {
		d.id.KeyCheck = check
		return d.save()
	}
	return nil
}

func (d *dataDir) note(last bool, change func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return nil
	}
	d.over = last
	change()
	return d.save()
}

// setAnew makes the next start one of a new node of the same cluster. The id in memory stays: this node is still running.
func (d *dataDir) setAnew() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over { // it was dismissed
		return nil
	}
	d.over = true
	return d.write(identity{Version: identityAtRest, NodeID: uuid.NewString(), ClusterID: d.id.ClusterID, KeyCheck: d.id.KeyCheck, Anew: true})
}

// save writes the identity of a node that keeps one.
func (d *dataDir) save() error { return d.write(d.id) }

func (d *dataDir) write(id identity) error {
	if d.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("write node id: %w", err)
	}
	if err := roster.WriteFile(d.file(identityFile), data); err != nil {
		return fmt.Errorf("write node id: %w", err)
	}
	return nil
}

func (d *dataDir) bootstrapStore() roster.Store {
	if d.path == "" {
		return &roster.MemoryStore{}
	}
	return roster.FileStore{Path: d.file(bootstrapFile)}
}

// keyCheck is a value that only this key gives and that says nothing about it.
func keyCheck(key wire.ClusterKey) string {
	derived := key.Derive("data directory check")
	mac := hmac.New(sha256.New, derived[:])
	mac.Write([]byte("cloakroom"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
