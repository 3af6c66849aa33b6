package realm

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/httpapi/realm/slapdtest"
)

// atBoth is a realm at two servers, the second one by host:port.
func atBoth(of func(int, settings) settings, first, second int, more settings) settings {
	return of(first, merge(settings{
		"hosts": []string{fmt.Sprintf("127.0.0.1:%d", second)}, "ephemeralUsers": true,
	}, more))
}

func TestFailover(t *testing.T) {
	first := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	second := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	for kind, of := range map[string]func(int, settings) settings{"template": byTemplate, "search": bySearch} {
		t.Run(kind, func(t *testing.T) {
			f := ldapFixture(t, Config{}, atBoth(of, first.Port, second.Port, nil))
			login := func(want error) {
				t.Helper()
				if _, err := f.login(t, "ann"); !errors.Is(err, want) {
					t.Fatalf("%v, want %v", err, want)
				}
			}
			asked := func(s *slapdtest.Server) int { return len(binds(s.Log(), "uid=ann,"+slapdtest.Users)) }
			before := asked(second)
			login(nil)
			if asked(second) != before {
				t.Error("the second server was asked while the first one works")
			}
			first.Stop()
			login(nil)
			login(nil)
			if _, err := f.Authenticate(t.Context(), "corp", "ann", "wrong"); !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("wrong password at the second server: %v", err)
			}
			if n := strings.Count(f.log.String(), "does not work"); n != 1 {
				t.Errorf("the outage was logged %d times: %s", n, f.log)
			}
			second.Stop()
			login(ErrUnavailable)
			first.Run()
			login(nil)
			if !strings.Contains(f.log.String(), "works again") {
				t.Error("the end of the outage was not logged")
			}
			second.Run()
		})
	}
}

// A server that stands still takes connections and nothing else. It costs one login its share of the time; those that
// follow ask the other one first.
func TestFailoverFromServerThatHangs(t *testing.T) {
	t.Parallel() // it waits for a share of the time, and what is left must do on a busy machine
	first := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	second := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	f := ldapFixture(t, Config{}, atBoth(bySearch, first.Port, second.Port, hasty("12s")))
	if _, err := f.login(t, "ann"); err != nil {
		t.Fatal(err)
	}
	thaw := first.Freeze()
	defer thaw()
	if _, err := f.login(t, "ann"); err != nil {
		t.Fatalf("at the second server: %v", err)
	}
	d, err := f.directories.of(f.directory.realms["corp"])
	if err != nil {
		t.Fatal(err)
	}
	if got := order(d.servers, time.Now()); got[0] != d.servers[1] || got[1] != d.servers[0] {
		t.Error("the server that hangs is still asked first")
	}
	if got := order(d.servers, time.Now().Add(downMemory)); got[0] != d.servers[0] {
		t.Error("the server is not asked first again when its time is over")
	}
}

var logged = regexp.MustCompile(`conn=(\d+) op=\d+ (BIND dn="([^"]*)" method|SRCH base)`)

// No connection is ever two people's: what is asked on one is asked by the one account that it is bound as.
func TestConnectionsKeepToOneAccount(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann") + slapdtest.Person("bob")})
	groups := settings{"search": settings{"baseDn": slapdtest.Groups, "filter": "(member={dn})"}}
	account := settings{"bindDn": slapdtest.Reader, "bindPassword": slapdtest.ReaderSecret}
	for kind, config := range map[string]settings{
		"search":                  bySearch(server.Port, settings{"groups": groups}),
		"template":                byTemplate(server.Port, settings{"groups": groups}),
		"template with a service": byTemplate(server.Port, settings{"groups": groups, "login": account}),
	} {
		f := ldapFixture(t, Config{}, merge(config, settings{"ephemeralUsers": true}))
		d, err := f.directories.of(f.directory.realms["corp"])
		if err != nil {
			t.Fatal(err)
		}
		before := len(server.Log())
		var logins sync.WaitGroup
		var wrong atomic.Int64
		for range 8 {
			logins.Go(func() {
				for _, name := range []string{"ann", "bob", "nobody"} {
					for _, password := range []string{name + "'s secret", "wrong"} {
						_, err := d.login(t.Context(), name, password)
						if (err == nil) != (name != "nobody" && password != "wrong") {
							wrong.Add(1)
						}
					}
				}
			})
		}
		logins.Wait()
		if wrong.Load() > 0 {
			t.Errorf("%s: %d logins ended otherwise than they should", kind, wrong.Load())
		}
		checkAccounts(t, kind, server.Log()[before:], config)
	}
}

func checkAccounts(t *testing.T, kind string, log []string, config settings) {
	t.Helper()
	bound := make(map[string]string)
	searches, connections := 0, 0
	for _, line := range log {
		match := logged.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		conn, dn := match[1], match[3]
		if strings.HasPrefix(match[2], "SRCH") {
			searches++
			_, hasAccount := config["login"].(settings)["bindDn"]
			if hasAccount && bound[conn] != slapdtest.Reader || bound[conn] == "" {
				t.Errorf("%s: a search by %q", kind, bound[conn])
			}
			continue
		}
		connections++
		if _, again := bound[conn]; again {
			t.Errorf("%s: %q was bound where %q was before", kind, dn, bound[conn])
		}
		bound[conn] = dn
	}
	if searches == 0 || connections == 0 {
		t.Errorf("%s: %d searches on %d connections in the server's log", kind, searches, connections)
	}
}

// Connections of the service account are kept, not too many, and not for ever.
func TestServiceConnectionsAreKept(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	f := ldapFixture(t, Config{}, bySearch(server.Port, settings{"ephemeralUsers": true}))
	d, err := f.directories.of(f.directory.realms["corp"])
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := d.login(t.Context(), "ann", "ann's secret"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(binds(server.Log(), slapdtest.Reader)); n != 1 {
		t.Errorf("%d binds of the service account for 5 logins, want 1", n)
	}
	var links []*ldapLink
	for range maxIdleLinks + 2 {
		link, err := d.servers[0].dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, link)
		d.pool.put(link)
	}
	if n := len(d.pool.idle); n != maxIdleLinks {
		t.Errorf("%d idle connections, want %d", n, maxIdleLinks)
	}
	if !links[len(links)-1].client.IsClosing() {
		t.Error("a connection too many was not closed")
	}
	first := d.pool.idle[0]
	d.pool.expire(first)
	d.pool.expire(first) // somebody else took it, or it is gone
	if n := len(d.pool.idle); n != maxIdleLinks-1 || !first.client.IsClosing() {
		t.Errorf("%d idle connections after one was idle for too long", n)
	}
	if err := f.Close(); err != nil || len(d.pool.idle) != 0 {
		t.Errorf("%d idle connections after Close, %v", len(d.pool.idle), err)
	}
	if _, err := d.login(t.Context(), "ann", "ann's secret"); err != nil || len(d.pool.idle) != 0 {
		t.Errorf("a login after Close: %v; %d connections are kept", err, len(d.pool.idle))
	}
}

// A server that was started again has closed what was kept: no login may fail for that.
func TestKeptConnectionThatIsGone(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	f := ldapFixture(t, Config{}, bySearch(server.Port, settings{"ephemeralUsers": true}))
	for range 3 {
		if _, err := f.login(t, "ann"); err != nil {
			t.Fatal(err)
		}
		server.Stop()
		server.Run()
	}
	if strings.Contains(f.log.String(), "does not work") {
		t.Errorf("the server is blamed: %s", f.log)
	}
}

// A wrong password of the service account is no wrong password of the user, and is not tried again and again.
func TestServiceAccountIsRefused(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	f := ldapFixture(t, Config{}, bySearch(server.Port, settings{"ephemeralUsers": true, "login": settings{"bindPassword": "old"}}))
	for range 3 {
		if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	}
	if n := len(binds(server.Log(), slapdtest.Reader)); n != 1 {
		t.Errorf("%d binds with the wrong password, want 1", n)
	}
	if !strings.Contains(f.log.String(), "login.bindPassword") {
		t.Errorf("the log does not say what to mend: %s", f.log)
	}
}

// More logins at once than a server is to be burdened with wait, and more than may wait are refused.
func TestLoginsAtOnceAreBounded(t *testing.T) {
	entered, release := make(chan struct{}, maxBinds+1), make(chan struct{})
	port := serve(t, func(c net.Conn) { entered <- struct{}{}; <-release })
	defer close(release)
	d := directoryOf(t, byTemplate(port, nil))
	for range maxBinds {
		if _, err := d.logins.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.logins.queue = 0
	if _, err := d.login(t.Context(), "ann", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	if len(entered) > 0 {
		t.Error("a login over the bound reached the server")
	}
}
