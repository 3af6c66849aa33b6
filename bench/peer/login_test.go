package peer

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// guarded is a node that no longer checks what comes from an address with too many wrong passwords.
type guarded struct {
	password string
	failures map[string]int // by address
	good     int
	wrong    int
}

func (g *guarded) serve(ctx *fasthttp.RequestCtx) {
	host := string(ctx.Request.Header.Peek("X-Forwarded-For"))
	switch {
	case g.failures[host] >= 10:
		ctx.SetStatusCode(429)
	case strings.HasPrefix(string(ctx.PostBody()), `{"password":"`+g.password+`","username":`):
		g.good++
		ctx.SetStatusCode(201)
	default:
		g.wrong++
		g.failures[host]++
		ctx.SetStatusCode(401)
	}
}

// Every second worker guesses, and each guess is checked: otherwise it would cost the node nothing.
func TestLoginsAreChecked(t *testing.T) {
	g := &guarded{password: "correct horse", failures: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: g.serve, CloseOnShutdown: true}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	s := &Service{Targets: []Target{{Host: l.Addr().String()}}, User: "admin", Password: Secret(g.password), Timeout: CallTimeout}
	for worker := range 4 {
		caller, err := s.Login()(t.Context(), worker)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err := caller.Call(t.Context()); err != nil {
				t.Fatalf("worker %d: %v", worker, err)
			}
		}
		if err := caller.Close(); err != nil {
			t.Error(err)
		}
	}
	if g.good != 200 || g.wrong != 200 {
		t.Errorf("%d right and %d wrong passwords", g.good, g.wrong)
	}

	s.Password = "wrong horse" // as if the node took a right one for wrong, and the other way round
	caller, err := s.Login()(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var status *StatusError
	if err := caller.Call(t.Context()); !errors.As(err, &status) || status.Code != 401 {
		t.Errorf("a right password that is refused: %v", err)
	}
	g.password = "not the password"
	guess, err := s.Login()(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var wrong *wrongAnswer
	if err := guess.Call(t.Context()); !errors.As(err, &wrong) {
		t.Errorf("a wrong password that is accepted: %v", err)
	}
	if err := errors.Join(caller.Close(), guess.Close(), server.Shutdown(), <-served); err != nil {
		t.Error(err)
	}
}
