package storage

import (
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
)

// Seed makes a directory in which a node starts with one snapshot, that of index, term and configuration of meta, and no
// log. write writes it. The directory must not be there yet. When Seed returns, all of it is on the disk.
func Seed(dir string, keys *keyring.Ring, logger *slog.Logger, library hclog.Logger, meta raft.SnapshotMeta, write func(io.Writer) error) (err error) {
	if err := os.Mkdir(dir, dirMode); err != nil {
		return Failed("make directory", err)
	}
	d, err := Open(dir, keys, logger, library)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	// The last term that the former node knew of may be a later one. Nobody of its members is a member here.
	if err := d.Stable.SetUint64(keyCurrentTerm, meta.Term); err != nil {
		return Failed("write term", err)
	}
	_, transport := raft.NewInmemTransport("") // for the form in which the library's first versions wrote addresses
	sink, err := d.Snapshots.Create(raft.SnapshotVersionMax, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, transport)
	if err != nil {
		return Failed("store snapshot", err)
	}
	if err := write(sink); err != nil {
		return errors.Join(Failed("store snapshot", err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return Failed("store snapshot", err)
	}
	return syncDir(dir)
}

// keyCurrentTerm is where the library keeps the term.
var keyCurrentTerm = []byte("CurrentTerm")
