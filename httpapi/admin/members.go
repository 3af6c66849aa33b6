package admin

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
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

// members is /api/cluster but for backups: who the cluster is, and what may be changed about that.
type members struct {
	membership Membership
	state      *access.State
	callers    *access.Callers
	diary      *access.Diary
	view       func() any  // the cluster as this node sees it
	stopping   func() bool // this node is about to stop
}

// ListMembers is GET /api/cluster/members: what GET /cluster answers, for those who have a login instead of the
// operator's address.
func (ms *members) ListMembers(rc *exchange.Request) error {
	if _, err := ms.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, ms.view())
}

// PromoteMember is POST /api/cluster/members/{nameOrId}/promote. What it begins is done by the leader later on: see the
// list.
func (ms *members) PromoteMember(rc *exchange.Request) error {
	return ms.changeMember(rc, "promoted", Membership.Promote)
}

// DemoteMember is POST /api/cluster/members/{nameOrId}/demote.
func (ms *members) DemoteMember(rc *exchange.Request) error {
	return ms.changeMember(rc, "demoted", Membership.Demote)
}

// RemoveMember is DELETE /api/cluster/members/{nameOrId}.
func (ms *members) RemoveMember(rc *exchange.Request) error {
	return ms.changeMember(rc, "removed", Membership.Remove)
}

func (ms *members) changeMember(rc *exchange.Request, what string, change func(Membership, context.Context, string) error) error {
	p, err := ms.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	return ms.operate(rc, p, func(ctx context.Context, m Membership) error { return change(m, ctx, rc.Rest) }, "member "+rc.Rest, what)
}

// TransferLeadership is POST /api/cluster/leader {"to":"name or id"}. Without a body, or without to, the cluster
// chooses.
func (ms *members) TransferLeadership(rc *exchange.Request) error {
	p, err := ms.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		To *string `json:"to"`
	}
	if len(rc.Ctx.PostBody()) > 0 {
		if err := exchange.DecodeJSON(rc, &in); err != nil {
			return err
		}
	}
	to := ""
	if in.To != nil {
		if to = *in.To; to == "" { // more likely a script's unset variable than a wish
			return exchange.BadField("to is empty: leave it out to let the cluster choose")
		}
	}
	return ms.operate(rc, p, func(ctx context.Context, m Membership) error { return m.TransferLeadership(ctx, to) },
		"leadership", strings.TrimSpace("transferred "+to))
}

// Drain is POST /api/cluster/drain {"on":true|false}, of this node: /readyz says draining from then on, and the
// leadership goes to another. A node that is stopping can't be called back.
func (ms *members) Drain(rc *exchange.Request) error {
	p, err := ms.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		On *bool `json:"on"`
	}
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	switch {
	case in.On == nil:
		return exchange.MissingField("on is required: true or false")
	case !*in.On && ms.stopping():
		return cluster.ErrDraining
	}
	return ms.operate(rc, p, func(ctx context.Context, m Membership) error { return m.SetDraining(ctx, *in.On) },
		"draining of this node", strconv.FormatBool(*in.On))
}

// operate makes one change of the cluster and logs it with who made it. One whose outcome nobody knows is logged, too:
// it may have been made.
func (ms *members) operate(rc *exchange.Request, p access.Principal, change func(context.Context, Membership) error, target, detail string) error {
	err := change(ms.state.Context(rc), ms.membership)
	switch {
	case err == nil:
	case exchange.IsUnknown(err) || errors.Is(err, wire.ErrLost):
		err = cluster.ErrOutcomeUnknown
	}
	ms.diary.AuditChange(rc, p, target, detail, err)
	if err != nil {
		return err
	}
	return exchange.NoContent(rc)
}
