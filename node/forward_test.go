package main

import (
	"fmt"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// protected is an application that knows nothing of sessions, behind a proxy that asks a node, and that proxy's address.
type protected struct {
	*suite
	front string
	path  string // of the application there
}

// protect starts one node, a proxy with the configuration that is shipped, and an application behind it.
func protect(t *testing.T, proxy, path string) *protected {
	t.Helper()
	p := &protected{suite: newSuiteOf(t, 1, "--trusted-proxies", "127.0.0.1/32", "--argon2-memory", "7168", "--argon2-iterations", "1"), path: path}
	p.startAll()
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Cookie", "Authorization", "Remote-Email", "Remote_user", "Forwarded"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the application sees %s", name)
			}
		}
		if len(r.Header["Remote-User"]) != 1 {
			t.Errorf("the application is told of the users %q", r.Header["Remote-User"])
		}
		w.Header().Set("Content-Type", "text/html")
		// A client that has gone ends the test elsewhere.
		_, _ = fmt.Fprintf(w, `<!doctype html><meta name="viewport" content="width=device-width"><p id="who">%s of %s, %s, from %s, at %s</p><script>document.body.append('scripts run')</script>`,
			r.Header.Get("Remote-User"), r.Header.Get("Remote-Realm"), r.Header.Get("Remote-Groups"), r.Header.Get("X-Forwarded-For"), html.EscapeString(r.RequestURI))
	}))
	t.Cleanup(application.Close)
	n := p.nodes[0].http
	p.front = balancers[proxy](t, [3]string{n, n, n}, strings.TrimPrefix(application.URL, "http://"))
	return p
}

// Whoever opens a page of an application behind nginx or Caddy logs in and gets it; a script gets an error that it
// understands, and headers that a client has made up come through nowhere.
func TestForwardAuth(t *testing.T) {
	t.Parallel()
	for proxy, path := range map[string]string{"nginx": "/api/collections", "Caddy": "/reports"} {
		t.Run(proxy, func(t *testing.T) {
			t.Parallel()
			p := protect(t, proxy, path)
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			client := p.client()
			client.Jar = jar
			site := "http://" + p.front
			page := []string{
				"Accept", "text/html,*/*;q=0.8", "Remote-User", "root", "Remote_User", "root", "Remote-Email", "root@cloak.example", "Forwarded", "for=192.0.2.1",
				"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Uri", "//evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Method", "POST", "X-Forwarded-Proto", "https",
				"Connection", "Remote-User, Remote-Groups, Remote-Realm, X-Forwarded-For, X-Forwarded-Uri", // of which a proxy is to pass none on
			}
			asked := site + path + "?of=2026&to=https://x.example"
			there := path + "?of=2026&to=https:/%2Fx.example"
			first := p.do(client, http.MethodGet, asked, "", page...)
			if want := "/index.csp?z_return=" + url.QueryEscape(there); first.StatusCode != http.StatusFound || first.Header.Get("Location") != want {
				t.Fatalf("a page without a session: %d, to %q, not %q", first.StatusCode, first.Header.Get("Location"), want)
			}
			for what, header := range map[string][]string{
				"data": {"Accept", "application/json"}, "anything": {"Accept", "*/*"}, "fetch": {"Accept", "text/html", "Sec-Fetch-Mode", "cors"},
			} {
				if a := p.do(client, http.MethodGet, asked, "", header...); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.text, `"session-invalid"`) {
					t.Errorf("%s without a session: %d %s", what, a.StatusCode, a.text)
				}
			}
			if a := p.do(client, http.MethodPost, asked, "a=b", page...); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("a form without a session: %d %s", a.StatusCode, a.text)
			}
			login := p.do(client, http.MethodGet, site+first.Header.Get("Location"), "", page...)
			if !strings.Contains(login.text, `name="z_return" value="`+html.EscapeString(there)+`"`) {
				t.Fatalf("the login page: %d %s", login.StatusCode, login.text)
			}
			form := url.Values{"z_username": {"admin"}, "z_password": {suitePassword}, "z_return": {there}}.Encode()
			in := p.do(client, http.MethodPost, site+"/z_security_check", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", site, "X-Forwarded-For", "192.0.2.1")
			if in.StatusCode != http.StatusFound || in.Header.Get("Location") != there || !strings.HasPrefix(in.Header.Get("Set-Cookie"), "zsessionid=") {
				t.Fatalf("the login: %d, to %q, %q", in.StatusCode, in.Header.Get("Location"), in.Header.Get("Set-Cookie"))
			}
			want := `<p id="who">admin of native, admin, from 127.0.0.1, at ` + html.EscapeString(there) + "</p>"
			if a := p.do(client, http.MethodGet, site+there, "", page...); a.StatusCode != http.StatusOK || !strings.Contains(a.text, want) {
				t.Errorf("the application: %d %s, not %s", a.StatusCode, a.text, want)
			}
			list := p.do(client, http.MethodGet, site+"/api/sessions", "")
			if !strings.Contains(list.text, `"127.0.0.1"`) || strings.Contains(list.text, "192.0.2.1") {
				t.Errorf("the session's address: %s", list.text)
			}
			p.do(client, http.MethodGet, site+"/login/logout.csp", "")
			if a := p.do(client, http.MethodGet, asked, "", page...); a.StatusCode != http.StatusFound {
				t.Errorf("after the logout: %d %s", a.StatusCode, a.text)
			}
		})
	}
}

// A person with a small telephone, whose browser runs no scripts, is asked to log in and then sees the page.
func TestForwardAuthOnATelephone(t *testing.T) {
	t.Parallel()
	browser := need(t, "chromium")
	p := protect(t, "Caddy", "/reports")
	site := "http://" + p.front
	tab := tab{p.suite, newBrowser(t, browser, chromedp.Flag("blink-settings", "scriptEnabled=false"))}
	tab.do(chromedp.EmulateViewport(360, 640, chromedp.EmulateMobile))

	tab.do(chromedp.Navigate(site + "/reports/7?of=2026"))
	tab.await("form")
	tab.at("/index.csp?z_return=%2Freports%2F7%3Fof%3D2026")
	tab.fits(360)
	tab.login("wrong")
	if said := tab.await(".notice"); said == "" {
		t.Error("the page does not say what was wrong")
	}
	tab.at("/z_security_check")
	tab.fits(360)
	tab.login(suitePassword)
	if who := tab.await("#who"); who != "admin of native, admin, from 127.0.0.1, at /reports/7?of=2026" {
		t.Errorf("the application says %q", who)
	}
	if text := tab.value("document.body.innerText"); strings.Contains(text, "scripts run") {
		t.Error("scripts run: this shows nothing of a browser without")
	}
	tab.do(chromedp.Navigate(site + "/index.csp"))
	tab.await("dl")
	tab.fits(360)
	tab.click("button")
	tab.await(`input[name="z_password"]`)
	// Where somebody else wants the login to lead it does not lead.
	for _, trick := range []string{"//evil.example/", `/\evil.example/`, "https://evil.example/", "/\t/evil.example/", "https:evil.example", "javascript:document.title='x'"} {
		tab.do(chromedp.Navigate(site + "/index.csp?z_return=" + url.QueryEscape(trick)))
		tab.login(suitePassword)
		tab.await("dl")
		tab.at("/index.csp")
		tab.click("button")
		tab.await(`input[name="z_password"]`)
	}
}

// login fills in the form and sends it.
func (b tab) login(password string) {
	b.s.t.Helper()
	b.await("form")
	// Not by chromedp's actions, which wait by scripts of the page.
	b.value(fmt.Sprintf(`document.querySelector('input[name="z_username"]').value = 'admin', document.querySelector('input[name="z_password"]').value = %q`, password))
	b.click("button")
}

// at checks where the browser is on the site.
func (b tab) at(want string) {
	b.s.t.Helper()
	if got := b.value("location.pathname + location.search"); got != want {
		b.s.t.Errorf("the browser is at %q, not %q", got, want)
	}
}

// fits checks that nothing of the page is beside the screen.
func (b tab) fits(width int) {
	b.s.t.Helper()
	got := b.value(`[innerWidth, document.documentElement.scrollWidth, Math.max(...Array.from(document.querySelectorAll('*'), e => Math.ceil(e.getBoundingClientRect().right)))].join(' ')`)
	var inner, scroll, right int
	if _, err := fmt.Sscan(got, &inner, &scroll, &right); err != nil || inner != width || scroll > width || right > width {
		b.s.t.Errorf("on a screen %d wide the page takes %s, %v", width, got, err)
	}
}
