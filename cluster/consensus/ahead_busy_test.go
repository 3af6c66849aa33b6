package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/storage"
)

// TestLogIsShortenedUnderLoad: a leader that has always something to write shortens its log all the same.
func TestLogIsShortenedUnderLoad(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, _ *clustertest.Network) {
		disk := &badDisk{}
		a := newAhead(disk.before(storage.NewMemoryStores()).Log)
		store := func(index uint64) {
			t.Helper()
			if err := a.StoreLog(&raft.Log{Index: index, Term: 1}); err != nil {
				t.Fatal(err)
			}
		}
		for i := uint64(1); i <= 100; i++ {
			store(i)
		}
		a.enter(raft.Leader)
		disk.breaks(diskFault{stall: 10 * time.Millisecond, times: 1 << 20}, logPart)
		shortened := make(chan error, 1)
		go func() { shortened <- a.DeleteRange(1, 50) }()
		for i := uint64(101); ; i++ {
			store(i)
			time.Sleep(7 * time.Millisecond) // fake: a second client's entry comes while the first one's is written
			select {
			case err := <-shortened:
				if err != nil {
					t.Error(err)
				}
			default:
				if i < 2000 {
					continue
				}
				t.Error("the log is as long as before after 2,000 writes")
			}
			break
		}
		disk.isRepaired()
		synctest.Wait()
		if err := a.flush(); err != nil {
			t.Error(err)
		}
		a.close()
	})
}
