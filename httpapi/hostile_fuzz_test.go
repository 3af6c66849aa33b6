package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// whole is a connection on which everything has been sent already, and nobody reads.
type whole struct{ io.Reader }

func (whole) Write(b []byte) (int, error)      { return len(b), nil }
func (whole) Close() error                     { return nil }
func (whole) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (whole) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (whole) SetDeadline(time.Time) error      { return nil }
func (whole) SetReadDeadline(time.Time) error  { return nil }
func (whole) SetWriteDeadline(time.Time) error { return nil }

// framed is a request as far as its place among others goes.
type framed struct{ method, target, body string }

// FuzzFraming compares where requests end with what another server makes of the same bytes: of one that we read in
// another way, nothing behind it may be answered.
func FuzzFraming(f *testing.F) {
	h := newFixture(f, func(cfg *Config) { cfg.Logger = slog.New(slog.DiscardHandler) })
	post := func(fields ...string) string { return head("POST /nowhere", fields...) + "0\r\n\r\n" + smuggled }
	for _, seed := range []string{
		head("GET /healthz") + smuggled, post("Content-Length: 5"), post("Transfer-Encoding: chunked"),
		post("Content-Length: 5", "Transfer-Encoding: chunked"), post("A: b", " Content-Length: 5"), post("Content Length: 5"),
		post("Transfer-Encoding: chunked", "A: b\nC: d"), post("Content-Length:\t5\t", "A:\tb"), post("Content-Length: 5", "Expect: 100-continue"),
		head("GET /healthz", "A: b\nC: d") + smuggled, "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\n\n" + smuggled,
		"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + smuggled, "\r\n\r\n" + head("HEAD /healthz", "Upgrade: h2c") + smuggled,
		chunked("2\r\n{}\r\n0\r\n\n" + smuggled), head("GET /healthz", "Transfer-Encoding: identity") + smuggled,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if bytes.Contains(sent, []byte(" HTTP/1.1\n")) || bytes.Contains(sent, []byte(" HTTP/1.0\n")) {
			t.Skip("where the first line ends, nobody doubts") // and fasthttp does not say how it did
		}
		var ours []framed
		server := h.fastServer(func(ctx *fasthttp.RequestCtx) {
			ours = append(ours, framed{string(ctx.Method()), string(ctx.RequestURI()), string(ctx.PostBody())})
			h.handler(ctx)
		}, 1)
		_ = server.ServeConn(whole{bytes.NewReader(sent)}) // how it ends does not matter
		if n := h.panics.Load(); n > 0 {
			t.Fatalf("panic at %q", sent)
		}
		theirs, err := readAll(sent)
		if bad, ok := errors.AsType[*url.Error](err); ok || err != nil && strings.Contains(err.Error(), "URI") {
			t.Skip(bad) // they are stricter with what is between the blanks
		}
		for i := range max(len(ours), 1) - 1 { // behind which something was answered
			if i >= len(theirs) || ours[i] != theirs[i] {
				t.Fatalf("went on after %+v, in %q; others read %+v, %v", ours[i], sent, theirs, err)
			}
		}
	})
}

// readAll reads requests as net/http does.
func readAll(sent []byte) (list []framed, err error) {
	r := bufio.NewReader(bytes.NewReader(sent))
	for {
		for next, _ := r.Peek(1); len(next) > 0 && (next[0] == '\r' || next[0] == '\n'); next, _ = r.Peek(1) {
			_, _ = r.ReadByte() // it does not pass over empty lines, as RFC 9112, 2.2 wants it to
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return list, err
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return list, err
		}
		list = append(list, framed{req.Method, req.RequestURI, string(body)})
	}
}
