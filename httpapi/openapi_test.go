package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"cloakroom/cluster/session"
)

// described is a running server and its own description of itself, to which every request and answer is held.
type described struct {
	*fixture
	doc      *openapi3.T
	seen     map[string]map[int]bool // statuses, by operation
	examples map[string]conversation // of a request that succeeds, by operation
}

// conversation is a request, and what it is answered with.
type conversation struct {
	method, path string // as the document has it
	id           string // in the path
	query        string
	header       map[string]string
	body         string
	status       int
}

func newDescribed(t *testing.T, change ...func(*Config)) *described {
	t.Helper()
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/gzip", openapi3filter.FileBodyDecoder)
	f := newFixture(t, change...).opened()
	res, err := http.Get("http://" + f.Addr().String() + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, %s", err, res.Header)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatal(err)
	}
	return &described{fixture: f, doc: doc, seen: map[string]map[int]bool{}, examples: map[string]conversation{}}
}

// do sends a request and holds the answer to the document. With strict, the request must be as the document says, too.
func (d *described) do(e conversation, strict bool) (status int, body string, header http.Header) {
	d.t.Helper()
	what := e.method + " " + e.path
	base := "http://" + d.Addr().String()
	if e.path == "/metrics" || e.path == "/cluster" || e.path == "/support-bundle" {
		base = "http://" + d.OperatorAddr().String()
	}
	item := d.doc.Paths.Value(e.path)
	if item == nil || item.GetOperation(e.method) == nil {
		d.t.Fatalf("%s is not in the document", what)
	}
	params := map[string]string{}
	path := regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(e.path, func(in string) string {
		params[strings.Trim(in, "{}")] = e.id
		return url.PathEscape(e.id)
	})
	if e.query != "" {
		path += "?" + e.query
	}
	req, err := http.NewRequestWithContext(d.t.Context(), e.method, base+path, strings.NewReader(e.body))
	if err != nil {
		d.t.Fatal(err)
	}
	for name, value := range e.header {
		req.Header.Set(name, value)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params,
		Route:   &routers.Route{Spec: d.doc, Path: e.path, PathItem: item, Method: e.method, Operation: item.GetOperation(e.method)},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if strict {
		if err := openapi3filter.ValidateRequest(d.t.Context(), in); err != nil {
			d.t.Errorf("%s: the request: %v", what, err)
		}
		req.Body = io.NopCloser(strings.NewReader(e.body))
	}
	res, err := http.DefaultTransport.RoundTrip(req) // which follows no redirects
	if err != nil {
		d.t.Fatalf("%s: %v", what, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options}
	if err := openapi3filter.ValidateResponse(d.t.Context(), out.SetBodyBytes(text)); err != nil {
		d.t.Errorf("%s answers %d %.300s: %v", what, res.StatusCode, text, err)
	}
	if answered := item.GetOperation(e.method).Responses.Status(res.StatusCode); answered != nil && answered.Value.Content == nil && len(text) > 0 {
		d.t.Errorf("%s answers %d with a body that is not in the document: %s", what, res.StatusCode, text)
	}
	if d.seen[what] == nil {
		d.seen[what] = map[int]bool{}
	}
	d.seen[what][res.StatusCode] = true
	return res.StatusCode, string(text), res.Header
}

// want is do for a request of which the answer is known.
func (d *described) want(e conversation) (body string, header http.Header) {
	d.t.Helper()
	if e.status < 400 {
		if _, ok := d.examples[e.method+" "+e.path]; !ok {
			d.examples[e.method+" "+e.path] = e
		}
	}
	status, body, header := d.do(e, e.status < 400)
	if status != e.status {
		d.t.Errorf("%s %s answers %d, not %d: %s", e.method, e.path, status, e.status, body)
	}
	return body, header
}

// TestOpenAPIIsTheSurface: the document and the router know the same operations.
func TestOpenAPIIsTheSurface(t *testing.T) {
	d := newDescribed(t, func(cfg *Config) { cfg.Version = `1.2 "x"` })
	if d.doc.Info.Version != `1.2 "x"` || !strings.HasPrefix(d.doc.OpenAPI, "3.1") {
		t.Errorf("version %q of OpenAPI %s", d.doc.Info.Version, d.doc.OpenAPI)
	}
	var routed, written []string
	for _, r := range d.routes(nil) {
		path := r.Path
		if strings.HasSuffix(path, "/") {
			path += "{}"
		}
		for _, m := range r.Methods {
			routed = append(routed, m.Name+" "+path)
		}
	}
	ids := map[string]bool{}
	for path, item := range d.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == "" || ids[op.OperationID] || len(op.Tags) != 1 || op.Summary == "" {
				t.Errorf("%s %s: the id %q is missing or that of another one, or there is no tag or summary", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			written = append(written, method+" "+regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "{}"))
		}
	}
	routed = append(routed, "GET /metrics") // the operator's listener has no such table
	slices.Sort(routed)
	slices.Sort(written)
	if !slices.Equal(routed, written) {
		t.Errorf("served:\n%s\nin the document:\n%s", strings.Join(routed, "\n"), strings.Join(written, "\n"))
	}
}

// TestOpenAPI has every operation succeed in each of the ways that the document knows, and then fail in all the ways that
// requests can: each answer must be as the document says.
func TestOpenAPI(t *testing.T) {
	members := &fakeMembership{}
	d := newDescribed(t, func(cfg *Config) {
		cfg.Membership, cfg.Backups = members, &fakeBackups{write: writeState}
		cfg.Support = func(context.Context) ([]byte, error) { return []byte("bundle"), nil }
	})
	d.sessions()
	d.administration()
	d.mmonit()
	for _, path := range []string{"/openapi.json", "/healthz", "/readyz", "/cluster", "/metrics", "/support-bundle"} {
		d.want(conversation{method: "GET", path: path, status: 200})
	}
	for path, item := range d.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for text := range op.Responses.Map() {
				status, err := strconv.Atoi(text)
				if what := method + " " + path; err != nil || status < 400 && !d.seen[what][status] {
					t.Errorf("%s never answered %s", what, text)
				}
			}
		}
	}
	if !t.Failed() {
		d.failures(members)
	}
}

func (d *described) as(name string) map[string]string {
	return map[string]string{"Cookie": "id=" + d.create(session.Create{Username: name}).Text}
}

func with(header map[string]string, name, value string) map[string]string {
	more := map[string]string{}
	maps.Copy(more, header)
	more[name] = value
	return more
}

func inJSON(header map[string]string) map[string]string {
	return with(header, "Content-Type", "application/json")
}

func inForm(header map[string]string) map[string]string {
	return with(header, "Content-Type", "application/x-www-form-urlencoded")
}

// sessions has the operations on sessions succeed.
func (d *described) sessions() {
	credentials := `{"username":"ann","password":"` + testPassword + `"}`
	d.want(conversation{method: "POST", path: "/api/session", header: inJSON(nil), body: credentials, status: 201})
	ann, root, svc := d.as("ann"), d.as("root"), d.as("svc")
	d.want(conversation{method: "GET", path: "/api/session", header: with(ann, "Consistency", "quorum"), status: 200})
	d.want(conversation{method: "GET", path: "/api/session", header: map[string]string{"Authorization": "Basic " + basicAuth("ann", testPassword)}, status: 200})
	d.want(conversation{method: "GET", path: "/auth/verify", header: with(ann, "X-No-Touch", "1"), status: 200})
	d.want(conversation{method: "GET", path: "/auth/forward", header: with(ann, "X-No-Touch", "1"), status: 200})
	d.want(conversation{method: "GET", path: "/auth/forward", header: map[string]string{"Accept": "text/html", "X-Forwarded-Uri": "/page"}, status: 302})
	d.want(conversation{method: "GET", path: "/api/sessions", query: "limit=1", header: root, status: 200})
	d.want(conversation{method: "GET", path: "/api/sessions", query: "user=ann", header: ann, status: 200})
	d.want(conversation{method: "DELETE", path: "/api/session", header: ann, status: 204})

	body, _ := d.want(conversation{
		method: "POST", path: "/api/sessions", header: inJSON(svc), status: 201,
		body: `[{"username":"ann","attributes":{"a":"b"}},{"username":"nobody"}]`,
	})
	var made []madeSession
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		d.t.Fatal(err)
	}
	d.want(conversation{
		method: "POST", path: "/api/sessions/verify", header: inJSON(svc), body: `{"tokens":["` + made[0].Token + `","x"]}`, status: 200,
	})
	d.want(conversation{method: "GET", path: "/api/sessions/{handle}/why", id: made[0].Handle, header: root, status: 200})
	d.want(conversation{method: "DELETE", path: "/api/sessions/{handle}", id: made[0].Handle, header: root, status: 204})
	d.want(conversation{method: "GET", path: "/api/sessions/{handle}/why", id: made[0].Handle, header: root, status: 200})
	d.want(conversation{method: "DELETE", path: "/api/sessions", query: "user=ann", header: root, status: 204})
	d.want(conversation{method: "DELETE", path: "/api/sessions", query: "all=true", header: root, status: 200})

	body, _ = d.want(conversation{
		method: "POST", path: "/oauth2/token", header: inForm(nil), status: 200,
		body: "grant_type=password&username=ann&password=" + url.QueryEscape(testPassword),
	})
	var bearer oauthBody
	if err := json.Unmarshal([]byte(body), &bearer); err != nil {
		d.t.Fatal(err)
	}
	d.want(conversation{method: "GET", path: "/api/session", header: map[string]string{"Authorization": "Bearer " + bearer.AccessToken}, status: 200})
	d.want(conversation{method: "POST", path: "/oauth2/revoke", header: inForm(nil), body: "token=" + bearer.AccessToken, status: 200})
}

// administration has the operations for administrators succeed.
func (d *described) administration() {
	root := d.as("root")
	for _, one := range []struct{ path, create, change string }{
		{"/api/roles", `{"name":"developer","desc":"d"}`, `{"desc":"e"}`},
		{"/api/realm-configs", `{"realmType":"ldap","name":"corp","roleNames":["developer"],"config":{"host":"ldap.example","login":{"bindDnTemplate":"uid={},dc=example"}}}`, `{"enabled":false}`},
		{"/api/users", `{"username":"bob","password":"long enough","roleNames":["developer"]}`, `{"disabled":true}`},
	} {
		body, _ := d.want(conversation{method: "POST", path: one.path, header: inJSON(root), body: one.create, status: 201})
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(body), &made); err != nil {
			d.t.Fatal(err)
		}
		d.want(conversation{method: "GET", path: one.path, header: root, status: 200})
		d.want(conversation{method: "GET", path: one.path + "/{id}", id: made.ID, header: root, status: 200})
		d.want(conversation{method: "PUT", path: one.path + "/{id}", id: made.ID, header: inJSON(root), body: one.change, status: 200})
		if one.path != "/api/roles" {
			d.want(conversation{method: "DELETE", path: one.path + "/{id}", id: made.ID, header: root, status: 204})
		}
	}
	d.want(conversation{method: "DELETE", path: "/api/roles/{id}", id: d.roleID("developer", root), header: root, status: 204})
	d.want(conversation{method: "GET", path: "/api/users", query: "limit=1", header: root, status: 200})
	d.want(conversation{method: "GET", path: "/api/limits", header: root, status: 200})
	d.want(conversation{method: "PUT", path: "/api/limits", header: inJSON(root), body: `{"whenOver":"evict"}`, status: 200})
	d.want(conversation{method: "GET", path: "/api/cluster/members", header: root, status: 200})
	for path, method := range map[string]string{
		"/api/cluster/members/{member}": "DELETE", "/api/cluster/members/{member}/promote": "POST", "/api/cluster/members/{member}/demote": "POST",
	} {
		d.want(conversation{method: method, path: path, id: "n2", header: root, status: 204})
	}
	d.want(conversation{method: "POST", path: "/api/cluster/leader", header: inJSON(root), body: `{"to":"n2"}`, status: 204})
	d.want(conversation{method: "POST", path: "/api/cluster/leader", header: root, status: 204})
	d.want(conversation{method: "POST", path: "/api/cluster/drain", header: inJSON(root), body: `{"on":true}`, status: 204})
	d.want(conversation{method: "POST", path: "/api/cluster/backup", query: "level=local", header: root, status: 200})
	d.want(conversation{method: "GET", path: "/api/log-level", header: root, status: 200})
	d.want(conversation{method: "PUT", path: "/api/log-level", header: inJSON(root), body: `{"level":"warn"}`, status: 200})
}

func (d *described) roleID(name string, header map[string]string) string {
	body, _ := d.want(conversation{method: "GET", path: "/api/roles", header: header, status: 200})
	var roles []struct{ ID, Name string }
	if err := json.Unmarshal([]byte(body), &roles); err != nil {
		d.t.Fatal(err)
	}
	for _, r := range roles {
		if r.Name == name {
			return r.ID
		}
	}
	d.t.Fatal("no role " + name)
	return ""
}

// mmonit has the operations of the M/Monit surface succeed.
func (d *described) mmonit() {
	d.want(conversation{method: "GET", path: "/index.csp", status: 200})
	credentials := url.Values{"z_username": {"ann"}, "z_password": {testPassword}, "z_csrf_protection": {"off"}}.Encode()
	login := func() map[string]string {
		_, header := d.want(conversation{method: "POST", path: "/z_security_check", header: inForm(nil), body: credentials, status: 302})
		name, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
		return map[string]string{"Cookie": name}
	}
	d.want(conversation{method: "GET", path: "/z_security_check", query: credentials, status: 302})
	cookie := login()
	d.want(conversation{method: "GET", path: "/index.csp", header: cookie, status: 200})
	for _, prefix := range []string{"/api/2/session", "/api/1/session", "/session"} {
		cookie := login()
		_, header := d.want(conversation{method: "GET", path: prefix + "/put", query: "colour=green&size=9", header: cookie, status: 200})
		d.want(conversation{
			method: "POST", path: prefix + "/put", header: with(inForm(cookie), "If-Match", header.Get("ETag")), body: "colour=blue", status: 200,
		})
		d.want(conversation{method: "POST", path: prefix + "/put", header: with(inForm(cookie), "If-Match", header.Get("ETag")), body: "colour=red", status: 412})
		d.want(conversation{method: "GET", path: prefix + "/get", query: "key=colour&key=size", header: cookie, status: 200})
		d.want(conversation{method: "POST", path: prefix + "/get", header: inForm(cookie), body: "key=colour", status: 200})
		d.want(conversation{method: "GET", path: prefix + "/delete", query: "key=colour", header: cookie, status: 200})
		d.want(conversation{method: "POST", path: prefix + "/delete", header: cookie, status: 200})
		d.want(conversation{method: "GET", path: prefix + "/invalidate", header: cookie, status: 200})
		d.want(conversation{method: "POST", path: prefix + "/invalidate", header: login(), status: 200})
	}
	d.want(conversation{method: "GET", path: "/login/logout.csp", header: cookie, status: 302})
	d.want(conversation{method: "POST", path: "/login/logout.csp", header: login(), status: 302})
}
