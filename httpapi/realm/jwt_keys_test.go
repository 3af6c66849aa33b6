package realm

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// issuer publishes keys over a real connection.
type issuer struct {
	*httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex
	answer http.HandlerFunc
}

func (i *issuer) publish(set string) {
	i.respond(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) })
}

func (i *issuer) respond(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	i.mu.Lock()
	h := i.answer
	i.mu.Unlock()
	h(w, r)
}

func newIssuer(t *testing.T, start func(http.Handler) *httptest.Server) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = start(i)
	t.Cleanup(i.Close)
	return i
}

// clocked is a fixture whose clock the test moves.
type clocked struct {
	*fixture
	mu  sync.Mutex
	now time.Time
}

func newClocked(t *testing.T, cfg Config) *clocked {
	c := &clocked{fixture: newFixture(t, cfg), now: time.Now()}
	c.evidence.now = c.clock
	c.evidence.keys.now = c.clock
	for _, client := range []*http.Client{c.evidence.keys.far, c.evidence.keys.near} {
		client.Timeout = time.Minute // the issuer is of this process, on a machine that may be busy
	}
	return c
}

func (c *clocked) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clocked) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// try brings a token of the moment, signed with that key under that id.
func (c *clocked) try(t *testing.T, key crypto.Signer, kid string) error {
	t.Helper()
	_, err := c.bearer(t, sign(t, key, map[string]any{"kid": kid}, goodClaims(c.clock(), nil)))
	return err
}

func overURL(url string) string { return jwtConfigText(fmt.Sprintf(`,"jwksUrl":%q`, url)) }

func TestKeysOfURL(t *testing.T) {
	k := testSigners()
	i := newIssuer(t, httptest.NewServer)
	i.publish(keySet(t, jwk(t, k.rsa, "r1", nil)))
	c := newClocked(t, Config{})
	c.addRealmOf(t, "sso", TypeJWT, overURL(i.URL+"/keys?realm=main"))
	want := func(what string, err, want error, asked int64) {
		t.Helper()
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if n := i.asked.Load(); n != asked {
			t.Errorf("%s: the issuer was asked %d times, want %d", what, n, asked)
		}
	}
	want("first", c.try(t, k.rsa, "r1"), nil, 1)
	want("second", c.try(t, k.rsa, "r1"), nil, 1)
	want("wrong signature", c.try(t, k.otherRSA, "r1"), ErrInvalidCredentials, 1)

	// A new key is found when its first token comes; but ids that are made up do not keep the issuer busy.
	want("unknown id, too soon", c.try(t, k.ed, "d1"), ErrInvalidCredentials, 1)
	c.advance(keysPause)
	want("unknown id", c.try(t, k.ed, "d1"), ErrInvalidCredentials, 2)
	i.publish(keySet(t, jwk(t, k.ed, "d1", nil)))
	for n := range 20 {
		want("made up id", c.try(t, k.ed, fmt.Sprint(n)), ErrInvalidCredentials, 2)
	}
	c.advance(keysPause)
	want("new key", c.try(t, k.ed, "d1"), nil, 3)
	want("withdrawn key", c.try(t, k.rsa, "r1"), ErrInvalidCredentials, 3)

	// What is due is read again without being asked for.
	i.publish(keySet(t, jwk(t, k.p256, "d1", nil)))
	c.advance(defaultRefresh - time.Second)
	want("not due", c.try(t, k.ed, "d1"), nil, 3)
	c.advance(time.Second)
	want("due, and withdrawn", c.try(t, k.ed, "d1"), ErrInvalidCredentials, 4)

	// An outage lasts for as long as the keys that are there are fresh enough.
	i.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	c.advance(defaultRefresh)
	want("outage", c.try(t, k.p256, "d1"), nil, 5)
	want("outage, other id", c.try(t, k.p256, "d2"), ErrUnavailable, 5)
	c.advance(maxKeyAge - defaultRefresh - time.Second)
	want("outage, nearly a day later", c.try(t, k.p256, "d1"), nil, 6)
	c.advance(time.Second)
	want("outage of a day", c.try(t, k.p256, "d1"), ErrUnavailable, 6)
	i.publish(keySet(t, jwk(t, k.p256, "d1", nil)))
	c.advance(keysPause)
	want("back", c.try(t, k.p256, "d1"), nil, 7)
}

// What an issuer may answer that is no set of keys; none of it may do more than fail.
func TestKeysThatCantBeRead(t *testing.T) {
	k := testSigners()
	good := keySet(t, jwk(t, k.rsa, "r1", nil))
	other := newIssuer(t, httptest.NewServer)
	other.publish(good)
	for name, answer := range map[string]http.HandlerFunc{
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusFound)
		},
		"not found": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(good))
		},
		"page":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"nothing":       func(http.ResponseWriter, *http.Request) {},
		"members twice": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[],` + good[1:])) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(good))
			blank := []byte(strings.Repeat(" ", 1<<16))
			for range 100 {
				if _, err := w.Write(blank); err != nil {
					return
				}
			}
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write([]byte(good[:len(good)/2]))
			panic(http.ErrAbortHandler)
		},
		"headers without end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxKeySet))
			_, _ = w.Write([]byte(good))
		},
		"private key": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(keySet(t, jwk(t, k.rsa, "r1", map[string]any{"d": "AAAA"}))))
		},
	} {
		i := newIssuer(t, httptest.NewServer)
		i.respond(answer)
		c := newClocked(t, Config{})
		c.addRealmOf(t, "sso", TypeJWT, overURL(i.URL))
		if err := c.try(t, k.rsa, "r1"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(c.log.String(), "keys of an issuer") {
			t.Errorf("%s: nothing in the log", name)
		}
	}
	if other.asked.Load() != 0 {
		t.Error("an issuer could send us elsewhere")
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := newClocked(t, Config{})
	c.evidence.keys.near.Timeout = 50 * time.Millisecond
	c.addRealmOf(t, "sso", TypeJWT, overURL("http://"+silent.Addr().String()))
	if err := c.try(t, k.rsa, "r1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("silent issuer: %v", err)
	}
}

// The issuer must prove who it is.
func TestKeysByTLS(t *testing.T) {
	k := testSigners()
	i := newIssuer(t, httptest.NewTLSServer)
	i.Config.ErrorLog = nil
	i.publish(keySet(t, jwk(t, k.rsa, "r1", nil)))
	roots := x509.NewCertPool()
	roots.AddCert(i.Certificate())
	c := newClocked(t, Config{RootCAs: roots})
	c.addRealmOf(t, "sso", TypeJWT, overURL(i.URL))
	if err := c.try(t, k.rsa, "r1"); err != nil {
		t.Error(err)
	}
	stranger := newClocked(t, Config{RootCAs: x509.NewCertPool()})
	stranger.addRealmOf(t, "sso", TypeJWT, overURL(i.URL))
	if err := stranger.try(t, k.rsa, "r1"); !errors.Is(err, ErrUnavailable) || i.asked.Load() != 1 {
		t.Errorf("unknown authority: %v, asked %d times", err, i.asked.Load())
	}
}

// A name may resolve to anything; without TLS it must be this machine.
func TestPlainConnectionsStayHere(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "127.8.8.8:1": true, "[::ffff:127.0.0.1]:80": true,
		"10.0.0.1:80": false, "169.254.169.254:80": false, "[2001:db8::1]:80": false, "nonsense": false,
	} {
		if err := onlyLoopback("tcp", address, syscall.RawConn(nil)); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Many tokens at once make one question of it, and those who wait do not wait longer than they can.
func TestKeysAreReadOnce(t *testing.T) {
	k := testSigners()
	i := newIssuer(t, httptest.NewServer)
	hold, asked := make(chan struct{}), make(chan struct{}, 1)
	set := keySet(t, jwk(t, k.ed, "d1", nil))
	i.respond(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-hold
		_, _ = w.Write([]byte(set))
	})
	c := newClocked(t, Config{})
	c.addRealmOf(t, "sso", TypeJWT, overURL(i.URL))
	token := sign(t, k.ed, map[string]any{"kid": "d1"}, goodClaims(c.clock(), nil))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := c.bearer(t, token); err != nil {
				t.Error(err)
			}
		})
	}
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.AuthenticateRequest(ctx, "sso", Evidence{Bearer: token}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that can't wait: %v", err)
	}
	close(hold)
	group.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// While the keys are read again, the others go on with those that are there.
func TestKeysWhileTheyAreReadAgain(t *testing.T) {
	k := testSigners()
	i := newIssuer(t, httptest.NewServer)
	i.publish(keySet(t, jwk(t, k.ed, "d1", nil)))
	c := newClocked(t, Config{})
	c.addRealmOf(t, "sso", TypeJWT, overURL(i.URL))
	if err := c.try(t, k.ed, "d1"); err != nil {
		t.Fatal(err)
	}
	hold, asked := make(chan struct{}), make(chan struct{})
	i.respond(func(w http.ResponseWriter, _ *http.Request) { close(asked); <-hold })
	c.advance(defaultRefresh)
	var first sync.WaitGroup
	first.Go(func() {
		if err := c.try(t, k.ed, "d1"); err != nil {
			t.Error(err)
		}
	})
	<-asked
	if err := c.try(t, k.ed, "d1"); err != nil {
		t.Error(err)
	}
	close(hold)
	first.Wait()
}

// A caller that gives up is not the issuer's fault.
func TestKeysAfterACallerGaveUp(t *testing.T) {
	k := testSigners()
	i := newIssuer(t, httptest.NewServer)
	ctx, cancel := context.WithCancel(t.Context())
	released := make(chan struct{})
	i.respond(func(http.ResponseWriter, *http.Request) { cancel(); <-released })
	c := newClocked(t, Config{})
	c.addRealmOf(t, "sso", TypeJWT, overURL(i.URL))
	token := sign(t, k.ed, map[string]any{"kid": "d1"}, goodClaims(c.clock(), nil))
	if _, err := c.AuthenticateRequest(ctx, "sso", Evidence{Bearer: token}); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller: %v", err)
	}
	close(released)
	i.publish(keySet(t, jwk(t, k.ed, "d1", nil)))
	if _, err := c.bearer(t, token); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestKeysOfFile(t *testing.T) {
	k := testSigners()
	dir := filepath.Join(t.TempDir(), "keys")
	outside := filepath.Join(filepath.Dir(dir), "outside.json")
	set := keySet(t, jwk(t, k.ed, "d1", nil))
	for _, err := range []error{
		os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "good.json"), []byte(set), 0o600),
		os.WriteFile(filepath.Join(dir, "secret.json"), []byte("root:x:0:0 private"), 0o600),
		os.WriteFile(outside, []byte(set), 0o600),
		os.Symlink(outside, filepath.Join(dir, "absolute.json")),
		os.Symlink("../outside.json", filepath.Join(dir, "relative.json")),
		os.Symlink("good.json", filepath.Join(dir, "within.json")),
		os.Mkdir(filepath.Join(dir, "directory.json"), 0o700),
		syscall.Mkfifo(filepath.Join(dir, "pipe.json"), 0o600),
		os.WriteFile(filepath.Join(dir, "long.json"), []byte(set+strings.Repeat(" ", maxKeySet)), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return jwtConfigText(fmt.Sprintf(`,"jwksFile":%q`, name)) }
	for name, ok := range map[string]bool{
		"good.json": true, "within.json": true,
		"absent.json": false, "secret.json": false, "absolute.json": false, "relative.json": false, "directory.json": false, "pipe.json": false, "long.json": false,
	} {
		c := newClocked(t, Config{KeySetDir: dir})
		c.addRealmOf(t, "sso", TypeJWT, file(name)) // whether it is there is not told
		err := c.try(t, k.ed, "d1")
		if ok != (err == nil) || !ok && any(err) != any(ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(c.log.String(), "private") {
			t.Errorf("%s: the log quotes the file: %s", name, c.log.String())
		}
	}
	c := newClocked(t, Config{})
	c.addRealmOf(t, "sso", TypeJWT, file("good.json"))
	if err := c.try(t, k.ed, "d1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a directory: %v", err)
	}

	// A file that is replaced is read again.
	c = newClocked(t, Config{KeySetDir: dir})
	c.addRealmOf(t, "sso", TypeJWT, file("good.json"))
	if err := c.try(t, k.ed, "d1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "good.json"), []byte(keySet(t, jwk(t, k.p256, "e1", nil))), 0o600); err != nil {
		t.Fatal(err)
	}
	c.advance(keysPause)
	if err := c.try(t, k.p256, "e1"); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if err := c.try(t, k.ed, "d1"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("the old key: %v", err)
	}
}
