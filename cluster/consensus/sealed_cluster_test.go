package consensus

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/storage"
)

// TestMembersWithKeysOfTheirOwn: entries and snapshots travel from one member to another whatever each seals its own
// with, one of them with nothing.
func TestMembersWithKeysOfTheirOwn(t *testing.T) {
	keys := keytest.Keys(t, 4)
	rings := map[string]*keyring.Ring{"n1": keytest.Ring(t, keys[0]), "n2": keytest.Ring(t, keys[1]), "n3": nil}
	hooks := func(id string, cfg *Config) { cfg.DataKeys = rings[id] }
	for _, lagging := range []string{"n2", "n3"} {
		t.Run(lagging, func(t *testing.T) {
			inFakeTimeWith(t, Config{TrailingLogs: 4}, hooks, func(t *testing.T, c *trio) {
				for range 10 {
					c.must(c.role(100))
				}
				c.equal()
				c.stop(lagging)
				for range 300 {
					c.must(c.role(1000))
				}
				if err := c.leader().Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range 5 {
					c.must(c.role(1000))
				}
				n := c.start(lagging)
				c.equal()
				if r := n.Stats().Restores; r != 1 {
					t.Errorf("%d restores", r)
				}
				for id := range c.nodes {
					c.stop(id)
					c.start(id)
				}
				c.equal()
				for id, n := range c.nodes {
					checkStores(t, c.stores[id], rings[id])
					if s := n.Stats().AtRest; rings[id] != nil && (len(s.Keys) != 1 || s.Keys[0] != s.Current || s.PlainEntries != 0) {
						t.Errorf("%s: %+v", id, s)
					}
				}
			})
		})
	}
}

// checkStores looks at what lies in a node's stores: all of it is sealed, or none.
func checkStores(t *testing.T, s *storage.Stores, ring *keyring.Ring) {
	t.Helper()
	first, err := s.Log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.Log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for ; first <= last; first++ {
		var l raft.Log
		if err := s.Log.GetLog(first, &l); err != nil || (len(l.Extensions) > 0) != (ring != nil) {
			t.Errorf("entry %d has %d bytes of seal, %v", first, len(l.Extensions), err)
		}
		if bytes.Contains(l.Data, []byte("xxxxxxxx")) == (ring != nil) && len(l.Data) > 100 && l.Type == raft.LogCommand {
			t.Errorf("entry %d: %q", first, l.Data[:20])
		}
	}
	snapshots, err := s.Snapshots.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, meta := range snapshots {
		_, file, err := s.Snapshots.Open(meta.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(file)
		if err != nil || (b[0] == sealMark) != (ring != nil) {
			t.Errorf("snapshot %s begins with %x, %v", meta.ID, b[0], err)
		}
	}
}

// TestEntryIsDamagedLater: an entry that can't be opened any more ends the node that needs it, with a reason and without a
// panic; the others go on.
func TestEntryIsDamagedLater(t *testing.T) {
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	rotten := &rottenLog{}
	hooks := func(id string, cfg *Config) {
		cfg.DataKeys = ring
		if id == "n1" {
			rotten.LogStore = cfg.Stores.Log
			cfg.Stores.Log = rotten
		}
	}
	inFakeTimeWith(t, Config{}, hooks, func(t *testing.T, c *trio) {
		for c.leader() != c.nodes["n1"] {
			if err := c.leader().Transfer(t.Context(), "n1"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		c.stop("n3")
		for range 600 { // more than stay in the cache
			c.must(c.role(10))
		}
		rotten.from.Store(100)
		c.start("n3")
		time.Sleep(time.Minute)
		if err := c.fatal.of("n1"); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("the leader says %v", err)
		}
		c.stop("n1")
		c.equal()
	})
}

// TestEntryIsDamagedBeforeItIsApplied: likewise when the machine needs it, where the library would panic.
func TestEntryIsDamagedBeforeItIsApplied(t *testing.T) {
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	rotten := &rottenLog{}
	hooks := func(id string, cfg *Config) {
		cfg.DataKeys = ring
		if id == "n1" {
			rotten.LogStore = cfg.Stores.Log
			cfg.Stores.Log = rotten
		}
	}
	inFakeTimeWith(t, Config{}, hooks, func(t *testing.T, c *trio) {
		for range 200 {
			c.must(c.role(10))
		}
		c.equal()
		c.stop("n1")
		c.start("n1")
		rotten.from.Store(100) // it has looked at its log, and does not know yet what of it is committed
		time.Sleep(time.Minute)
		if err := c.fatal.of("n1"); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("it says %v", err)
		}
		c.stop("n1")
		c.equal()
	})
}

// rottenLog has lost a bit of each entry of an index range.
type rottenLog struct {
	raft.LogStore
	from atomic.Uint64
}

func (r *rottenLog) GetLog(index uint64, log *raft.Log) error {
	err := r.LogStore.GetLog(index, log)
	if from := r.from.Load(); err == nil && from > 0 && index >= from && index < from+50 {
		log.Data = bytes.Clone(log.Data)
		log.Data[0] ^= 1
	}
	return err
}
