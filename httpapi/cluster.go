package httpapi

import (
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Membership is what an administrator may change about the cluster. A node goes by its name or its id; a name that
// several members have is refused. An error means that nothing has changed, but for ErrOutcomeUnknown.
type Membership interface {
	Promote(ctx context.Context, nameOrID string) error            // let a node vote, as soon as it has caught up
	Demote(ctx context.Context, nameOrID string) error             // let it vote no more; it goes on holding a copy
	Remove(ctx context.Context, nameOrID string) error             // for good: a node that runs is told to stop
	TransferLeadership(ctx context.Context, nameOrID string) error // "": to whoever is fit for it
	SetDraining(ctx context.Context, on bool) error                // of this node
}

// listMembers is GET /api/cluster/members: what GET /cluster answers, for those who have a login instead of the
// operator's address.
func (s *Server) listMembers(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	return writeJSON(rc, fasthttp.StatusOK, s.clusterView())
}

// promoteMember is POST /api/cluster/members/{nameOrId}/promote. What it begins is done by the leader later on: see the
// list.
func (s *Server) promoteMember(rc *request) error {
	return s.changeMember(rc, "node promoted", Membership.Promote)
}

// demoteMember is POST /api/cluster/members/{nameOrId}/demote.
func (s *Server) demoteMember(rc *request) error {
	return s.changeMember(rc, "node demoted", Membership.Demote)
}

// removeMember is DELETE /api/cluster/members/{nameOrId}.
func (s *Server) removeMember(rc *request) error {
	return s.changeMember(rc, "node removed", Membership.Remove)
}

func (s *Server) changeMember(rc *request, what string, change func(Membership, context.Context, string) error) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	return s.operate(rc, p, func(ctx context.Context, m Membership) error { return change(m, ctx, rc.rest) }, what, "member", rc.rest)
}

// transferLeadership is POST /api/cluster/leader {"to":"name or id"}. Without a body, or without to, the cluster
// chooses.
func (s *Server) transferLeadership(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		To *string `json:"to"`
	}
	if len(rc.ctx.PostBody()) > 0 {
		if err := decodeJSON(rc, &in); err != nil {
			return err
		}
	}
	to := ""
	if in.To != nil {
		if to = *in.To; to == "" { // more likely a script's unset variable than a wish
			return badField("to is empty: leave it out to let the cluster choose")
		}
	}
	return s.operate(rc, p, func(ctx context.Context, m Membership) error { return m.TransferLeadership(ctx, to) },
		"leadership transferred", "to", to)
}

// drain is POST /api/cluster/drain {"on":true|false}, of this node: /readyz says draining from then on, and the
// leadership goes to another. A node that is stopping can't be called back.
func (s *Server) drain(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		On *bool `json:"on"`
	}
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	switch {
	case in.On == nil:
		return missingField("on is required: true or false")
	case !*in.On && s.draining.Load():
		return cluster.ErrDraining
	}
	return s.operate(rc, p, func(ctx context.Context, m Membership) error { return m.SetDraining(ctx, *in.On) },
		"draining set", "on", *in.On)
}

// operate makes one change of the cluster and logs it with who made it. One whose outcome nobody knows is logged, too:
// it may have been made.
func (s *Server) operate(rc *request, p principal, change func(context.Context, Membership) error, what string, args ...any) error {
	err := change(s.context(rc), s.cfg.Membership)
	switch {
	case err == nil:
		s.audit(rc, p, what, args...)
		return noContent(rc)
	case isUnknown(err) || errors.Is(err, wire.ErrLost):
		s.audit(rc, p, what, append(args, "outcome", "unknown")...)
		return cluster.ErrOutcomeUnknown
	}
	return err
}
