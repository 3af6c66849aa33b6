package clustertest

import (
	"testing"
	"testing/synctest"
	"time"
)

// Run calls f in a synctest bubble with a new network. When f and its cleanups are done, it closes the network and
// lets fake time pass, so that goroutines which only a time limit ends are gone when the bubble ends.
func Run(t *testing.T, seed int64, f func(t *testing.T, n *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(seed)
		t.Cleanup(func() { // registered first, so it runs after the cleanups of f
			n.Close()
			time.Sleep(drainTime)
		})
		f(t, n)
	})
}
