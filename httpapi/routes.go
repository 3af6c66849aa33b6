package httpapi

import (
	"slices"
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

// route is a path with its methods. A path that ends in "/" takes one more segment: an id.
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
	exact    map[string]*route // by path
	prefixes map[string]*route // by path with the last "/"
	unknown  *route            // stands for every other path: a stranger must not be able to make metrics' labels
	all      []*route
}

func newRouter() *router {
	r := &router{exact: map[string]*route{}, prefixes: map[string]*route{}, unknown: &route{path: "other"}}
	for _, one := range routes() {
		if strings.HasSuffix(one.path, "/") {
			r.prefixes[one.path] = one
		} else {
			r.exact[one.path] = one
		}
		r.all = append(r.all, one)
	}
	r.all = append(r.all, r.unknown)
	return r
}

// find returns the route of a path, and the id at its end.
func (r *router) find(path []byte, control bool) (*route, string) {
	found, rest := r.exact[string(path)], "" // a map index by a converted []byte allocates nothing
	if found == nil {
		for i, p := range slices.Backward(path) {
			if p == '/' {
				if i+1 < len(path) {
					found, rest = r.prefixes[string(path[:i+1])], string(path[i+1:])
				}
				break
			}
		}
	}
	if found == nil || found.control && !control {
		return r.unknown, ""
	}
	return found, rest
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
