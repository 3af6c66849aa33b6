// Package transport owns the connections that clients make to a node: how many there are, TLS and its certificate, what a
// trusted proxy says in front of the first byte (PROXY protocol), how they are read, and how they end. It speaks no HTTP:
// a Lane or the server behind it does.
package transport
