package access

import (
	"context"
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// again is a cluster whose reads run a second time.
type again struct {
	Cluster
	first, then *session.Machine
}

func (c again) Read(_ context.Context, _ cluster.Level, fn func(*session.Machine)) error {
	fn(c.first)
	fn(c.then)
	return nil
}

// A user's record that has gone while it was read gives no roles.
func TestRecordThatGoesDuringARead(t *testing.T) {
	machine := func(cmds ...session.Command) *session.Machine {
		t.Helper()
		m := session.New()
		genesis := &session.Genesis{ClusterID: "c1", RealmID: "realm-native", AdminID: "role-admin", ServiceID: "role-service"}
		for i, cmd := range append([]session.Command{genesis}, cmds...) {
			if r := m.Apply(uint64(i+1), &session.Entry{Stamp: 1, Commands: []session.Command{cmd}})[0]; r.Err != nil {
				t.Fatalf("%T: %v", cmd, r.Err)
			}
		}
		return m
	}
	kim := &session.CreateUser{ID: "user-kim", Realm: "native", Username: "kim", RoleNames: []string{"admin"}, PasswordHash: "x"}
	c := again{first: machine(kim), then: machine()}
	native, _ := c.then.RealmByName("native")
	a := &Callers{state: &State{Cluster: c}}
	view, err := a.viewOf(t.Context(), cluster.Lease, realm.Identity{Realm: "native", Username: "kim", RealmRev: native.Rev})
	if err != nil || view.HasRole("admin") || view.User != nil {
		t.Errorf("%+v, %v", view.User, err)
	}
}
