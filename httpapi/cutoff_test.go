package httpapi

import (
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// A former admin at a node that answers from what it has must not end other people's sessions, nor list them.
func TestNoPowerOverSessionsWhenCutOff(t *testing.T) {
	f := newFixture(t)
	root, ann := f.create(session.Create{Username: "root"}), f.create(session.Create{Username: "ann"})
	f.fake.set(func(c *fakeCluster) { c.cutOff, c.commands = cluster.Local, nil })
	for _, c := range [][2]string{{"GET", "/api/sessions?user=ann"}, {"DELETE", "/api/sessions/" + ann.Key.String()}, {"DELETE", "/api/sessions?user=ann"}} {
		t.Logf("%v: %d", c, f.send(c[0], c[1], idCookie(root)).status)
	}
	f.expect(f.send("DELETE", "/api/sessions/"+ann.Key.String(), idCookie(root)), 503, "cut-off")
	f.expect(f.send("DELETE", "/api/sessions?user=ann", idCookie(root)), 503, "cut-off")
	if len(f.fake.commands) > 0 {
		t.Errorf("commands %T", f.fake.commands)
	}
}
