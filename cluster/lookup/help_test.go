package lookup

import (
	"context"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/lease"
)

// mustWrite and the others end the test when there is no answer.
func (w *world) mustWrite(id, key string) {
	w.t.Helper()
	if err := w.nodes[id].write(w.t.Context(), key); err != nil {
		w.t.Fatalf("write of %s on %s: %v", key, id, err)
	}
}

func (w *world) mustLookup(id string, level Level, key string) uint64 {
	w.t.Helper()
	version, err := w.nodes[id].lookup(w.t.Context(), level, key)
	if err != nil {
		w.t.Errorf("lookup of %s on %s at level %v: %v", key, id, level, err)
	}
	return version
}

// lookups looks a key up on each of the nodes, over and over, until the function is called that it returns.
func (w *world) lookups(t *testing.T, key string, ids ...string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, id := range ids {
		group.Go(func() {
			for pause(ctx, 3*time.Millisecond) {
				_, _ = w.nodes[id].lookup(ctx, Lease, key) // what is refused is counted
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

func (w *world) stall(id string, stalls bool) {
	w.nodes[id].locked(func() { w.nodes[id].stalls = stalls })
}

func (w *world) office(id string) lease.Office {
	office, _ := w.nodes[id].reader.run.look()
	return office
}
