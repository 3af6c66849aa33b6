package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// The tables of hostile_*_test.go say what clients get that send what they should not, or in a way that they should
// not: real bytes over real connections to the server that a node runs. {ann} and the like in a row stand for tokens
// of sessions that are made for it (see hostileServer.tokens).

// victim stands for the token of a session that no row may end. It is as long as one, so that lengths can be counted
// before it is put in.
const victim = "{the-token-of-a-session-left-alone-}"

// hostile is one row.
type hostile struct {
	name string
	send string // in one go
	// want are the answers, in order, with "; " between them: a status and, for an error, its code; for a redirect, its
	// Location; else text that is in the body or is the Remote-User. "" is none, HEAD before a status the answer to one.
	want string
	then then
}

// then is what becomes of a connection after the answers.
type then int

const (
	closes then = iota // the server closes it, and answers nothing that stands behind: where that begins is in doubt
	goesOn             // the next request on it is answered
	lapses             // the server closes it later, without having said so
	gone               // the client is gone, and all that counts is that the server is rid of it
)

// hostileServer is a server under attack, and what it was like before.
type hostileServer struct {
	*fixture
	leisure    *leisure
	goroutines int
}

// patience bounds every wait: for the server to close a connection, or to be as it was.
const patience = time.Minute

func newHostileServer(t *testing.T, change ...func(*fixture)) *hostileServer {
	t.Helper()
	h := &hostileServer{fixture: newFixture(t), leisure: newLeisure(t)}
	h.cfg.Listener = h.leisure
	for _, fn := range change {
		fn(h.fixture)
	}
	h.api.MaxIdleWorkerDuration = 10 * time.Millisecond // the goroutines of connections end with them, or nearly so
	h.goroutines = runtime.NumGoroutine() + 4           // of the two listeners, and fasthttp's clock and cleaner
	h.opened()
	return h
}

// run is a whole table.
func (h *hostileServer) run(rows []hostile) {
	for _, row := range rows {
		h.t.Run(row.name, func(t *testing.T) {
			tokens, target := h.tokens(t)
			w := h.connect(t)
			w.tokens = tokens
			w.start(row.send)
			w.wants(row.want, row.then)
			if _, alive := h.attributes(target); !alive {
				t.Error("what was behind the request was taken for one")
			}
		})
	}
	h.healthy()
}

// tokens makes sessions for a row: {ann}, {svc} and {root} of the Fusion login, {ann2} another one, {z} of the M/Monit
// login without CSRF protection, {gone} one that is over, and the victim.
func (h *hostileServer) tokens(t *testing.T) (*strings.Replacer, credential.Token) {
	t.Helper()
	made := map[string]credential.Token{}
	list := []string{"{gone}", credential.Mint().Text}
	for name, create := range map[string]session.Create{
		"{ann}": {Username: "ann"}, "{ann2}": {Username: "ann"}, "{svc}": {Username: "svc"}, "{root}": {Username: "root"},
		victim: {Username: "ann"}, "{z}": {Username: "ann", Surface: session.SurfaceMMonit, CSRFOff: true},
	} {
		f := *h.fixture
		f.t = t
		made[name] = f.create(create)
		list = append(list, name, made[name].Text)
	}
	t.Cleanup(func() { // a user has 100 at most
		for _, one := range made {
			_, _ = h.fake.Do(context.WithoutCancel(t.Context()), &session.Invalidate{Key: one.Key, Reason: session.EndedByLogout}) // a row may have done it
		}
	})
	return strings.NewReplacer(list...), made[victim]
}

// healthy checks that the server is as it was before the table: it serves, no request is under way, no connection and
// no goroutine is left, and nothing was logged that a person would have to look at.
func (h *hostileServer) healthy() {
	t := h.t
	t.Helper()
	w := h.connect(t)
	w.start(jsonRequest("POST /api/session", annsJSON))
	a := w.next()
	h.expect(a, 201, "")
	cookie, _, _ := strings.Cut(a.get("Set-Cookie"), ";")
	for _, step := range []struct {
		line   string
		status int
	}{{"GET /api/session", 200}, {"GET /auth/verify", 200}, {"DELETE /api/session", 204}, {"GET /api/session", 401}} {
		w.start(head(step.line, "Cookie: "+cookie))
		h.expect(w.next(), step.status, "")
	}
	_ = w.c.Close()
	await(t, "the last request", func() bool { return h.inFlight.Load() == 0 })
	await(t, "connections to be closed", func() bool { return h.api.GetOpenConnectionsCount() == 0 && h.held() == 1 })
	await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= h.goroutines })
	if n := h.panics.Load(); n != 0 {
		t.Errorf("%d panics", n)
	}
	if logs := h.logs.String(); strings.Contains(logs, "level=ERROR") || strings.Contains(logs, "level=WARN") {
		t.Errorf("log:\n%s", logs)
	}
	if strings.Contains(h.logs.String(), testPassword) {
		t.Error("a password was logged")
	}
}

// held returns how many listeners and connections the server has charge of.
func (h *hostileServer) held() int {
	return h.listeners.Held()
}

// await waits for a condition; its failure shows what runs.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("waited in vain for %s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		}
		<-time.After(time.Millisecond)
	}
}

// attacker is a client that may do everything that TCP allows.
type attacker struct {
	t       *testing.T
	server  *leisure
	c       *net.TCPConn
	r       *bufio.Reader
	tokens  *strings.Replacer // what stands for tokens in what is sent; nil: nothing does
	written chan struct{}     // what start sends is sent, or can't be
	failed  error             // why not; to be read when written is closed
}

func (h *hostileServer) connect(t *testing.T) *attacker {
	t.Helper()
	c, err := net.Dial("tcp", h.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, _ := c.(*net.TCPConn)
	a := &attacker{t: t, server: h.leisure, c: tcp, r: bufio.NewReader(tcp)}
	t.Cleanup(func() {
		_ = tcp.Close()
		if a.written != nil {
			<-a.written
		}
	})
	if err := tcp.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return a
}

// start sends text. It does not wait: the server may stop reading, and need not.
func (w *attacker) start(text string) {
	if w.tokens != nil {
		text = w.tokens.Replace(text)
	}
	w.sending(func() error {
		_, err := io.WriteString(w.c, text)
		return err
	})
}

// sending runs what sends, after what was to be sent before. Its failure is no error by itself: the server may refuse in the
// middle.
func (w *attacker) sending(send func() error) {
	if w.written != nil {
		<-w.written
	}
	done := make(chan struct{})
	w.written = done
	go func() {
		defer close(done)
		w.failed = send()
	}()
}

// drip sends text again and again, a byte at a time, until the server has had enough.
func (w *attacker) drip(text string) {
	w.sending(func() error {
		pause := time.NewTicker(time.Millisecond)
		defer pause.Stop()
		for i := 0; ; i++ {
			if _, err := w.c.Write([]byte{text[i%len(text)]}); err != nil {
				return err
			}
			<-pause.C
		}
	})
}

// hurried has the server's limits for the connection be over soon, when it has read so many bytes.
func (w *attacker) hurried(read int) {
	w.t.Helper()
	await(w.t, "the server to read", func() bool { return w.server.got(w.c) >= read })
	if err := w.server.hurry(w.c); err != nil {
		w.t.Fatal(err)
	}
}

// halfClose says that nothing more will come; answers are still read. reset goes without a word.
func (w *attacker) halfClose() {
	w.t.Helper()
	<-w.written
	if err := w.c.CloseWrite(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *attacker) reset() {
	w.t.Helper()
	<-w.written
	if err := errors.Join(w.c.SetLinger(0), w.c.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// next reads an answer. Everything that the server says itself has a request id, and may not be stored.
func (w *attacker) next() answer { return w.nextTo(http.MethodGet) }

func (w *attacker) nextTo(method string) answer {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("answer %d: %v", res.StatusCode, err)
	}
	if res.Close { // net/http takes the header out
		res.Header.Set("Connection", "close")
	}
	a := answer{res.StatusCode, res.Header, string(body)}
	if a.status == http.StatusContinue {
		return a
	}
	a.armoured(w.t)
	if a.status >= 400 && a.get("X-Request-Id") == "" {
		w.t.Errorf("answer %d with headers %v", a.status, a.header)
	}
	if a.get("X-Evil") != "" || a.get("Set-Cookie") == "evil=1" {
		w.t.Errorf("the client has written a header: %v", a.header)
	}
	return a
}

// wants checks the answers and what becomes of the connection.
func (w *attacker) wants(answers string, after then) {
	w.t.Helper()
	last := answer{}
	for want := range strings.SplitSeq(answers, "; ") {
		if want == "" {
			continue
		}
		want, isHead := strings.CutPrefix(want, "HEAD ")
		method := http.MethodGet
		if isHead {
			method = http.MethodHead
		}
		status, detail, _ := strings.Cut(want, " ")
		last = w.nextTo(method)
		if strconv.Itoa(last.status) != status {
			w.t.Fatalf("answer %d %s, not %s", last.status, last.body, want)
		}
		w.checkDetail(last, detail)
	}
	switch says := last.get("Connection") == "close"; {
	case after == gone:
	case after == lapses:
		if says {
			w.t.Errorf("the connection is closed: %d %s", last.status, last.body)
		}
		w.closed()
	case after == closes:
		if answers != "" && !says {
			w.t.Errorf("the last answer does not say that the connection is closed: %v", last.header)
		}
		w.closed()
	case says:
		w.t.Errorf("the connection is closed: %d %s", last.status, last.body)
	default:
		w.start(head("GET /healthz"))
		if a := w.next(); a.status != 200 {
			w.t.Errorf("the next request: %d %s", a.status, a.body)
		}
	}
}

func (w *attacker) checkDetail(a answer, detail string) {
	w.t.Helper()
	switch {
	case detail == "page":
		if !strings.HasPrefix(a.get("Content-Type"), "text/html") || !strings.Contains(a.body, "/z_security_check") {
			w.t.Errorf("not the login page: %v %s", a.header, a.body)
		}
	case detail == "":
	case a.status >= 400:
		if code := errorCode(w.t, a.body); code != detail || a.get("Content-Type") != exchange.TypeJSON {
			w.t.Errorf("code %q, not %q: %v %s", code, detail, a.header, a.body)
		}
	case a.status >= 300:
		if to := a.get("Location"); to != detail {
			w.t.Errorf("Location %q, not %q", to, detail)
		}
	case !strings.Contains(a.body, detail) && a.get("Remote-User") != detail:
		w.t.Errorf("%q is not in the answer %v %s", detail, a.header, a.body)
	}
}

// closed checks that the server closes the connection, and says nothing more before it does.
func (w *attacker) closed() {
	w.t.Helper()
	rest, err := io.ReadAll(w.r)
	if len(rest) > 0 {
		w.t.Errorf("after the last answer: %q", rest)
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.t.Fatal("the connection is not closed")
		}
		w.t.Error(err)
	}
}

// head is a request without a body. Of the fields, Host is there already.
func head(line string, fields ...string) string {
	return headOf(line, append([]string{"Host: cloak.example"}, fields...)...)
}

// headOf is a request with just these fields.
func headOf(line string, fields ...string) string {
	text := line + " HTTP/1.1\r\n"
	for _, field := range fields {
		text += field + "\r\n"
	}
	return text + "\r\n"
}

// bodied is a request with a body of the right length.
func bodied(line, body string, fields ...string) string {
	return head(line, append(fields, "Content-Length: "+strconv.Itoa(len(body)))...) + body
}

func jsonRequest(line, body string, fields ...string) string {
	return bodied(line, body, append(fields, "Content-Type: application/json")...)
}

func formRequest(line, body string, fields ...string) string {
	return bodied(line, body, append(fields, "Content-Type: application/x-www-form-urlencoded")...)
}

// chunked is a login whose body is sent in chunks, written as they are.
func chunked(body string, fields ...string) string {
	return head("POST /api/session", append(fields, "Content-Type: application/json", "Transfer-Encoding: chunked")...) + body
}

// annsJSON is a good login.
const annsJSON = `{"username":"ann","password":"` + testPassword + `"}`
