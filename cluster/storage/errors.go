package storage

import (
	"errors"

	"cloakroom/cluster/session"
)

// Why a directory could not be opened.
var (
	// ErrNoState is for a directory without a log and without a snapshot.
	ErrNoState = errors.New("there is neither a log nor a snapshot: the node was never part of a cluster, or its log is lost")
	ErrLocked  = errors.New("the data directory is in use by another process")
	ErrDamaged = errors.New("the data directory is damaged: remove it and let the node join again as a new one")
	// ErrNoDataKeys and ErrWrongDataKeys leave everything as it was. What they are wrapped in names the key.
	ErrNoDataKeys    = errors.New("the data directory is encrypted, and no key was given: start the node with the key file that has this key (--data-key-file); nothing was changed")
	ErrWrongDataKeys = errors.New("the key file does not have this key: add it as a further line (--data-key-file); nothing was changed")
)

// ErrKeyInUse refuses keys without one that something on disk is sealed under.
var ErrKeyInUse = errors.New("something on disk is sealed under a key that is missing: put it back into the key file behind the new one, send SIGHUP, and take it out when the log says that log and snapshots are encrypted under the first data key")

// What ends a node that runs, which must not go on without what it was about to write. ErrDiskFull may be an error of
// opening a directory too, and of a snapshot, without which a node goes on.
var (
	ErrStalled  = &session.Error{Code: "disk-stalled", Message: "the disk of the data directory takes too long for a write: see to it, and start the node again"}
	ErrDiskFull = &session.Error{Code: "disk-full", Message: "no space left on the disk of the data directory: make room, and start the node again if it has stopped"}
)
