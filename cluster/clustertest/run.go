package clustertest

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Run calls f in a synctest bubble with a new network. When f and its cleanups are done, it closes the network and
// lets fake time pass, so that goroutines which only a time limit ends are gone when the bubble ends.
func Run(t *testing.T, seed int64, f func(t *testing.T, n *Network)) {
	t.Helper()
	Bubble(t, func(t *testing.T) {
		n := NewNetwork(seed)
		t.Cleanup(func() { // registered first, so it runs after the cleanups of f
			n.Close()
			time.Sleep(drainTime)
		})
		f(t, n)
	})
}

// Bubble calls f in a synctest bubble, on one processor: with several, timers of a bubble that fire at once make the
// race detector itself fail (golang/go#78156). Tests that use it can't run in parallel.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer watchReal(t.Name())()
	synctest.Test(t, f)
}
