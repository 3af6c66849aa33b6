package httpapi

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/exchange"
)

// large is the head of a bulk call with a body as long as may be.
func large(fields ...string) string {
	return head("POST /api/sessions/verify", append(fields, "Content-Length: "+strconv.Itoa(exchange.MaxVerifyBody))...)
}

// largeChunks is the head of one whose body comes in chunks.
func largeChunks(fields ...string) string {
	return head("POST /api/sessions/verify", append(fields, "Transfer-Encoding: chunked")...)
}

// Strangers who announce large bodies and send nothing take the places that there are, and no more. Whoever finds none is
// told to come again, and small bodies need none.
func TestLargeBodiesAreBounded(t *testing.T) {
	h := newHostileServer(t, func(f *fixture) { f.bodies.InAll, f.bodies.Patience = 2, time.Hour })
	tokens, _ := h.tokens(t)
	var silent []*attacker
	for i := range h.bodies.InAll {
		w := h.connect(t)
		w.start(large())
		await(t, "the head to be read", func() bool { return h.bodies.Held() == i+1 })
		silent = append(silent, w)
	}
	var others sync.WaitGroup
	for _, text := range []string{large(), large("Expect: 100-continue"), largeChunks(), large() + strings.Repeat(" ", exchange.MaxVerifyBody)} {
		others.Go(func() {
			w := h.connect(t)
			w.start(text)
			a := w.next()
			if a.status != 503 || errorCode(t, a.body) != "overloaded" || a.get("Retry-After") != "1" {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
			w.closed()
			_ = w.c.Close()
		})
	}
	others.Wait()
	ask := func(size int) {
		t.Helper()
		w := h.connect(t)
		w.tokens = tokens
		body := `{"tokens":["x"]}`
		w.start(jsonRequest("POST /api/sessions/verify", body+strings.Repeat(" ", size-len(body)), "Cookie: id={svc}"))
		w.wants(`200 [{"active":false}]`, goesOn)
		_ = w.c.Close()
	}
	ask(exchange.MaxBody)
	for _, w := range silent {
		w.hurried(len(large()))
		w.wants("408 request-timeout", closes)
		_ = w.c.Close()
	}
	ask(exchange.MaxVerifyBody)
	h.healthy()
}

// Each way in which a large body can end gives its place back.
func TestPlacesOfLargeBodiesComeBack(t *testing.T) {
	spaces := strings.Repeat(" ", exchange.MaxVerifyBody)
	half := strings.Repeat(" ", 8192)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", exchange.MaxVerifyBody, spaces)
	sends := func(text string, then func(*attacker)) func(*attacker) {
		return func(w *attacker) { w.start(text); then(w) }
	}
	waits := func(*attacker) {}
	hurried := func(w *attacker) { w.hurried(1) }
	reset, gives := (*attacker).reset, (*attacker).halfClose
	const untold = "half closes between two chunks" // see Bodies
	const expect, cookie, list = "Expect: 100-continue", "Cookie: id={svc}", "Content-Type: application/json"
	deeds := []deed{
		{"refused", sends(large()+spaces, waits), "401 session-invalid", goesOn},
		{"refused twice", sends(large()+spaces+large()+spaces, waits), "401 session-invalid; 401 session-invalid", goesOn},
		{"answered", sends(large(cookie, list)+`{"tokens":["x"]}`+spaces[16:], waits), "200 false", goesOn},
		{"answered in chunks", sends(largeChunks(cookie, list)+"10\r\n"+`{"tokens":["x"]}`+"\r\n0\r\n\r\n", waits), "200 false", closes},
		{"refused after leave", sends(large(expect)+spaces, waits), "100; 401 session-invalid", goesOn},
		{"packed", sends(large(cookie, list, "Content-Encoding: gzip")+spaces, waits), "415 content-encoding", goesOn},
		{"silent", sends(large(), hurried), "408 request-timeout", closes},
		{"silent after leave", sends(large(expect), hurried), "100; 408 request-timeout", closes},
		{"silent in a chunk", sends(largeChunks()+"4000\r\n", hurried), "408 request-timeout", closes},
		{"half closes at once", sends(large(), gives), "400 bad-request", closes},
		{"half closes in the body", sends(large()+half, gives), "400 bad-request", closes},
		{"half closes after leave", sends(large(expect), gives), "100; 400 bad-request", closes},
		{"half closes in a chunk", sends(largeChunks()+"4000\r\n", gives), "400 bad-request", closes},
		{"resets in the body", sends(large()+half, func(w *attacker) {
			await(w.t, "the server to read", func() bool { return w.server.got(w.c) >= len(half) })
			reset(w)
		}), "", gone},
		{"resets while it is answered", sends(large()+spaces, reset), "", gone},
		{"chunks without a size", sends(largeChunks()+"x\r\n", waits), "400 bad-request", closes},
		{"chunks that are too much", sends(largeChunks()+chunk+"1\r\n", waits), "413 limit-body", closes},
		{"two types", sends(large(list, "Content-Type: text/plain")+spaces, waits), "400 bad-request", closes},
		{"two types, and waits for leave", sends(large(list, "Content-Type: text/plain", expect), waits), "400 bad-request", closes},
		{"length and encoding", sends(largeChunks("Content-Length: 40000")+"0\r\n\r\n", waits), "400 bad-framing", closes},
		{"a host that is none", sends(headOf("POST /api/sessions/verify", "Host: [", "Content-Length: 40000"), waits), "400 bad-request", closes},
		{"a path that is none", sends(strings.Replace(large(), "verify", "verify?%", 1)+spaces, waits), "401 session-invalid", goesOn},
		{"panics", func(w *attacker) { w.start(large("Cookie: id={ann}") + spaces) }, "500 internal", goesOn},
		{untold, sends(largeChunks()+"2\r\n{}\r\n", gives), "", closes},
	}
	var rows sync.WaitGroup // at once: some wait for a timeout
	for _, d := range deeds {
		rows.Go(func() {
			t.Run(d.name, func(t *testing.T) {
				h := newHostileServer(t, func(f *fixture) {
					f.bodies.InAll, f.bodies.Patience = 1, time.Hour
					if d.name == untold {
						f.bodies.Patience = time.Millisecond
					}
					if d.name == "panics" {
						f.fake.onLookup = func() { panic("boom") }
					}
				})
				tokens, _ := h.tokens(t)
				for range h.bodies.InAll + 1 {
					w := h.connect(t)
					w.tokens = tokens
					w.start("")
					d.do(w)
					w.wants(d.want, d.then)
					_ = w.c.Close()
					await(t, "the place to be free", func() bool { return h.bodies.Held() == 0 })
				}
			})
		})
	}
	rows.Wait()
}

// A connection does not keep the memory of a large body for its next requests, nor does what the next connection is served
// with.
func TestLargeBodiesAreNotKept(t *testing.T) {
	room := make(chan int, 1) // what each request had of it
	h := newHostileServer(t, func(f *fixture) {
		inner := f.api.Handler
		f.api.Handler = func(ctx *fasthttp.RequestCtx) {
			room <- cap(ctx.Request.Body())
			inner(ctx)
			room <- cap(ctx.Request.Body())
		}
	})
	spaces := strings.Repeat(" ", exchange.MaxVerifyBody)
	small := jsonRequest("POST /api/session", "{}")
	kept := func(w *attacker, what string) {
		t.Helper()
		w.start(small)
		if before, after := <-room, <-room; max(before, after) > exchange.MaxBody {
			t.Errorf("%s: room for %d bytes, then for %d", what, before, after)
		}
		w.wants("400 missing-field", gone)
	}
	w := h.connect(t)
	w.start(large() + spaces)
	if before, after := <-room, <-room; before < exchange.MaxVerifyBody || after > exchange.MaxBody {
		t.Errorf("room for %d bytes, and still for %d when it was answered", before, after)
	}
	w.wants("401 session-invalid", gone)
	kept(w, "on the same connection")
	_ = w.c.Close()
	for _, text := range []string{large() + spaces[1:], fmt.Sprintf("%s%x\r\n%s\r\n", largeChunks(), len(spaces), spaces)} {
		w := h.connect(t)
		w.start(text)
		w.halfClose()
		_, _ = io.Copy(io.Discard, w.r) // of the second nobody is told
		_ = w.c.Close()
		w = h.connect(t)
		kept(w, "on the next one")
		_ = w.c.Close()
	}
}
