package mmonit

import (
	"cloakroom/httpapi/access"
)

// Config is what the surface is made of, besides what all handlers rest on.
type Config struct {
	Rotate  bool              // give every login a fresh token, at the price of clients that read the cookie once
	Keys    func() [][32]byte // of anonymous tokens: the first makes new ones, any is accepted
	Returns []string          // origins that a login may lead back to, besides its own
}

// New returns the surface.
func New(a *access.Access, cfg Config) *Calls {
	return &Calls{
		rotate: cfg.Rotate, keys: cfg.Keys, Pages: &Pages{Returns: cfg.Returns}, state: a.State, jar: a.Jar, callers: a.Callers, logins: a.Logins,
	}
}
