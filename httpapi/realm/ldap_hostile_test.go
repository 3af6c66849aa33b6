package realm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cloakroom/httpapi/realm/slapdtest"
)

// serve accepts connections on loopback and does with each what it is told, side by side.
func serve(t *testing.T, do func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				do(conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		group.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// answering is a server that answers each message with the next of these, and then reads on in silence.
func answering(answers ...string) func(net.Conn) {
	return func(c net.Conn) {
		for _, answer := range answers {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// ldapMessage is a message with a short operation; result is an operation with a result code.
func ldapMessage(id byte, op string) string {
	return "\x30" + string(rune(len(op)+3)) + "\x02\x01" + string(rune(id)) + op
}

func result(op, code byte) string {
	return string([]byte{op, 7, 0x0a, 1, code, 4, 0, 4, 0})
}

const (
	bindDone   = 0x61
	searchDone = 0x65
)

func TestServersThatDoNotAnswer(t *testing.T) {
	bound := ldapMessage(1, result(bindDone, 0))
	referral := ldapMessage(2, "\x73\x0e\x04\x0cldap://x.org") // a continuation reference
	for name, do := range map[string]func(net.Conn){
		"silent":                         answering(),
		"hangs up":                       func(net.Conn) {},
		"speaks HTTP":                    answering("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"answers another message":        answering(ldapMessage(9, result(bindDone, 0))),
		"answers with nothing":           answering("\x30\x00"),
		"answers without an operation":   answering("\x30\x03\x02\x01\x01"),
		"answers with an empty result":   answering(ldapMessage(1, "\x61\x00")),
		"indefinite length":              answering("\x30\x80\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00\x00\x00"),
		"an element that sticks out":     answering("\x30\x0c\x02\x01\x01\x61\x09\x0a\x01\x00\x04\x00\x04\x00"),
		"nested too deep":                answering(nested(200)),
		"refers at the bind":             answering(ldapMessage(1, result(bindDone, 10))),
		"is busy":                        answering(ldapMessage(1, result(bindDone, 51))),
		"hangs after the account's bind": answering(bound),
		"ends within the answer":         answering(bound, entryMessage(2, "uid=ann", "uid", "ann")),
		"refers at the search":           answering(bound, ldapMessage(2, result(searchDone, 10))),
		"refers beside the search":       answering(bound, referral+ldapMessage(2, result(searchDone, 0))),
		"time limit":                     answering(bound, ldapMessage(2, result(searchDone, 3))),
		"size limit":                     answering(bound, ldapMessage(2, result(searchDone, 4))),
		"no rights":                      answering(bound, ldapMessage(2, result(searchDone, 50))),
		"no base":                        answering(bound, ldapMessage(2, result(searchDone, 32))),
		"refuses the account":            answering(ldapMessage(1, result(bindDone, 49))),
		"strange search result":          answering(bound, ldapMessage(2, "\x64\x00")),
		"entry without attributes":       answering(bound, ldapMessage(2, "\x64\x06\x04\x04cn=x")),
	} {
		t.Run(name, func(t *testing.T) {
			f := ldapFixture(t, Config{}, bySearch(serve(t, do), merge(hasty("200ms"), settings{"ephemeralUsers": true})))
			if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidCredentials) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("login: %v, want ErrUnavailable alone", err)
			}
			if strings.Contains(f.log.String(), "secret") {
				t.Errorf("the log shows a secret: %s", f.log)
			}
			if verdict, err := f.Recheck(t.Context(), "corp", "ann"); err == nil {
				t.Errorf("the re-check concludes %+v", verdict)
			}
		})
	}
}

// nested is a message of so many elements in one another.
func nested(depth int) string {
	body := []byte("\x04\x00")
	for range depth {
		body = slices.Concat([]byte{0x30, 0x82, byte(len(body) >> 8), byte(len(body))}, body)
	}
	return string(body)
}

// tlv is an element of a message.
func tlv(tag byte, content ...string) string {
	body := strings.Join(content, "")
	return string([]byte{tag, byte(len(body))}) + body
}

// entryMessage is an answer of one entry with one attribute.
func entryMessage(id byte, dn, attribute, value string) string {
	return ldapMessage(id, tlv(0x64, tlv(4, dn), tlv(0x30, tlv(0x30, tlv(4, attribute), tlv(0x31, tlv(4, value))))))
}

// An entry without a DN would make the login's bind an anonymous one, which any password passes.
func TestEntryWithoutDN(t *testing.T) {
	for dn, want := range map[string]error{"uid=ann": nil, "": ErrInvalidCredentials} {
		user := make(chan string, 10)
		port := serve(t, func(c net.Conn) {
			request := make([]byte, 4096)
			n, _ := c.Read(request)
			if !strings.Contains(string(request[:n]), slapdtest.Reader) {
				user <- string(request[:n])
			}
			_, _ = io.WriteString(c, ldapMessage(1, result(bindDone, 0)))
			_, _ = c.Read(request)
			_, _ = io.WriteString(c, entryMessage(2, dn, "uid", "ann")+ldapMessage(2, result(searchDone, 0)))
			_, _ = io.Copy(io.Discard, c)
		})
		f := ldapFixture(t, Config{}, bySearch(port, settings{"ephemeralUsers": true}))
		if _, err := f.login(t, "ann"); !errors.Is(err, want) {
			t.Errorf("entry %q: %v, want %v", dn, err, want)
		}
		if bind := <-user; strings.Contains(bind, "ann's secret") != (dn != "") {
			t.Errorf("entry %q: the server got %q", dn, bind)
		}
	}
}

// A server that claims a string of 1 GiB and sends it is cut off, and what the client took is a fraction of it: what
// can be sent beyond the bounds is what fits into the sockets' buffers.
func TestServerThatSendsTooMuch(t *testing.T) {
	bound := ldapMessage(1, result(bindDone, 0))
	entry := entryMessage(2, "a=b", "uid", "ann")
	for name, flood := range map[string]struct{ first, then string }{
		"one message at the bind":   {"\x30\x84\x40\x00\x00\x06\x04\x84\x40\x00\x00\x00", strings.Repeat("x", 1<<16)},
		"one message at the search": {bound + "\x30\x84\x40\x00\x00\x06\x04\x84\x40\x00\x00\x00", strings.Repeat("x", 1<<16)},
		"entries without end":       {bound, strings.Repeat(entry, 1000)},
		"strange messages":          {bound, strings.Repeat(ldapMessage(7, result(searchDone, 0)), 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan int, 1)
			port := serve(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, flood.first)
				n := 0
				for n < 1<<30 {
					if _, err := io.WriteString(c, flood.then); err != nil {
						break
					}
					n += len(flood.then)
				}
				select {
				case sent <- n:
				default:
				}
			})
			f := ldapFixture(t, Config{}, bySearch(port, settings{"ephemeralUsers": true}))
			if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v, want ErrUnavailable", err)
			}
			if n := <-sent; n > 64<<20 {
				t.Errorf("the server could send %d bytes", n)
			}
		})
	}
}

func TestLoginEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	port := serve(t, func(c net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	f := ldapFixture(t, Config{}, byTemplate(port, nil))
	_, err := f.Authenticate(ctx, "corp", "ann", "ann's secret")
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if strings.Contains(f.log.String(), "does not work") {
		t.Errorf("the server is blamed: %s", f.log)
	}
}

func TestBoundedConnEnds(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		_, _ = server.Write([]byte("\x30\x10" + strings.Repeat("\x04\x00", 50)))
		_ = server.Close()
	}()
	conn := &boundedConn{Conn: client}
	conn.allow(10)
	n, err := io.Copy(io.Discard, conn)
	if n != 10 || !errors.Is(err, errReplyTooLong) {
		t.Errorf("read %d bytes, %v, want 10 and errReplyTooLong", n, err)
	}
}

// The shape must let through all that servers say, however it is cut into pieces.
func TestShape(t *testing.T) {
	good := ldapMessage(1, result(bindDone, 0)) + "\x30\x00" +
		"\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00" + nested(maxReplyDepth)
	for range 100 {
		var s shape
		for rest := []byte(good); len(rest) > 0; {
			n := 1 + rand.IntN(len(rest))
			if err := s.feed(rest[:n]); err != nil {
				t.Fatalf("%q: %v", good, err)
			}
			rest = rest[n:]
		}
		if len(s.open) != 0 || s.skip != 0 || s.part != atTag {
			t.Fatalf("something is open at the end: %+v", s)
		}
	}
	for name, bad := range map[string]string{
		"not a sequence":   "\x31\x00",
		"indefinite":       "\x30\x80",
		"length too long":  "\x30\x85\x00\x00\x00\x00\x01",
		"message too long": "\x30\x83\x04\x00\x01",
		"long tag":         "\x30\x03\x1f\x01\x00",
		"child too long":   "\x30\x02\x04\x01",
		"header too long":  "\x30\x01\x04\x00",
		"too deep":         nested(maxReplyDepth + 1),
	} {
		if err := new(shape).feed([]byte(bad)); err == nil {
			t.Errorf("%s: let through", name)
		}
	}
}

// However a stream is cut into pieces, it is judged as a whole.
func FuzzShape(f *testing.F) {
	f.Add([]byte(ldapMessage(1, result(bindDone, 0))))
	f.Add([]byte(nested(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var whole, pieces shape
		err := whole.feed(data)
		var errPieces error
		for i := range data {
			if errPieces = pieces.feed(data[i : i+1]); errPieces != nil {
				break
			}
		}
		if (err == nil) != (errPieces == nil) {
			t.Errorf("whole: %v, in pieces: %v", err, errPieces)
		}
		if len(whole.open) > maxReplyDepth {
			t.Errorf("%d open elements", len(whole.open))
		}
	})
}

// A server may say anything, at any point of a conversation: nothing panics, hangs or lets in whom it did not accept.
func TestServerThatSpeaksAtRandom(t *testing.T) {
	real := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	source := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex // over source
	port := serve(t, func(c net.Conn) {
		upstream, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(real.Port)))
		if err != nil {
			return
		}
		defer upstream.Close()
		for block := make([]byte, 8192); ; {
			n, err := c.Read(block)
			if err != nil {
				return
			}
			if _, err := upstream.Write(bytes.Clone(block[:n])); err != nil {
				return
			}
			if n, err = upstream.Read(block); err != nil {
				return
			}
			mu.Lock()
			for range source.IntN(4) {
				block[source.IntN(n)] = byte(source.UintN(256))
			}
			mu.Unlock()
			if _, err := c.Write(block[:n]); err != nil {
				return
			}
		}
	})
	f := ldapFixture(t, Config{}, bySearch(port, merge(hasty("100ms"), settings{"ephemeralUsers": true})))
	d, err := f.directories.of(f.directory.realms["corp"])
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		_, err := d.login(t.Context(), "ann", "wrong")
		if err != nil && !errors.Is(err, ErrInvalidCredentials) && !errors.Is(err, ErrUnavailable) {
			t.Errorf("login: %v", err)
		}
		_, err = f.Recheck(t.Context(), "corp", "ann")
		if err != nil && !errors.Is(err, ErrRecheckUnclear) && !errors.Is(err, ErrUnavailable) {
			t.Errorf("re-check: %v", err)
		}
	}
}
