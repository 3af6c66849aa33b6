package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
)

// lines collects an audit log.
type lines struct {
	t      *testing.T
	log    *audit.Log
	events atomic.Uint64 // that the log was told
	mu     sync.Mutex
	buf    bytes.Buffer
}

func newAuditLog(t *testing.T) (*audit.Log, *lines) {
	t.Helper()
	l := &lines{t: t}
	log, err := audit.Open(audit.Config{Output: l, Now: func() time.Time { // asked once for each event
		l.events.Add(1)
		return time.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	l.log = log
	return log, l
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// text returns all that the log was told. It may not be written yet: nobody waits for a slow disk for longer than a second.
func (l *lines) text() string {
	l.t.Helper()
	await(l.t, "the audit log to be written", func() bool {
		s := l.log.Stats()
		return s.Written+s.Failed+s.Omitted+s.Lost == l.events.Load()
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// last returns the newest event.
func (l *lines) last(t *testing.T) audit.Event {
	t.Helper()
	var e audit.Event
	all := l.all(t)
	if len(all) > 0 {
		e = all[len(all)-1]
	}
	e.Time, e.Request, e.Agent = time.Time{}, "", ""
	return e
}

func (l *lines) all(t *testing.T) (all []audit.Event) {
	t.Helper()
	for scan := bufio.NewScanner(strings.NewReader(l.text())); scan.Scan(); {
		var e audit.Event
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func audited(t *testing.T) (*fixture, *lines) {
	t.Helper()
	log, out := newAuditLog(t)
	return newFixture(t, func(c *Config) { c.Audit = log }), out
}

// Each thing that changes who may do what leaves a line that says who did it, to what, from where and how it ended.
func TestAuditOfChanges(t *testing.T) {
	f, out := audited(t)
	admin := f.create(session.Create{Username: "root"})
	ann := f.create(session.Create{Username: "ann"})
	bob := f.create(session.Create{Username: "svc"})
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     audit.Event
	}{
		{"one's own session", "DELETE", "/api/session", "", 204, audit.Event{Name: audit.Logout, Realm: "native", User: "ann", Handle: ann.Key.String()}},
		{"another's session", "DELETE", "/api/sessions/" + bob.Key.String(), "", 204, audit.Event{Name: audit.SessionEnded, Realm: "native", User: "svc", Handle: bob.Key.String(), By: "root@native", Reason: "admin"}},
		{"all of a user", "DELETE", "/api/sessions?user=ann&realm=native", "", 204, audit.Event{Name: audit.SessionsEnded, Realm: "native", User: "ann", By: "root@native"}},
		{"a role", "POST", "/api/roles", `{"name":"ops"}`, 201, audit.Event{Name: audit.Changed, Target: "role ops", Detail: "created", By: "root@native"}},
		{"a role that is there", "POST", "/api/roles", `{"name":"ops"}`, 409, audit.Event{Name: audit.Changed, Outcome: "role-exists", Target: "role ops", Detail: "created", By: "root@native"}},
		{"the limits", "PUT", "/api/limits", `{"sessionsPerUser":3,"whenOver":"refuse"}`, 200, audit.Event{Name: audit.Changed, Target: "limits", Detail: "{SessionsPerUser:3 RefuseLogins:true Sessions:0 Attributes:64 SessionBytes:16384}", By: "root@native"}},
		{"many tokens checked", "POST", "/api/sessions/verify", `{"tokens":["` + admin.Text + `","` + ann.Text + `","x"]}`, 200, audit.Event{Name: audit.Verified, Count: 3, Detail: "1 active", By: "root@native"}},
		{"everything", "DELETE", "/api/sessions?all=true", "", 200, audit.Event{Name: audit.SessionsEnded, Reason: "emergency", Count: 1, By: "root@native"}},
	} {
		who := admin
		if tt.name == "one's own session" {
			who = ann
		}
		options := []option{idCookie(who), from("192.0.2.7:4711")}
		if tt.body != "" {
			options = append(options, jsonBody(tt.body))
		}
		a := f.send(tt.method, tt.path, options...)
		if a.status != tt.status {
			t.Fatalf("%s: %d %s", tt.name, a.status, a.body)
		}
		tt.want.Client = "192.0.2.7"
		if tt.want.Outcome == "" {
			tt.want.Outcome = audit.OK
		}
		if got := out.last(t); got != tt.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
	for _, secret := range []string{admin.Text, ann.Text, bob.Text} {
		if strings.Contains(out.text(), secret) {
			t.Error("a token is in the audit log")
		}
	}
}

// A stranger's logout is no event, or the disk would be the stranger's to fill.
func TestNoAuditOfNothing(t *testing.T) {
	f, out := audited(t)
	for range 3 {
		f.send("DELETE", "/api/session", idCookie(credential.Mint()))
		f.send("GET", "/login/logout.csp", zCookie(credential.Mint().Text))
		f.send("POST", "/api/roles", jsonBody(`{"name":"ops"}`))
	}
	if out.text() != "" {
		t.Errorf("audited: %s", out.text())
	}
}

// A login leaves a line whether it succeeds or not; what was typed in place of a name stays out of it.
func TestAuditOfLogins(t *testing.T) {
	f, out := audited(t)
	login := func(user, password string) answer {
		return f.send("POST", "/api/session", jsonBody(`{"username":"`+user+`","password":"`+password+`"}`), from("192.0.2.7:4711"))
	}
	a := login("ann", "correct horse")
	f.expect(a, 201, "")
	token, _, _ := strings.Cut(strings.TrimPrefix(a.get("Set-Cookie"), "id="), ";")
	key, _ := credential.Parse([]byte(token))
	want := audit.Event{Name: audit.Login, Outcome: audit.OK, Realm: "native", User: "ann", Handle: key.String(), Client: "192.0.2.7"}
	if got := out.last(t); got != want {
		t.Errorf("%+v", got)
	}
	want.Handle, want.Outcome = "", "invalid-credentials"
	f.expect(login("ann", "wrong horse"), 401, "invalid-credentials")
	if got := out.last(t); got != want {
		t.Errorf("%+v", got)
	}
	f.expect(f.send("GET", "/api/session", basic("ann", "wrong horse"), from("192.0.2.7:4711")), 401, "invalid-credentials")
	if got := out.last(t); got != want {
		t.Errorf("by Basic: %+v", got)
	}
	f.expect(login("correct horse battery", "ann"), 401, "invalid-credentials")
	if got := out.last(t); got.User != access.UnknownUser {
		t.Errorf("%+v", got)
	}
	f.expect(f.send("POST", "/z_security_check", zCookie(f.anonymous()), formBody(annsLogin)), 302, "")
	if got := out.last(t); got.Outcome != audit.OK || got.User != "ann" || got.Handle == "" {
		t.Errorf("by the second surface: %+v", got)
	}
	for i := 0; ; i++ {
		if a := login("ann", "wrong horse"); a.status == 429 {
			break
		} else if i == 1000 {
			t.Fatal("never throttled")
		}
	}
	if got := out.last(t); got.Name != audit.LoginThrottled || got.Outcome != tries.ErrFailures.Code {
		t.Errorf("%+v", got)
	}
	for _, secret := range []string{"horse", token} {
		if strings.Contains(out.text(), secret) {
			t.Errorf("%q is in the audit log", secret)
		}
	}
}
