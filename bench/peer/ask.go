package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/bench/load"
)

// Route is the call by which a session is looked up.
type Route string

// The routes.
const (
	Verify  Route = "verify"  // GET /auth/verify, as a proxy asks
	Session Route = "session" // GET /api/session, as an application asks
)

// ParseRoute reads a route.
func ParseRoute(text string) (Route, error) {
	switch route := Route(text); route {
	case Verify, Session:
		return route, nil
	}
	return "", fmt.Errorf("route %q: need verify or session", text)
}

func (r Route) path() string {
	if r == Session {
		return "/api/session"
	}
	return "/auth/verify"
}

// attribute is what Fill sets and puts overwrite.
const attribute = "bench"

// value returns n bytes that need no escaping anywhere.
func value(n int) string { return strings.Repeat("x", n) }

// Lookup returns workers that look up random sessions. A level is asked for by a header, which forward auth ignores:
// with the route Verify, it must be "" or what the nodes are configured to. Worker i uses target i modulo their
// number. Each answer must name the user that the session was made for: a server that mixes sessions up is not fast but
// wrong.
func (s *Service) Lookup(sessions *Sessions, route Route, level Level) load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker%len(s.Targets)]
		check := namesUserInHeader
		if route == Session {
			check = namesUserInBody
		}
		head := "GET " + route.path() + " HTTP/1.1\r\nHost: " + target.Host + "\r\n" + consistency(level) + "Cookie: id="
		return &tokenCaller{
			conn: NewConn(target, s.Timeout), sessions: sessions, rng: newRand(worker),
			head: head, tail: "\r\n\r\n", check: check,
		}, nil
	}
}

// Put returns workers that overwrite one attribute of random sessions with a value of size bytes.
func (s *Service) Put(sessions *Sessions, size int) load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker%len(s.Targets)]
		body := attribute + "=" + value(size)
		head := "POST /api/2/session/put HTTP/1.1\r\nHost: " + target.Host +
			"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nCookie: id="
		return &tokenCaller{
			conn: NewConn(target, s.Timeout), sessions: sessions, rng: newRand(-1 - worker), // other sessions than the lookup of that number
			head: head, tail: "\r\n\r\n" + body,
		}, nil
	}
}

// Create returns workers that make batch sessions by each call, for users that have some already: the oldest goes when
// one has too many, so a long run does not fill the cluster without bound.
func (s *Service) Create(sessions *Sessions, batch int) load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker%len(s.Targets)]
		return &createCaller{
			conn: NewConn(target, s.Timeout), sessions: sessions, rng: newRand(worker), batch: batch,
			head: "POST /api/sessions HTTP/1.1\r\nHost: " + target.Host + "\r\nContent-Type: application/json\r\nCookie: id=" + s.maker + "\r\n",
		}, nil
	}
}

func consistency(level Level) string {
	if level == "" {
		return ""
	}
	return "Consistency: " + string(level) + "\r\n"
}

// tokenCaller sends head, a random session's token, and tail.
type tokenCaller struct {
	conn       *Conn
	sessions   *Sessions
	rng        *rand.Rand
	head, tail string
	check      func(answer *fasthttp.Response, user string) error // nil: any 2xx will do
	buf        []byte
}

var _ load.Caller = (*tokenCaller)(nil)

// Call implements load.Caller.
func (c *tokenCaller) Call(ctx context.Context) error {
	i := c.rng.IntN(c.sessions.Len())
	c.buf = append(c.buf[:0], c.head...)
	c.buf = append(c.buf, c.sessions.Token(i)...)
	c.buf = append(c.buf, c.tail...)
	answer, err := c.conn.Do(ctx, c.buf)
	if err != nil || c.check == nil {
		return err
	}
	return c.check(answer, c.sessions.User(i))
}

// Close implements load.Caller.
func (c *tokenCaller) Close() error { return c.conn.Close() }

func namesUserInHeader(answer *fasthttp.Response, user string) error {
	if got := answer.Header.Peek("Remote-User"); string(got) != user {
		return &wrongAnswer{want: user, got: string(got)}
	}
	return nil
}

func namesUserInBody(answer *fasthttp.Response, user string) error {
	body := answer.Body()
	_, rest, _ := bytes.Cut(body, []byte(`"username":"`))
	if len(rest) <= len(user) || string(rest[:len(user)]) != user || rest[len(user)] != '"' {
		return &wrongAnswer{want: user, got: string(body)}
	}
	return nil
}

// createCaller makes sessions for users picked at random.
type createCaller struct {
	conn     *Conn
	sessions *Sessions
	rng      *rand.Rand
	batch    int
	head     string
	buf      []byte
}

var _ load.Caller = (*createCaller)(nil)

// Call implements load.Caller.
func (c *createCaller) Call(ctx context.Context) error {
	asked := make([]newSession, c.batch)
	first := c.rng.IntN(len(c.sessions.users))
	for i := range asked {
		asked[i] = sessionFor(c.sessions.User(first + i))
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return fmt.Errorf("encode sessions: %w", err)
	}
	c.buf = append(c.buf[:0], c.head...)
	c.buf = append(c.buf, "Content-Length: "...)
	c.buf = strconv.AppendInt(c.buf, int64(len(body)), 10)
	c.buf = append(c.buf, "\r\n\r\n"...)
	c.buf = append(c.buf, body...)
	answer, err := c.conn.Do(ctx, c.buf)
	if err != nil {
		return err
	}
	made, err := decodeMade(answer.Body(), c.batch)
	if err != nil {
		return &wrongAnswer{want: strconv.Itoa(c.batch) + " sessions", got: err.Error()} // never the body: it holds tokens
	}
	for _, one := range made {
		if one.Token == "" {
			return &refusedError{one.Code, one.Message}
		}
	}
	return nil
}

// Close implements load.Caller.
func (c *createCaller) Close() error { return c.conn.Close() }
