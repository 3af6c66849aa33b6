package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/realm"
)

type listed struct {
	Sessions []struct {
		Handle, Username, RealmName, Address, UserAgent   string
		CreatedAt, LastActiveAt, IdleExpiresAt, ExpiresAt time.Time
		Current                                           bool
	}
	Next string
}

func (f *fixture) list(uri string, o ...option) listed {
	f.t.Helper()
	a := f.send("GET", uri, o...)
	f.expect(a, 200, "")
	var l listed
	if err := json.Unmarshal([]byte(a.body), &l); err != nil {
		f.t.Fatalf("%v: %s", err, a.body)
	}
	return l
}

func TestListOwnSessions(t *testing.T) {
	f := newFixture(t)
	first := f.create(session.Create{Username: "ann", Address: "203.0.113.1", Agent: `curl "8"`})
	f.fake.advance(time.Minute)
	second := f.create(session.Create{Username: "ann"})
	f.create(session.Create{Username: "root"})
	for _, uri := range []string{"/api/sessions", "/api/sessions?user=ann", "/api/sessions?user=ann&realm=native", "/api/sessions?realm=native"} {
		l := f.list(uri, idCookie(second))
		if len(l.Sessions) != 2 || l.Next != "" {
			t.Fatalf("%s: %+v", uri, l)
		}
		a, b := l.Sessions[0], l.Sessions[1]
		if a.Handle != first.Key.String() || a.Address != "203.0.113.1" || a.UserAgent != `curl "8"` || a.Username != "ann" || a.RealmName != "native" ||
			a.Current || !b.Current || b.Handle != second.Key.String() {
			t.Errorf("%s: %+v", uri, l)
		}
		if !a.CreatedAt.Equal(testStart.Std()) || !a.ExpiresAt.Equal(testStart.Std().Add(8*time.Hour)) || !a.IdleExpiresAt.Equal(testStart.Std().Add(30*time.Minute)) {
			t.Errorf("%s: %+v", uri, a)
		}
	}
	for _, uri := range []string{"/api/sessions?user=root", "/api/sessions?user=ann&realm=other", "/api/sessions?realm=other", "/api/sessions?user=nobody"} {
		f.expect(f.send("GET", uri, idCookie(second)), 403, "forbidden")
	}
	if l := f.list("/api/sessions", basic("ann", testPassword)); len(l.Sessions) != 2 || l.Sessions[0].Current || l.Sessions[1].Current {
		t.Errorf("by Basic: %+v", l)
	}
	// The first is idle by now, the second was just used: what is over is not listed, swept or not.
	f.fake.advance(29 * time.Minute)
	if l := f.list("/api/sessions", idCookie(second)); len(l.Sessions) != 1 || l.Sessions[0].Handle != second.Key.String() {
		t.Errorf("%+v", l)
	}
}

func TestListAsAdmin(t *testing.T) {
	f := newFixture(t)
	root := f.create(session.Create{Username: "root"})
	var want []string
	for range 40 {
		want = append(want, f.create(session.Create{Username: "ann"}).Key.String())
		f.create(session.Create{Username: "svc"})
	}
	if l := f.list("/api/sessions?user=ann&limit=1000", idCookie(root)); len(l.Sessions) != 40 {
		t.Errorf("%d of ann", len(l.Sessions))
	}
	if l := f.list("/api/sessions?user=nobody", idCookie(root)); len(l.Sessions) != 0 {
		t.Errorf("%d of nobody", len(l.Sessions))
	}
	for _, who := range []string{"", "&user=ann"} {
		var seen []string
		pages := 0
		for next := ""; ; pages++ {
			l := f.list("/api/sessions?limit=7"+who+next, idCookie(root))
			if len(l.Sessions) > 7 {
				t.Fatalf("page of %d", len(l.Sessions))
			}
			for _, s := range l.Sessions {
				seen = append(seen, s.Handle)
			}
			if l.Next == "" {
				break
			}
			next = "&after=" + l.Next
		}
		if who == "" && len(seen) != 81 || who != "" && !slices.Equal(seen, want) {
			t.Errorf("%q: %d sessions on %d pages", who, len(seen), pages)
		}
		slices.Sort(seen)
		if len(slices.Compact(seen)) != len(seen) {
			t.Errorf("%q: some came twice", who)
		}
	}
	// Pages that hold nothing but sessions that are over lead on.
	f.fake.advance(29 * time.Minute)
	fresh := f.create(session.Create{Username: "root"})
	f.fake.advance(time.Minute)
	var seen []string
	for next := ""; ; {
		l := f.list("/api/sessions?limit=2"+next, idCookie(fresh))
		for _, s := range l.Sessions {
			seen = append(seen, s.Handle)
		}
		if l.Next == "" {
			break
		}
		next = "&after=" + l.Next
	}
	if !slices.Equal(seen, []string{fresh.Key.String()}) {
		t.Errorf("after the others were idle: %v", seen)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "limit=-1"} {
		f.expect(f.send("GET", "/api/sessions?"+query, idCookie(fresh)), 400, "bad-field")
	}
	f.expect(f.send("GET", "/api/sessions?after=xyz", idCookie(fresh)), 400, "bad-handle")
	f.fake.readErr = cluster.ErrNoLeader
	f.expect(f.send("GET", "/api/sessions", idCookie(fresh)), 503, "no-leader")
}

func TestEndOneSession(t *testing.T) {
	f := newFixture(t)
	root, ann, other := f.create(session.Create{Username: "root"}), f.create(session.Create{Username: "ann"}), f.create(session.Create{Username: "ann"})
	end := func(tok credential.Token, by option) answer {
		return f.send("DELETE", "/api/sessions/"+tok.Key.String(), by)
	}

	f.expect(end(root, idCookie(ann)), 404, "session-not-found") // as if it were not there
	f.expect(end(credential.Mint(), idCookie(ann)), 404, "session-not-found")
	f.expect(f.send("DELETE", "/api/sessions/nonsense", idCookie(ann)), 400, "bad-handle")
	f.expect(end(other, idCookie(root)), 204, "")
	f.expect(end(other, idCookie(root)), 404, "session-not-found")
	f.expect(f.send("GET", "/api/session", idCookie(other)), 401, "session-invalid")
	if n := f.fake.stats().Ended[session.EndedByAdmin]; n != 1 {
		t.Errorf("%d ended by an admin", n)
	}
	other = f.create(session.Create{Username: "ann"})
	if a := end(other, idCookie(ann)); a.status != 204 || a.get("Set-Cookie") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if a := end(ann, idCookie(ann)); a.status != 204 || len(a.header["Set-Cookie"]) != 2 {
		t.Errorf("%d %v", a.status, a.header)
	}
	f.expect(end(root, idCookie(ann)), 401, "session-invalid")
	f.expect(f.send("GET", "/api/session", idCookie(root)), 200, "")

	other = f.create(session.Create{Username: "ann"})
	f.fake.advance(30*time.Minute + session.IdleGrace + time.Millisecond)
	f.expect(end(other, idCookie(f.create(session.Create{Username: "root"}))), 404, "session-not-found") // the caller is signed in
}

// A script may end what it lists: that of one realm is not to be everybody's.
func TestListOfARealm(t *testing.T) {
	f := newFixture(t)
	root := f.create(session.Create{Username: "root"})
	f.fake.must(t, &session.CreateRealm{ID: "realm-dir", Name: "dir", Type: realm.TypeLDAP, Enabled: true})
	var want []string
	for i := range 20 {
		f.create(session.Create{Username: "ann"})
		want = append(want, f.create(session.Create{Realm: "dir", Username: fmt.Sprint("u", i), UserID: "u"}).Key.String())
	}
	for name, want := range map[string]int{"dir": len(want), "native": 21, "nowhere": 0, "": 41} {
		if l := f.list("/api/sessions?limit=1000&realm="+name, idCookie(root)); len(l.Sessions) != want {
			t.Errorf("%d sessions of %q, not %d", len(l.Sessions), name, want)
		}
	}
	var seen []string
	for next := ""; ; {
		l := f.list("/api/sessions?realm=dir&limit=3"+next, idCookie(root))
		for _, s := range l.Sessions {
			seen = append(seen, s.Handle)
		}
		if l.Next == "" {
			break
		}
		next = "&after=" + l.Next
	}
	slices.Sort(seen)
	slices.Sort(want)
	if !slices.Equal(seen, want) {
		t.Errorf("%d sessions in pages: %v", len(seen), seen)
	}
}

func TestEndAllSessions(t *testing.T) {
	f := newFixture(t)
	root, ann := f.create(session.Create{Username: "root"}), f.create(session.Create{Username: "ann"})
	other := f.create(session.Create{Username: "ann"})
	f.expect(f.send("DELETE", "/api/sessions", idCookie(root)), 400, "missing-field")
	f.expect(f.send("DELETE", "/api/sessions?realm=native", idCookie(root)), 400, "missing-field")
	f.expect(f.send("DELETE", "/api/sessions?user=root", idCookie(ann)), 403, "forbidden")
	a := f.send("DELETE", "/api/sessions?user=ann", idCookie(ann))
	if a.status != 204 || len(a.header["Set-Cookie"]) != 2 {
		t.Errorf("%d %v", a.status, a.header)
	}
	for _, tok := range []credential.Token{ann, other} {
		f.expect(f.send("GET", "/api/session", idCookie(tok)), 401, "session-invalid")
	}
	ann = f.create(session.Create{Username: "ann"})
	f.expect(f.send("DELETE", "/api/sessions?user=ann&realm=native", idCookie(root)), 204, "")
	f.expect(f.send("GET", "/api/session", idCookie(ann)), 401, "session-invalid")
	f.expect(f.send("GET", "/api/session", idCookie(root)), 200, "")
	f.expect(f.control("DELETE", "/api/sessions?user=root"), 204, "")
	f.expect(f.send("GET", "/api/session", idCookie(root)), 401, "session-invalid")
	f.expect(f.control("DELETE", "/api/sessions"), 400, "missing-field")
}

func TestCreateSessions(t *testing.T) {
	f := newFixture(t)
	svc := idCookie(f.create(session.Create{Username: "svc"}))
	f.fake.must(t, &session.CreateRealm{ID: "r-ldap", Name: "corp", Type: "ldap", Enabled: true})
	f.fake.must(t, &session.CreateRealm{ID: "r-off", Name: "off", Type: "native"})
	a := f.send("POST", "/api/sessions", svc, jsonBody(`[
		{"username":"ann","attributes":{"b":"2","a":"1"}},
		{"username":"root"},
		{"username":"nobody"},
		{"username":"EVE","realmName":"corp"},
		{"username":"x","realmName":"nowhere"},
		{},
		{"username":"Bad Name","realmName":"corp"},
		{"username":"ann","attributes":{"CSRFToken":"x"}},
		{"username":"ann","realmName":"native"}]`))
	f.expect(a, 201, "")
	var made []madeSession
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || len(made) != 9 {
		t.Fatalf("%v: %s", err, a.body)
	}
	for i, code := range []string{"", "privileged-user", "user-not-found", "", "realm-not-found", "missing-field", "bad-username", "reserved-attribute", ""} {
		if made[i].Code != code || (code == "") != (made[i].Token != "") {
			t.Errorf("element %d is %+v", i, made[i])
		}
	}
	for i, want := range map[int]string{0: "ann", 3: "eve", 8: "ann"} {
		v := f.send("GET", "/auth/verify", cookie("id="+made[i].Token))
		if v.status != 200 || v.get("Remote-User") != want || v.get("X-Session-Handle") != made[i].Handle {
			t.Errorf("element %d: %d %v", i, v.status, v.header)
		}
	}
	key, _ := credential.Parse([]byte(made[0].Token))
	sess, _ := f.fake.machine.Session(key)
	if value, _ := sess.Attr("b"); value != "2" || sess.Surface != session.SurfaceService {
		t.Errorf("session is %+v", sess)
	}
	if strings.Contains(f.logs.String(), made[0].Token) {
		t.Error("a token was logged")
	}
}

// A service is held to what the realm's configuration says of users without a record, where it says it.
func TestCreateSessionsKeepsToTheRealm(t *testing.T) {
	const config = `{"host":"ldap.example","login":{"bindDnTemplate":"uid={},dc=example"}`
	for more, want := range map[string]string{
		`,"autoCreateUsers":true}`:                        "record",
		`,"autoCreateUsers":true,"ephemeralUsers":false}`: "record",
		`}`:                         "record",
		`,"autoCreateUsers":false}`: "user-not-found",
		`,"autoCreateUsers":false,"ephemeralUsers":false}`: "user-not-found",
		`,"ephemeralUsers":true}`:                          "none",
		`,"autoCreateUsers":true,"ephemeralUsers":true}`:   "none",
		`,"autoCreateUsers":false,"ephemeralUsers":true}`:  "none",
		`,"autoCreateUsers":1}`:                            "realm-unavailable", // by an older version: it would be refused
	} {
		f := newFixture(t)
		f.fake.must(t, &session.CreateRealm{ID: "realm-corp", Name: "corp", Type: realm.TypeLDAP, Enabled: true, Config: []byte(config + more)})
		f.fake.must(t, &session.CreateUser{ID: "user-kim", Realm: "corp", Username: "kim"})
		svc := idCookie(f.create(session.Create{Username: "svc"}))
		a := f.send("POST", "/api/sessions", svc, jsonBody(`[{"username":"Kim","realmName":"corp"},{"username":"Bob","realmName":"corp"}]`))
		f.expect(a, 201, "")
		var made []madeSession
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || len(made) != 2 || made[0].Token == "" {
			t.Fatalf("%s: %v: %s", more, err, a.body)
		}
		id := uuid.NewSHA1(uuid.NameSpaceOID, []byte("realm-corp/bob")).String() // as at a login
		record, known := f.fake.machine.UserByName("corp", "bob")
		switch {
		case known:
			id = record.ID
		case want != "none":
			if made[1].Code != want || made[1].Token != "" {
				t.Errorf("%s: %+v, not %s", more, made[1], want)
			}
			continue
		}
		key, _ := credential.Parse([]byte(made[1].Token))
		if view, ok := f.fake.machine.Lookup(key); !ok || known != (want == "record") || view.Session.UserID != id || view.Session.Username != "bob" {
			t.Errorf("%s: a record %v, and the session %+v", more, known, view.Session)
		}
	}
}

func TestCreateSessionsRefusals(t *testing.T) {
	f := newFixture(t)
	svc := idCookie(f.create(session.Create{Username: "svc"}))
	for _, who := range []string{"ann", "root"} {
		f.expect(f.send("POST", "/api/sessions", idCookie(f.create(session.Create{Username: who})), jsonBody(`[{"username":"ann"}]`)), 403, "forbidden")
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"username":"ann"},`, maxBulkCreate+1), ",") + "]"
	for body, want := range map[string]string{
		"[]": "400 missing-field", "{}": "400 malformed-json", "null": "400 missing-field", many: "413 limit-bulk",
		`[{"username":"nobody"}]`: "404 user-not-found", `[{"username":"root"}]`: "403 privileged-user", `[{}]`: "400 missing-field",
	} {
		a := f.send("POST", "/api/sessions", svc, jsonBody(body))
		if got := fmt.Sprint(a.status, " ", errorCode(t, a.body)); got != want {
			t.Errorf("%.40s: %s, not %s", body, got, want)
		}
	}
	f.fake.set(func(c *fakeCluster) { c.before = func(session.Command) error { return cluster.ErrOverloaded } })
	f.expect(f.send("POST", "/api/sessions", svc, jsonBody(`[{"username":"ann"},{"username":"ann"}]`)), 503, "overloaded")
}

func TestCreateManySessions(t *testing.T) {
	f := newFixture(t)
	svc := idCookie(f.create(session.Create{Username: "svc"}))
	hash := f.fake.machine.Users("", 1)[0].PasswordHash
	var body []newSession
	for i := range maxBulkCreate {
		name := fmt.Sprintf("u%04d", i)
		f.fake.must(t, &session.CreateUser{ID: "id-" + name, Realm: "native", Username: name, PasswordHash: hash})
		body = append(body, newSession{Username: name})
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a := f.send("POST", "/api/sessions", svc, jsonBody(string(text)))
	f.expect(a, 201, "")
	var made []madeSession
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || len(made) != maxBulkCreate {
		t.Fatalf("%v: %d elements", err, len(made))
	}
	for i, one := range made {
		key, ok := credential.Parse([]byte(one.Token))
		view, live := f.fake.machine.Lookup(key)
		if !ok || !live || view.Session.Username != body[i].Username {
			t.Fatalf("element %d is %+v", i, one)
		}
	}
}

// Users of a directory may be named in any case, as they are elsewhere.
func TestSessionsOfFoldedNames(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.CreateRealm{ID: "realm-dir", Name: "dir", Type: realm.TypeLDAP, Enabled: true})
	bob := f.create(session.Create{Realm: "dir", Username: "bob", UserID: "u-bob"})
	root := f.create(session.Create{Username: "root"})
	for _, who := range []credential.Token{bob, root} {
		if l := f.list("/api/sessions?user=Bob&realm=dir", idCookie(who)); len(l.Sessions) != 1 {
			t.Errorf("%d sessions", len(l.Sessions))
		}
	}
	if l := f.list("/api/sessions?user=BOB", idCookie(bob)); len(l.Sessions) != 1 {
		t.Errorf("%d sessions of one's own", len(l.Sessions))
	}
	f.expect(f.send("GET", "/api/sessions?user=Ann", basic("ann", testPassword)), 403, "forbidden")
	f.expect(f.send("DELETE", "/api/sessions?user=Bob&realm=dir", idCookie(root)), 204, "")
	f.expect(f.send("GET", "/api/session", idCookie(bob)), 401, "session-invalid")
}
