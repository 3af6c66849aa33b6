package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// jQueryVersion is what the page of the test loads, from the npm registry.
const jQueryVersion = "3.7.1"

// A person logs in with a real browser; then a page posts to the session API, first without the token, then with the
// snippet of the document, as it is written there.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := need(t, "chromium")
	jquery := installJQuery(t)
	seed, err := os.ReadFile("testdata/seeds/mmonit-session-api.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, snippet, found := strings.Cut(string(seed), "$.getJSON(")
	if !found {
		t.Fatal("the document has no jQuery snippet")
	}
	s := newSuite(t)
	s.startAll()
	site := s.site(jquery, "$.getJSON("+snippet)
	ctx := newBrowser(t, browser)

	tab := tab{s, ctx}
	tab.do(
		chromedp.Navigate(site+"/index.csp"),
		chromedp.SendKeys(`input[name="z_username"]`, "admin"),
		chromedp.SendKeys(`input[name="z_password"]`, suitePassword),
		chromedp.Submit(`input[name="z_password"]`),
	)
	tab.await("dl") // who is logged in
	cookies := tab.value(`document.cookie`)
	tab.do(chromedp.Navigate(site + "/page.html"))
	tab.await("#loaded")
	tab.click("#plain")
	plain := tab.await("#plain-status")
	tab.click("#snippet")
	tab.await("#token")
	tab.click("#guarded")
	guarded := tab.await("#guarded-status")
	stored := tab.await("#stored")
	if plain != "403" {
		t.Errorf("a POST without the token is answered with %s, want 403", plain)
	}
	if guarded != "200" {
		t.Errorf("a POST with the document's snippet is answered with %s, want 200", guarded)
	}
	if stored != "green" {
		t.Errorf("the attribute is %q afterwards, want green", stored)
	}
	if strings.Contains(cookies, "zsessionid") {
		t.Errorf("scripts of the page can read the cookie: %q", cookies)
	}
}

// tab is the browser with its one page.
type tab struct {
	s   *suite
	ctx context.Context
}

func (b tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.s.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.s.t.Fatalf("the browser: %v", err)
	}
}

// await waits until the page has the element, across navigation, and returns its text.
func (b tab) await(selector string) string {
	b.s.t.Helper()
	var text string
	b.s.until("the page's "+selector, func() bool {
		var err error
		text, err = chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector('`+selector+`').innerText`))
		return err == nil
	})
	return text
}

func (b tab) click(selector string) {
	b.s.t.Helper()
	b.value(`document.querySelector('` + selector + `').click(), ''`)
}

func (b tab) value(expression string) string {
	b.s.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.s.t.Fatalf("the browser: %s: %v", expression, err)
	}
	return v
}

// installJQuery fetches jQuery with npm and returns its text.
func installJQuery(t *testing.T) string {
	t.Helper()
	need(t, "npm")
	dir := t.TempDir()
	npm := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--prefix", dir, "jquery@"+jQueryVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("npm install jquery: %v\n%s", err, out)
		}
		t.Skipf("npm can't install jquery: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules/jquery/dist/jquery.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// site is a web site whose pages are the test's, and whose sessions are the nodes': each request goes to another one.
func (s *suite) site(jquery, snippet string) string {
	page := `<!doctype html><title>An application</title><script src="jquery.js"></script>
<button id="plain">without</button><button id="snippet">snippet</button><button id="guarded">with</button>
<script>
var show = function (id, text) { $('<p>').attr('id', id).text(text).appendTo('body'); };
var post = function (id) {
  return $.post('session/put', {colour: 'green'}).always(function (a, status, b) {
    show(id, (status === 'success' ? b : a).status);
  });
};
$('#plain').on('click', function () { post('plain-status'); });
$('#guarded').on('click', function () {
  post('guarded-status').done(function () {
    $.getJSON('session/get?key=colour', function (o) { show('stored', o.colour); });
  });
});
$('#snippet').on('click', function () {
` + snippet + `
  $(document).one('ajaxComplete', function () { setTimeout(function () { show('token', 'read'); }, 0); });
});
show('loaded', 'loaded');
</script>`
	i := 0
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}},
		Rewrite: func(r *httputil.ProxyRequest) {
			i++ // requests of one browser tab to one test: they come one after another
			target, err := url.Parse(s.url(s.nodes[i%3]))
			if err != nil {
				panic(err)
			}
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
	}
	mux := http.NewServeMux()
	serve := func(path, contentType, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte(body)) // a browser that has gone ends the test elsewhere
		})
	}
	serve("/page.html", "text/html", page)
	serve("/jquery.js", "text/javascript", jquery)
	mux.Handle("/", proxy)
	server := httptest.NewServer(mux)
	s.t.Cleanup(server.Close)
	return server.URL
}

func newBrowser(t *testing.T, program string, further ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(further, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience))...)
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*patience)
	t.Cleanup(cancel)
	return ctx
}
