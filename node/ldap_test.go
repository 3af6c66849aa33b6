package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cloakroom/httpapi/realm/slapdtest"
)

// A directory's user logs in by the document's own command line; three nodes, a real directory server. Then the directory
// changes: an outage ends nobody's session, another group gives other roles, and whoever is locked out there is logged out
// everywhere.
func TestDirectory(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	directory := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann") + slapdtest.Person("bob") + slapdtest.Group("ops", "ann")})
	s := newSuite(t, "--recheck-interval", "10s")
	s.startAll()
	c := s.client()
	admin := "id=" + s.login(c, s.nodes[0], "admin", suitePassword).cookie("id")
	call := func(want int, method, path, body string, header ...string) answer {
		t.Helper()
		a := s.do(c, method, s.url(s.nodes[0])+path, body, append(header, "Content-Type", "application/json")...)
		if a.StatusCode != want {
			t.Fatalf("%s %s: %d %s", method, path, a.StatusCode, a.text)
		}
		return a
	}
	for _, role := range []string{"operator", "everybody"} {
		call(http.StatusCreated, http.MethodPost, "/api/roles", `{"name":"`+role+`"}`, "Cookie", admin)
	}
	pem := strings.ReplaceAll(directory.CA.PEM, "\n", `\n`)
	call(http.StatusCreated, http.MethodPost, "/api/realm-configs", `{"realmType":"ldap","name":"corp","roleNames":["everybody"],"config":{
		"host":"localhost","port":`+strconv.Itoa(directory.Port)+`,"startTls":true,"caCertificates":"`+pem+`","ephemeralUsers":true,
		"login":{"search":{"baseDn":"`+slapdtest.Users+`","filter":"(uid={})"},"bindDn":"`+slapdtest.Reader+`","bindPassword":"`+slapdtest.ReaderSecret+`"},
		"groups":{"search":{"baseDn":"`+slapdtest.Groups+`","filter":"(member={dn})"}},
		"groupRoles":{"cn=ops,`+slapdtest.Groups+`":["operator"]}}}`, "Cookie", admin)

	line := curlLines(t, "fusion-sessions-api.txt")[0]
	line = strings.NewReplacer("curl ", "curl -sS ", "https://FUSION_HOST:FUSION_PORT", s.url(s.nodes[1]),
		"USERNAME", "ann", "PASSWORD", "ann'\\''s secret", "REALM_NAME", "corp").Replace(line)
	out := shell(t, t.TempDir(), line)
	id := regexp.MustCompile(`id=[0-9a-f-]{36}`).FindString(out)
	if !strings.Contains(out, "201 Created") || id == "" {
		t.Fatalf("the login answers\n%s", out)
	}
	who := func() answer { return s.do(c, http.MethodGet, s.url(s.nodes[2])+"/api/session", "", "Cookie", id) }
	if a := who(); a.StatusCode != http.StatusOK || !strings.Contains(a.text, `{"name":"everybody"},{"name":"operator"}`) {
		t.Fatalf("who am I: %d %s", a.StatusCode, a.text)
	}

	directory.Stop()
	login := `{"username":"ann","password":"ann's secret"}`
	if a := call(http.StatusServiceUnavailable, http.MethodPost, "/api/session?realmName=corp", login); !strings.Contains(a.text, "realm-unavailable") {
		t.Errorf("without the directory: %s", a.text)
	}
	s.until("an outage is noticed", func() bool { return s.metric("cloakroom_recheck_outages") > 0 })
	if a := who(); a.StatusCode != http.StatusOK {
		t.Fatalf("the outage ended the session: %d %s", a.StatusCode, a.text)
	}
	directory.Run()

	directory.Delete("cn=ops," + slapdtest.Groups)
	s.until("the roles have changed", func() bool {
		a := who()
		if a.StatusCode != http.StatusOK {
			t.Fatalf("another role ended the session: %d %s", a.StatusCode, a.text)
		}
		return !strings.Contains(a.text, "operator") && strings.Contains(a.text, "everybody")
	})
	directory.Delete("uid=ann," + slapdtest.Users)
	s.until("the session has ended", func() bool { return who().StatusCode == http.StatusUnauthorized })
	s.until("that is audited", func() bool {
		line := s.audited("sessions-ended")
		return strings.Contains(line, `"user":"ann"`) && strings.Contains(line, `"reason":"directory"`)
	})
	call(http.StatusUnauthorized, http.MethodPost, "/api/session?realmName=corp", login)
}

// metric returns the highest value of a metric without labels on any node.
func (s *suite) metric(name string) (highest float64) {
	s.t.Helper()
	for _, n := range s.nodes {
		value, there := s.gauges(n.flags[slices.Index(n.flags, "--operator")+1])[name]
		if !there {
			s.t.Fatalf("%s has no metric %s", n.name, name)
		}
		highest = max(highest, value)
	}
	return highest
}

// audited returns the lines of an event in the audit logs of all nodes.
func (s *suite) audited(event string) string {
	s.t.Helper()
	var lines strings.Builder
	for _, n := range s.nodes {
		text, err := os.ReadFile(filepath.Join(s.dataDir(n), "audit.log"))
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"event":"`+event+`"`) {
				lines.WriteString(line)
			}
		}
	}
	return lines.String()
}
