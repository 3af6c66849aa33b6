package httpapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// ask sends a request as root and returns the decoded answer.
func (f *fixture) ask(method, uri, body string, status int) map[string]any {
	f.t.Helper()
	a := f.control(method, uri, jsonBody(body))
	f.expect(a, status, "")
	if a.body == "" {
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		f.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func TestUsers(t *testing.T) {
	f := newFixture(t)
	root := idCookie(f.create(session.Create{Username: "root"}))
	a := f.send("POST", "/api/users", root, jsonBody(`{"username":"bob","password":"eight chars","roleNames":["service"],"passwordHash":"x"}`))
	f.expect(a, 201, "")
	var u map[string]any
	if err := json.Unmarshal([]byte(a.body), &u); err != nil {
		t.Fatal(err)
	}
	id, _ := u["id"].(string)
	want := fmt.Sprintf(`{"id":%q,"username":"bob","realmName":"native","createdAt":"2023-11-14T22:13:20.000Z","updatedAt":"2023-11-14T22:13:20.000Z","roleNames":["service"],"disabled":false}`, id)
	if a.body != want || !uuidForm.MatchString(id) {
		t.Errorf("body is\n%s\nnot\n%s", a.body, want)
	}
	for _, uri := range []string{"/api/users/" + id, "/api/users/" + id + "?x=y"} {
		if got := f.send("GET", uri, root); got.body != want {
			t.Errorf("%s: %s", uri, got.body)
		}
	}
	f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"bob","password":"eight chars"}`)), 201, "")
	list := f.send("GET", "/api/users", root)
	if strings.Count(list.body, `"id"`) != 4 || strings.Contains(list.body, "argon2") || list.get("Link") != "" {
		t.Errorf("list is %s", list.body)
	}
	f.expect(f.send("POST", "/api/users", root, jsonBody(`{"username":"bob","password":"eight chars"}`)), 409, "user-exists")

	f.fake.advance(time.Second)
	v := f.ask("PUT", "/api/users/"+id, `{"id":"other","username":"bob","realmName":"native","roleNames":[],"createdAt":"x"}`, 200)
	if v["updatedAt"] != "2023-11-14T22:13:21.000Z" || len(v["roleNames"].([]any)) != 0 || v["id"] != id {
		t.Errorf("%v", v)
	}
	f.expect(f.control("DELETE", "/api/users/"+id), 204, "")
	f.expect(f.control("DELETE", "/api/users/"+id), 404, "user-not-found")
	f.expect(f.control("GET", "/api/users/"+id), 404, "user-not-found")
	f.expect(f.control("PUT", "/api/users/"+id, jsonBody(`{}`)), 404, "user-not-found")
}

func TestUserPages(t *testing.T) {
	f := newFixture(t)
	seen := 0
	for uri := "/api/users?limit=2"; uri != ""; {
		a := f.control("GET", uri)
		f.expect(a, 200, "")
		var page []map[string]any
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page) > 2 {
			t.Fatalf("%v: %s", err, a.body)
		}
		seen += len(page)
		link, ok := strings.CutSuffix(strings.TrimPrefix(a.get("Link"), "<"), `>; rel="next"`)
		if uri = link; !ok {
			uri = ""
		}
	}
	if seen != 3 {
		t.Errorf("%d users", seen)
	}
}

func TestUserInputs(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.CreateRealm{ID: "r-ldap", Name: "corp", Type: "ldap", Enabled: true})
	for body, want := range map[string]string{
		`{`:                                   "400 malformed-json",
		`{}`:                                  "400 missing-field",
		`{"username":""}`:                     "400 missing-field",
		`{"username":"x"}`:                    "400 missing-field",
		`{"username":"x","password":""}`:      "400 missing-field",
		`{"username":"x","password":"short"}`: "400 password-too-short",
		`{"username":"x","password":"` + strings.Repeat("x", 1025) + `"}`: "400 password-too-long",
		`{"username":"a b","password":"eight chars"}`:                     "400 bad-username",
		`{"username":"x","password":"eight chars","roleNames":["nope"]}`:  "404 role-not-found",
		`{"username":"x","password":"eight chars","realmName":"nope"}`:    "404 realm-not-found",
		`{"username":"x","password":"eight chars","roleNames":"admin"}`:   "400 malformed-json",
		`{"username":"x","realmName":"corp","password":"eight chars"}`:    "400 bad-field",
	} {
		a := f.control("POST", "/api/users", jsonBody(body))
		if got := fmt.Sprint(a.status, " ", errorCode(t, a.body)); got != want {
			t.Errorf("%s: %s, not %s", body, got, want)
		}
	}
	v := f.ask("POST", "/api/users", `{"username":"Eve","realmName":"corp","disabled":true}`, 201)
	if v["username"] != "eve" || v["disabled"] != true {
		t.Errorf("%v", v)
	}
	for body, want := range map[string]string{
		`{"username":"anna"}`:    "400 bad-field",
		`{"realmName":"corp"}`:   "400 bad-field",
		`{"password":""}`:        "400 missing-field",
		`{"password":"short"}`:   "400 password-too-short",
		`{"roleNames":["nope"]}`: "404 role-not-found",
		`[]`:                     "400 malformed-json",
	} {
		a := f.control("PUT", "/api/users/user-ann", jsonBody(body))
		if got := fmt.Sprint(a.status, " ", errorCode(t, a.body)); got != want {
			t.Errorf("PUT %s: %s, not %s", body, got, want)
		}
	}
	f.expect(f.control("PUT", fmt.Sprintf("/api/users/%v", v["id"]), jsonBody(`{"password":"eight chars"}`)), 400, "bad-field")
}

// Disabling, deleting and a new password end the user's sessions; anything else does not.
func TestUserChangesEndSessions(t *testing.T) {
	for name, c := range map[string]struct {
		method, body string
		ends         bool
		login        int
	}{
		"disable":      {"PUT", `{"disabled":true}`, true, 401},
		"new password": {"PUT", `{"password":"another password"}`, true, 401},
		"delete":       {"DELETE", ``, true, 401},
		"roles":        {"PUT", `{"roleNames":["service"]}`, false, 201},
		"nothing":      {"PUT", `{}`, false, 201},
	} {
		f := newFixture(t)
		tok := f.create(session.Create{Username: "ann"})
		if a := f.control(c.method, "/api/users/user-ann", jsonBody(c.body)); a.status >= 300 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		if a := f.send("GET", "/api/session", idCookie(tok)); (a.status == 401) != c.ends {
			t.Errorf("%s: session answers %d", name, a.status)
		}
		if a := f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`)); a.status != c.login {
			t.Errorf("%s: login answers %d", name, a.status)
		}
	}
}

func TestLastAdmin(t *testing.T) {
	f := newFixture(t)
	f.expect(f.control("DELETE", "/api/users/user-root"), 409, "last-admin")
	f.expect(f.control("PUT", "/api/users/user-root", jsonBody(`{"disabled":true}`)), 409, "last-admin")
	f.expect(f.control("PUT", "/api/users/user-root", jsonBody(`{"roleNames":[]}`)), 409, "last-admin")
	f.ask("PUT", "/api/users/user-ann", `{"roleNames":["admin"]}`, 200)
	f.expect(f.control("DELETE", "/api/users/user-root"), 204, "")
}

// A session's rights are those of its user now, not at its login.
func TestRightsFollowTheRecord(t *testing.T) {
	f := newFixture(t)
	ann := idCookie(f.create(session.Create{Username: "ann"}))
	f.expect(f.send("GET", "/api/users", ann), 403, "forbidden")
	f.ask("PUT", "/api/users/user-ann", `{"roleNames":["admin"]}`, 200)
	f.expect(f.send("GET", "/api/users", ann), 200, "")
	f.ask("PUT", "/api/users/user-ann", `{"roleNames":[]}`, 200)
	f.expect(f.send("GET", "/api/users", ann), 403, "forbidden")
}

func TestRoles(t *testing.T) {
	f := newFixture(t)
	v := f.ask("POST", "/api/roles", `{"name":"developer","desc":"writes code"}`, 201)
	id, _ := v["id"].(string)
	for key, want := range map[string]any{"name": "developer", "desc": "writes code", "createdAt": "2023-11-14T22:13:20.000Z", "updatedAt": "2023-11-14T22:13:20.000Z"} {
		if v[key] != want {
			t.Errorf("%s is %v", key, v[key])
		}
	}
	if len(v) != 5 || !uuidForm.MatchString(id) {
		t.Errorf("%v", v)
	}
	if a := f.control("GET", "/api/roles"); strings.Count(a.body, `"id"`) != 3 || !strings.HasPrefix(a.body, "[") {
		t.Errorf("list is %s", a.body)
	}
	f.fake.advance(time.Second)
	if v = f.ask("PUT", "/api/roles/"+id, `{"name":"developer","desc":""}`, 200); v["desc"] != "" || v["updatedAt"] != "2023-11-14T22:13:21.000Z" {
		t.Errorf("%v", v)
	}
	if v = f.ask("GET", "/api/roles/"+id, "", 200); v["desc"] != "" {
		t.Errorf("%v", v)
	}
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "", `{"desc":"x"}`, "400 missing-field"},
		{"POST", "", `{"name":"a b"}`, "400 bad-role-name"},
		{"POST", "", `{"name":"developer"}`, "409 role-exists"},
		{"POST", "", `{"name":"x","desc":"` + strings.Repeat("x", 1025) + `"}`, "413 limit-description"},
		{"PUT", "/" + id, `{"name":"x","desc":""}`, "400 bad-field"},
		{"PUT", "/" + id, `{}`, "400 missing-field"},
		{"PUT", "/" + id, `{"desc":"` + strings.Repeat("x", 1025) + `"}`, "413 limit-description"},
		{"PUT", "/nope", `{"desc":""}`, "404 role-not-found"},
		{"GET", "/nope", ``, "404 role-not-found"},
		{"DELETE", "/nope", ``, "404 role-not-found"},
		{"DELETE", "/role-admin", ``, "409 role-built-in"},
	} {
		a := f.control(c.method, "/api/roles"+c.path, jsonBody(c.body))
		if got := fmt.Sprint(a.status, " ", errorCode(t, a.body)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	f.ask("PUT", "/api/users/user-ann", `{"roleNames":["developer"]}`, 200)
	f.expect(f.control("DELETE", "/api/roles/"+id), 409, "role-in-use")
	f.ask("PUT", "/api/users/user-ann", `{"roleNames":[]}`, 200)
	f.expect(f.control("DELETE", "/api/roles/"+id), 204, "")
}

func TestRealms(t *testing.T) {
	f := newFixture(t)
	f.ask("POST", "/api/roles", `{"name":"developer"}`, 201)
	const config = `{"autoCreateUsers":true,"host":"ldap.example","ssl":true,"port":636,"ephemeralUsers":false,"login":{"bindDnTemplate":"uid={},ou=users,dc=example"},"bindPassword":"hunter2"}`
	v := f.ask("POST", "/api/realm-configs", `{"realmType":"ldap","name":"corp","config":`+config+`,"roleNames":["developer"]}`, 201)
	id, _ := v["id"].(string)
	shown, _ := v["config"].(map[string]any)
	if v["realmType"] != "ldap" || v["name"] != "corp" || v["enabled"] != true || len(v) != 8 || !uuidForm.MatchString(id) ||
		shown["host"] != "ldap.example" || shown["port"] != 636.0 {
		t.Errorf("%v", v)
	}
	stored := func() string {
		r, _ := f.fake.machine.RealmByID(id)
		return string(r.Config)
	}
	for _, a := range []answer{f.control("GET", "/api/realm-configs"), f.control("GET", "/api/realm-configs/"+id)} {
		if a.status != 200 || strings.Contains(a.body, "hunter2") || strings.Contains(a.body, "bindPassword") || strings.Contains(a.body, "sealed") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if strings.Contains(stored(), "hunter2") || !strings.Contains(stored(), "bindPassword") {
		t.Errorf("stored is %s", stored())
	}
	// What PUT does not name stays, secrets too.
	before := stored()
	if v = f.ask("PUT", "/api/realm-configs/"+id, `{"enabled":false}`, 200); v["enabled"] != false || len(v["roleNames"].([]any)) != 1 || stored() != before {
		t.Errorf("%v", v)
	}
	if v = f.ask("PUT", "/api/realm-configs/"+id, `{"enabled":true,"roleNames":[],"config":null}`, 200); v["enabled"] != true || len(v["roleNames"].([]any)) != 0 || stored() != before {
		t.Errorf("%v", v)
	}
	f.ask("PUT", "/api/realm-configs/"+id, `{"config":`+strings.Replace(config, "ldap.example", "ldap2.example", 1)+`}`, 200)
	if !strings.Contains(stored(), "ldap2.example") || strings.Contains(stored(), "hunter2") {
		t.Errorf("stored is %s", stored())
	}
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "", `{"name":"x"}`, "400 missing-field"},
		{"POST", "", `{"realmType":"ldap"}`, "400 missing-field"},
		{"POST", "", `{"realmType":"saml","name":"x"}`, "400 unknown-realm-type"},
		{"POST", "", `{"realmType":"ldap","name":"x","config":{}}`, "400 bad-realm-config"},
		{"POST", "", `{"realmType":"native","name":"native"}`, "409 realm-exists"},
		{"POST", "", `{"realmType":"native","name":"a/b"}`, "400 bad-realm-name"},
		{"PUT", "/" + id, `{"name":"x"}`, "400 bad-field"},
		{"PUT", "/" + id, `{"realmType":"native"}`, "400 bad-field"},
		{"PUT", "/" + id, `{"config":{"host":"x y"}}`, "400 bad-realm-config"},
		{"PUT", "/" + id, `{"roleNames":["nope"]}`, "404 role-not-found"},
		{"PUT", "/nope", `{}`, "404 realm-not-found"},
		{"GET", "/nope", ``, "404 realm-not-found"},
		{"PUT", "/realm-native", `{"enabled":false}`, "409 realm-built-in"},
		{"DELETE", "/realm-native", ``, "409 realm-built-in"},
	} {
		a := f.control(c.method, "/api/realm-configs"+c.path, jsonBody(c.body))
		if got := fmt.Sprint(a.status, " ", errorCode(t, a.body)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	f.expect(f.control("DELETE", "/api/realm-configs/"+id), 204, "")
}

func TestAdminIsAudited(t *testing.T) {
	f, out := audited(t)
	f.send("POST", "/api/users", idCookie(f.create(session.Create{Username: "root"})), jsonBody(`{"username":"bob","password":"eight chars"}`))
	if e := out.last(t); e.By != "root@native" || e.User != "bob" || e.Detail != "created" || strings.Contains(out.text()+f.logs.String(), "eight chars") {
		t.Errorf("audited %+v", e)
	}
}

func TestAdminErrorsOfTheCluster(t *testing.T) {
	f := newFixture(t)
	f.fake.before = func(session.Command) error { return cluster.ErrOutcomeUnknown }
	f.expect(f.control("DELETE", "/api/users/user-ann"), 503, "outcome-unknown")
	f.fake.readErr = cluster.ErrNoLeader
	for _, c := range [][2]string{{"GET", "/api/users"}, {"GET", "/api/roles"}, {"GET", "/api/realm-configs/x"}, {"PUT", "/api/users/x"}, {"POST", "/api/users"}} {
		f.expect(f.control(c[0], c[1], jsonBody(`{"username":"x","password":"eight chars"}`)), 503, "no-leader")
	}
}
