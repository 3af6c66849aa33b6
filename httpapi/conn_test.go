package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
)

// wireClient speaks to a server over a real connection, in bytes.
type wireClient struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func (f *fixture) opened() *fixture {
	f.t.Helper()
	if err := f.Open(); err != nil {
		f.t.Fatal(err)
	}
	return f
}

func (f *fixture) dial() *wireClient {
	f.t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	return newWireClient(f.t, c)
}

func newWireClient(t testing.TB, c net.Conn) *wireClient {
	t.Cleanup(func() { _ = c.Close() })
	return &wireClient{t, c, bufio.NewReader(c)}
}

func (w *wireClient) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.c, text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wireClient) read() answer {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.Close { // net/http takes the header out
		res.Header.Set("Connection", "close")
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// closed checks that the server closes the connection, and sends nothing more before it does.
func (w *wireClient) closed() {
	w.t.Helper()
	rest, err := io.ReadAll(w.r)
	if len(rest) > 0 {
		w.t.Fatalf("after the answer: %q", rest)
	}
	if err != nil && !strings.Contains(err.Error(), "reset") {
		w.t.Fatal(err)
	}
}

// What one server takes for the body is the next request to another: all of these must be refused, and nothing that
// follows on the connection may be looked at.
func TestSmugglingIsRefused(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	const smuggled = "0\r\n\r\nDELETE /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=%s\r\n\r\n"
	for name, headers := range map[string]string{
		"length first":        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"encoding first":      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
		"upper case":          "CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n",
		"length is right":     "Content-Length: 124\r\nTransfer-Encoding: chunked\r\n",
		"length 0":            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
		"identity":            "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
		"two lengths":         "Content-Length: 5\r\nContent-Length: 6\r\n",
		"the same twice":      "Content-Length: 5\r\nContent-Length: 5\r\n",
		"list of lengths":     "Content-Length: 5, 5\r\n",
		"sign":                "Content-Length: +5\r\n",
		"two encodings":       "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"encoding and more":   "Transfer-Encoding: chunked, identity\r\n",
		"unknown encoding":    "Transfer-Encoding: xchunked\r\n",
		"blank before colon":  "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n",
		"folded":              "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n",
		"with two hosts":      "Host: y\r\n",
		"vertical tab":        "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n",
		"length not a number": "Content-Length: 0x5\r\n",
	} {
		for _, method := range []string{"POST /api/session", "GET /api/session", "GET /auth/verify", "GET /nowhere"} {
			t.Run(name+" "+method, func(t *testing.T) {
				w := f.dial()
				w.t = t
				w.write(method + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers + "\r\n" + fmt.Sprintf(smuggled, tok.Text))
				a := w.read()
				if a.status != 400 || a.get("Cache-Control") != "no-store" {
					t.Fatalf("%d %v %s", a.status, a.header, a.body)
				}
				if code := errorCode(t, a.body); code != "bad-framing" && code != "bad-request" {
					t.Errorf("code is %s", code)
				}
				w.closed()
			})
		}
	}
	f.expect(f.send("GET", "/api/session", idCookie(tok)), 200, "")
	// Either one alone is fine, and the connection goes on.
	w := f.dial()
	body := `{"username":"ann","password":"correct horse"}`
	head := "POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	w.write(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
	f.expect(w.read(), 201, "")
	w.write(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body))
	f.expect(w.read(), 201, "")
}

func TestSizeLimits(t *testing.T) {
	f := newFixture(t).opened()
	send := func(head string, body int) answer {
		w := f.dial()
		go func() {
			_, _ = io.WriteString(w.c, fmt.Sprintf("%sHost: x\r\nContent-Length: %d\r\n\r\n%s", head, body, strings.Repeat(" ", body)))
		}()
		return w.read()
	}
	const login = "POST /api/session HTTP/1.1\r\nContent-Type: application/json\r\n"
	f.expect(send(login, exchange.MaxBody), 400, "malformed-json")
	f.expect(send(login, exchange.MaxBody+1), 413, "limit-body")
	f.expect(send("PUT /api/users/x HTTP/1.1\r\n", exchange.MaxBody+1), 413, "limit-body")
	f.expect(send("POST /api/sessions?x=y HTTP/1.1\r\n", exchange.MaxBulkBody), 401, "session-invalid")
	f.expect(send("POST /api/sessions HTTP/1.1\r\n", exchange.MaxBulkBody+1), 413, "limit-body")
	f.expect(send("POST /api/sessions/x HTTP/1.1\r\n", exchange.MaxBody+1), 413, "limit-body")
	f.expect(send("GET /api/session HTTP/1.1\r\nX: "+strings.Repeat("x", exchange.MaxHeader)+"\r\n", 0), 413, "limit-header")
	f.expect(send("GET /api/session HTTP/1.1\r\nX: "+strings.Repeat("x", exchange.MaxHeader-200)+"\r\n", 0), 401, "session-invalid")
	f.expect(send("GET /"+strings.Repeat("x", exchange.MaxHeader)+" HTTP/1.1\r\n", 0), 413, "limit-header")

	w := f.dial() // chunks are counted, too
	w.write(login + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		for range 2 * exchange.MaxBody / 1024 {
			if _, err := io.WriteString(w.c, "400\r\n"+strings.Repeat(" ", 1024)+"\r\n"); err != nil {
				return
			}
		}
	}()
	f.expect(w.read(), 413, "limit-body")
}

func TestBrokenRequests(t *testing.T) {
	f := newFixture(t).opened()
	for _, raw := range []string{
		"GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		w := f.dial()
		w.write(raw)
		f.expect(w.read(), 400, "bad-request")
		w.closed()
	}
}

func TestSlowClients(t *testing.T) {
	const short = 50 * time.Millisecond
	f := newFixture(t)
	f.api.ReadTimeout = short
	f.opened()
	for _, raw := range []string{
		"", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: x\r\n",
		"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"POST /api/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
	} {
		w := f.dial()
		w.write(raw)
		f.expect(w.read(), 408, "request-timeout")
		w.closed()
	}
	// One that drips a byte at a time is no better off: the limit is for the whole request.
	slow, gone := f.dial(), make(chan struct{})
	go func() {
		defer close(gone)
		drip := time.NewTicker(5 * time.Millisecond)
		defer drip.Stop()
		for {
			if _, err := io.WriteString(slow.c, "x"); err != nil {
				return
			}
			<-drip.C
		}
	}()
	f.expect(slow.read(), 408, "request-timeout")
	_ = slow.c.Close()
	<-gone
	// A kept-alive connection that is silent is closed without a word.
	f = newFixture(t)
	f.api.IdleTimeout = short
	w := f.opened().dial()
	w.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	f.expect(w.read(), 200, "")
	w.closed()
}

func TestPanicIsContained(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	f.fake.onLookup = func() { panic("boom secret=" + "x") }
	w := f.dial()
	request := "GET /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.Text + "\r\n\r\n"
	w.write(request)
	a := w.read()
	f.expect(a, 500, "internal")
	if strings.Contains(a.body, "boom") || a.get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if logs := f.logs.String(); !strings.Contains(logs, "boom") || !strings.Contains(logs, a.get("X-Request-Id")) || !strings.Contains(logs, "getSession") {
		t.Errorf("log is %s", logs)
	}
	f.fake.onLookup = nil
	w.write(request)
	f.expect(w.read(), 200, "")
	if n := f.inFlight.Load(); n != 0 {
		t.Errorf("%d requests in flight", n)
	}

	// A bulk call works in goroutines of its own.
	svc := f.create(session.Create{Username: "svc"})
	f.fake.before = func(session.Command) error { panic("bulk boom") }
	f.expect(f.send("POST", "/api/sessions", idCookie(svc), jsonBody(`[{"username":"ann"}]`)), 500, "internal")
}

func TestPipelinedRequests(t *testing.T) {
	f := newFixture(t).opened()
	w := f.dial()
	w.write(strings.Repeat("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 5))
	for range 5 {
		f.expect(w.read(), 200, "")
	}
}
