package recheck

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
	"cloakroom/httpapi/realm/slapdtest"
)

// machine is the state machine alone in the place of a cluster.
type machine struct {
	mu sync.Mutex
	*session.Machine
	index uint64
}

var (
	_ Cluster         = (*machine)(nil)
	_ realm.Directory = (*machine)(nil)
)

func (m *machine) Leading() bool { return true }

func (m *machine) Owners(_ context.Context, after session.Key, limit int) ([]session.Owner, session.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	page, next := m.Machine.Owners(after, limit)
	return page, next, nil
}

func (m *machine) RolesOf(_ context.Context, owner session.Owner) (sets [][]string, newest uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.SessionsOf(owner.Realm, owner.Username) {
		newest = max(newest, s.Seq)
		if s.Roles != nil {
			sets = append(sets, s.Roles)
		}
	}
	return sets, newest, nil
}

func (m *machine) Do(_ context.Context, cmd session.Command) (session.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index++
	result := m.Apply(m.index, &session.Entry{Stamp: session.Time(m.index), Commands: []session.Command{cmd}})[0]
	if result.Err != nil {
		return result, result.Err
	}
	return result, nil
}

func (m *machine) User(_ context.Context, realmName, username string) (*session.User, *session.Realm, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	user, _ := m.UserByName(realmName, username)
	of, _ := m.RealmByName(realmName)
	return user, of, nil
}

// All of it together, but for the network between nodes: a real directory, realm and state machine.
func TestRecheckWithRealDirectory(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{
		LDIF: slapdtest.Person("ann") + slapdtest.Person("bob") + slapdtest.Person("eve") + slapdtest.Group("ops", "ann", "eve"),
	})
	m := &machine{Machine: session.New()}
	do := func(cmd session.Command) {
		t.Helper()
		if _, err := m.Do(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	hasher, err := realm.NewHasher(realm.HasherConfig{Memory: realm.MinMemory, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	realms, err := realm.New(realm.Config{Directory: m, Hasher: hasher, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := realms.Close(); err != nil {
			t.Error(err)
		}
	})
	config, err := json.Marshal(map[string]any{
		"host": "127.0.0.1", "port": server.Port, "autoCreateUsers": true, "timeout": "30s", "connectTimeout": "30s",
		"login": map[string]any{
			"search": map[string]any{"baseDn": slapdtest.Users, "filter": "(uid={})"},
			"bindDn": slapdtest.Reader, "bindPassword": slapdtest.ReaderSecret, "disabledFilter": "(employeeType=left)",
		},
		"groups":     map[string]any{"search": map[string]any{"baseDn": slapdtest.Groups, "filter": "(member={dn})"}},
		"groupRoles": map[string][]string{"ops": {"deploy"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := realms.SealConfig(realm.TypeLDAP, config)
	if err != nil {
		t.Fatal(err)
	}
	do(&session.Genesis{ClusterID: "c1", RealmID: "r1", AdminID: "a1", ServiceID: "s1"})
	do(&session.CreateRole{ID: "d1", Name: "deploy"})
	do(&session.CreateRealm{ID: "r2", Name: "corp", Type: realm.TypeLDAP, Enabled: true, Config: sealed})

	l, err := New(Config{Cluster: m, Realms: realms, Node: "n1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l.cfg.Interval = time.Millisecond
	recheck := func() {
		t.Helper()
		if !l.begin(time.Now().Add(time.Hour)) {
			t.Fatal("the round does not begin")
		}
		l.group.Wait()
		l.with(l.forgetDue)
	}
	login := func(username string) session.Key {
		t.Helper()
		identity, err := realms.Authenticate(t.Context(), "corp", username, username+"'s secret")
		if err != nil {
			t.Fatal(err)
		}
		key := session.KeyOf([]byte(username))
		do(&session.Create{
			Key: key, Realm: "corp", Username: identity.Username, UserID: identity.UserID, UserRev: identity.UserRev,
			RealmRev: identity.RealmRev, AutoCreate: identity.AutoCreate, Roles: identity.Roles, FixedRoles: identity.FixedRoles,
			Surface: session.SurfaceFusion, Idle: time.Hour, Lifetime: time.Hour,
		})
		return key
	}
	roles := func(key session.Key) []string {
		view, ok := m.Lookup(key)
		if !ok {
			return nil
		}
		return view.Roles()
	}
	ann, bob, eve := login("ann"), login("bob"), login("eve")
	check := func(when string, wantAnn, wantBob, wantEve []string) {
		t.Helper()
		recheck()
		if !slices.Equal(roles(ann), wantAnn) || !slices.Equal(roles(bob), wantBob) || !slices.Equal(roles(eve), wantEve) {
			t.Errorf("%s: ann %v, bob %v, eve %v, want %v, %v, %v", when, roles(ann), roles(bob), roles(eve), wantAnn, wantBob, wantEve)
		}
	}
	none, deploy := []string{}, []string{"deploy"}
	check("at first", deploy, none, deploy)
	server.Set("cn=ops,"+slapdtest.Groups, "member", "uid=bob,"+slapdtest.Users, "uid=eve,"+slapdtest.Users)
	check("bob in ann's place", none, deploy, deploy)
	server.Stop()
	check("outage", none, deploy, deploy)
	if stats := l.Stats(); stats.Outages != 1 || stats.Ended != 0 {
		t.Errorf("%+v", stats)
	}
	server.Run()
	server.Set("uid=eve,"+slapdtest.Users, "employeeType", "left")
	check("eve disabled", none, deploy, nil)
	if tomb, ok := m.Tombstone(eve); !ok || tomb.Reason != session.EndedByRecheck || tomb.By != "node n1 (directory re-check)" {
		t.Errorf("eve's session is remembered as %+v, %v", tomb, ok)
	}
	if _, ok := m.Lookup(ann); !ok {
		t.Error("ann's session is gone")
	}
	server.Delete("uid=bob," + slapdtest.Users)
	check("bob deleted", none, nil, nil)
	if _, ok := m.Lookup(bob); ok {
		t.Error("bob's session goes on")
	}
}
