// Package metrics owns what a node says in Prometheus's format: the names, the helps and the meter of each route. It
// counts no more than that; what others count it asks of a Source.
package metrics
