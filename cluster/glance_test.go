package cluster_test

import (
	"errors"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
)

// A glance is a lookup where that need not wait, on whatever node, and a use. Where it would have to wait, or the session is
// not good, it is nothing.
func TestGlance(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		time.Sleep(5 * time.Second)
		for _, name := range h.names {
			c := h.nodes[name]
			for _, level := range []cluster.Level{cluster.Local, cluster.Lease} {
				view, ok := c.Glance(key(1), level)
				if !ok || view.Session.Key != key(1) || c.LastUse(key(1), view.Session.LastUse) != c.Now() {
					t.Errorf("%s, %v: %+v, %t", name, level, view, ok)
				}
				if _, ok := c.Glance(key(2), level); ok {
					t.Errorf("%s, %v: there is no such session", name, level)
				}
				asked := []session.Key{key(2), key(1), key(3), key(1)}
				next := 0
				c.Glances(asked, level, func(i int, view *session.View, err error) {
					if i != next || (err == nil) != (asked[i] == key(1)) || err == nil && view.Session.Key != key(1) || err != nil && !errors.Is(err, session.ErrSessionInvalid) {
						t.Errorf("%s, %v, %d: %+v, %v", name, level, i, view, err)
					}
					if err == nil && view.Session.LastUse != c.LastUse(key(1), 0) {
						t.Errorf("%s, %v: last use is %v", name, level, view.Session.LastUse)
					}
					next++
				})
				if next != len(asked) {
					t.Errorf("%s, %v: %d answers", name, level, next)
				}
			}
			if _, ok := c.Glance(key(1), cluster.Quorum); ok {
				t.Errorf("%s: without a question", name)
			}
			c.Glances([]session.Key{key(1)}, cluster.Quorum, func(int, *session.View, error) { t.Errorf("%s: without a question", name) })
		}
		c := h.nodes[h.others(h.leader())[0]]
		n.Partition([]string{h.others(h.leader())[0]}, h.others(h.others(h.leader())[0]))
		time.Sleep(5 * time.Second)
		if _, ok := c.Glance(key(1), cluster.Lease); ok {
			t.Error("without a lease")
		}
		c.Glances([]session.Key{key(1)}, cluster.Lease, func(int, *session.View, error) { t.Error("without a lease") })
		if _, ok := c.Glance(key(1), cluster.Local); !ok {
			t.Error("not even at level local")
		}
		n.Heal()
		time.Sleep(40 * time.Minute) // it is over: others might know better
		for _, level := range []cluster.Level{cluster.Local, cluster.Lease} {
			if _, ok := c.Glance(key(1), level); ok {
				t.Errorf("%v: it has been idle for too long", level)
			}
		}
	})
}
