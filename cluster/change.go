package cluster

import (
	"context"
	"slices"
	"strings"

	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
)

// ErrAmbiguousName refuses a name that several members have, such as a lost node and the one in its place.
var ErrAmbiguousName = &session.Error{Code: "ambiguous-name", Message: "several members have this name: give the id"}

// Promote gives a member a vote, for good; see roster.Roster.Promote. Members go by id or by name.
func (c *Cluster) Promote(ctx context.Context, nameOrID string) error {
	return c.change(ctx, nameOrID, c.roster.Promote)
}

// Demote takes a member's vote, for good. It stays a member.
func (c *Cluster) Demote(ctx context.Context, nameOrID string) error {
	return c.change(ctx, nameOrID, c.roster.Demote)
}

// Remove takes a member out of the cluster.
func (c *Cluster) Remove(ctx context.Context, nameOrID string) error {
	return c.change(ctx, nameOrID, c.roster.Remove)
}

// TransferLeadership hands the leadership to a voter; "": to the one that has most of the log.
func (c *Cluster) TransferLeadership(ctx context.Context, nameOrID string) error {
	if nameOrID == "" {
		return c.roster.Transfer(ctx, "")
	}
	return c.change(ctx, nameOrID, c.roster.Transfer)
}

// SetDraining takes this node out of service, or back: it says that it is not ready, and does not stay leader. It
// answers what it is asked all the same. A leadership that nobody takes now is offered again and again.
func (c *Cluster) SetDraining(ctx context.Context, on bool) error {
	if !on {
		c.draining.Store(false)
		return nil
	}
	if err := c.Retire(ctx); err != nil {
		c.logger.Warn("leadership not handed over yet, will be tried again", "error", err)
	}
	return nil
}

func (c *Cluster) change(ctx context.Context, nameOrID string, change func(context.Context, string) error) error {
	id, err := c.memberID(ctx, nameOrID)
	if err != nil {
		return err
	}
	return change(ctx, id)
}

// memberID returns the id of the one member that has it, or the name. A node that lags may not know of the member yet.
func (c *Cluster) memberID(ctx context.Context, nameOrID string) (string, error) {
	var found []string
	err := c.Read(ctx, Quorum, func(m *session.Machine) {
		found = found[:0]
		for _, id := range c.servers() {
			if member, ok := m.Member(id); id == nameOrID || ok && member.Name == nameOrID {
				found = append(found, id)
			}
		}
	})
	if err != nil {
		return "", err
	}
	if slices.Contains(found, nameOrID) {
		return nameOrID, nil
	}
	switch len(found) {
	case 0:
		return "", roster.ErrMemberNotFound
	case 1:
		return found[0], nil
	}
	return "", &session.Error{Code: ErrAmbiguousName.Code, Message: ErrAmbiguousName.Message + ": " + strings.Join(found, " or ")}
}
