package httpapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

func TestWhy(t *testing.T) {
	f := newFixture(t)
	admin := f.create(session.Create{Username: "root"})
	type reply struct {
		Active           bool
		EndedAt          time.Time
		Reason, Rule, By string
	}
	ask := func(who credential.Token, handle string) (answer, reply) {
		t.Helper()
		a := f.send("GET", "/api/sessions/"+handle+"/why", idCookie(who))
		var body reply
		if a.status == 200 {
			if err := json.Unmarshal([]byte(a.body), &body); err != nil {
				t.Fatal(err)
			}
		}
		return a, body
	}
	ann := f.create(session.Create{Username: "ann"})
	if a, body := ask(admin, ann.Key.String()); a.status != 200 || !body.Active || !body.EndedAt.IsZero() {
		t.Errorf("a live one: %d %+v", a.status, body)
	}
	if a, _ := ask(ann, ann.Key.String()); a.status != 403 {
		t.Errorf("asked by a user: %d", a.status)
	}
	ended := f.fake.Now()
	f.expect(f.send("DELETE", "/api/sessions/"+ann.Key.String(), idCookie(admin)), 204, "")
	a, body := ask(admin, ann.Key.String())
	if a.status != 200 || body.Active || body.Reason != "admin" || body.By != "root@native" || body.Rule == "" ||
		body.EndedAt.Sub(ended.Std()).Abs() > time.Second {
		t.Errorf("%d %+v", a.status, body)
	}
	if strings.Contains(a.body, ann.Text) {
		t.Error("the token is in the answer")
	}
	f.fake.advance(session.WhyLife - time.Minute)
	admin = f.create(session.Create{Username: "root"})
	if a, _ := ask(admin, ann.Key.String()); a.status != 200 {
		t.Errorf("within the hour: %d", a.status)
	}
	f.fake.advance(2 * time.Minute)
	admin = f.create(session.Create{Username: "root"})
	f.expect(f.send("GET", "/api/sessions/"+ann.Key.String()+"/why", idCookie(admin)), 404, exchange.ErrNoSession.Code)
	f.expect(f.send("GET", "/api/sessions/x/why", idCookie(admin)), 400, session.ErrBadHandle.Code)
}

// Every reason has a rule that a person can read.
func TestEveryReasonHasARule(t *testing.T) {
	unknown := ruleOf(0)
	for reason := session.Reason(1); reason.Valid(); reason++ {
		if rule := ruleOf(reason); rule == "" || rule == unknown {
			t.Errorf("%s has none", reason)
		}
	}
}

func TestLimits(t *testing.T) {
	f := newFixture(t)
	admin := f.create(session.Create{Username: "root"})
	get := func() string { return f.send("GET", "/api/limits", idCookie(admin)).body }
	const defaults = `{"sessionsPerUser":100,"whenOver":"evict","sessions":0,"attributes":64,"sessionBytes":16384}`
	if got := get(); got != defaults {
		t.Errorf("defaults %s", got)
	}
	set := func(body string, status int) string {
		t.Helper()
		a := f.send("PUT", "/api/limits", idCookie(admin), jsonBody(body))
		if a.status != status {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
		return a.body
	}
	for _, bad := range []string{
		`{"sessionsPerUser":-1}`, `{"sessionsPerUser":1001}`, `{"whenOver":"ask"}`, `{"attributes":65}`, `{"sessionBytes":16385}`, `{"sessions":-1}`,
	} {
		set(bad, 400)
	}
	if got := get(); got != defaults {
		t.Errorf("after refusals %s", got)
	}
	const two = `{"sessionsPerUser":2,"whenOver":"refuse","sessions":0,"attributes":1,"sessionBytes":16384}`
	if got := set(`{"sessionsPerUser":2,"whenOver":"refuse","attributes":1}`, 200); got != two || get() != two {
		t.Errorf("set %s, then %s", got, get())
	}
	login := func() answer {
		return f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`))
	}
	for range 2 {
		f.expect(login(), 201, "")
	}
	f.expect(login(), 429, session.ErrLimitUserSessions.Code)
	f.expect(f.send("PUT", "/api/limits", idCookie(f.create(session.Create{Username: "svc"})), jsonBody(`{}`)), 403, exchange.ErrForbidden.Code)
	set(`{"sessionsPerUser":0,"whenOver":"evict","sessions":4,"attributes":0}`, 200)
	f.expect(login(), 429, session.ErrLimitSessions.Code)
	set(`{"sessions":0}`, 200)
	if got := get(); got != defaults {
		t.Errorf("back to the defaults: %s", got)
	}
}

func TestVerifySessions(t *testing.T) {
	f := newFixture(t)
	admin := f.create(session.Create{Username: "root"})
	ann := f.create(session.Create{Username: "ann"})
	gone := f.create(session.Create{Username: "ann"})
	f.expect(f.send("DELETE", "/api/session", idCookie(gone)), 204, "")
	ask := func(who credential.Token, tokens ...string) answer {
		body, err := json.Marshal(map[string][]string{"tokens": tokens})
		if err != nil {
			t.Fatal(err)
		}
		return f.send("POST", "/api/sessions/verify", idCookie(who), jsonBody(string(body)))
	}
	used := f.fake.lastUse[ann.Key]
	a := ask(admin, gone.Text, ann.Text, "", strings.Repeat("x", 36))
	var got struct {
		Sessions []struct {
			Active        bool
			User          struct{ ID, Username, RealmName string }
			Roles         []struct{ Name string }
			Handle        string
			IdleExpiresAt string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || len(got.Sessions) != 4 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	for i, s := range got.Sessions {
		if s.Active != (i == 1) || (s.Handle != "") != s.Active {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if s := got.Sessions[1]; s.User.Username != "ann" || s.User.RealmName != "native" || s.User.ID == "" || s.Handle != ann.Key.String() || s.IdleExpiresAt == "" {
		t.Errorf("%+v", s)
	}
	for _, secret := range []string{ann.Text, gone.Text} {
		if strings.Contains(a.body, secret) {
			t.Error("a token is echoed")
		}
	}
	if now := f.fake.lastUse[ann.Key]; now != used {
		t.Error("to be checked counted as use")
	}
	script := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer}) // good in the form that it was handed out in
	for text, want := range map[string]bool{script.BearerText(): true, script.Text: false, ann.BearerText(): false} {
		if a := ask(admin, text); strings.Contains(a.body, `"active":true`) != want {
			t.Errorf("bearer %v: %s", strings.HasPrefix(text, credential.BearerPrefix), a.body)
		}
	}
	f.expect(ask(ann, ann.Text), 403, exchange.ErrForbidden.Code)
	f.expect(f.send("POST", "/api/sessions/verify", jsonBody(`{"tokens":["x"]}`)), 401, session.ErrSessionInvalid.Code)
	f.expect(ask(admin), 400, "missing-field")
	f.expect(ask(admin, make([]string, exchange.MaxBulkVerify+1)...), 413, exchange.ErrBulkLimit.Code)
}

// A caller has its own allowance, gets it back with time, and is told how long to wait.
func TestChecksAreBounded(t *testing.T) {
	c := checks{processors: 2}
	at := time.Unix(1000, 0)
	taken := 0
	for c.take("a", 4096, at) == 0 {
		taken += 4096
	}
	if most := int(checkBurst.Seconds()) * 2 * maxChecks; taken < most || taken > most+2*4096 {
		t.Errorf("%d at once", taken)
	}
	wait := c.take("a", 1, at)
	if wait <= 0 || c.take("b", 4096, at) != 0 || c.take("a", 1, at.Add(wait-time.Millisecond)) <= 0 || c.take("a", 1, at.Add(wait)) != 0 {
		t.Errorf("wait %v", wait)
	}
	c.take("b", 1, at.Add(time.Hour))
	if len(c.until) != 1 {
		t.Errorf("%d callers are remembered", len(c.until))
	}
}

// A session that is over is not active, whether its end was written down yet or not.
func TestWhyOfOneThatIsNotSwept(t *testing.T) {
	f := newFixture(t)
	ann := f.create(session.Create{Username: "ann"})
	ask := func() string {
		t.Helper()
		a := f.send("GET", "/api/sessions/"+ann.Key.String()+"/why", basic("root", testPassword))
		f.expect(a, 200, "")
		return a.body
	}
	f.fake.advance(30*time.Minute - time.Millisecond)
	if body := ask(); !strings.Contains(body, `"active":true`) || strings.Contains(body, "reason") {
		t.Error(body)
	}
	f.fake.advance(time.Minute)
	if body := ask(); !strings.Contains(body, `"active":false`) || !strings.Contains(body, `"reason":"idle"`) || !strings.Contains(body, `"endedAt":"2023-11-14T22:43:20.000Z"`) {
		t.Error(body)
	}
	f.fake.set(func(c *fakeCluster) { // used to the last
		c.clock = testStart.Add(8 * time.Hour)
		c.lastUse[ann.Key] = c.clock.Add(-time.Minute)
	})
	if body := ask(); !strings.Contains(body, `"active":false`) || !strings.Contains(body, `"reason":"lifetime"`) || !strings.Contains(body, `"endedAt":"2023-11-15T06:13:20.000Z"`) {
		t.Error(body)
	}
}

// A session that ends while it is looked for, so that the read runs again, has ended.
func TestEndsDuringARead(t *testing.T) {
	f := newFixture(t)
	admin := f.create(session.Create{Username: "root"})
	overtaken := func(method, suffix string) answer {
		ann := f.create(session.Create{Username: "ann"})
		f.fake.set(func(c *fakeCluster) { c.overtakes = &session.Invalidate{Key: ann.Key, Reason: session.EndedByLogout} })
		return f.send(method, "/api/sessions/"+ann.Key.String()+suffix, idCookie(admin))
	}
	a := overtaken("GET", "/why")
	if a.status != 200 || !strings.Contains(a.body, `"active":false`) || !strings.Contains(a.body, `"reason":"logout"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.expect(overtaken("DELETE", ""), 404, exchange.ErrNoSession.Code)
	for _, cmd := range f.fake.commands {
		if end, ok := cmd.(*session.Invalidate); ok && end.Reason == session.EndedByAdmin {
			t.Error("what had ended was ended once more")
		}
	}
}

// As many tokens as a call may have fit into its body, of the longest form, also with a line for each.
func TestVerifyBodyFits(t *testing.T) {
	f := newFixture(t)
	tokens := make([]string, exchange.MaxBulkVerify)
	for i := range tokens {
		tokens[i] = strings.Repeat("ab", credential.AnonymousText/2)
	}
	body, err := json.MarshalIndent(map[string][]string{"tokens": tokens}, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	h := &bareRequest("POST", "/api/sessions/verify?a=b").Request.Header
	if limit := exchange.BodyLimit(h); len(body) > limit {
		t.Errorf("%d bytes, of %d", len(body), limit)
	}
	f.expect(f.send("POST", "/api/sessions/verify", basic("svc", testPassword), jsonBody(string(body))), 200, "")
	one, err := json.Marshal(map[string][]string{"tokens": append(tokens, "x")})
	if err != nil {
		t.Fatal(err)
	}
	a := f.send("POST", "/api/sessions/verify", basic("svc", testPassword), jsonBody(string(one)))
	f.expect(a, 413, exchange.ErrVerifyLimit.Code)
	if !strings.Contains(a.body, "checks at most "+strconv.Itoa(exchange.MaxBulkVerify)+" tokens") {
		t.Error(a.body)
	}
	if h := &bareRequest("POST", "/api/sessions").Request.Header; exchange.BodyLimit(h) != exchange.MaxBulkBody {
		t.Error("the body of the other bulk call has another limit")
	}
}
