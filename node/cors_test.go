package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"
)

// corsPage logs in at the API of another origin, asks who it is, and logs out, all with credentials, and shows what it
// may see of the answers.
const corsPage = `<!doctype html><title>An application elsewhere</title><p id="out"></p>
<script>
var api = new URLSearchParams(location.search).get('api');
var call = function (method, body) {
  var options = {method: method, credentials: 'include', headers: {'CSRFToken': 'x', 'Consistency': 'quorum'}};
  if (body) { options.headers['Content-Type'] = 'application/json'; options.body = body; }
  return fetch(api + '/api/session', options).then(function (res) {
    return res.text().then(function (text) { return {status: res.status, id: res.headers.get('X-Request-Id'), text: text}; });
  }, function () { return {status: 'none'}; });
};
var said = [];
call('POST', '{"username":"admin","password":"` + suitePassword + `"}').then(function (a) {
  said.push(a.status);
  return call('GET');
}).then(function (a) {
  said.push(a.status, a.text ? JSON.parse(a.text).user.username : '');
  return call('DELETE');
}).then(function (a) {
  said.push(a.status);
  return call('GET');
}).then(function (a) {
  said.push(a.status, a.id ? 'id' : '');
  document.querySelector('#out').innerText = said.join(' ');
  document.querySelector('#out').className = 'done';
});
</script>`

// A real browser lets the pages of an allowed origin use the API with cookies, and those of another one see nothing.
func TestBrowserAcrossOrigins(t *testing.T) {
	browser := need(t, "chromium")
	page := func() string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(corsPage)) // a browser that has gone ends the test elsewhere
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	allowed, foreign := page(), page()
	s := newSuite(t, "--allowed-origins", allowed)
	s.startAll()
	tab := tab{s, newBrowser(t, browser)}
	for _, c := range []struct{ site, want string }{
		{allowed, "201 200 admin 204 401 id"},
		{foreign, "none none none none"},
	} {
		tab.do(chromedp.Navigate(c.site + "/?api=http://" + s.nodes[0].http))
		if said := tab.await("#out.done"); said != c.want {
			t.Errorf("a page of %s has seen %q, want %q", c.site, said, c.want)
		}
	}
}
