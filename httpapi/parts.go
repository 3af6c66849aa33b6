package httpapi

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"cloakroom/httpapi/access"
	"cloakroom/httpapi/admin"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/mmonit"
)

// parts answer the routes. Each knows those that it asks and what is its own; none knows the server. The first ones are
// what all handlers rest on: see package access. The others are the surface, a part for what hangs together.
type parts struct {
	clients *access.Clients
	jar     *access.Jar
	state   *access.State
	diary   *access.Diary
	door    *access.Door
	callers *access.Callers
	logins  *access.Logins

	ownSession  *ownSession
	sessions    *sessions
	bulk        *bulk
	checker     *checker
	oauth       *oauth
	forwardAuth *forwardAuth
	pages       *mmonit.Pages
	monit       *mmonit.Calls
	admin       *admin.Admin
	health      *health
	supports    *supports
}

// newParts makes the parts of a server. base ends when the server closes, which waits for served; panics counts those that
// a part has contained itself.
func newParts(base context.Context, cfg *Config, served *sync.WaitGroup, panics *atomic.Uint64) parts {
	var p parts
	a := access.New(base, access.Config{
		Cluster: cfg.Cluster, Authenticator: cfg.Authenticator, Audit: cfg.Audit, Logger: cfg.Logger,
		Level: cfg.Level, AllowLocalReads: cfg.AllowLocalReads, IdleTimeout: cfg.IdleTimeout, MaxLifetime: cfg.MaxLifetime,
		TLS: cfg.TLSCert != "", TrustedProxies: cfg.TrustedProxies, AllowedOrigins: cfg.AllowedOrigins,
		CookieNames: credential.NamesOf(cfg.CookieHostPrefix), CookieDomain: cfg.CookieDomain, CookieSecure: cfg.CookieSecure,
	})
	p.clients, p.jar, p.state, p.diary, p.door, p.callers, p.logins = a.Clients, a.Jar, a.State, a.Diary, a.Door, a.Callers, a.Logins

	p.ownSession = &ownSession{state: p.state, jar: p.jar, door: p.door, callers: p.callers, logins: p.logins}
	p.sessions = &sessions{state: p.state, jar: p.jar, callers: p.callers, logins: p.logins, diary: p.diary}
	p.bulk = &bulk{panics: panics, log: cfg.Logger, state: p.state, callers: p.callers, logins: p.logins, diary: p.diary}
	p.checker = &checker{checks: checks{processors: runtime.GOMAXPROCS(0)}, state: p.state, callers: p.callers, diary: p.diary}
	p.oauth = &oauth{callers: p.callers, logins: p.logins}
	p.monit = mmonit.New(a, mmonit.Config{Rotate: cfg.MMonitRotate, Keys: cfg.AnonymousKeys, Returns: cfg.ReturnOrigins})
	p.pages = p.monit.Pages
	p.forwardAuth = &forwardAuth{
		loginURL: cmp.Or(cfg.LoginURL, mmonit.IndexPath), state: p.state, clients: p.clients, jar: p.jar, callers: p.callers, pages: p.pages,
	}

	health := &health{state: p.state}
	p.health = health
	p.supports = &supports{source: cfg.Support, log: cfg.Logger, state: p.state}
	p.admin = admin.New(a, admin.Config{
		Hasher: cfg.Hasher, Sealer: cfg.Sealer, Membership: cfg.Membership, Backups: cfg.Backups, Served: served,
		LogLevel: cfg.LogLevel, Logger: cfg.Logger,
		View: func() any { return health.clusterView() }, Stopping: health.draining.Load,
	})
	return p
}
