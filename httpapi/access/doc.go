// Package access owns what the handlers of every surface rest on: who sends a request and who makes the call, how often
// credentials are checked, how sessions come to be and end, what of it is audited, and how fresh a read is. It answers no
// request: the surfaces do, and every answer about a session comes from the Cluster.
package access
