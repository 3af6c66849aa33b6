// Package credential owns the forms in which clients carry what lets them in: the tokens of sessions and those from before
// a login, the two cookies, the CSRF token. It makes and reads them and looks nothing up: whether there is such a session
// is the cluster's to say.
package credential
