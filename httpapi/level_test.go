package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
)

// refused is the level of what is not read at all.
const refused = cluster.Level(0)

// consistency is the whole table of what a request gets that names a level: rows by what the server is configured to and
// whether it allows local reads by request, columns by the header.
var consistency = []struct {
	configured cluster.Level
	allow      bool
	none       cluster.Level
	lease      cluster.Level
	quorum     cluster.Level
	local      cluster.Level
}{
	{cluster.Lease, false, cluster.Lease, cluster.Lease, cluster.Quorum, refused},
	{cluster.Lease, true, cluster.Lease, cluster.Lease, cluster.Quorum, cluster.Local},
	{cluster.Quorum, false, cluster.Quorum, cluster.Quorum, cluster.Quorum, refused},
	{cluster.Quorum, true, cluster.Quorum, cluster.Quorum, cluster.Quorum, cluster.Local},
	{cluster.Local, false, cluster.Local, cluster.Lease, cluster.Quorum, refused},
	{cluster.Local, true, cluster.Local, cluster.Lease, cluster.Quorum, cluster.Local},
}

func TestConsistencyHeader(t *testing.T) {
	for _, row := range consistency {
		f := newFixture(t, func(cfg *Config) { cfg.Level, cfg.AllowLocalReads = row.configured, row.allow })
		tok := f.create(session.Create{Username: "root"})
		for name, want := range map[string]cluster.Level{
			"": row.none, "lease": row.lease, "quorum": row.quorum, "local": row.local, "Local": refused, "eventually": refused, "lease, quorum": refused,
		} {
			for _, uri := range []string{"/api/session", "/api/users", "/api/sessions", "/session/get"} {
				f.fake.levels = nil
				a := f.send("GET", uri, idCookie(tok), header("Consistency", name))
				if want == refused {
					f.expect(a, 400, "bad-consistency")
				} else {
					f.expect(a, 200, "")
				}
				levels := f.fake.levels
				if want == cluster.Local && (uri == "/api/users" || uri == "/api/sessions") { // whether the caller may is not for the request to say
					if len(levels) < 2 || levels[1] != cluster.Lease {
						t.Fatalf("%s with %q, configured %v: read at %v", uri, name, row.configured, levels)
					}
					levels = slices.Delete(levels, 1, 2)
				}
				if len(levels) == 0 != (want == refused) || slices.ContainsFunc(levels, func(l cluster.Level) bool { return l != want }) {
					t.Errorf("%s with %q, configured %v, allowed %v: read at %v, not %v", uri, name, row.configured, row.allow, levels, want)
				}
				if got := a.get("Consistency"); got != "" {
					t.Errorf("%s with %q: the answer says %q, though it is what was asked for", uri, name, got)
				}
			}
			f.fake.levels = nil
			f.expect(f.send("GET", "/auth/verify", idCookie(tok), header("Consistency", name)), 200, "")
			if !slices.Equal(f.fake.levels, []cluster.Level{row.configured}) {
				t.Errorf("forward auth with %q, configured %v: read at %v", name, row.configured, f.fake.levels)
			}
		}
	}
}

func TestLeaseIsTheDefault(t *testing.T) {
	f := newFixture(t)
	f.expect(f.send("GET", "/auth/verify", idCookie(f.create(session.Create{Username: "ann"}))), 200, "")
	if !slices.Equal(f.fake.levels, []cluster.Level{cluster.Lease}) {
		t.Errorf("read at %v", f.fake.levels)
	}
}

// A node that is cut off and was told to go on answers from what it has, and says so; but not to those who have named a
// level, which a node that is cut off can give only if it is local.
func TestLookupsOfANodeThatIsCutOff(t *testing.T) {
	for _, row := range consistency {
		f := newFixture(t, func(cfg *Config) { cfg.Level, cfg.AllowLocalReads = row.configured, row.allow })
		live, ended := f.create(session.Create{Username: "root"}), credential.Mint()
		f.fake.set(func(c *fakeCluster) { c.cutOff = cluster.Local })
		for name, level := range map[string]cluster.Level{"": row.none, "lease": row.lease, "quorum": row.quorum, "local": row.local} {
			for _, uri := range []string{"/api/session", "/session/get", "/auth/verify"} {
				named := name
				if uri == "/auth/verify" { // it looks at no header
					named, level = "", row.configured
				}
				mark := ""
				if level != cluster.Local {
					mark = "local"
				}
				for tok, status := range map[credential.Token]int{live: 200, ended: 401} {
					a := f.send("GET", uri, idCookie(tok), header("Consistency", name))
					switch {
					case level == refused:
						f.expect(a, 400, "bad-consistency")
						mark = ""
					case named != "" && level != cluster.Local:
						f.expect(a, 503, "cut-off")
						mark = ""
					default:
						f.expect(a, status, "")
					}
					if got := a.get("Consistency"); got != mark {
						t.Errorf("%s with %q, configured %v: the answer of %d says %q, not %q", uri, name, row.configured, a.status, got, mark)
					}
				}
			}
		}
	}
}

// What a node that is cut off remembers is enough to be let in, not for power over others: that may have been taken away.
// It makes no difference that the request, or the node's configuration, asks for no more than that.
func TestNoRolesByANodeThatIsCutOff(t *testing.T) {
	for _, at := range []struct {
		configured cluster.Level
		named      string
	}{{cluster.Lease, ""}, {cluster.Lease, "local"}, {cluster.Local, ""}, {cluster.Local, "local"}} {
		m, backups := &fakeMembership{}, &fakeBackups{write: writeState}
		f := newFixture(t, func(cfg *Config) {
			cfg.Level, cfg.AllowLocalReads, cfg.Membership, cfg.Backups = at.configured, true, m, backups
		})
		named, svc := header("Consistency", at.named), idCookie(f.create(session.Create{Username: "svc"}))
		root, ann := idCookie(f.create(session.Create{Username: "root"})), f.create(session.Create{Username: "ann"})
		f.fake.set(func(c *fakeCluster) { c.cutOff, c.commands = cluster.Local, nil })
		f.expect(f.send("GET", "/api/session", root, named), 200, "")
		a := f.send("GET", "/api/users", root, named)
		f.expect(a, 503, "cut-off")
		if got := a.get("Consistency"); got != "" {
			t.Errorf("a refusal says %q", got)
		}
		f.expect(f.send("POST", "/api/sessions", svc, named, jsonBody(`[{"username":"ann"}]`)), 503, "cut-off")
		f.expect(f.send("POST", "/api/sessions/verify", svc, named, jsonBody(`{"tokens":["`+ann.Text+`"]}`)), 503, "cut-off")
		for _, c := range slices.Concat(changes, []change{
			{"GET", "/api/sessions", "", "", ""},
			{"GET", "/api/sessions?user=ann", "", "", ""},
			{"DELETE", "/api/sessions?user=ann", "", "", ""},
			{"DELETE", "/api/sessions?all=true", "", "", ""},
			{"DELETE", "/api/sessions/" + ann.Key.String(), "", "", ""},
			{"POST", "/api/cluster/backup?level=local", "", "", ""},
			{"PUT", "/api/log-level", `{"level":"debug"}`, "", ""},
		}) {
			if a := f.send(c.method, c.path, root, named, withBody(c.body)); a.status != 503 || errorCode(t, a.body) != "cut-off" {
				t.Errorf("configured %v, named %q: %s %s: %d", at.configured, at.named, c.method, c.path, a.status)
			}
		}
		if len(f.fake.commands) > 0 || m.take() != "" || len(backups.levels) > 0 {
			t.Errorf("done for somebody who may be no admin any more: %v", f.fake.commands)
		}
		f.expect(f.control("POST", "/api/cluster/drain", jsonBody(`{"on":true}`)), 204, "") // the machine's owner needs no session
	}
}

// Where lookups are local, a role that was taken away is gone as soon as that was acknowledged.
func TestRolesAreNotOld(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Level = cluster.Local })
	for i, path := range []string{"/api/users", "/api/sessions?user=ann"} {
		name := fmt.Sprint("former", i)
		f.fake.must(t, &session.CreateUser{ID: "user-" + name, Realm: "native", Username: name, RoleNames: []string{"admin"}, PasswordHash: "x"})
		former, asked := idCookie(f.create(session.Create{Username: name})), 0
		f.fake.set(func(c *fakeCluster) {
			c.onLookup = func() { // what this node has is as old as its first answer
				if asked++; asked == 2 {
					f.fake.must(t, &session.UpdateUser{ID: "user-" + name, RoleNames: &[]string{}})
				}
			}
		})
		f.expect(f.send("GET", path, former), 403, "forbidden")
	}
}

// Whether the node is cut off is asked anew each time.
func TestBackInTouch(t *testing.T) {
	f := newFixture(t)
	root := idCookie(f.create(session.Create{Username: "root"}))
	f.fake.set(func(c *fakeCluster) { c.cutOff = cluster.Local })
	if a := f.send("GET", "/api/session", root); a.get("Consistency") != "local" {
		t.Errorf("header %v", a.header)
	}
	f.fake.set(func(c *fakeCluster) { c.cutOff = 0 })
	if a := f.send("GET", "/api/session", root); a.get("Consistency") != "" {
		t.Errorf("header %v", a.header)
	}
	f.expect(f.send("GET", "/api/users", root), 200, "")
}

// A change rests on what a majority says, whatever reads are configured to; its answer shows at least the change itself.
func TestLevelsOfChanges(t *testing.T) {
	for configured, answer := range map[cluster.Level]cluster.Level{
		cluster.Local: cluster.Lease, cluster.Lease: cluster.Lease, cluster.Quorum: cluster.Quorum,
	} {
		f := newFixture(t, func(cfg *Config) { cfg.Level = configured })
		root := idCookie(f.create(session.Create{Username: "root"}))
		handle := f.create(session.Create{Username: "ann"}).Key.String()
		check := func(method, uri, body string, decisions int, more ...cluster.Level) string {
			t.Helper()
			f.fake.levels = nil
			a := f.send(method, uri, root, withBody(body))
			if a.status >= 300 {
				t.Fatalf("%s %s: %d %s", method, uri, a.status, a.body)
			}
			want := slices.Concat([]cluster.Level{configured}, slices.Repeat([]cluster.Level{cluster.Quorum}, decisions), more)
			got := f.fake.levels
			if i := slices.Index(got, cluster.Lease); configured == cluster.Local && i > 0 { // that is whether the caller may
				got = slices.Delete(got, i, i+1)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %s, configured %v: read at %v, not %v", method, uri, configured, got, want)
			}
			var shown struct{ ID string }
			if err := json.Unmarshal([]byte(a.body), &shown); err != nil && a.body != "" {
				t.Fatal(err)
			}
			return shown.ID
		}
		user := check("POST", "/api/users", `{"username":"ben","password":"`+testPassword+`"}`, 1, answer)
		check("PUT", "/api/users/"+user, `{"disabled":true}`, 1, answer)
		check("GET", "/api/users/"+user, "", 0, configured)
		role := check("POST", "/api/roles", `{"name":"reader"}`, 0, answer)
		check("PUT", "/api/roles/"+role, `{"desc":"reads"}`, 1, answer)
		const config = `{"realmType":"ldap","name":"staff","config":{"host":"ldap.example","login":{"bindDnTemplate":"uid={},dc=example"}}}`
		realm := check("POST", "/api/realm-configs", config, 0, answer)
		check("PUT", "/api/realm-configs/"+realm, `{"enabled":false}`, 1, answer)
		check("DELETE", "/api/sessions/"+handle, "", 1)
	}
}
