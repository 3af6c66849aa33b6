package access

import (
	"context"
	"errors"
	"sync/atomic"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// Door checks credentials, of whatever kind, no more often than the cluster allows.
type Door struct {
	Authenticator Authenticator
	lines         loginLines
	Refused       atomic.Uint64 // for wrong credentials
	Throttled     atomic.Uint64 // because too many had failed
	state         *State
	clients       *Clients
	diary         *Diary
}

// verifyCredentials asks the authenticator about a user name and a password.
func (d *Door) verifyCredentials(rc *exchange.Request, realmName, username, password string) (realm.Identity, error) {
	return d.try(rc, attempt{realm: realmName, user: username, personal: true}, func(ctx context.Context) (realm.Identity, error) {
		return d.Authenticator.Authenticate(ctx, realmName, username, password)
	})
}

// attempt is what a check of credentials is counted by if it fails.
type attempt struct {
	realm    string
	user     string
	personal bool // user is one's name, so a success says that the user is at this address
}

// try makes a check of credentials, of whatever kind, within what the cluster allows. Every refusal of the credentials
// is what verdict makes of it, so that the answers can't differ.
func (d *Door) try(rc *exchange.Request, a attempt, check func(context.Context) (realm.Identity, error)) (realm.Identity, error) {
	own, err := d.reserve(rc, a.realm, a.user)
	if err != nil {
		d.diary.auditTry(rc, a, err)
		return realm.Identity{}, err
	}
	defer own.close()
	identity, err := check(d.state.Context(rc))
	if err != nil && !errors.Is(err, realm.ErrNoEvidence) {
		d.diary.auditTry(rc, a, err)
	}
	if !realm.IsGuess(err) {
		own.forgive(err == nil && a.personal) // nothing wrong, or nothing that somebody who guesses gains by
	}
	switch {
	case errors.Is(err, realm.ErrInvalidCredentials):
		d.Refused.Add(1)
		return realm.Identity{}, verdict(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		err = cluster.ErrTimeout
	}
	return identity, err
}

// verdict is the one answer to refused credentials. A name that nobody can have is told so: that depends on its
// characters alone, and a user of a directory server would otherwise look for the fault in the password. Nor does it help
// anybody to guess that a token was good until it expired, or that headers came twice. All these errors have one code, so
// errors.Is does not tell them apart.
func verdict(err error) error {
	if e, ok := errors.AsType[*session.Error](err); ok && (e == realm.ErrBadUsername || e == realm.ErrTokenExpired || e == realm.ErrAmbiguousHeaders) {
		return e
	}
	return realm.ErrInvalidCredentials
}
