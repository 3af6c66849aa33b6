package httpapi

import "strings"

// indexPath is where a login leads that was not asked to lead elsewhere.
const indexPath = "/index.csp"

// returnArg is the argument that says where a login leads. Nothing is stored for who has not logged in, so the login
// page carries it along.
const returnArg = "z_return"

// validReturnURL reports whether a client may be sent to a URL that came in a request: it must be a path on this host.
// "//host" and, to browsers, "/\host" name another host; control bytes could end the header or, when a browser drops
// them, make one of those two out of something harmless.
func validReturnURL(url string) bool {
	if url == "" || len(url) > maxReturnURL || url[0] != '/' || strings.Contains(url, "//") {
		return false
	}
	for i := range len(url) {
		if c := url[i]; c <= ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// afterLogin returns where a login leads: to the URL that was asked for, if it is a good one. A logout or another
// login is none.
func afterLogin(url string) string {
	if !validReturnURL(url) || strings.HasPrefix(url, "/login/") || strings.HasPrefix(url, "/z_security_check") {
		return indexPath
	}
	return url
}
