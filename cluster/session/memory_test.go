package session

import (
	"runtime"
	"testing"
	"time"
)

// TestMemoryGoesBackWhateverIsBeside: what else is allocated at the time must not hold the slabs of a machine that is gone.
func TestMemoryGoesBackWhateverIsBeside(t *testing.T) {
	const machines = 64
	back := make(chan struct{}, machines)
	beside := make([]*int32, 0, 2*machines)
	for range machines {
		beside = append(beside, new(int32))
		table := newTable(new(accounts))
		beside = append(beside, new(int32))
		runtime.AddCleanup(table.mem, func(struct{}) { back <- struct{}{} }, struct{}{})
	}
	runtime.GC()
	again, patience := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
	defer again.Stop()
	for n := 0; n < machines; {
		select {
		case <-back:
			n++
		case <-again.C:
			runtime.GC()
		case <-patience:
			t.Fatalf("the memory of %d machines of %d has gone back", n, machines)
		}
	}
	runtime.KeepAlive(beside)
}
