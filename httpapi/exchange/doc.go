// Package exchange owns one request and its answer: where it begins and ends, how it finds its route, what is read of it,
// and in which form errors, JSON and sessions are answered. It knows the errors of all floors by their codes, and nothing
// of who sends a request or what a route does.
package exchange
