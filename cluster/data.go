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

	"github.com/google/uuid"

	"cloakroom/cluster/roster"
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
	Admitted  bool   `json:"admitted,omitempty"` // the cluster has let the node in
	KeyCheck  string `json:"keyCheck"`           // tells a wrong cluster key at the start, not by failing handshakes
}

// dataDir is a node's directory. Its zero path stands for an ephemeral node, which keeps nothing.
type dataDir struct {
	path string
	id   identity
}

// openDataDir makes the directory and the node's id, or reads them.
func openDataDir(path string, key wire.ClusterKey) (*dataDir, error) {
	check := keyCheck(key)
	fresh := identity{Version: 1, NodeID: uuid.NewString(), KeyCheck: check}
	if path == "" {
		return &dataDir{id: fresh}, nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	d := &dataDir{path: path}
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
	if d.id.KeyCheck != check {
		return nil, ErrForeignData
	}
	return d, nil
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// setCluster notes the cluster's id; it is on disk when this returns.
func (d *dataDir) setCluster(id string) error {
	d.id.ClusterID = id
	return d.save()
}

// setAdmitted notes that the cluster has let this node in; it is on disk when this returns.
func (d *dataDir) setAdmitted() error {
	d.id.Admitted = true
	return d.save()
}

// save writes the identity of a node that keeps one.
func (d *dataDir) save() error {
	if d.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(d.id, "", "  ")
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
	return roster.FileStore{Path: d.file("bootstrap.json")}
}

// keyCheck is a value that only this key gives and that says nothing about it.
func keyCheck(key wire.ClusterKey) string {
	derived := key.Derive("data directory check")
	mac := hmac.New(sha256.New, derived[:])
	mac.Write([]byte("cloakroom"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
