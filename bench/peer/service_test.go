package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"cloakroom/bench/load"
)

// product is a stand-in for a node: as much of its API as this package uses, with faults to order.
type product struct {
	t        *testing.T
	addr     string
	admin    bool // the caller is an administrator, not a service
	short    bool // a token of another width among the others
	refuse   func(n int, user string) (code string)
	busy     int  // so many bulk calls get 503
	timedOut bool // the caller's session, until the next login
	electing int  // so many logins, and makings of users, get 503
	wrong    bool
	throttle bool // bulk verification
	password string

	mu       sync.Mutex
	made     int               // sessions asked for
	users    map[string]string // by token
	deleted  []string
	bodies   []string // of puts
	largest  int      // bulk call, in sessions
	lagging  int      // so many quorum lookups get 503
	asked    int      // quorum lookups
	loginsBy []string
	checked  int // tokens
}

func startProduct(t *testing.T, p *product) *Service {
	t.Helper()
	p.t, p.users, p.password = t, make(map[string]string), "correct horse"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	server := &fasthttp.Server{Handler: p.serve, CloseOnShutdown: true, MaxRequestBodySize: 256 << 10}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(), <-served); err != nil {
			t.Error(err)
		}
	})
	return &Service{Targets: []Target{{Host: p.addr}}, User: "admin", Password: Secret(p.password), Timeout: CallTimeout}
}

func (p *product) serve(ctx *fasthttp.RequestCtx) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cookie := string(ctx.Request.Header.Cookie("id"))
	switch call := string(ctx.Method()) + " " + string(ctx.Path()); {
	case p.electing > 0 && (call == "POST /api/session" || call == "POST /api/users"):
		p.electing--
		ctx.SetStatusCode(503)
	case call == "POST /api/session":
		p.timedOut = false
		p.login(ctx)
	case p.timedOut:
		ctx.SetStatusCode(401)
	case call == "POST /api/realm-configs" && !p.admin:
		ctx.SetStatusCode(403)
	case call == "POST /api/realm-configs":
		ctx.SetStatusCode(409) // an earlier run made it
	case call == "POST /api/users":
		ctx.SetStatusCode(201)
		ctx.SetBodyString(`{"id":"u-1"}`)
	case strings.HasPrefix(call, "DELETE /api/users/"):
		p.deleted = append(p.deleted, call[len("DELETE /api/users/"):])
		ctx.SetStatusCode(204)
	case call == "DELETE /api/session":
		ctx.SetStatusCode(204)
	case call == "POST /api/sessions":
		p.create(ctx, cookie)
	case p.users[cookie] == "" && !strings.HasPrefix(cookie, "login-of-"):
		ctx.SetStatusCode(401)
	case call == "GET /auth/verify":
		ctx.Response.Header.Set("Remote-User", p.nameFor(cookie))
	case call == "GET /api/session" && p.lagging > 0:
		p.lagging--
		ctx.SetStatusCode(503)
	case call == "GET /api/session":
		if string(ctx.Request.Header.Peek("Consistency")) == string(Quorum) {
			p.asked++
		}
		ctx.SetBodyString(fmt.Sprintf(`{"user":{"id":"","username":%q,"realmName":"bench"}}`, p.nameFor(cookie)))
	case call == "POST /api/sessions/verify":
		p.verify(ctx)
	case call == "POST /api/2/session/put":
		p.bodies = append(p.bodies, string(ctx.PostArgs().Peek("bench")))
		ctx.SetBodyString("{}")
	default:
		ctx.SetStatusCode(404)
	}
}

func (p *product) nameFor(token string) string {
	if p.wrong {
		return p.users[token] + "x"
	}
	return p.users[token]
}

func (p *product) login(ctx *fasthttp.RequestCtx) {
	var body struct{ Username, Password string }
	if err := json.Unmarshal(ctx.PostBody(), &body); err != nil || (body.Username == "admin" && body.Password != p.password) {
		ctx.SetStatusCode(401)
		return
	}
	p.loginsBy = append(p.loginsBy, body.Username)
	ctx.Response.Header.Set("Set-Cookie", "id=login-of-"+body.Username+";HttpOnly;Path=/api")
	ctx.SetStatusCode(201)
}

func (p *product) create(ctx *fasthttp.RequestCtx, cookie string) {
	if p.admin && cookie == "login-of-admin" {
		ctx.SetStatusCode(403) // the role service is not part of the role admin
		return
	}
	if p.busy > 0 {
		p.busy--
		ctx.SetStatusCode(503)
		return
	}
	var asked []newSession
	if err := json.Unmarshal(ctx.PostBody(), &asked); err != nil || len(asked) == 0 || len(asked) > 1000 {
		ctx.SetStatusCode(400)
		return
	}
	p.largest = max(p.largest, len(asked))
	answer := make([]map[string]string, len(asked))
	for i, one := range asked {
		p.made++
		if p.refuse != nil {
			if code := p.refuse(p.made, one.Username); code != "" {
				answer[i] = map[string]string{"code": code, "message": "try again or not"}
				continue
			}
		}
		token := madeUpToken(p.made)
		if p.short && p.made > 10 {
			token = token[1:]
		}
		p.users[token] = one.Username
		answer[i] = map[string]string{"token": token, "handle": "h"}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		p.t.Error(err)
	}
	ctx.SetStatusCode(201)
	ctx.SetBody(text)
}

func fill(t *testing.T, s *Service, n int) *Sessions {
	t.Helper()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	all, err := s.Fill(t.Context(), n, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Some sessions are refused for passing reasons, as those of one user are that are asked for in the same moment: in
// the end each place has a token, and it is its own user's.
func TestFillGetsEverySessionItsToken(t *testing.T) {
	p := &product{busy: 2, lagging: 2, refuse: func(n int, _ string) string {
		if n%3 == 0 {
			return "revision-moved"
		}
		return ""
	}}
	all := fill(t, startProduct(t, p), 3333)
	seen := make(map[string]bool)
	perUser := make(map[string]int)
	for i := range all.Len() {
		token := string(all.Token(i))
		if seen[token] || p.users[token] != all.User(i) {
			t.Fatalf("session %d: token of %q, want %q's; seen before: %v", i, p.users[token], all.User(i), seen[token])
		}
		seen[token] = true
		perUser[all.User(i)]++
	}
	if p.lagging != 0 || p.asked != 2 {
		t.Errorf("%d quorum lookups answered: want one a node after the login and one after the fill, or local ones may come too early", p.asked)
	}
	if all.Len() != 3333 || p.largest > maxBulk {
		t.Errorf("%d sessions, up to %d a call", all.Len(), p.largest)
	}
	for user, n := range perUser {
		if n > sessionsPerUser {
			t.Errorf("%s has %d sessions, more than %d", user, n, sessionsPerUser)
		}
	}
}

func TestFillGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		product *product
		want    string
	}{
		"for a reason that stays": {&product{refuse: func(n int, _ string) string { return map[bool]string{true: "limit-attributes"}[n > 5] }}, "limit-attributes"},
		"when tokens differ":      {&product{short: true}, "bytes among tokens"},
		"when one reason hides another": {&product{refuse: func(n int, user string) string {
			switch {
			case n == 1:
				return ""
			case user == "bench-0000001": // the first in each call
				return "overloaded"
			}
			return "forbidden"
		}}, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startProduct(t, c.product)
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := s.Fill(t.Context(), 100, func(int) {})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error that says %q", err, c.want)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAdministratorsGetAServiceForTheRun(t *testing.T) {
	p := &product{admin: true, electing: 2}
	s := startProduct(t, p)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fill(t.Context(), 10, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(p.loginsBy) != 2 || !strings.HasPrefix(p.loginsBy[1], "bench-service-") || len(p.deleted) != 1 || p.deleted[0] != "u-1" {
		t.Errorf("logins by %v, deleted %v: want one service, made and taken away", p.loginsBy, p.deleted)
	}
}

func TestWrongPasswordIsSaidButNotShown(t *testing.T) {
	s := startProduct(t, &product{})
	s.Password = "wrong horse"
	err := s.Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "horse") {
		t.Errorf("%v, want 401 and no password", err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", s.Password, *s, *s, s.Password); strings.Contains(shown, "horse") {
		t.Errorf("printed with its password: %s", shown)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAskedSessionsAnswerForThemselves(t *testing.T) {
	p := &product{}
	s := startProduct(t, p)
	all := fill(t, s, 200)
	for name, open := range map[string]load.Open{
		"verify":  s.Lookup(all, Verify, ""),
		"session": s.Lookup(all, Session, Quorum),
		"put":     s.Put(all, 100),
		"create":  s.Create(all, 7),
		"bulk":    s.VerifyBulk(all, []string{s.maker}, 20),
	} {
		t.Run(name, func(t *testing.T) { ask(t, open, nil) })
	}
	for _, body := range p.bodies {
		if body != value(100) {
			t.Fatalf("put %q", body)
		}
	}

	p.wrong = true // from now on the server mixes its sessions up
	for name, open := range map[string]load.Open{"verify": s.Lookup(all, Verify, ""), "session": s.Lookup(all, Session, ""), "bulk": s.VerifyBulk(all, []string{s.maker}, 20)} {
		t.Run(name+" of the wrong user", func(t *testing.T) {
			caller, err := open(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer caller.Close() //nolint:errcheck // the call is what matters
			var wrong *wrongAnswer
			if err := caller.Call(t.Context()); !errors.As(err, &wrong) {
				t.Errorf("%v, want a wrong answer", err)
			}
		})
	}
}

func TestRefusedCreatesCount(t *testing.T) {
	p := &product{}
	s := startProduct(t, p)
	all := fill(t, s, 10)
	p.mu.Lock()
	p.refuse = func(int, string) string { return "overloaded" }
	p.mu.Unlock()
	caller, err := s.Create(all, 2)(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close() //nolint:errcheck // the call is what matters
	var refused *refusedError
	if err := caller.Call(t.Context()); !errors.As(err, &refused) || refused.Label() != "overloaded" {
		t.Errorf("%v, want the code of the refusal", err)
	}
}

func TestView(t *testing.T) {
	v, err := decodeCluster([]byte(`{"leader":"id-2","members":[
		{"id":"id-1","name":"n1","role":"voter","state":"alive"},
		{"id":"id-2","name":"n2","role":"voter","state":"alive"},
		{"id":"id-3","name":"n3","role":"voter","state":"failed"},
		{"id":"id-4","name":"n4","role":"non-voter","state":"alive"}]}`))
	if err != nil || v.leaderName() != "n2" || v.voters() != 2 {
		t.Errorf("leader %q, %d voters, %v; want n2, 2", v.leaderName(), v.voters(), err)
	}
	v.Leader = "n1"
	if v.leaderName() != "n1" {
		t.Errorf("leader %q, want n1", v.leaderName())
	}
	if v.Leader = ""; v.leaderName() != "" {
		t.Errorf("leader %q where there is none", v.leaderName())
	}
}

// A caller whose session has timed out meanwhile takes away what it made all the same.
func TestServiceTimesOut(t *testing.T) {
	p := &product{admin: true}
	s := startProduct(t, p)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.timedOut = true
	p.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(p.deleted) != 1 || p.deleted[0] != "u-1" {
		t.Errorf("deleted %q", p.deleted)
	}
}
