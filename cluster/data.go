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
	"sync"

	"github.com/google/uuid"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// ErrForeignData refuses a data directory that was written under another cluster key.
var ErrForeignData = errors.New("the data directory belongs to another cluster: it was written under another cluster key")

// ErrLogLost refuses a data directory of a member without its log: the node has forgotten what it voted for.
var ErrLogLost = errors.New("the log of this member is gone: empty the data directory, and the node joins anew under another id")

// identity is what a data directory says of its node. It is kept in one small file beside the log.
type identity struct {
	Version   int    `json:"version"`
	NodeID    string `json:"nodeId"`
	ClusterID string `json:"clusterId,omitempty"`
	Admitted  bool   `json:"admitted,omitempty"`  // the cluster has let the node in
	Dismissed bool   `json:"dismissed,omitempty"` // an operator took the node out while it ran
	Anew      bool   `json:"anew,omitempty"`      // what else the directory holds belongs to a former id, and is to go
	// Since is how far back the uses are known that this node has seen: noted by a stop in order, gone while it runs.
	Since    session.Time `json:"since,omitempty"`
	KeyCheck string       `json:"keyCheck"` // tells a wrong cluster key at the start, not by failing handshakes
}

// The names in the data directory, besides node.json.
const (
	raftDir       = "raft"
	bootstrapFile = "bootstrap.json"
)

// dataDir is a node's directory. Its zero path stands for an ephemeral node, which keeps nothing.
type dataDir struct {
	path  string
	since session.Time // identity.Since as it was found; idle.Ever for a new id
	id    identity     // what is in the file may be ahead of it: see setAnew

	mu   sync.Mutex // around the file
	over bool       // the last word has been written: this id is no member any more
}

// openDataDir makes the directory and the node's id, or reads them.
func openDataDir(path string, key wire.ClusterKey) (*dataDir, error) {
	check := keyCheck(key)
	fresh := identity{Version: 1, NodeID: uuid.NewString(), KeyCheck: check}
	if path == "" {
		return &dataDir{id: fresh, since: idle.Ever}, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	d := &dataDir{path: path, since: idle.Ever}
	data, err := os.ReadFile(d.file("node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		d.id = fresh
		return d, d.save()
	}
	if err != nil {
		return nil, fmt.Errorf("read node id: %w", err)
	}
	if err := json.Unmarshal(data, &d.id); err != nil {
		return nil, fmt.Errorf("read node id: %s: %w", d.file("node.json"), err)
	}
	if d.id.Version != 1 || d.id.NodeID == "" {
		return nil, fmt.Errorf("read node id: %s is not of a version that this program knows", d.file("node.json"))
	}
	switch {
	case d.id.KeyCheck != check:
		return nil, ErrForeignData
	case d.id.Dismissed:
		return nil, roster.ErrDismissed
	case d.id.Anew:
		return d, d.empty()
	}
	d.since, d.id.Since = d.id.Since, 0
	if d.since == 0 {
		return d, nil
	}
	return d, d.save() // before this node serves: it may be the last thing that this start can write
}

// empty removes what a former id has left, and then the note of it. A crash in between leaves the note.
func (d *dataDir) empty() error {
	for _, name := range []string{raftDir, bootstrapFile} {
		if err := os.RemoveAll(d.file(name)); err != nil {
			return fmt.Errorf("remove what a former id has left: %w", err)
		}
	}
	d.id.Anew = false
	return d.save()
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// setCluster notes the cluster's id; it is on disk when this returns.
func (d *dataDir) setCluster(id string) error {
	return d.note(false, func() { d.id.ClusterID = id })
}

// setAdmitted notes that the cluster has let this node in; it is on disk when this returns.
func (d *dataDir) setAdmitted() error {
	return d.note(false, func() { d.id.Admitted = true })
}

// setSince notes how far back the uses of this node are known; it is on disk when this returns.
func (d *dataDir) setSince(since session.Time) error {
	return d.note(false, func() { d.id.Since = since })
}

// setDismissed notes that an operator took this node out; it is on disk when this returns.
func (d *dataDir) setDismissed() error {
	return d.note(true, func() { d.id.Dismissed = true })
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
	return d.write(identity{Version: 1, NodeID: uuid.NewString(), ClusterID: d.id.ClusterID, KeyCheck: d.id.KeyCheck, Anew: true})
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
	if err := roster.WriteFile(d.file("node.json"), data); err != nil {
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
