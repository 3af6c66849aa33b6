package access

import (
	"context"
	"errors"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// Diary writes down what the audit log is to say, and of whom.
type Diary struct {
	log     *audit.Log
	often   often
	state   *State
	clients *Clients
}

// Audit writes an event into the audit log: who makes the request, from where, and how it ended. A user is named as who
// acts only where it acts on others.
func (d *Diary) Audit(rc *exchange.Request, p Principal, e audit.Event, err error) {
	if by := p.Name(); by != e.User+"@"+e.Realm {
		e.By = by
	}
	d.auditRequest(rc, e, err)
}

// auditRequest is audit for requests of nobody in particular: logins.
func (d *Diary) auditRequest(rc *exchange.Request, e audit.Event, err error) {
	d.log.Write(d.eventOf(rc, e, err))
}

// eventOf fills in what a request says of an event.
func (d *Diary) eventOf(rc *exchange.Request, e audit.Event, err error) audit.Event {
	e.Client, e.Request = d.clients.addressOf(rc), string(rc.RequestID())
	if rc.Control {
		e.Client = "control socket"
	}
	e.Outcome, e.Agent = outcomeOf(err), credential.WithoutTokens(e.Agent)
	return e
}

// AuditChange is audit for a change of a record, after it was proposed. What was refused for its form is no event; what was
// refused for the state, or may have been done, is.
func (d *Diary) AuditChange(rc *exchange.Request, p Principal, target, detail string, err error) {
	d.Audit(rc, p, audit.Event{Name: audit.Changed, Target: target, Detail: detail}, err)
}

func outcomeOf(err error) string {
	if err == nil {
		return audit.OK
	}
	_, e, _ := exchange.AnswerOf(err)
	return e.Code
}

// AuditEnd audits the end of one session.
func (d *Diary) AuditEnd(rc *exchange.Request, p Principal, sess *session.Head, reason session.Reason, err error) {
	name := audit.SessionEnded
	if reason == session.EndedByLogout {
		name = audit.Logout
	}
	d.Audit(rc, p, audit.Event{
		Name: name, Realm: sess.Realm, User: sess.Username, Handle: sess.Key.String(), Reason: reason.String(),
	}, err)
}

// Logout ends the session of the caller itself. Its user is what this node knows of it: the audit log is not worth a
// question to others.
func (l *Logins) Logout(rc *exchange.Request, key session.Key) error {
	e := audit.Event{Name: audit.Logout, Handle: key.String()}
	known := l.state.Cluster.Read(l.state.Context(rc), cluster.Local, func(m *session.Machine) {
		if view, ok := m.Lookup(key); ok {
			e.Realm, e.User = view.Session.Realm, view.Session.Username
		}
	})
	err := l.EndSessionByKey(rc, key, session.EndedByLogout, Principal{})
	if known == nil && !exchange.IsSignedOut(err) { // else a stranger could fill the log
		l.diary.auditRequest(rc, e, err)
	}
	return err
}

// auditTry audits a check of credentials that has failed, or was not made because too many had.
func (d *Diary) auditTry(rc *exchange.Request, a attempt, err error) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, cluster.ErrNoLeader), errors.Is(err, cluster.ErrOverloaded):
		return // nobody was checked
	case errors.Is(err, session.ErrRevisionMoved):
		return // it is done once more, and whoever does that audits how it ended
	}
	d.auditRefused(rc, a, err)
}

// auditRefused audits an attempt that came to nothing.
func (d *Diary) auditRefused(rc *exchange.Request, a attempt, err error) {
	e := audit.Event{Name: audit.Login, Agent: agentOf(rc)}
	if errors.Is(err, tries.ErrFailures) {
		e.Name = audit.LoginThrottled
	}
	e.Realm, e.User = d.Nameable(rc, a.realm, a.user)
	d.auditRequest(rc, e, err)
}

// What the audit log says instead of names that it does not know.
const (
	UnknownUser  = "(unknown user)"
	UnknownRealm = "(unknown realm)"
)

// Nameable returns what the audit log may call the realm and the user of an attempt. People type passwords and paste tokens
// in place of names, so a name is written only if there is such a user as far as this node knows; in a realm whose users
// are known elsewhere, as it is but for what has the form of a token.
func (d *Diary) Nameable(rc *exchange.Request, inRealm, user string) (realmName, username string) {
	realmName, username = UnknownRealm, UnknownUser
	known := false
	err := d.state.Cluster.Read(d.state.Context(rc), cluster.Local, func(m *session.Machine) {
		r, ok := m.RealmByName(inRealm)
		if !ok {
			return
		}
		realmName = r.Name
		name := realm.CanonicalUsername(r.Type, user)
		_, known = m.UserByName(r.Name, name)
		known = known || r.Type != realm.TypeNative || m.HasSessions(r.Name, name)
	})
	if err == nil && known && session.ValidName(user) {
		username = credential.WithoutTokens(user)
	}
	return realmName, username
}

// auditCall audits credentials that were right, and were for one call: once in a while for each user and address, as a
// script that sends them along sends them with each of its calls.
func (d *Diary) auditCall(rc *exchange.Request, identity realm.Identity) {
	d.often.done(callKey{audit.Login, identity.Realm, identity.Username, d.clients.addressOf(rc)}, 1, 1, func() audit.Event {
		return d.eventOf(rc, audit.Event{
			Name: audit.Login, Realm: identity.Realm, User: identity.Username, Agent: agentOf(rc), Detail: "for one call",
		}, nil)
	})
}

// AuditChecks audits that tokens were checked, many at once, and some found active: once in a while for each caller and
// address, as a gateway may ask with each of its requests.
func (d *Diary) AuditChecks(rc *exchange.Request, p Principal, tokens, active int) {
	d.often.done(callKey{name: audit.Verified, user: p.Name(), address: d.clients.addressOf(rc)}, tokens, active, func() audit.Event {
		return d.eventOf(rc, audit.Event{Name: audit.Verified, By: p.Name(), Count: tokens, Detail: activeOf(active)}, nil)
	})
}

// Close writes what is left to tell, when no request is under way any more.
func (d *Diary) Close() { d.often.close() }

// auditLogin audits what became of a session for credentials that were right.
func (d *Diary) auditLogin(rc *exchange.Request, create *session.Create, err error) {
	e := audit.Event{Name: audit.Login, Realm: create.Realm, User: create.Username, Handle: create.Key.String(), Agent: create.Agent}
	if err != nil {
		e.Handle = "" // there is none, or it is about to be ended
	}
	d.auditRequest(rc, e, err)
}
