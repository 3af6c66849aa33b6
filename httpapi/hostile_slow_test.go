package httpapi

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/httpapi/transport"
)

// deed is a row for what takes more than sending something: do does it, and the answers come after it, or meanwhile.
type deed struct {
	name string
	do   func(w *attacker)
	want string
	then then
}

func (h *hostileServer) act(deeds []deed) {
	tokens, _ := h.tokens(h.t)
	var rows sync.WaitGroup // at once: most of them wait for the same timeout
	for _, d := range deeds {
		rows.Go(func() {
			h.t.Run(d.name, func(t *testing.T) {
				w := h.connect(t)
				w.tokens = tokens
				w.start("")
				d.do(w)
				w.wants(d.want, d.then)
			})
		})
	}
	rows.Wait()
	h.healthy()
}

// soon is a time limit that a test can wait for. Who is under it is to miss it: nothing is asked of the machine.
const soon = 500 * time.Millisecond

func limited(f *fixture) {
	for _, limit := range []time.Duration{f.api.ReadTimeout, f.api.WriteTimeout, f.api.IdleTimeout} {
		if limit <= 0 {
			f.t.Error("a time limit is missing")
		}
	}
	f.clients.Trusted = transport.Proxies{netip.MustParsePrefix("127.0.0.0/8")} // with a PROXY header, or without
}

// Clients that take their time. The limit is for the whole request, however many bytes come.
func TestHostileSlowness(t *testing.T) {
	says := func(text string) func(*attacker) { return func(w *attacker) { w.start(text); w.hurried(len(text)) } }
	drips := func(text, again string) func(*attacker) {
		return func(w *attacker) { w.start(text); <-w.written; w.drip(again); w.hurried(len(text) + 1) }
	}
	// answered is for what comes behind, or with, a request that is answered in time.
	answered := func(text, want string, then func(*attacker)) func(*attacker) {
		return func(w *attacker) { w.start(text); w.wants(want, gone); then(w); w.hurried(len(text)) }
	}
	silence := func(*attacker) {}
	const start = "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\n"
	newHostileServer(t, limited).act([]deed{
		{"not a byte", says(""), "408 request-timeout", closes},
		{"one byte", says("G"), "408 request-timeout", closes},
		{"half a line", says("GET /heal"), "408 request-timeout", closes},
		{"half a head", says(start), "408 request-timeout", closes},
		{"a line that ends in LF, and no more", says("GET /healthz HTTP/1.1\nHost: cloak.example\n\n"), "408 request-timeout", closes},
		{"a head, a byte at a time", drips(start+"A: ", "a"), "408 request-timeout", closes},
		{"fields, a byte at a time", drips(start, "A: b\r\n"), "408 request-timeout", closes},
		{"empty lines, a byte at a time", drips("", "\r\n"), "", closes},
		{"half of a PROXY header", says("PROXY TCP4 192.0.2.9 "), "408 request-timeout", closes},
		{"half of a PROXY header of version 2", says(proxySignature + "\x21\x11\x00\x0c"), "408 request-timeout", closes},
		{"no body", says(head("POST /api/session", "Content-Length: 100")), "408 request-timeout", closes},
		{"half a body", says(head("POST /api/session", "Content-Length: 100") + "{"), "408 request-timeout", closes},
		{"a body, a byte at a time", drips(head("POST /api/session", "Content-Length: 30000"), " "), "408 request-timeout", closes},
		{"no chunk", says(chunked("")), "408 request-timeout", closes},
		{"half a size", says(chunked("5")), "408 request-timeout", closes},
		{"half a chunk", says(chunked("5\r\n{")), "408 request-timeout", closes},
		{"no last chunk", says(chunked("2\r\n{}\r\n")), "408 request-timeout", closes},
		{"no end of the trailer", says(chunked("2\r\n{}\r\n0\r\nA: b\r\n")), "408 request-timeout", closes},
		{"an extension, a byte at a time", drips(chunked("2;"), "a"), "408 request-timeout", closes},
		{"chunks, a byte at a time", drips(chunked(""), "1\r\n \r\n"), "408 request-timeout", closes},
		{"asks for leave, and does nothing with it", answered(head("POST /api/session", "Content-Length: 2", "Expect: 100-continue"), "100", silence), "408 request-timeout", closes},
		{"one request, and silence", answered(head("GET /healthz"), "200", silence), "", lapses},
		{"one request, and half another", answered(head("GET /healthz")+start, "200", silence), "408 request-timeout", closes},
		{"one request, and a byte at a time", answered(head("GET /healthz")+"A", "200", func(w *attacker) { w.drip("A") }), "408 request-timeout", closes},
		{"never reads", func(w *attacker) {
			w.start(strings.Repeat(head("GET /nowhere"), 100_000))
			w.hurried(0)
			<-w.written
			if w.failed == nil {
				w.t.Error("the server has taken everything")
			}
		}, "", gone},
	})
}

// Clients that go, in one way or another, and those that take their time with the answer.
func TestHostileLeavers(t *testing.T) {
	const start = "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\n"
	login := jsonRequest("POST /api/session", annsJSON)
	sends := func(text string, then func(*attacker)) func(*attacker) {
		return func(w *attacker) { w.start(text); then(w) }
	}
	half, reset := (*attacker).halfClose, (*attacker).reset
	var entered sync.WaitGroup // of the requests that are being answered when their clients go
	leave := make(chan struct{})
	h := newHostileServer(t, func(f *fixture) {
		f.fake.onLookup = func() {
			select {
			case <-leave:
			default:
				entered.Done()
				<-leave
			}
		}
	})
	entered.Add(3)
	go func() {
		entered.Wait()
		close(leave)
	}()
	asked := func(then func(*attacker)) func(*attacker) {
		return func(w *attacker) {
			w.start(head("GET /api/session", "Cookie: id={ann}"))
			<-w.written
			entered.Wait()
			then(w)
		}
	}
	h.act([]deed{
		{"goes at once", reset, "", gone},
		{"says at once that nothing will come", half, "", closes},
		{"says nothing but empty lines", sends("\r\n\r\n", half), "", closes},
		{"half closes in the head", sends(start, half), "400 bad-request", closes},
		{"half closes after a bare LF", sends("GET /healthz HTTP/1.1\nHost: cloak.example\n\n", half), "400 bad-request", closes},
		{"half closes in the body", sends(login[:len(login)-1], half), "400 bad-request", closes},
		{"half closes in a chunk", sends(chunked("5\r\n{"), half), "400 bad-request", closes},
		{"half closes in a size", sends(chunked("5"), half), "400 bad-request", closes},
		{"half closes before the last chunk", sends(chunked("2\r\n{}\r\n"), half), "", closes},
		{"half closes in the last size", sends(chunked("2\r\n{}\r\n0"), half), "400 bad-request", closes},
		{"half closes after the last size", sends(chunked("2\r\n{}\r\n0\r\n"), half), "400 bad-request", closes},
		{"half closes in the trailer", sends(chunked("2\r\n{}\r\n0\r\nA: b\r\n"), half), "400 bad-request", closes},
		{"half closes when it may go on", sends(head("POST /api/session", "Content-Length: 2", "Expect: 100-continue"), half), "100; 400 bad-request", closes},
		{"half closes after a request", sends(head("GET /healthz"), half), "200", lapses},
		{"half closes after three", sends(strings.Repeat(head("GET /healthz"), 3), half), "200; 200; 200", lapses},
		{"half closes while it is answered", asked(half), "200 ann", lapses},
		{"goes while it is answered", asked(func(w *attacker) { _ = w.c.Close() }), "", gone},
		{"resets while it is answered", asked(reset), "", gone},
		{"resets in the head", sends(start, reset), "", gone},
		{"resets in the body", sends(login[:len(login)-1], reset), "", gone},
		{"resets in a chunk", sends(chunked("5\r\n{"), reset), "", gone},
		{"resets after a login", sends(login, reset), "", gone},
		{"resets after a thousand requests", sends(strings.Repeat(head("GET /healthz"), 1000), reset), "", gone},
		{"reads a byte at a time", func(w *attacker) {
			if err := w.c.SetReadBuffer(4096); err != nil {
				w.t.Fatal(err)
			}
			w.r = bufio.NewReaderSize(oneByte{w.c}, 16)
			w.start(strings.Repeat(head("GET /healthz"), 200))
		}, strings.Repeat("200; ", 200), goesOn},
		{"two hundred that come and go", func(w *attacker) {
			for range 200 {
				other := h.connect(w.t)
				other.start(start)
				other.reset()
			}
		}, "", gone},
	})
}

// Answers that fasthttp gives by itself, on a connection that was silent for longer than the time limit of a write.
func TestHostilePauses(t *testing.T) {
	h := newHostileServer(t)
	after := func(text string) func(*attacker) {
		return func(w *attacker) {
			w.start(head("GET /healthz"))
			w.wants("200", gone)
			if err := h.leisure.pause(w.c); err != nil {
				w.t.Fatal(err)
			}
			w.start(text)
		}
	}
	h.act([]deed{
		{"nonsense", after("nonsense\r\n\r\n"), "400 bad-request", closes},
		{"a long body", after(head("POST /api/session", "Content-Length: 1000000")), "413 limit-body", closes},
		{"asks for leave", after(jsonRequest("POST /api/session", annsJSON, "Expect: 100-continue")), "100; 201", goesOn},
		{"asks for too much", after(head("POST /api/session", "Content-Length: 1000000", "Expect: 100-continue")), "413 limit-body", closes},
	})
}

// Clients that look at the answer only when all is sent: it must not be lost by the end of the connection.
func TestHostileTalkers(t *testing.T) {
	says := func(text string) func(*attacker) {
		return func(w *attacker) {
			w.start(text)
			<-w.written
			if w.failed != nil {
				w.t.Errorf("not taken: %v", w.failed)
			}
			w.start("more") // to a connection that was reset this fails, and the answer would be gone
			<-w.written
			if w.failed != nil {
				w.t.Errorf("reset: %v", w.failed)
			}
		}
	}
	long := strings.Repeat(" ", transport.LingerBytes-1<<16) // more than fits between the two, so that it must be read
	newHostileServer(t).act([]deed{
		{"a long body", says(bodied("POST /api/session", long)), "413 limit-body", closes},
		{"a long body in chunks", says(chunked("8000\r\n" + long)), "400 bad-request", closes},
		{"a long head", says(head("GET /healthz", "A: "+long)), "413 limit-header", closes},
		{"a long line", says("GET /" + long), "413 limit-header", closes},
		{"another protocol", says("EHLO\r\n\r\n" + long), "400 bad-request", closes},
		{"a bad length", says(head("POST /api/session", "Content-Length: 1, 1") + long), "400 bad-request", closes},
		{"two framings", says(chunked("0\r\n\r\n"+long, "Content-Length: 5")), "400 bad-framing", closes},
	})
}

// oneByte reads a byte at a time.
type oneByte struct{ io.Reader }

func (r oneByte) Read(b []byte) (int, error) { return r.Reader.Read(b[:min(1, len(b))]) }

// Where TLS is spoken, nobody gets an answer who does not speak it, and nobody is waited for.
func TestHostileHandshakes(t *testing.T) {
	cert, key := writeCertificate(t)
	slow := newLeisure(t)
	f := newFixture(t, func(cfg *Config) { cfg.TLSCert, cfg.TLSKey, cfg.Listener = cert, key, slow })
	h := &hostileServer{fixture: f.opened(), leisure: slow}
	var rows sync.WaitGroup
	for name, send := range map[string]string{
		"not a byte":   "",
		"HTTP":         head("GET /healthz"),
		"half a hello": "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
		"SSL 2":        "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x00", 40),
		"zeros":        strings.Repeat("\x00", 1<<16),
	} {
		rows.Go(func() {
			t.Run(name, func(t *testing.T) {
				w := h.connect(t)
				w.start(send)
				w.hurried(0)
				if said, _ := io.ReadAll(w.r); strings.Contains(string(said), "HTTP/") { // an alert of TLS may come
					t.Errorf("%q", said)
				}
			})
		})
	}
	rows.Wait()
	await(t, "connections to be closed", func() bool { return f.api.GetOpenConnectionsCount() == 0 })
	c := tls.Client(h.connect(t).c, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(c, head("GET /healthz")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
}
