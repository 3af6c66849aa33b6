package admin

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
)

// quota is /api/limits.
type quota struct {
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
}

// limitsBody is the limits of the cluster as the API shows and takes them. PUT leaves alone what is absent; 0 stands for the
// default, which for sessions is no limit but memory.
type limitsBody struct {
	SessionsPerUser *int    `json:"sessionsPerUser"`
	WhenOver        *string `json:"whenOver"` // "evict" the user's oldest, or "refuse" the login
	Sessions        *int    `json:"sessions"`
	Attributes      *int    `json:"attributes"`
	SessionBytes    *int    `json:"sessionBytes"`
}

// The values of whenOver.
const (
	whenOverEvict  = "evict"
	whenOverRefuse = "refuse"
)

func showLimits(l session.Limits) limitsBody {
	over := whenOverEvict
	if l.RefuseLogins {
		over = whenOverRefuse
	}
	return limitsBody{&l.SessionsPerUser, &over, &l.Sessions, &l.Attributes, &l.SessionBytes}
}

// GetLimits is GET /api/limits: what is in force.
func (q *quota) GetLimits(rc *exchange.Request) error {
	if _, err := q.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	var l session.Limits
	if err := q.state.Read(rc, func(m *session.Machine) { l = m.Limits() }); err != nil {
		return err
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, showLimits(l))
}

// PutLimits is PUT /api/limits.
func (q *quota) PutLimits(rc *exchange.Request) error {
	p, err := q.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in limitsBody
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	var l session.Limits
	for range maxMerges {
		if l, err = q.mergeLimits(rc, p, &in); !errors.Is(err, session.ErrRevisionMoved) {
			break
		}
	}
	if err != nil {
		return err
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, showLimits(l.Effective()))
}

// maxMerges is how often a change is tried that others get ahead of.
const maxMerges = 5

// mergeLimits makes one attempt to put the limits that are given in the place of those that are set: see mergeRealm.
func (q *quota) mergeLimits(rc *exchange.Request, p access.Principal, in *limitsBody) (session.Limits, error) {
	var l session.Limits
	if err := q.state.Cluster.Read(q.state.Context(rc), access.DecisionLevel, func(m *session.Machine) { l = m.SetLimits() }); err != nil {
		return l, err
	}
	before := l
	for _, set := range []struct {
		to   *int
		from *int
	}{{&l.SessionsPerUser, in.SessionsPerUser}, {&l.Sessions, in.Sessions}, {&l.Attributes, in.Attributes}, {&l.SessionBytes, in.SessionBytes}} {
		if set.from != nil {
			*set.to = *set.from
		}
	}
	switch {
	case in.WhenOver == nil:
	case *in.WhenOver == whenOverEvict, *in.WhenOver == whenOverRefuse:
		l.RefuseLogins = *in.WhenOver == whenOverRefuse
	default:
		return l, exchange.BadField("whenOver must be evict or refuse")
	}
	if !l.Valid() {
		return l, exchange.BadField(fmt.Sprintf("limits are 0, for the default, up to sessionsPerUser %d, attributes %d, sessionBytes %d",
			session.MaxSessionsPerUser, session.MaxAttributes, session.MaxSessionBytes))
	}
	_, err := q.state.Do(rc, &session.SetLimits{Limits: l, If: &before})
	if !errors.Is(err, session.ErrRevisionMoved) {
		q.diary.AuditChange(rc, p, "limits", fmt.Sprintf("%+v", l.Effective()), err)
	}
	return l, err
}
