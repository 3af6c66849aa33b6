package exchange

import (
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/metrics"
)

// Handler answers a request. An error that it returns is answered by the server, in the one place that does; it may then have
// written nothing.
type Handler func(*Request) error

// Method is one method of a route. A changing one is refused to pages of other origins. GET serves HEAD too.
type Method struct {
	Name     string
	Changing bool
	Handle   Handler
}

// Route is a path with its methods. A path that ends in "/" takes one more segment, an id; where the id is not the last
// segment it stands as {}.
type Route struct {
	Path    string // label in metrics, too
	Vital   bool   // answered even when the node has its hands full
	Control bool   // on the control socket only
	Methods []Method
	Allow   string
	Meter   metrics.Meter
}

// The methods that routes have. A GET that changes something, and a POST that does not, are M/Monit's.

func Get(h Handler) Method         { return Method{fasthttp.MethodGet, false, h} }
func Post(h Handler) Method        { return Method{fasthttp.MethodPost, true, h} }
func Put(h Handler) Method         { return Method{fasthttp.MethodPut, true, h} }
func Del(h Handler) Method         { return Method{fasthttp.MethodDelete, true, h} }
func ChangingGet(h Handler) Method { return Method{fasthttp.MethodGet, true, h} }
func ReadingPost(h Handler) Method { return Method{fasthttp.MethodPost, false, h} }

// At returns a route with those methods.
func At(path string, methods ...Method) *Route {
	return &Route{Path: path, Methods: methods, Allow: allowed(methods)}
}

// Vital makes a route one that is answered even when the node has its hands full.
func Vital(r *Route) *Route {
	r.Vital = true
	return r
}

// Control makes a route one of the control socket only.
func Control(r *Route) *Route {
	r.Control = true
	return r
}

func allowed(methods []Method) string {
	names := []string{}
	for _, m := range methods {
		names = append(names, m.Name)
		if m.Name == fasthttp.MethodGet {
			names = append(names, fasthttp.MethodHead)
		}
	}
	return strings.Join(append(names, fasthttp.MethodOptions), ", ")
}

// Method returns the method of that name, nil if the route does not know it.
func (r *Route) Method(name []byte) *Method {
	if string(name) == fasthttp.MethodHead {
		name = []byte(fasthttp.MethodGet)
	}
	for i := range r.Methods {
		if r.Methods[i].Name == string(name) {
			return &r.Methods[i]
		}
	}
	return nil
}
