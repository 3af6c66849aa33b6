package httpapi

import (
	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
)

// whyBody says what became of a session.
type whyBody struct {
	Handle  string           `json:"handle"`
	Active  bool             `json:"active"`
	EndedAt *exchange.Moment `json:"endedAt,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Rule    string           `json:"rule,omitempty"`
	By      string           `json:"by,omitempty"`
}

// why is GET /api/sessions/{handle}/why: who has ended a session, when, and by which rule, for session.WhyLife after its
// end. It is for admins: whose session it was is known no more.
func (s *sessions) why(rc *exchange.Request) error {
	if _, err := s.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	key, err := session.ParseKey(rc.Rest)
	if err != nil {
		return err
	}
	body := whyBody{Handle: key.String()}
	known := false
	var live *session.Head
	err = s.state.Read(rc, func(m *session.Machine) {
		live = nil // a read may run again
		var view session.View
		if view, known = m.Lookup(key); known {
			live = &view.Session
			return
		}
		t, ok := m.Tombstone(key)
		if known = ok; !ok {
			return
		}
		at := exchange.Moment(t.Ended)
		body.EndedAt, body.Reason, body.By = &at, t.Reason.String(), t.By
		body.Rule = ruleOf(t.Reason)
	})
	switch {
	case err != nil:
		return err
	case !known:
		return exchange.ErrNoSession
	case live != nil:
		if err := s.whyOf(rc, live, &body); err != nil {
			return err
		}
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, body)
}

// whyOf fills in what there is to say of a session that nobody has ended. It may be over nonetheless, and not yet swept.
func (s *sessions) whyOf(rc *exchange.Request, sess *session.Head, body *whyBody) error {
	at, err := s.state.Cluster.Time(s.state.Context(rc))
	if err != nil {
		return err
	}
	ended, reason := sess.Expires, session.EndedByLifetime
	if idle := s.state.Cluster.LastUse(sess.Key, sess.LastUse).Add(sess.Idle); idle < ended {
		ended, reason = idle, session.EndedByIdle
	}
	if body.Active = ended > at; !body.Active {
		over := exchange.Moment(ended)
		body.EndedAt, body.Reason, body.Rule = &over, reason.String(), ruleOf(reason)
	}
	return nil
}

// ruleOf says in a sentence what each reason means.
func ruleOf(reason session.Reason) string {
	switch reason {
	case session.EndedByLogout:
		return "its user logged out of it"
	case session.EndedByAdmin:
		return "somebody with the role admin ended it"
	case session.EndedByIdle:
		return "it was not used for as long as its idle timeout"
	case session.EndedByLifetime:
		return "it reached its maximum lifetime, used or not"
	case session.EndedByEviction:
		return "its user logged in once more and had as many sessions as one may have: the oldest goes"
	case session.EndedByLogin:
		return "its browser logged in again: a login ends the session that it comes with"
	case session.EndedByUser:
		return "all sessions of its user were ended"
	case session.EndedByOrphan:
		return "its login could not be answered, so nobody ever had its token"
	case session.EndedByRecheck:
		return "its user's directory does not let the user in any more"
	case session.EndedByEmergency:
		return "all sessions of all users were ended"
	case session.EndedByDisabled:
		return "its user was disabled"
	case session.EndedByDeleted:
		return "its user was removed"
	case session.EndedByPassword:
		return "its user got a new password"
	case session.EndedByRealm:
		return "its user's realm was removed"
	}
	return "by a rule that this version does not know"
}
