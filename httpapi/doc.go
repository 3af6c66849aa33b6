// Package httpapi owns the server of a node's HTTP surface: its routes, the lane that answers lookups before anything else
// is done with them, readiness, and the listener of the operator. It holds no session and decides nothing about one: every
// answer comes from the Cluster, and who may log in is the Authenticator's to say (package access).
//
// A request goes this way. A transport.Conn reads it and offers it to the lane (lane.go). What the lane leaves comes by
// fasthttp to Server.dispatch (dispatch.go), as an exchange.Request: its framing is checked, and its route looked for in the
// table (routes.go). The route's handler is a method of one of the parts (parts.go), which ask package access who calls, what
// the cluster has, and to make or end sessions:
//
//	fusion.go, sessions.go, why.go        /api/session and /api/sessions
//	bulk.go, verify_bulk.go               many sessions in one call
//	forward.go, verify.go                 forward auth
//	oauth.go                              the token endpoint
//	package mmonit                        the M/Monit surface
//	package admin                         users, roles, realms, limits, members, backups, the log level
//	health.go                             health checks, and the cluster as this node sees it
//
// An error that a handler returns is answered by Server.fail alone; exchange/errors.go has the map to statuses.
package httpapi
