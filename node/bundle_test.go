package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster/backup"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/support"
)

// TestNoSecretInBundle: a node with every kind of secret, all of them used, is asked for support bundles. Nothing of that is in
// them, packed or unpacked, in any form, and neither is anybody's name. Then each secret is put into each file, and
// must be found.
func TestNoSecretInBundle(t *testing.T) {
	t.Parallel()
	a := &atRest{suite: newSuiteOf(t, 1, "--log-level", "debug", "--login-url", "https://login.example.org/index.csp", "--trusted-proxies", "127.0.0.1/32"), secrets: map[string]string{}}
	a.node = a.nodes[0]
	dataKeys := a.bundledKeys()
	a.startAll()
	a.live()
	a.bundledRealms()
	a.bundledStrangers()
	a.bundledRecords(dataKeys)
	for _, name := range []string{"attribute-of-ann", "ann-at-rest", "svc-at-rest"} {
		a.secrets["personal: "+name] = name
	}

	files := a.bundle("-o", "-")
	for name, b := range a.bundleFrom("http://" + a.node.operator) {
		files["by the operator's listener "+name] = b
	}
	a.none(files)

	// A file of keys with a mistake in it is complained about, but not repeated.
	a.secret("broken key", "bm90IGEga2V5LCBidXQgc2VjcmV0IGFsbCB0aGUgc2FtZQ")
	if err := os.WriteFile(filepath.Join(a.dir, "key"), []byte("bm90IGEga2V5LCBidXQgc2VjcmV0IGFsbCB0aGUgc2FtZQ\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := a.bundle("-o", "-")
	a.none(broken)
	if !strings.Contains(string(broken["doctor.txt"]), "wrong   nodes prove that they belong") {
		t.Errorf("the doctor has not seen the broken key:\n%s", broken["doctor.txt"])
	}
	a.bundleIsTold(files)

	for what, text := range a.secrets {
		for name := range files {
			for _, form := range []string{text, base64.StdEncoding.EncodeToString([]byte("x" + text)), fmt.Sprintf("%x", text)} {
				planted := map[string][]byte{name: slices.Concat(files[name], []byte(form))}
				if len(search(planted, strings.TrimSpace(text))) == 0 && len(search(planted, text)) == 0 {
					t.Errorf("%s is not found in %s as %q: the search shows nothing", what, name, form)
				}
			}
		}
	}
}

// bundledKeys gives the node two cluster keys, and data keys.
func (a *atRest) bundledKeys() *keyring.Ring {
	a.t.Helper()
	var lines []string
	var keys []keyring.Key
	for range 3 {
		key, err := keyring.NewKey()
		if err != nil {
			a.t.Fatal(err)
		}
		keys, lines = append(keys, key), append(lines, key.Encode())
	}
	ring, err := keyring.New(keys[:2])
	if err != nil {
		a.t.Fatal(err)
	}
	other := lines[2] // of the cluster: both kinds of keys look the same
	lines = lines[:2]
	a.secret("data key", lines[0])
	a.secret("data key", lines[1])
	file := filepath.Join(a.dir, "data.key")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		a.t.Fatal(err)
	}
	a.options = append(a.options, "--data-key-file", file)
	text, err := os.ReadFile(filepath.Join(a.dir, "key"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.secret("cluster key", string(text))
	a.secret("cluster key to come", other)
	if err := os.WriteFile(filepath.Join(a.dir, "key"), fmt.Appendf(nil, "%s\n%s\n", text, other), 0o600); err != nil {
		a.t.Fatal(err)
	}
	a.secret("password", suitePassword)
	return ring
}

// bundledRealms logs in by a proxy's headers, and by a directory that does not answer.
func (a *atRest) bundledRealms() {
	admin := a.open[0]
	a.secret("secret header", "the-shared-secret-of-the-proxy-at-rest")
	a.secret("wrong secret header", "a-wrong-secret-of-a-proxy-in-a-header")
	body := `{"realmType":"header","name":"proxied-at-rest","enabled":true,"roleNames":[],"config":{"ephemeralUsers":true,` +
		`"secret":"the-shared-secret-of-the-proxy-at-rest","proxies":["127.0.0.1"]}}`
	a.call(http.StatusCreated, http.MethodPost, "/api/realm-configs", body, "Content-Type", jsonType, "Cookie", admin)
	for secret, want := range map[string]int{"the-shared-secret-of-the-proxy-at-rest": http.StatusCreated, "a-wrong-secret-of-a-proxy-in-a-header": http.StatusUnauthorized} {
		a.call(want, http.MethodPost, "/api/session?realmName=proxied-at-rest", "", "X-Forwarded-User", "ann-at-rest", "X-Forwarded-Secret", secret)
	}
	a.secret("directory password", "the password in the directory")
	a.do(a.client(), http.MethodPost, a.url(a.node)+"/api/session?realmName=corp-at-rest",
		`{"username":"ann-at-rest","password":"the password in the directory"}`, "Content-Type", jsonType)
}

// bundledStrangers send secrets to where they do not belong.
func (a *atRest) bundledStrangers() {
	a.secret("password in an address", "the-password-in-an-address")
	header := base64.StdEncoding.EncodeToString([]byte("ann-at-rest:the-password-in-an-address"))
	a.secret("header", header)
	a.do(a.client(), http.MethodGet, "http://ann-at-rest:the-password-in-an-address@"+a.node.http+"/api/session", "")
	a.do(a.client(), http.MethodGet, "http://ann-at-rest:the-password-in-an-address@"+a.node.operator+"/cluster?token=the-password-in-an-address", "")
	a.do(a.client(), http.MethodGet, "http://"+a.node.operator+"/the-password-in-an-address", "", "Cookie", "id=the-password-in-an-address")
	for _, url := range []string{"http://ann-at-rest:the-password-in-an-address@" + a.node.operator, "http://" + a.node.http} {
		out, err := exec.Command(a.binary, "support-bundle", "--url", url, "-o", filepath.Join(a.dir, "none")).CombinedOutput()
		if err == nil || bytes.Contains(out, []byte("the-password")) {
			a.t.Errorf("%v, %s", err, out)
		}
	}
}

// bundledRecords learns from a backup what only the node knows: hashes of passwords, keys of sessions.
func (a *atRest) bundledRecords(keys *keyring.Ring) {
	a.t.Helper()
	file := filepath.Join(a.dir, "backup")
	if out, err := exec.Command(a.binary, "backup", "--data-dir", a.dataDir(a.node), "-o", file).CombinedOutput(); err != nil {
		a.t.Fatalf("%v: %s", err, out)
	}
	saved, err := os.Open(file)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = saved.Close() }() // only read
	_, machine, err := backup.Read(saved, keys)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, u := range machine.Users("", 100) {
		if u.PasswordHash != "" {
			a.secret("password hash", string(u.PasswordHash))
			a.secret("the hash in it", string(u.PasswordHash[strings.LastIndexByte(string(u.PasswordHash), '$')+1:]))
		}
	}
	for _, s := range machine.Sessions(session.Key{}, 100) {
		a.secret("handle", s.Key.String())
	}
	sealed := 0
	for _, r := range machine.Realms() {
		for _, text := range regexp.MustCompile(`[A-Za-z0-9+/_=-]{40,}`).FindAllString(string(r.Config), -1) {
			a.secret("sealed secret of a realm", text)
			sealed++
		}
	}
	if sealed < 2 {
		a.t.Errorf("%d sealed secrets are found", sealed)
	}
}

// bundle makes a bundle by the command, through the control socket, and returns it with its files.
func (a *atRest) bundle(flags ...string) map[string][]byte {
	a.t.Helper()
	cmd := exec.Command(a.binary, append([]string{"support-bundle", "--data-dir", a.dataDir(a.node)}, flags...)...)
	var told bytes.Buffer
	cmd.Stderr = &told
	raw, err := cmd.Output()
	if err != nil {
		a.t.Fatalf("%v: %s", err, told.Bytes())
	}
	files := a.unpack(raw)
	files["what the command says"] = told.Bytes()
	return files
}

func (a *atRest) bundleFrom(url string) map[string][]byte {
	a.t.Helper()
	got := a.do(a.client(), http.MethodGet, url+"/support-bundle", "")
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "application/gzip" {
		a.t.Fatalf("%d %s", got.StatusCode, got.text)
	}
	return a.unpack([]byte(got.text))
}

// unpack returns the files of a bundle, those that are packed themselves once more as what is in them, and the bundle.
func (a *atRest) unpack(raw []byte) map[string][]byte {
	a.t.Helper()
	_, files, err := support.Read(bytes.NewReader(raw))
	if err != nil {
		a.t.Fatal(err)
	}
	files["the bundle"] = raw
	files["heap.pprof unpacked"] = gunzip(a.t, files["heap.pprof"])
	files["the archive"] = gunzip(a.t, raw) // with the names in it
	return files
}

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func (a *atRest) none(files map[string][]byte) {
	a.t.Helper()
	for what, text := range a.secrets {
		if where := search(files, text); len(where) > 0 {
			a.t.Errorf("%s, %q, is in %q", what, text, where)
		}
	}
}

// bundleIsTold: what an operator wants to hand on is there.
func (a *atRest) bundleIsTold(files map[string][]byte) {
	a.t.Helper()
	for name, wants := range map[string][]string{
		"version.json":          {`"Go": "go1.`, "hashicorp/raft v"},
		"settings.txt":          {"name: n1\n", "cluster-key-file: <set>\n", "data-key-file: <set>\n", "login-url: https://login.example.org/index.csp\n", "tls-key: \n", "heartbeat: 500ms\n", "trusted-proxies: 127.0.0.1/32\n"},
		"members.json":          {`"name": "n1"`, `"leader": "n1"`, a.node.http},
		"raft.json":             {`"ready": "ready"`, `"isLeader": true`, `"sealedAtRest": true`, `"clusterKeys": 2`},
		"limits.json":           {`"SessionsPerUser": 100`, `"corp-at-rest"`, `"header"`},
		"doctor.txt":            {"GRADE", "realm corp-at-rest is asked safely"},
		"metrics.txt":           {"\ncloakroom_lookups_total{", "\ncloakroom_audit_lines_total "},
		"log.txt":               {`msg="this node leads"`, "user=<hidden>"},
		"goroutines.txt":        {"goroutine profile: total", "main.(*app).attend"},
		"heap.pprof unpacked":   {"inuse_space"},
		"runtime.json":          {`"/sched/gomaxprocs:threads"`},
		"files.txt":             {" node.json\n", " raft/"},
		"kernel.txt":            {"Max open files", "/proc/meminfo"},
		"manifest.json":         {`"node": "n1"`, `"personalData": "It holds no secrets`},
		"what the command says": {": 13 parts, "},
	} {
		for _, want := range wants {
			if !strings.Contains(string(files[name]), want) {
				a.t.Errorf("%q is not in %s:\n%.2000s", want, name, files[name])
			}
		}
	}
	if bytes.Contains(files["what the command says"], []byte("not in it")) {
		a.t.Errorf("%s", files["what the command says"])
	}
}

// TestBundleWithoutQuorum: a node that has lost the others says all that it can say alone, and what it can't.
func TestBundleWithoutQuorum(t *testing.T) {
	t.Parallel()
	s := newSuite(t, cheapHashes...)
	s.startAll()
	s.kill(s.nodes[1])
	s.kill(s.nodes[2])
	a := &atRest{suite: s, node: s.nodes[0]}
	s.until("the loss of the leader, and the end of the lease", func() bool {
		text := s.do(s.client(), http.MethodGet, "http://"+s.nodes[0].operator+"/metrics", "").text
		return strings.Contains(text, "cloakroom_raft_has_leader 0\n") && strings.Contains(text, "cloakroom_lease_held 0\n")
	})
	files := a.bundle("-o", "-")
	for name, want := range map[string]string{
		"members.json": `"name": "n2"`, "raft.json": `"leader": ""`, "limits.json": `"SessionsPerUser": 100`, "metrics.txt": "cloakroom_raft_has_leader 0",
		"doctor.txt": "not looked at: ", "log.txt": "level=WARN", "goroutines.txt": "goroutine profile",
	} {
		if !strings.Contains(string(files[name]), want) {
			t.Errorf("%q is not in %s:\n%.3000s", want, name, files[name])
		}
	}
}

// TestSettingsOfBundle: each setting was decided about. A new one belongs into one of the two lists.
func TestSettingsOfBundle(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	listed := slices.Concat(shownSettings, maskedSettings)
	for _, s := range settingsOf(cfg) {
		if s.shown == "<hidden>" {
			t.Errorf("is %s to be shown, or masked?", s.name)
		}
		listed = slices.DeleteFunc(listed, func(name string) bool { return name == s.name })
	}
	if len(listed) > 0 {
		t.Errorf("there are no settings %q", listed)
	}
}
