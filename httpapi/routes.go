package httpapi

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"
)

// handler answers a request. An error that it returns is answered by fail, the one place that does; it may then have
// written nothing.
type handler func(*Server, *request) error

// method is one method of a route. A changing one is refused to pages of other origins. GET serves HEAD too.
type method struct {
	name     string
	changing bool
	handle   handler
}

// route is a path with its methods. A path that ends in "/" takes one more segment, an id; where the id is not the last
// segment it stands as {}.
type route struct {
	path    string // label in metrics, too
	vital   bool   // answered even when the node has its hands full
	control bool   // on the control socket only
	methods []method
	allow   string
	meter   meter
}

func get(h handler) method         { return method{fasthttp.MethodGet, false, h} }
func post(h handler) method        { return method{fasthttp.MethodPost, true, h} }
func put(h handler) method         { return method{fasthttp.MethodPut, true, h} }
func del(h handler) method         { return method{fasthttp.MethodDelete, true, h} }
func changingGet(h handler) method { return method{fasthttp.MethodGet, true, h} }
func readingPost(h handler) method { return method{fasthttp.MethodPost, false, h} }

// routes is the whole surface. The handlers of the M/Monit surface are in mmonit*.go; each of the three prefixes has
// the same four calls. Dispatch has done this much before a handler of either surface runs: framing and limits,
// CORS, the method, and the origin check for what is marked as changing.
func routes() []*route {
	list := []*route{
		{path: "/api/session", methods: []method{get((*Server).getSession), post((*Server).postSession), del((*Server).deleteSession)}},
		{path: "/auth/verify", methods: []method{get((*Server).verify)}},

		{path: "/api/sessions", methods: []method{get((*Server).listSessions), post((*Server).createSessions), del((*Server).endSessions)}},
		{path: "/api/sessions/", methods: []method{del((*Server).endSession)}},

		{path: "/api/users", methods: []method{get((*Server).listUsers), post((*Server).createUser)}},
		{path: "/api/users/", methods: []method{get((*Server).getUser), put((*Server).updateUser), del((*Server).deleteUser)}},
		{path: "/api/roles", methods: []method{get((*Server).listRoles), post((*Server).createRole)}},
		{path: "/api/roles/", methods: []method{get((*Server).getRole), put((*Server).updateRole), del((*Server).deleteRole)}},
		{path: "/api/realm-configs", methods: []method{get((*Server).listRealms), post((*Server).createRealm)}},
		{path: "/api/realm-configs/", methods: []method{get((*Server).getRealm), put((*Server).updateRealm), del((*Server).deleteRealm)}},

		{path: "/api/cluster/members", methods: []method{get((*Server).listMembers)}},
		{path: "/api/cluster/members/", methods: []method{del((*Server).removeMember)}},
		{path: "/api/cluster/members/{}/promote", methods: []method{post((*Server).promoteMember)}},
		{path: "/api/cluster/members/{}/demote", methods: []method{post((*Server).demoteMember)}},
		{path: "/api/cluster/leader", methods: []method{post((*Server).transferLeadership)}},
		{path: "/api/cluster/drain", methods: []method{post((*Server).drain)}},

		{path: "/index.csp", methods: []method{get((*Server).mmonitIndex)}},
		{path: "/z_security_check", methods: []method{changingGet((*Server).mmonitLogin), post((*Server).mmonitLogin)}},
		{path: "/login/logout.csp", methods: []method{changingGet((*Server).mmonitLogout), post((*Server).mmonitLogout)}},

		{path: "/healthz", vital: true, methods: []method{get((*Server).healthz)}},
		{path: "/readyz", vital: true, methods: []method{get((*Server).readyz)}},
		{path: "/cluster", control: true, methods: []method{get((*Server).getCluster)}},
	}
	for _, prefix := range []string{"/api/2/session", "/api/1/session", "/session"} {
		list = append(list,
			&route{path: prefix + "/put", methods: []method{changingGet((*Server).mmonitPut), post((*Server).mmonitPut)}},
			&route{path: prefix + "/get", methods: []method{get((*Server).mmonitGet), readingPost((*Server).mmonitGet)}},
			&route{path: prefix + "/delete", methods: []method{changingGet((*Server).mmonitDelete), post((*Server).mmonitDelete)}},
			&route{path: prefix + "/invalidate", methods: []method{changingGet((*Server).mmonitInvalidate), post((*Server).mmonitInvalidate)}},
		)
	}
	for _, r := range list {
		r.allow = allowed(r.methods)
	}
	return list
}

func allowed(methods []method) string {
	names := []string{}
	for _, m := range methods {
		names = append(names, m.name)
		if m.name == fasthttp.MethodGet {
			names = append(names, fasthttp.MethodHead)
		}
	}
	return strings.Join(append(names, fasthttp.MethodOptions), ", ")
}

// router finds a request's route. It is never changed once it is made.
type router struct {
	exact    map[string]*route            // by path
	prefixes map[string]*route            // by path with the last "/"
	actions  map[string]map[string]*route // by the path before {}, and the last segment
	unknown  *route                       // stands for every other path: a stranger must not be able to make metrics' labels
	all      []*route
}

func newRouter() *router {
	r := &router{exact: map[string]*route{}, prefixes: map[string]*route{}, actions: map[string]map[string]*route{}, unknown: &route{path: "other"}}
	for _, one := range routes() {
		before, action, inside := strings.Cut(one.path, "{}/")
		switch {
		case inside && r.actions[before] == nil:
			r.actions[before] = map[string]*route{action: one}
		case inside:
			r.actions[before][action] = one
		case strings.HasSuffix(one.path, "/"):
			r.prefixes[one.path] = one
		default:
			r.exact[one.path] = one
		}
		r.all = append(r.all, one)
	}
	r.all = append(r.all, r.unknown)
	return r
}

// find returns the route of a path, and the id in it.
func (r *router) find(path []byte, control bool) (*route, string) {
	found, rest := r.exact[string(path)], "" // a map index by a converted []byte allocates nothing
	if found == nil {
		found, rest = r.withID(path)
	}
	if found == nil || found.control && !control {
		return r.unknown, ""
	}
	return found, rest
}

// withID finds the routes whose path has an id: as its last segment, or before an action.
func (r *router) withID(path []byte) (*route, string) {
	end := bytes.LastIndexByte(path, '/')
	if end < 0 || end+1 == len(path) {
		return nil, ""
	}
	if found := r.prefixes[string(path[:end+1])]; found != nil {
		return found, string(path[end+1:])
	}
	begin := bytes.LastIndexByte(path[:end], '/') + 1
	if begin == end {
		return nil, ""
	}
	return r.actions[string(path[:begin])][string(path[end+1:])], string(path[begin:end])
}

// method returns the method of that name, nil if the route does not know it.
func (r *route) method(name []byte) *method {
	if string(name) == fasthttp.MethodHead {
		name = []byte(fasthttp.MethodGet)
	}
	for i := range r.methods {
		if r.methods[i].name == string(name) {
			return &r.methods[i]
		}
	}
	return nil
}
