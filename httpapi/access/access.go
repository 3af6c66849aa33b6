package access

import (
	"context"
	"log/slog"
	"time"

	"cloakroom/cluster"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/transport"
)

// Config is what an Access is made of. All of it is required but for what says otherwise.
type Config struct {
	Cluster       Cluster
	Authenticator Authenticator
	Audit         *audit.Log
	Logger        *slog.Logger

	Level           cluster.Level // of reads
	AllowLocalReads bool          // let a request weaken its own reads to local
	IdleTimeout     time.Duration // of new sessions
	MaxLifetime     time.Duration // of new sessions

	TLS            bool // the API is under TLS
	TrustedProxies transport.Proxies
	AllowedOrigins []string // pages that may call the API with credentials
	CookieNames    credential.Names
	CookieDomain   string // "": that of the request
	CookieSecure   CookieSecure
}

// Access is what the handlers of every surface rest on.
type Access struct {
	Clients *Clients // who sends a request
	Jar     *Jar     // the cookies
	State   *State   // what there is of the cluster
	Diary   *Diary   // what the audit log says
	Door    *Door    // whether credentials are good
	Callers *Callers // who makes a call
	Logins  *Logins  // how sessions come to be, and end
}

// New returns what rests on a server that ends with base.
func New(base context.Context, cfg Config) *Access {
	a := &Access{}
	a.Clients = &Clients{Trusted: cfg.TrustedProxies, Origins: map[string]bool{}, tls: cfg.TLS}
	for _, origin := range cfg.AllowedOrigins {
		a.Clients.Origins[origin] = true
	}
	a.Jar = &Jar{Names: cfg.CookieNames, domain: cfg.CookieDomain, secure: cfg.CookieSecure, clients: a.Clients}
	a.State = &State{
		Cluster: cfg.Cluster, Standard: cfg.Level, allowLocal: cfg.AllowLocalReads, Base: base, Deadlines: newDeadlines(base, requestTimeout),
	}
	a.Diary = &Diary{log: cfg.Audit, often: often{log: cfg.Audit}, state: a.State, clients: a.Clients}
	a.Door = &Door{Authenticator: cfg.Authenticator, state: a.State, clients: a.Clients, diary: a.Diary}
	a.Callers = &Callers{state: a.State, jar: a.Jar, door: a.Door, diary: a.Diary}
	a.Logins = &Logins{
		Idle: cfg.IdleTimeout, Lifetime: cfg.MaxLifetime, Orphans: newOrphans(base, cfg.Cluster, cfg.Logger), log: cfg.Logger,
		state: a.State, clients: a.Clients, door: a.Door, diary: a.Diary,
	}
	return a
}
