package consensus

import (
	"fmt"
	"io"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// Capture is the state of a node at one index, for a copy outside of the data directory. It is to be written once, or
// released: until then the machine keeps for it what it changes.
type Capture struct {
	Index, Term uint64 // of the last entry in it; of the term, at least that
	snapshot    *session.Snapshot
}

// Capture captures the applied state, at a price that does not depend on its size. look is called with the machine at that
// very moment, under the rules of Read. The error is ErrShutdown, or why the node can't go on.
func (n *Node) Capture(look func(*session.Machine)) (*Capture, error) {
	select {
	case <-n.halted:
		return nil, ErrShutdown
	default:
	}
	return n.fsm.capture(n.Term(), look)
}

func (f *fsm) capture(term uint64, look func(*session.Machine)) (*Capture, error) {
	f.mu.Lock() // as in Snapshot
	defer f.mu.Unlock()
	if failure := f.failure.Load(); failure != nil {
		return nil, *failure
	}
	look(f.machine)
	return &Capture{Index: f.machine.Applied(), Term: term, snapshot: f.machine.Snapshot(f.mu.RLocker())}, nil
}

// Release is for a capture that is not written. After WriteTo it does nothing.
func (c *Capture) Release() { c.snapshot.Release() }

// WriteTo writes the state as snapshots have it, sealed under a key unless it is nil. What is sealed opens with that
// binding only. Memory is bounded by what the encoder takes, but for what the machine changes meanwhile; so a writer that
// takes its time makes this node keep two versions of it.
func (c *Capture) WriteTo(w io.Writer, key *keyring.Key, binding []byte) error {
	defer c.snapshot.Release() // nothing, if it was written
	if key == nil {
		return writeSnapshot(w, c.snapshot)
	}
	sealed, err := storage.SealStream(w, *key, binding)
	if err != nil {
		return err
	}
	if err := writeSnapshot(sealed, c.snapshot); err != nil {
		return err
	}
	return sealed.Close()
}

// ReadCapture builds a machine from what WriteTo wrote, to the end of the reader. Errors: storage.ErrNoDataKeys,
// storage.ErrWrongDataKeys; session.ErrUnknownKind, from a newer program; storage.ErrDamaged or session.ErrBadEncoding, not
// what was written.
func ReadCapture(r io.Reader, keys *keyring.Ring, binding []byte) (*session.Machine, error) {
	plain, err := storage.OpenStream(r, keys, binding)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	machine, err := readSnapshot(plain)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return machine, nil
}
