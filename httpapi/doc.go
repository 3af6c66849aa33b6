// Package httpapi owns the HTTP surface of a node: routes, cookies, request limits, the map from errors to statuses,
// readiness and metrics. It holds no session and decides nothing about one: every answer comes from the Cluster, and
// who may log in is the Authenticator's to say.
//
// Two surfaces meet here. The Fusion surface (/api/…, cookie id) and forward auth are in this package's core files;
// the M/Monit surface (cookie zsessionid) is in mmonit*.go. routes.go is the table of both.
package httpapi
