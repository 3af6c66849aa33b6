package access

import (
	"context"
	"net/netip"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/realm"
)

// Cluster is what a node's HTTP surface needs of the cluster.
type Cluster interface {
	// Do makes a command take effect. An error means that it did not, but for ErrOutcomeUnknown.
	Do(ctx context.Context, cmd session.Command) (session.Result, error)
	// Lookup answers for a session; the timeouts have been looked at. The answer, or the error that there is no such
	// session, has the level at: less than was asked for only on a node that is cut off and was told to go on.
	Lookup(ctx context.Context, key session.Key, level cluster.Level) (view session.View, at cluster.Level, err error)
	// Use is Lookup, and counts as a use of the session.
	Use(ctx context.Context, key session.Key, level cluster.Level) (view session.View, at cluster.Level, err error)
	// Glance is Use where that need not wait and the session is good; false: ask Use.
	Glance(key session.Key, level cluster.Level) (view session.View, ok bool)
	// Whole returns all of a session whose lookup was answered at that level. It is no use of it, and looks at no clock.
	Whole(ctx context.Context, key session.Key, level cluster.Level) (*session.Session, error)
	// Glances is Lookup for many sessions: it calls fn, in order, for those that can be answered for without waiting. The
	// view, whose last use is the latest one, is valid until fn returns.
	Glances(keys []session.Key, level cluster.Level, fn func(i int, view *session.View, err error))
	// Read runs fn on the state at a level. fn must not block, and the machine must not be kept.
	Read(ctx context.Context, level cluster.Level, fn func(*session.Machine)) error
	// Reserve counts a login as failed before its password is looked at; Ticket.Forgive takes that back.
	Reserve(ctx context.Context, realmName, username string, addr netip.Addr) (*tries.Ticket, error)
	LastUse(key session.Key, replicated session.Time) session.Time
	Now() session.Time
	// Time is Now when it is certain to be cluster time. The error is cluster.ErrNoLeader.
	Time(ctx context.Context) (session.Time, error)
	Members() []cluster.Member
	Stats() cluster.Stats
	Ready() error
}

// Authenticator says whose a user name and a password are. Errors: realm.ErrInvalidCredentials, realm.ErrBusy,
// realm.ErrUnavailable, or those of a cluster that can't be read.
type Authenticator interface {
	Authenticate(ctx context.Context, realmName, username, password string) (realm.Identity, error)
	// AuthenticateRequest says it of a request that brings something else along. Further errors: realm.ErrNoEvidence,
	// realm.ErrTwoCredentials, realm.ErrTokenExpired, session.ErrRevisionMoved.
	AuthenticateRequest(ctx context.Context, realmName string, ev realm.Evidence) (realm.Identity, error)
}

var _ Authenticator = (*realm.Authenticator)(nil)
