package httpapi

import (
	"log/slog"
	"strings"
	"testing"

	"cloakroom/cluster"
	"cloakroom/httpapi/audit"
)

// The level changes for what is logged from then on, by administrators alone, and leaves a line in the audit log.
func TestLogLevel(t *testing.T) {
	logs := &logBuffer{}
	level := new(slog.LevelVar)
	log, out := newAuditLog(t)
	f := newFixture(t, func(c *Config) {
		c.Logger, c.LogLevel, c.Audit = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level})), level, log
	})
	root, ann := basic("root", testPassword), basic("ann", testPassword)
	f.expect(f.send("GET", "/api/log-level"), 401, "session-invalid")
	f.expect(f.send("PUT", "/api/log-level", jsonBody(`{"level":"debug"}`)), 401, "session-invalid")
	f.expect(f.send("PUT", "/api/log-level", ann, jsonBody(`{"level":"debug"}`)), 403, "forbidden")
	if a := f.send("GET", "/api/log-level", root); a.status != 200 || a.body != `{"level":"info"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	for body, code := range map[string]string{`{}`: "missing-field", `{"level":"loud"}`: "bad-field", `{"level":"DEBUG"}`: "bad-field", `x`: "malformed-json"} {
		f.expect(f.send("PUT", "/api/log-level", root, jsonBody(body)), 400, code)
	}
	f.log.Debug("before")
	if a := f.send("PUT", "/api/log-level", root, jsonBody(`{"level":"debug"}`)); a.status != 200 || a.body != `{"level":"debug"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.log.Debug("after")
	if text := logs.String(); strings.Contains(text, "msg=before") || !strings.Contains(text, "msg=after") ||
		!strings.Contains(text, `msg="log level changed" before=info level=debug by=root@native`) {
		t.Errorf("logged: %s", text)
	}
	want := audit.Event{Name: audit.Changed, Outcome: audit.OK, By: "root@native", Client: "192.0.2.1", Target: "log level of this node", Detail: "info to debug"}
	if e := out.last(t); e != want {
		t.Errorf("%+v", e)
	}
	// A node that is cut off can be looked into all the same, by the control socket.
	f.fake.set(func(c *fakeCluster) {
		c.readErr, c.lookupErr, c.ready = cluster.ErrNoLeader, cluster.ErrNoLeader, cluster.ErrCutOff
	})
	if a := f.control("PUT", "/api/log-level", jsonBody(`{"level":"error"}`)); a.status != 200 || level.Level() != slog.LevelError {
		t.Errorf("%d %s, %v", a.status, a.body, level)
	}
	if e := out.last(t); e.By != "control socket" || e.Detail != "debug to error" {
		t.Errorf("%+v", e)
	}
}

// The log may be turned up while a node serves. It says why a request could not be read, and repeats nothing of it: what
// is broken about it may be next to a token or a password, or be one.
func TestDebugLogHasNoSecrets(t *testing.T) {
	f := newFixture(t).opened()
	const secret = "c8309f57-87d7-c1ba-2d26-e7dcd67d7986"
	for _, request := range []string{
		"GET /auth/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret + "\x00\r\n\r\n",
		"GET /auth/verify HTTP/1.1\r\nHost: x\r\nCookie id=" + secret + "\r\n\r\n",
		"GET /auth/verify HTTP/1.1\r\nHost: x\r\n Cookie: id=" + secret + "\r\n\r\n",
		"GET /auth/verify HTTP/1.1\r\nHost: x\r\n" + secret + "\"\\\" \": 1\r\n\r\n",
		"GET /auth/verify?" + secret + "\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /auth/verify?" + secret + " HTTP/" + secret + "\r\nHost: x\r\n\r\n",
		"GET http://u:" + secret + "@x:y/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"z_password=" + secret + " / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /z_security_check HTTP/1.1\r\nHost: x\r\nContent-Length: " + secret + "\r\n\r\n",
		"POST /z_security_check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n",
	} {
		c := f.dial()
		c.write(request)
		if a := c.read(); a.status < 400 {
			t.Errorf("%q: %d", request, a.status)
		}
	}
	if err := f.Close(); err != nil { // what is logged last is logged by then
		t.Error(err)
	}
	logs := f.logs.String()
	if strings.Contains(logs, secret) || strings.Contains(logs, secret[10:]) {
		t.Errorf("a secret is in %s", logs)
	}
	if refused := strings.Count(logs, `msg="request refused"`); refused < 6 || !strings.Contains(logs, "127.0.0.1:") || !strings.Contains(logs, "missing colon") {
		t.Errorf("%d requests were refused: %s", refused, logs)
	}
}

func TestWithoutQuotes(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", `a "b" c`: "a … c", `a "b\"c" d "e"`: "a … d …", `on "127.0.0.1:80"<->"[::1]:7": bad "127.0.0.1:80x"`: "on 127.0.0.1:80<->[::1]:7: bad …",
		`not closed "secret`: "not closed …", "raw `x` \"y\nz\"": "raw `x` …", `"`: "…",
	} {
		if got := withoutQuotes(text); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
}
