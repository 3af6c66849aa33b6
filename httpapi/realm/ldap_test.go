package realm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"cloakroom/cluster/session"
)

// ldapRealm is a realm's record with the given configuration members.
func ldapRealm(config string) *session.Realm {
	return &session.Realm{
		ID: "r9", Name: "corp", Type: TypeLDAP, Enabled: true, Rev: 21, RoleNames: []string{"developer", "staff"},
		Config: []byte(config),
	}
}

func ldapJSON(port int, more string) string {
	return fmt.Sprintf(`{"host":"127.0.0.1","port":%d%s,"login":{"bindDnTemplate":"uid={},ou=users,dc=example,dc=org"}}`, port, more)
}

func TestAuthenticateLDAP(t *testing.T) {
	server := startSlapd(t)
	const auto, ephemeral = `,"autoCreateUsers":true`, `,"ephemeralUsers":true`
	bob := &session.User{ID: "u20", Realm: "corp", Username: "bob", RoleNames: []string{"admin", "staff"}, Rev: 31}
	annOff := &session.User{ID: "u21", Realm: "corp", Username: "ann", Disabled: true, Rev: 32}
	for _, tt := range []struct {
		name, config, username, password string
		identity                         Identity
		anyID                            bool
		err                              error
	}{
		{
			"user with a record", "", "bob", "bob's secret",
			Identity{Username: "bob", UserID: "u20", UserRev: 31, Roles: []string{"admin", "developer", "staff"}},
			false, nil,
		},
		{
			"other case is the same user", "", "BOB", "bob's secret",
			Identity{Username: "bob", UserID: "u20", UserRev: 31, Roles: []string{"admin", "developer", "staff"}},
			false, nil,
		},
		{"wrong password", "", "bob", "Bob's secret", Identity{}, false, ErrInvalidCredentials},
		{"empty password", "", "bob", "", Identity{}, false, ErrInvalidCredentials},
		{"another one's password", "", "bob", "ann's secret", Identity{}, false, ErrInvalidCredentials},
		{"entry without password", auto, "nopassword", "anything", Identity{}, false, ErrInvalidCredentials},
		{"unknown at the server", auto, "nobody", "anything", Identity{}, false, ErrInvalidCredentials},
		{"disabled record", auto, "ann", "ann's secret", Identity{}, false, ErrInvalidCredentials},
		{"disabled record, other case", auto, "Ann", "ann's secret", Identity{}, false, ErrInvalidCredentials},
		{"disabled record, ephemeral", ephemeral, "ann", "ann's secret", Identity{}, false, ErrInvalidCredentials},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			f.directory.addRealm(ldapRealm(ldapJSON(server.port, tt.config)))
			f.directory.addUser(bob)
			f.directory.addUser(annOff)
			checkLDAP(t, f, tt.username, tt.password, tt.identity, tt.anyID, tt.err)
		})
	}
	newcomer := Identity{Username: "ann", Roles: []string{"developer", "staff"}}
	created := newcomer
	created.AutoCreate = true
	for _, tt := range []struct {
		name, config string
		identity     Identity
		err          error
	}{
		{"no record, none made", "", Identity{}, ErrInvalidCredentials},
		{"no record, one made", auto, created, nil},
		{"no record, ephemeral", ephemeral, newcomer, nil},
		{"no record, both", auto + ephemeral, newcomer, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			f.directory.addRealm(ldapRealm(ldapJSON(server.port, tt.config)))
			checkLDAP(t, f, "ann", "ann's secret", tt.identity, true, tt.err)
			checkLDAP(t, f, "ann", "wrong", Identity{}, false, ErrInvalidCredentials)
		})
	}
}

func checkLDAP(t *testing.T, f *fixture, username, password string, want Identity, anyID bool, wantErr error) {
	t.Helper()
	f.hashed = nil
	got, err := f.Authenticate(t.Context(), "corp", username, password)
	if !errors.Is(err, wantErr) {
		t.Fatalf("err = %v, want %v", err, wantErr)
	}
	if wantErr == nil {
		want.Realm, want.RealmRev, want.FixedRoles = "corp", 21, true
		if anyID && got.UserID == "" {
			t.Error("no id for the user")
		}
	}
	if anyID {
		got.UserID = ""
	}
	if !equalIdentity(got, want) {
		t.Errorf("identity %+v, want %+v", got, want)
	}
	if !slices.Equal(f.hashed, []costs{{MinMemory, 1, 1}}) {
		t.Errorf("hashes computed: %+v, want one", f.hashed)
	}
}

// An ephemeral user has no record to keep its id in, yet is the same user at each login; another one is not.
func TestEphemeralUserKeepsItsID(t *testing.T) {
	server := startSlapd(t)
	f := newFixture(t, Config{})
	f.directory.addRealm(ldapRealm(ldapJSON(server.port, `,"ephemeralUsers":true`)))
	ids := make([]string, 0, 3)
	for _, login := range [][2]string{{"ann", "ann's secret"}, {"Ann", "ann's secret"}, {"bob", "bob's secret"}} {
		identity, err := f.Authenticate(t.Context(), "corp", login[0], login[1])
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, identity.UserID)
	}
	if ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("ids %v: the first two must be equal, the third another", ids)
	}
}

// A user name that reached into the DN would bind as an entry that the template does not lead to.
func TestBindRefusesNameThatLeavesItsPlace(t *testing.T) {
	server := startSlapd(t)
	b := newBinder(nil)
	c, err := parseLDAPConfig(fmt.Appendf(nil, `{"host":"127.0.0.1","port":%d,"login":{"bindDnTemplate":"uid={},dc=example,dc=org"}}`, server.port))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.bind(t.Context(), c, "ann,ou=users", "ann's secret"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("bind outside of the template = %v, want ErrInvalidCredentials", err)
	}
	c.Login.BindDNTemplate = "uid={},ou=users,dc=example,dc=org"
	if err := b.bind(t.Context(), c, "ann", "ann's secret"); err != nil {
		t.Errorf("bind by the template = %v", err)
	}
	if err := b.bind(t.Context(), c, "ann", ""); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("bind without password = %v, want ErrInvalidCredentials", err)
	}
}

func TestBindVerifiesTheServer(t *testing.T) {
	server := startSlapd(t)
	const secret = "ann's secret"
	for _, tt := range []struct {
		name, host string
		port       int
		ssl        bool
		trusted    bool
		err        error
	}{
		{"trusted, by its name", "localhost", server.tlsPort, true, true, nil},
		{"trusted, by another name", "127.0.0.1", server.tlsPort, true, true, ErrUnavailable},
		{"not trusted", "localhost", server.tlsPort, true, false, ErrUnavailable},
		{"TLS to the plain port", "localhost", server.port, true, true, ErrUnavailable},
		{"plain to the TLS port", "127.0.0.1", server.tlsPort, false, true, ErrUnavailable},
	} {
		roots := x509.NewCertPool()
		if tt.trusted {
			roots = server.rootCAs
		}
		c, err := parseLDAPConfig(fmt.Appendf(nil, `{"host":%q,"port":%d,"ssl":%v,"timeout":"2s","login":{"bindDnTemplate":"uid={},ou=users,dc=example,dc=org"}}`,
			tt.host, tt.port, tt.ssl))
		if err != nil {
			t.Fatal(err)
		}
		if err := newBinder(roots).bind(t.Context(), c, "ann", secret); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestServerThatStops(t *testing.T) {
	server := startSlapd(t)
	f := newFixture(t, Config{})
	f.directory.addRealm(ldapRealm(ldapJSON(server.port, `,"autoCreateUsers":true`)))
	if _, err := f.Authenticate(t.Context(), "corp", "ann", "ann's secret"); err != nil {
		t.Fatal(err)
	}
	server.stop()
	if _, err := f.Authenticate(t.Context(), "corp", "ann", "ann's secret"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("err = %v, want ErrUnavailable", err)
	}
}

// fakeServer accepts connections on loopback and does with each what it is told.
func fakeServer(t *testing.T, serve func(net.Conn)) ldapConfig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	c, err := parseLDAPConfig([]byte(ldapJSON(l.Addr().(*net.TCPAddr).Port, `,"timeout":"200ms"`)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServersThatDoNotAnswer(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"silent":   func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"hangs up": func(net.Conn) {},
		"rubbish": func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakeServer(t, serve)
			if err := newBinder(nil).bind(t.Context(), c, "ann", "ann's secret"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v, want ErrUnavailable", err)
			}
		})
	}
}

// A server that claims a string of 1 GiB and sends it is cut off, and what the client took is a fraction of it: what
// can be sent beyond maxReply is what fits into the sockets' buffers.
func TestServerThatSendsTooMuch(t *testing.T) {
	sent := make(chan int, 1)
	c := fakeServer(t, func(c net.Conn) {
		_, _ = c.Write([]byte{0x30, 0x84, 0x40, 0, 0, 6, 0x04, 0x84, 0x40, 0, 0, 0})
		n := 0
		for block := make([]byte, 1<<16); n < 1<<30; n += len(block) {
			if _, err := c.Write(block); err != nil {
				break
			}
		}
		sent <- n
	})
	c.Timeout = jsonTimeout(maxTimeout)
	if err := newBinder(nil).bind(t.Context(), c, "ann", "ann's secret"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if n := <-sent; n > 64<<20 {
		t.Errorf("the server could send %d bytes", n)
	}
}

func TestBindEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := fakeServer(t, func(c net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	c.Timeout = jsonTimeout(maxTimeout)
	if err := newBinder(nil).bind(ctx, c, "ann", "ann's secret"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestBoundedConnEnds(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		_, _ = server.Write(make([]byte, 100))
		_ = server.Close()
	}()
	n, err := io.Copy(io.Discard, &boundedConn{Conn: client, left: 10})
	if n != 10 || !errors.Is(err, errReplyTooLong) {
		t.Errorf("read %d bytes, %v, want 10 and errReplyTooLong", n, err)
	}
}

func TestLDAPRealmWithBrokenConfiguration(t *testing.T) {
	f := newFixture(t, Config{})
	f.directory.addRealm(ldapRealm(`{"host":""}`))
	if _, err := f.Authenticate(t.Context(), "corp", "ann", "ann's secret"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("err = %v, want ErrUnavailable", err)
	}
	if len(f.hashed) != 1 {
		t.Errorf("%d hashes, want 1", len(f.hashed))
	}
}
