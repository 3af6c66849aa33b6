package guard

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// The parts are those that the memory is made of: what is kept shows in the heap, and nothing is left over.
func TestParts(t *testing.T) {
	percent := debug.SetGCPercent(-1) // what other tests have left is not to be freed in between
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	runtime.GC() // a sweep that was under way is over
	before := ReadParts()
	kept := make([]byte, 64<<20)
	after := ReadParts()
	if grown := after.Heap - before.Heap; grown < 60<<20 || grown > 80<<20 {
		t.Errorf("64 MiB more on the heap, and it has grown by %d", grown)
	}
	runtime.KeepAlive(kept)
	for name, n := range map[string]int64{"heap": after.Heap, "spare": after.Spare, "stacks": after.Stacks, "runtime": after.Runtime} {
		if n < 0 || name != "spare" && n == 0 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
	if after.Runtime > 256<<20 {
		t.Errorf("%d bytes belong to no part", after.Runtime)
	}
}
