package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/admin"
	"cloakroom/httpapi/audit"
)

// fakeMembership notes what it is asked for, and answers by err.
type fakeMembership struct {
	mu    sync.Mutex
	calls []string
	err   error
	wait  bool // until the request's time is up
}

var _ admin.Membership = (*fakeMembership)(nil)

func (m *fakeMembership) note(ctx context.Context, format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
	if _, limited := ctx.Deadline(); !limited {
		return fmt.Errorf("a call without a time limit")
	}
	if m.wait {
		<-ctx.Done()
		return fmt.Errorf("ask the leader: %w", ctx.Err())
	}
	return m.err
}

func (m *fakeMembership) Promote(ctx context.Context, name string) error {
	return m.note(ctx, "promote %s", name)
}

func (m *fakeMembership) Demote(ctx context.Context, name string) error {
	return m.note(ctx, "demote %s", name)
}

func (m *fakeMembership) Remove(ctx context.Context, name string) error {
	return m.note(ctx, "remove %s", name)
}

func (m *fakeMembership) TransferLeadership(ctx context.Context, name string) error {
	return m.note(ctx, "transfer %q", name)
}

func (m *fakeMembership) SetDraining(ctx context.Context, on bool) error {
	return m.note(ctx, "drain %v", on)
}

// take returns what was asked for since the last time.
func (m *fakeMembership) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := strings.Join(m.calls, ", ")
	m.calls = nil
	return calls
}

func newMembershipFixture(t *testing.T) (*fixture, *fakeMembership, *lines) {
	t.Helper()
	m := &fakeMembership{}
	log, out := newAuditLog(t)
	return newFixture(t, func(cfg *Config) { cfg.Membership, cfg.Audit = m, log }), m, out
}

// change is a call that changes the cluster, and what it makes of it.
type change struct {
	method, path, body string
	want, logged       string
}

// changes are all of them.
var changes = []change{
	{"POST", "/api/cluster/members/n2/promote", "", "promote n2", "promoted"},
	{"POST", "/api/cluster/members/0b9f-id/demote", "", "demote 0b9f-id", "demoted"},
	{"DELETE", "/api/cluster/members/n2", "", "remove n2", "removed"},
	{"POST", "/api/cluster/leader", `{"to":"n2"}`, `transfer "n2"`, "transferred n2"},
	{"POST", "/api/cluster/leader", `{}`, `transfer ""`, "transferred"},
	{"POST", "/api/cluster/leader", "", `transfer ""`, "transferred"},
	{"POST", "/api/cluster/drain", `{"on":true}`, "drain true", "true"},
	{"POST", "/api/cluster/drain", `{"on":false}`, "drain false", "false"},
	// What looks like an action is a name where a name belongs.
	{"POST", "/api/cluster/members/promote/demote", "", "demote promote", "demoted"},
	{"DELETE", "/api/cluster/members/promote", "", "remove promote", "removed"},
}

func withBody(body string) option {
	if body == "" {
		return func(*ctxOf) {}
	}
	return jsonBody(body)
}

// Each call reaches the cluster once, with the node that it names, and is logged with who made it.
func TestClusterChanges(t *testing.T) {
	f, m, out := newMembershipFixture(t)
	root := idCookie(f.create(session.Create{Username: "root"}))
	for _, c := range changes {
		for by, send := range map[string]func() answer{
			"root@native":    func() answer { return f.send(c.method, c.path, root, withBody(c.body)) },
			"control socket": func() answer { return f.control(c.method, c.path, withBody(c.body)) },
		} {
			a := send()
			f.expect(a, 204, "")
			if got := m.take(); got != c.want {
				t.Errorf("%s %s %s: %q is asked for, not %q", c.method, c.path, c.body, got, c.want)
			}
			if e := out.last(t); e.Name != audit.Changed || e.Outcome != audit.OK || e.Detail != c.logged || e.By != by || e.Target == "" {
				t.Errorf("%s %s by %s: audited as %+v", c.method, c.path, by, e)
			}
		}
	}
}

// Nobody but an admin changes the cluster or sees its members, and no page of another origin does.
func TestClusterIsForAdmins(t *testing.T) {
	f, m, _ := newMembershipFixture(t)
	ann, svc := idCookie(f.create(session.Create{Username: "ann"})), idCookie(f.create(session.Create{Username: "svc"}))
	root := idCookie(f.create(session.Create{Username: "root"}))
	for _, c := range changes {
		f.expect(f.send(c.method, c.path, withBody(c.body)), 401, "session-invalid")
		f.expect(f.send(c.method, c.path, withBody(c.body), ann), 403, "forbidden")
		f.expect(f.send(c.method, c.path, withBody(c.body), svc), 403, "forbidden")
		f.expect(f.send(c.method, c.path, withBody(c.body), root, header("Sec-Fetch-Site", "cross-site")), 403, "foreign-origin")
		f.expect(f.send("GET", c.path, root), 405, "method-not-allowed")
	}
	f.expect(f.send("GET", "/api/cluster/members"), 401, "session-invalid")
	f.expect(f.send("GET", "/api/cluster/members", ann), 403, "forbidden")
	if got := m.take(); got != "" {
		t.Errorf("the cluster was asked to %s", got)
	}
}

func TestClusterBodies(t *testing.T) {
	f, m, _ := newMembershipFixture(t)
	for _, c := range []struct {
		path, body, code string
	}{
		{"/api/cluster/leader", `{"to":""}`, "bad-field"},
		{"/api/cluster/leader", `{"to":7}`, "malformed-json"},
		{"/api/cluster/leader", `n2`, "malformed-json"},
		{"/api/cluster/leader", `["n2"]`, "malformed-json"},
		{"/api/cluster/drain", `{}`, "missing-field"},
		{"/api/cluster/drain", `{"on":null}`, "missing-field"},
		{"/api/cluster/drain", `{"on":"false"}`, "malformed-json"},
		{"/api/cluster/drain", ``, "malformed-json"},
	} {
		f.expect(f.control("POST", c.path, jsonBody(c.body)), 400, c.code)
	}
	form := func(ctx *ctxOf) {
		ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
		ctx.Request.SetBodyString("to=n2")
	}
	f.expect(f.control("POST", "/api/cluster/leader", form), 400, "malformed-json")
	if got := m.take(); got != "" {
		t.Errorf("the cluster was asked to %s", got)
	}
}

// What the cluster refuses is told by its own code, and is not logged as done.
func TestClusterRefusals(t *testing.T) {
	f, m, out := newMembershipFixture(t)
	for _, c := range []struct {
		code   string
		status int
		wait   string
	}{
		{"member-not-found", 404, ""},
		{"ambiguous-name", 409, ""},
		{"quorum-at-risk", 409, ""},
		{"not-a-voter", 409, ""},
		{"last-voter", 409, ""},
		{"not-transferred", 409, ""},
		{"upgrade-pending", 409, ""},
		{"no-leader", 503, "1"},
		{"disk-low", 503, "60"},
		{"limit-memory", 429, "60"},
	} {
		m.err = fmt.Errorf("ask the leader: %w", &session.Error{Code: c.code, Message: "the reason"})
		for _, change := range changes {
			a := f.control(change.method, change.path, withBody(change.body))
			f.expect(a, c.status, c.code)
			if a.get("Retry-After") != c.wait {
				t.Errorf("%s: Retry-After is %q", c.code, a.get("Retry-After"))
			}
		}
	}
	for _, e := range out.all(t) {
		if e.Outcome == audit.OK {
			t.Errorf("a refusal is audited as a change: %+v", e)
		}
	}
}

// A change that may have been made is logged, too, and the answer says that nobody knows.
func TestClusterOutcomeUnknown(t *testing.T) {
	f, m, out := newMembershipFixture(t)
	for _, err := range []error{cluster.ErrOutcomeUnknown, fmt.Errorf("%w: the leader has gone", wire.ErrLost), context.DeadlineExceeded} {
		m.err = err
		f.expect(f.control("DELETE", "/api/cluster/members/n2"), 503, "outcome-unknown")
		if e := out.last(t); e.Detail != "removed" || e.Outcome != "outcome-unknown" {
			t.Errorf("%v: audited as %+v", err, e)
		}
	}
	m.err, m.wait = nil, true
	f.cancel() // as Close does: everything that waits ends
	f.expect(f.control("POST", "/api/cluster/members/n2/promote"), 503, "outcome-unknown")
}

// A node that is stopping is not called back into service by somebody who wants to undo a drain.
func TestNoUndoOfAStop(t *testing.T) {
	f, m, _ := newMembershipFixture(t)
	f.Retire()
	f.expect(f.control("POST", "/api/cluster/drain", jsonBody(`{"on":false}`)), 503, "draining")
	if got := m.take(); got != "" {
		t.Errorf("the cluster was asked to %s", got)
	}
	f.expect(f.control("POST", "/api/cluster/drain", jsonBody(`{"on":true}`)), 204, "")
}

// twoNodes is a cluster with a second node.
type twoNodes struct{ access.Cluster }

func (c twoNodes) Members() []cluster.Member {
	return append(c.Cluster.Members(), cluster.Member{ID: "id-2", Name: "n2", Role: "non-voter", State: "alive"})
}

// The list is what the operator's address shows.
func TestClusterMembers(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Cluster = twoNodes{cfg.Cluster} }).opened()
	root := idCookie(f.create(session.Create{Username: "root"}))
	a := f.send("GET", "/api/cluster/members", root)
	f.expect(a, 200, "")
	res, err := http.Get("http://" + f.OperatorAddr().String() + "/cluster")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if a.body != strings.TrimSpace(string(body)) || strings.Count(a.body, `"leader":true`) != 1 || strings.Contains(a.body, "draining") {
		t.Errorf("the API shows\n%s\nthe operator's address\n%s", a.body, body)
	}
	f.fake.set(func(c *fakeCluster) { c.ready = cluster.ErrDraining })
	if a := f.control("GET", "/api/cluster/members"); strings.Count(a.body, `"draining":true`) != 1 {
		t.Errorf("a node that drains shows %s", a.body)
	}
}

// Paths with an id in them are found by it, whatever the id looks like, and are one label in the metrics.
func TestRoutesWithIDs(t *testing.T) {
	r := newFixture(t).router
	for path, want := range map[string]string{
		"/api/cluster/members/n1":                 "/api/cluster/members/ n1",
		"/api/cluster/members/n1/promote":         "/api/cluster/members/{}/promote n1",
		"/api/cluster/members/n1/demote":          "/api/cluster/members/{}/demote n1",
		"/api/cluster/members/{}/demote":          "/api/cluster/members/{}/demote {}",
		"/api/cluster/members/members/promote":    "/api/cluster/members/{}/promote members",
		"/api/cluster/members":                    "/api/cluster/members ",
		"/api/cluster/members/":                   "other ",
		"/api/cluster/members/n1/":                "other ",
		"/api/cluster/members//promote":           "other ",
		"/api/cluster/members/n1/remove":          "other ",
		"/api/cluster/members/n1/promote/":        "other ",
		"/api/cluster/members/n1/promote/promote": "other ",
		"/api/cluster/n1/promote":                 "other ",
		"/promote":                                "other ",
		"promote":                                 "other ",
		"":                                        "other ",
		"/":                                       "other ",
	} {
		found, id := r.Find([]byte(path), false)
		if got := found.Path + " " + id; got != want {
			t.Errorf("%q is %q, not %q", path, got, want)
		}
	}
	labels := map[string]bool{}
	for _, one := range r.All {
		if labels[one.Path] {
			t.Errorf("two routes are called %s", one.Path)
		}
		labels[one.Path] = true
	}
}
