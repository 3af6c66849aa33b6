package peer

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/bench/load"
)

// pipeServer serves handler over in-memory connections, so that a whole exchange runs in fake time.
type pipeServer struct {
	handler fasthttp.RequestHandler
	dials   int
	served  chan error
}

func newPipeServer(handler fasthttp.RequestHandler) *pipeServer {
	return &pipeServer{handler: handler, served: make(chan error, 1000)}
}

func (p *pipeServer) dial(context.Context, string, string) (net.Conn, error) {
	p.dials++
	client, server := net.Pipe()
	s := &fasthttp.Server{Handler: p.handler, NoDefaultDate: true}
	go func() { p.served <- s.ServeConn(server) }()
	return client, nil
}

func (p *pipeServer) conn(timeout time.Duration) *Conn {
	c := NewConn(Target{Host: "server"}, timeout)
	c.dial = p.dial
	return c
}

func closeConn(t *testing.T, c *Conn) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

const simpleGet = "GET / HTTP/1.1\r\nHost: server\r\n\r\n"

func TestConnTellsStatusesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		p := newPipeServer(func(ctx *fasthttp.RequestCtx) {
			ctx.SetStatusCode(status)
			ctx.SetBodyString(strings.Repeat("why ", 1000))
		})
		c := p.conn(time.Minute)
		defer closeConn(t, c)
		for _, status = range []int{200, 204, 302, 401, 503} {
			answer, err := c.Do(t.Context(), []byte(simpleGet))
			var failed *StatusError
			switch {
			case status < 300 && (err != nil || answer.StatusCode() != status):
				t.Errorf("status %d: %v", status, err)
			case status >= 300 && (!errors.As(err, &failed) || failed.Code != status || len(failed.Body) > maxExcerpt):
				t.Errorf("status %d: %v", status, err)
			}
		}
		if p.dials != 1 {
			t.Errorf("%d connections for requests that were all answered, want 1", p.dials)
		}
	})
}

func TestConnNeverRepeatsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := newPipeServer(func(ctx *fasthttp.RequestCtx) {
			calls++
			switch calls {
			case 2: // breaks off without an answer
				ctx.HijackSetNoResponse(true)
				ctx.Hijack(func(net.Conn) {})
			case 4:
				ctx.SetConnectionClose()
			}
		})
		c := p.conn(time.Minute)
		defer closeConn(t, c)
		for i, want := range []bool{true, false, true, true, true} {
			if _, err := c.Do(t.Context(), []byte(simpleGet)); (err == nil) != want {
				t.Fatalf("request %d: %v", i+1, err)
			}
		}
		if calls != 5 || p.dials != 3 {
			t.Errorf("%d requests over %d connections, want 5 over 3: one was broken off, one closed in order", calls, p.dials)
		}
	})
}

func TestConnBoundsEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeServer(func(*fasthttp.RequestCtx) { time.Sleep(time.Hour) })
		c := p.conn(15 * time.Second)
		start := time.Now()
		_, err := c.Do(t.Context(), []byte(simpleGet))
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 15*time.Second {
			t.Errorf("%v after %v, want a timeout after 15s", err, time.Since(start))
		}
		if err := <-p.served; err == nil { // wakes after its hour
			t.Error("the answer was delivered to a connection that was given up")
		}
	})
}

// The generator, a real HTTP server and a connection for each worker, in fake time: the server stands still for two of
// twenty seconds. What was due in them must show in the percentiles, which a closed loop hides.
func TestStallOfAServerShows(t *testing.T) {
	// On one processor: with more of them the race detector breaks, because all timers of a bubble share one context of
	// it (Go issue 78156).
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	measure := func(t *testing.T, rate float64) load.Percentiles {
		from := time.Now().Add(8 * time.Second)
		until := from.Add(2 * time.Second)
		p := newPipeServer(func(*fasthttp.RequestCtx) {
			time.Sleep(5 * time.Millisecond)
			if now := time.Now(); now.After(from) && now.Before(until) {
				time.Sleep(until.Sub(now))
			}
		})
		res, err := load.Run(t.Context(), load.Config{
			Workers: 8, Duration: 20 * time.Second, Rate: rate,
			NewTimer: func() (load.Timer, error) { return load.SleepTimer{}, nil },
			Open: func(context.Context, int) (load.Caller, error) {
				return &plainCaller{p.conn(CallTimeout)}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		if rate > 0 && res.Good != int64(20*rate) {
			t.Errorf("%d answers, want %v", res.Good, 20*rate)
		}
		for range p.dials {
			if err := <-p.served; err != nil {
				t.Error(err)
			}
		}
		return load.PercentilesOf(res.Latency)
	}
	synctest.Test(t, func(t *testing.T) {
		// A tenth of all requests was due in the stall, and waited for between 0 and 2 s; catching up adds to it.
		p := measure(t, 100)
		if p.P99 < 1_700_000 || p.P999 < 1_900_000 || p.Max < 1_990_000 {
			t.Errorf("p99 %v, p99.9 %v, max %v µs: a stall of two seconds does not show", p.P99, p.P999, p.Max)
		}
		if p.P50 > 10_000 {
			t.Errorf("p50 %v µs: nothing else was slow", p.P50)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if p := measure(t, 0); p.P999 > 10_000 {
			t.Errorf("closed loop: p99.9 %v µs; this test no longer tells the loops apart", p.P999)
		}
	})
}

type plainCaller struct{ conn *Conn }

func (c *plainCaller) Call(ctx context.Context) error {
	_, err := c.conn.Do(ctx, []byte(simpleGet))
	return err
}

func (c *plainCaller) Close() error { return c.conn.Close() }

func TestErrorsOfAServerAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := newPipeServer(func(ctx *fasthttp.RequestCtx) {
			time.Sleep(time.Millisecond)
			calls++
			switch calls % 4 {
			case 1:
				ctx.SetStatusCode(503)
			case 2:
				ctx.SetStatusCode(401)
			case 3: // breaks off
				ctx.HijackSetNoResponse(true)
				ctx.Hijack(func(net.Conn) {})
			}
		})
		res, err := load.Run(t.Context(), load.Config{
			Workers: 1, Duration: 400 * time.Millisecond,
			Open: func(context.Context, int) (load.Caller, error) { return &plainCaller{p.conn(CallTimeout)}, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		for label, want := range map[string]int64{"503": 100, "401": 100, "eof": 100} {
			if got := res.Failures[label].Count; got != want {
				t.Errorf("%d failures %q, want %d (all: %v)", got, label, want, res.Failures)
			}
		}
		if res.Good != 100 || res.Failed != 300 || !errors.Is(res.Err(), load.ErrFailures) {
			t.Errorf("%d good, %d failed, %v", res.Good, res.Failed, res.Err())
		}
	})
}

func TestParseTarget(t *testing.T) {
	for text, host := range map[string]string{
		"http://127.0.0.1:8080":   "127.0.0.1:8080",
		"http://127.0.0.1:8080/":  "127.0.0.1:8080",
		"http://example.org":      "example.org:80",
		"https://example.org":     "example.org:443",
		"https://[::1]:8443":      "[::1]:8443",
		"http://[::1]":            "[::1]:80",
		"127.0.0.1:8080":          "",
		"ftp://example.org":       "",
		"http://":                 "",
		"http://:8080":            "",
		"http://example.org/api":  "",
		"http://example.org?a=b":  "",
		"http://me:pw@example.de": "",
	} {
		got, err := ParseTarget(text, nil)
		if (err == nil) != (host != "") || got.Host != host {
			t.Errorf("%s: %q, %v; want %q", text, got.Host, err, host)
		}
		if err == nil && (got.TLS != nil) != strings.HasPrefix(text, "https") {
			t.Errorf("%s: TLS %v", text, got.TLS != nil)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: the error shows the password", text)
		}
	}
}
