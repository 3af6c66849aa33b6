package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
)

// atRest is a node whose clients remember every secret that they were handed or have sent.
type atRest struct {
	*suite
	node    *suiteNode
	secrets map[string]string // text, by what it is
	open    []string          // cookies of sessions that go on
}

func (a *atRest) secret(what, text string) {
	a.t.Helper()
	if len(text) < 16 {
		a.t.Fatalf("%s: %q is too short to be looked for", what, text)
	}
	a.secrets[fmt.Sprintf("%s %d", what, len(a.secrets))] = text
}

// call sends a request that must be answered so.
func (a *atRest) call(want int, method, path, body string, header ...string) answer {
	a.t.Helper()
	got := a.do(a.client(), method, a.url(a.node)+path, body, header...)
	if got.StatusCode != want {
		a.t.Fatalf("%s %s: %d %s, want %d", method, path, got.StatusCode, got.text, want)
	}
	return got
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// TestNoSecretAtRest: neither the data directory nor the log holds a secret: no token, whichever way it was handed out, no
// CSRF token, no password, right or wrong, no secret of a realm, no key of the cluster. And nobody but the owner may
// look. Then each secret is put into an attribute, and must be found; and with data keys it must not be, nor is anything else
// to be found in log and snapshots.
func TestNoSecretAtRest(t *testing.T) {
	t.Parallel()
	a := &atRest{suite: newSuiteOf(t, 1), secrets: map[string]string{}}
	a.node = a.nodes[0]
	a.node.flags = without(a.node.flags, "--join")
	key, err := os.ReadFile(filepath.Join(a.dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	a.secret("cluster key", string(key))
	a.secret("password", suitePassword)

	a.careful = false
	a.startAll()
	a.careful = true
	a.live()
	a.private()
	a.halt()
	a.private()
	a.clean("after the end")
	a.snapshot(nil)
	a.clean("with a snapshot")
	a.start(a.node)
	a.awaitReady(a.node)
	for _, cookie := range a.open {
		a.call(http.StatusOK, http.MethodGet, "/api/session", "", "Cookie", cookie)
	}
	a.plant()
	a.halt()
	a.allFound("in the log", filepath.Join(a.raftDir(), "raft.db"))
	a.snapshot(nil)
	a.allFound("in the snapshot", a.newestSnapshot())

	keys := a.dataKeys(1)
	a.snapshot(keys)
	a.private()
	a.clean("sealed")
	files := a.contents()
	for _, text := range []string{"attribute-of-ann", "ann-at-rest", "corp-at-rest", "ou=people,dc=at-rest"} {
		for _, path := range search(files, text) {
			if strings.HasPrefix(path, a.raftDir()) { // the audit log is for names
				t.Errorf("%q is still in %s", text, path)
			}
		}
	}
}

// live is what clients do.
func (a *atRest) live() {
	fusion := a.login(a.client(), a.node, "admin", suitePassword).cookie("id")
	a.secret("token of a JSON login", fusion)
	admin := "id=" + fusion
	a.open = append(a.open, admin)
	a.secret("password", "the password of ann-at-rest")
	a.secret("password", "the password of svc-at-rest")
	a.addUser(a.node, admin, "ann-at-rest", "the password of ann-at-rest")
	body := `{"username":"svc-at-rest","password":"the password of svc-at-rest","realmName":"native","roleNames":["service"]}`
	a.call(http.StatusCreated, http.MethodPost, "/api/users", body, "Content-Type", jsonType, "Cookie", admin)

	for i := range 4 {
		token := a.login(a.client(), a.node, "ann-at-rest", "the password of ann-at-rest").cookie("id")
		a.secret("token of a JSON login", token)
		cookie := "id=" + token
		a.put(a.node, cookie, "colour", "attribute-of-ann")
		a.secret("CSRF token", a.attribute(a.node, cookie, "CSRFToken"))
		if i%2 == 0 {
			a.call(http.StatusNoContent, http.MethodDelete, "/api/session", "", "Cookie", cookie)
		} else {
			a.open = append(a.open, cookie)
		}
	}
	for i := range 3 {
		a.mmonit(i == 0)
	}
	a.machines(admin)

	a.secret("secret of a realm", "the bind password of the realm")
	body = `{"realmType":"ldap","name":"corp-at-rest","enabled":true,"roleNames":[],"config":{"host":"127.0.0.1","ssl":true,"login":{` +
		`"search":{"baseDn":"ou=people,dc=at-rest","filter":"(uid={})"},"bindDn":"cn=service,dc=at-rest","bindPassword":"the bind password of the realm"}}}`
	realm := a.call(http.StatusCreated, http.MethodPost, "/api/realm-configs", body, "Content-Type", jsonType, "Cookie", admin)
	if strings.Contains(realm.text, "the bind password") {
		a.t.Errorf("the realm is answered with its secret: %s", realm.text)
	}
	a.wrong()
}

// mmonit logs in by the form, with the token that the first page hands out, or as a browser that gets another.
func (a *atRest) mmonit(browser bool) {
	first := a.call(http.StatusOK, http.MethodGet, "/index.csp", "").cookie("zsessionid")
	a.secret("anonymous token", first)
	form := url.Values{"z_username": {"ann-at-rest"}, "z_password": {"the password of ann-at-rest"}}.Encode()
	header := []string{"Content-Type", formType, "Cookie", "zsessionid=" + first}
	if browser {
		header = append(header, "Origin", a.url(a.node), "Sec-Fetch-Site", "same-origin")
	}
	token := a.call(http.StatusFound, http.MethodPost, "/z_security_check", form, header...).cookie("zsessionid")
	if token == "" {
		token = first
	}
	a.secret("token of a form login", token)
	cookie := "zsessionid=" + token
	csrf := a.attribute(a.node, cookie, "CSRFToken")
	a.secret("CSRF token", csrf)
	a.call(http.StatusOK, http.MethodPost, "/session/put", "colour=attribute-of-ann", "Content-Type", formType, "Cookie", cookie, "CSRFToken", csrf)
	if browser {
		a.call(http.StatusOK, http.MethodGet, "/session/invalidate", "", "Cookie", cookie, "CSRFToken", csrf)
	} else {
		a.open = append(a.open, cookie)
	}
}

// machines are given tokens in other ways.
func (a *atRest) machines(admin string) {
	form := url.Values{"grant_type": {"password"}, "username": {"ann-at-rest"}, "password": {"the password of ann-at-rest"}}.Encode()
	for i := range 2 {
		var bearer struct {
			Token string `json:"access_token"`
		}
		text := a.call(http.StatusOK, http.MethodPost, "/oauth2/token", form, "Content-Type", formType).text
		if err := json.Unmarshal([]byte(text), &bearer); err != nil {
			a.t.Fatalf("%s: %v", text, err)
		}
		a.secret("bearer token", bearer.Token)
		a.secret("bearer token without its prefix", strings.TrimPrefix(bearer.Token, "crs_"))
		a.call(http.StatusOK, http.MethodGet, "/api/session", "", "Authorization", "Bearer "+bearer.Token)
		if i == 0 {
			a.call(http.StatusOK, http.MethodPost, "/oauth2/revoke", "token="+bearer.Token, "Content-Type", formType)
		}
	}
	service := base64.StdEncoding.EncodeToString([]byte("svc-at-rest:the password of svc-at-rest"))
	a.secret("header of a service", service)
	body := `[{"username":"ann-at-rest","realmName":"native","attributes":{"colour":"attribute-of-ann"}},{"username":"ann-at-rest","realmName":"native"}]`
	text := a.call(http.StatusCreated, http.MethodPost, "/api/sessions", body, "Content-Type", jsonType, "Authorization", "Basic "+service).text
	tokens := tokensIn(a.t, text)
	if len(tokens) != 2 {
		a.t.Fatalf("tokens in %s", text)
	}
	for _, token := range tokens {
		a.secret("token that a service was given", token)
	}
	a.call(http.StatusOK, http.MethodPost, "/api/sessions/verify", fmt.Sprintf(`{"tokens":[%q]}`, tokens[0]), "Content-Type", jsonType, "Cookie", admin)
}

// tokensIn returns the members named token, at any depth.
func tokensIn(t testing.TB, text string) (tokens []string) {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			for name, member := range v {
				if list, ok := member.([]any); ok && name == "tokens" {
					for _, element := range list {
						tokens = append(tokens, fmt.Sprint(element))
					}
					continue
				}
				if one, ok := member.(string); ok && name == "token" {
					tokens = append(tokens, one)
				}
				walk(member)
			}
		case []any:
			for _, element := range v {
				walk(element)
			}
		}
	}
	walk(value)
	return tokens
}

// wrong is what clients send that is refused: the log must not repeat it.
func (a *atRest) wrong() {
	a.secret("wrong password", "a wrong password of ann")
	a.login(a.client(), a.node, "ann-at-rest", "a wrong password of ann")
	a.secret("password in a query", "a-password-in-a-query")
	a.do(a.client(), http.MethodGet, a.url(a.node)+"/z_security_check?z_username=ann-at-rest&z_password=a-password-in-a-query", "")
	a.secret("wrong token", "c0ffee00-1234-4321-8888-0123456789ab")
	a.do(a.client(), http.MethodGet, a.url(a.node)+"/api/session", "", "Cookie", "id=c0ffee00-1234-4321-8888-0123456789ab")
	a.do(a.client(), http.MethodGet, a.url(a.node)+"/api/session", "", "Authorization", "Bearer c0ffee00-1234-4321-8888-0123456789ab")
}

// plant puts every secret into an attribute.
func (a *atRest) plant() {
	cookie := a.open[0]
	form, count := url.Values{}, 0
	flush := func() {
		if len(form) > 0 {
			a.call(http.StatusOK, http.MethodPost, "/api/2/session/put", form.Encode(), "Content-Type", formType, "Cookie", cookie)
		}
		form = url.Values{}
	}
	for _, text := range a.secrets {
		form.Set(fmt.Sprint("planted", count), strings.TrimSpace(text))
		if count++; count%10 == 0 {
			flush()
		}
	}
	flush()
}

// halt ends the node as an operator does.
func (a *atRest) halt() {
	a.t.Helper()
	if err := a.node.process.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	select {
	case <-a.node.ended:
	case <-time.After(patience):
		a.t.Fatal("the node does not end")
	}
	a.node.process = nil
}

func (a *atRest) raftDir() string { return filepath.Join(a.dataDir(a.node), "raft") }

func (a *atRest) dataKeys(count int) *keyring.Ring {
	var keys []keyring.Key
	for range count {
		key, err := keyring.NewKey()
		if err != nil {
			a.t.Fatal(err)
		}
		keys = append(keys, key)
	}
	ring, err := keyring.New(keys)
	if err != nil {
		a.t.Fatal(err)
	}
	return ring
}

// plainLayer is a listener that nobody dials.
type plainLayer struct{ net.Listener }

func (plainLayer) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return nil, net.ErrClosed
}

// snapshot opens the data of the node that has ended and takes one; with keys, so that nothing else is left.
func (a *atRest) snapshot(keys *keyring.Ring) {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dataDir(a.node), "node.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	var identity struct{ NodeID string }
	if err := json.Unmarshal(text, &identity); err != nil {
		a.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	n, err := consensus.Open(consensus.Config{NodeID: identity.NodeID, Dir: a.raftDir(), Layer: plainLayer{ln}, DataKeys: keys})
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			a.t.Error(err)
		}
	}()
	a.until("the only member leads", n.IsLeader)
	entry, err := session.EncodeEntry(nil, &session.Entry{Stamp: 1, Commands: []session.Command{&session.Tick{}}})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx := a.t.Context()
	if _, err := n.Propose(ctx, entry).Wait(ctx); err != nil {
		a.t.Fatal(err)
	}
	if keys == nil {
		err = n.Snapshot(ctx)
	} else {
		_, err = n.Propose(ctx, slices.Clone(entry)).Wait(ctx)
		if err == nil {
			err = n.Reseal(ctx)
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *atRest) newestSnapshot() string {
	found, err := filepath.Glob(filepath.Join(a.raftDir(), "snapshots", "*", "state.bin"))
	if err != nil || len(found) == 0 {
		a.t.Fatalf("snapshots %v, %v", found, err)
	}
	newest := func(path string) string { // TERM-INDEX-MILLISECONDS
		return path[strings.LastIndex(filepath.Dir(path), "-")+1:]
	}
	return slices.MaxFunc(found, func(a, b string) int { return strings.Compare(newest(a), newest(b)) })
}

// private walks the directory: nobody but the owner has anything there.
func (a *atRest) private() {
	a.t.Helper()
	err := filepath.WalkDir(a.dataDir(a.node), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			a.t.Errorf("%s is of mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
}
