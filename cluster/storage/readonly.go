package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"cloakroom/cluster/keyring"
)

// OpenReadOnly opens a directory for reading: nothing in it is changed but for what a crash has left unfinished, and nobody
// else writes to it meanwhile. Errors as those of Open, and ErrNoState if there is no log.
func OpenReadOnly(dir string, keys *keyring.Ring, library hclog.Logger) (*Disk, error) {
	path := filepath.Join(dir, logFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoState
	} else if err != nil {
		return nil, Failed("look at log store", err)
	}
	store, err := openBolt(path, true) // others may read it meanwhile, and nobody write
	if err != nil {
		return nil, err
	}
	d, err := openBehindLock(dir, store, keys, library)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return d, nil
}
