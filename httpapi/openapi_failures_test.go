package httpapi

import (
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"cloakroom/cluster"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// condition is what is done to a request that has succeeded.
type condition struct {
	name    string
	changes []func(*conversation)
}

// conditions are those under which requests fail.
func (d *described) conditions(members *fakeMembership) []condition {
	faults := func(fn func(*fakeCluster)) func(*conversation) {
		return func(*conversation) { d.fake.set(fn) }
	}
	signed := func(name string) func(*conversation) {
		return func(e *conversation) { e.header = with(e.header, "Cookie", d.as(name)["Cookie"]) }
	}
	unsign := func(e *conversation) {
		e.header = with(e.header, "User-Agent", "stranger")
		delete(e.header, "Cookie")
		delete(e.header, "Authorization")
	}
	set := func(name, value string) func(*conversation) {
		return func(e *conversation) { e.header = with(e.header, name, value) }
	}
	member := func(err error) func(*conversation) {
		return func(*conversation) { members.fail(err) }
	}
	return []condition{
		{"wrong login", []func(*conversation){func(e *conversation) { // first: later on too many have failed
			wrong := strings.NewReplacer(testPassword, "wrong", url.QueryEscape(testPassword), "wrong")
			e.body, e.query = wrong.Replace(e.body), wrong.Replace(e.query)
		}}},
		{"no credentials", []func(*conversation){unsign}},
		{"a page wanted", []func(*conversation){unsign, set("Accept", "text/html")}},
		{"an ended session", []func(*conversation){unsign, set("Cookie", "id="+credential.Mint().Text)}},
		{"two sessions", []func(*conversation){unsign, func(e *conversation) {
			a, b := credential.Mint().Text, credential.Mint().Text
			e.header["Cookie"] = "id=" + a + "; id=" + b + "; zsessionid=" + a + "; zsessionid=" + b
		}}},
		{"wrong password", []func(*conversation){unsign, set("Authorization", "Basic "+basicAuth("ann", "wrong"))}},
		{"no role", []func(*conversation){signed("ann")}},
		{"admin again", []func(*conversation){signed("root")}},
		{"no such id", []func(*conversation){signed("root"), func(e *conversation) { e.id = strings.Repeat("0", 32) }}},
		{"not a handle", []func(*conversation){signed("root"), func(e *conversation) { e.id = "x" }}},
		{"foreign page", []func(*conversation){signed("root"), set("Origin", "https://evil.example")}},
		{"browser", []func(*conversation){set("Sec-Fetch-Site", "same-origin"), set("Sec-Fetch-Mode", "navigate")}},
		{"bad level", []func(*conversation){signed("root"), set("Consistency", "soon")}},
		{"compressed", []func(*conversation){signed("root"), set("Content-Encoding", "gzip"), func(e *conversation) { e.body += " " }}},
		{"empty", []func(*conversation){signed("root"), func(e *conversation) { e.body = "" }}},
		{"wrong form", []func(*conversation){signed("root"), set("Content-Type", "text/plain"), func(e *conversation) { e.body = "x" }}},
		{"wrong fields", []func(*conversation){signed("root"), set("Content-Type", "application/json"), func(e *conversation) { e.body = "{}" }}},
		{"too long", []func(*conversation){signed("root"), func(e *conversation) { e.body = strings.Repeat("x", exchange.MaxBulkBody+exchange.MaxVerifyBody) }}},
		{"no member", []func(*conversation){signed("root"), member(roster.ErrMemberNotFound)}},
		{"last voter", []func(*conversation){signed("root"), member(roster.ErrLastVoter)}},
		{"no leader", []func(*conversation){signed("root"), member(cluster.ErrNoLeader), faults(func(c *fakeCluster) {
			c.leaderless, c.lookupErr = true, cluster.ErrNoLeader
		})}},
		{"cut off", []func(*conversation){signed("root"), faults(func(c *fakeCluster) {
			c.readErr, c.ready = cluster.ErrNoLeader, cluster.ErrCutOff
			c.before = func(session.Command) error { return cluster.ErrOutcomeUnknown }
		})}},
		{"internal", []func(*conversation){signed("root"), faults(func(c *fakeCluster) {
			c.readErr, c.lookupErr = io.ErrUnexpectedEOF, io.ErrUnexpectedEOF
		})}},
	}
}

func (m *fakeMembership) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// failures sends every request that has succeeded once more, under conditions in which it can't. What it is answered with
// then is not looked at but for whether it is in the document.
func (d *described) failures(members *fakeMembership) {
	bodies := []string{"compressed", "empty", "wrong form", "wrong fields", "too long"}
	for _, c := range d.conditions(members) {
		for what, e := range d.examples {
			if slices.Contains(bodies, c.name) && d.doc.Paths.Value(e.path).GetOperation(e.method).RequestBody == nil {
				continue // what a body is refused for where there is to be none is said once for all
			}
			for _, change := range c.changes {
				change(&e)
			}
			if status, body, _ := d.do(e, false); d.t.Failed() {
				d.t.Fatalf("%s: %s answers %d %.300s", c.name, what, status, body)
			}
			d.fake.set(func(c *fakeCluster) {
				c.leaderless, c.lookupErr, c.readErr, c.ready, c.before = false, nil, nil, nil, nil
			})
			members.fail(nil)
		}
	}
	for path, item := range d.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, status := range []int{401, 503} {
				if what := method + " " + path; op.Responses.Status(status) != nil && !d.seen[what][status] {
					d.t.Errorf("%s never answered %d", what, status)
				}
			}
		}
	}
	for _, status := range []int{400, 401, 403, 404, 409, 412, 413, 415, 500, 503} {
		if !slices.ContainsFunc(slices.Collect(maps.Values(d.seen)), func(of map[int]bool) bool { return of[status] }) {
			d.t.Errorf("no operation answered %d", status)
		}
	}
}
