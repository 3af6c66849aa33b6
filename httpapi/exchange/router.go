package exchange

import (
	"bytes"
	"strings"
)

// Router finds a request's route. It is never changed once it is made.
type Router struct {
	Exact    map[string]*Route            // by path
	prefixes map[string]*Route            // by path with the last "/"
	actions  map[string]map[string]*Route // by the path before {}, and the last segment
	Unknown  *Route                       // stands for every other path: a stranger must not be able to make metrics' labels
	All      []*Route
}

// NewRouter returns a router for those routes.
func NewRouter(routes []*Route) *Router {
	r := &Router{Exact: map[string]*Route{}, prefixes: map[string]*Route{}, actions: map[string]map[string]*Route{}, Unknown: &Route{Path: "other"}}
	for _, one := range routes {
		before, action, inside := strings.Cut(one.Path, "{}/")
		switch {
		case inside && r.actions[before] == nil:
			r.actions[before] = map[string]*Route{action: one}
		case inside:
			r.actions[before][action] = one
		case strings.HasSuffix(one.Path, "/"):
			r.prefixes[one.Path] = one
		default:
			r.Exact[one.Path] = one
		}
		r.All = append(r.All, one)
	}
	r.All = append(r.All, r.Unknown)
	return r
}

// Find returns the route of a path, and the id in it.
func (r *Router) Find(path []byte, control bool) (*Route, string) {
	found, rest := r.Exact[string(path)], "" // a map index by a converted []byte allocates nothing
	if found == nil {
		found, rest = r.withID(path)
	}
	if found == nil || found.Control && !control {
		return r.Unknown, ""
	}
	return found, rest
}

// withID finds the routes whose path has an id: as its last segment, or before an action.
func (r *Router) withID(path []byte) (*Route, string) {
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
