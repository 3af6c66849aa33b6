package mmonit

import (
	"net/url"
	"path"
	"strings"
)

// IndexPath is where a login leads that was not asked to lead elsewhere.
const IndexPath = "/index.csp"

// ReturnArg is the argument that says where a login leads. Nothing is stored for who has not logged in, so the login
// page carries it along.
const ReturnArg = "z_return"

// returnOrigins are the origins that a login may lead back to, besides the one that it was made at.
type returnOrigins []string

// Valid reports whether a client may be sent to a URL that came in a request: it must be a path on this host, or on one
// of the origins. Those are compared to the letter, and a path must follow: nothing can be put in between that makes
// another host of it.
func (o returnOrigins) Valid(text string) bool {
	if ValidReturnURL(text) {
		return true
	}
	for _, origin := range o {
		if rest, found := strings.CutPrefix(text, origin); found && ValidReturnURL(rest) {
			return true
		}
	}
	return false
}

// ValidReturnURL reports whether a URL is a path on this host. "//host" and, to browsers, "/\host" name another host;
// control bytes could end the header or, when a browser drops them, make one of those two out of something harmless.
func ValidReturnURL(text string) bool {
	if text == "" || len(text) > maxReturnURL || text[0] != '/' || strings.Contains(text, "//") {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// afterLogin returns where a login leads: to the URL that was asked for, if it is a good one. A logout or another
// login is none, however it is spelt.
func (o returnOrigins) afterLogin(text string) string {
	if !o.Valid(text) {
		return IndexPath
	}
	u, err := url.Parse(text)
	if err != nil {
		return IndexPath
	}
	where := path.Clean(u.Path) // without escapes
	if where == "/login" || strings.HasPrefix(where, "/login/") || strings.HasPrefix(where, "/z_security_check") {
		return IndexPath
	}
	return text
}

// policy returns the policy of the login page: browsers ask it also where the answer to the form leads (CSP 3, 6.4.1).
func (o returnOrigins) policy() string {
	return strings.Replace(PagePolicy, "form-action 'self'", strings.Join(append([]string{"form-action 'self'"}, o...), " "), 1)
}
