//go:build faults

package consensus

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloakroom/cluster/storage"
)

// delayFile is the variable that names a file with how much longer a write takes; see cluster/storage.
const delayFile = "CLOAKROOM_FAULT_DISK"

// delayBy writes the file that the variable names.
func delayBy(t *testing.T, text string) {
	t.Helper()
	path := os.Getenv(delayFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Entries wait for a slow disk, and go on when it is well; how long they took is counted.
func TestDiskDelayReachesTheLog(t *testing.T) {
	t.Setenv(delayFile, filepath.Join(t.TempDir(), "disk"))
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		leader := c.leader()
		took := func() time.Duration {
			start := time.Now()
			c.mustAt(leader, c.role(1))
			return time.Since(start)
		}
		delayBy(t, "80ms")
		if got := took(); got < 80*time.Millisecond || got > 300*time.Millisecond {
			t.Errorf("an entry took %v", got)
		}
		if got := leader.Stats().Store.Longest; got < 80*time.Millisecond {
			t.Errorf("the longest write took %v", got)
		}
		delayBy(t, "")
		c.equal()
		if got := took(); got >= 80*time.Millisecond {
			t.Errorf("with a good disk an entry took %v", got)
		}
	})
}

// A delay above Stall ends the node as a disk would that stands still.
func TestDiskDelayIsWatched(t *testing.T) {
	t.Setenv(delayFile, filepath.Join(t.TempDir(), "disk"))
	inFakeTime(t, Config{Stall: 5 * time.Second}, func(t *testing.T, c *trio) {
		delayBy(t, "30s")
		id := c.leader().cfg.NodeID
		future := c.nodes[id].Propose(t.Context(), encode(t, c.role(1)))
		time.Sleep(6 * time.Second)
		c.gaveUp(id, storage.ErrStalled, "not done after 5s")
		delayBy(t, "")
		if _, err := future.Wait(t.Context()); err == nil {
			t.Error("the entry was acknowledged")
		}
		time.Sleep(time.Minute) // until all writes are over
	})
}
