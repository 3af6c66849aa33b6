package cluster

import (
	"testing"

	"cloakroom/cluster/session"
)

// Between a change and the word of its index, the last change is whatever the machine has come to.
func TestLastChange(t *testing.T) {
	var c changes
	m := session.New()
	m.Advance(7)
	want := func(when string, index uint64) {
		t.Helper()
		if got := c.index(m); got != index {
			t.Errorf("%s: %d, not %d", when, got, index)
		}
	}
	c.command(&session.Tick{})
	want("a tick", 0)
	c.applied(7)
	want("and its index", 0)
	m.Advance(8)
	c.command(&session.Sweep{})
	want("a change", 8)
	m.Advance(9)
	c.command(&session.Tick{})
	want("and a tick in one batch", 9)
	c.applied(9)
	want("their index", 9)
	m.Advance(10)
	c.command(&session.Tick{})
	c.applied(10)
	want("a tick alone", 9)
}
