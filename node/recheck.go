package main

import (
	"context"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/recheck"
)

// rechecked is the cluster as the re-check of users wants it. What it ends is audited here: there is no request that
// could be.
type rechecked struct {
	cluster *cluster.Cluster
	audit   *audit.Log
}

var _ recheck.Cluster = rechecked{}

// Leading implements recheck.Cluster.
func (r rechecked) Leading() bool { return r.cluster.Leading() }

// Owners implements recheck.Cluster. The leader's own table will do: who has logged in since is looked at in the next round.
func (r rechecked) Owners(ctx context.Context, after session.Key, limit int) (page []session.Owner, next session.Key, err error) {
	err = r.cluster.Read(ctx, cluster.Local, func(m *session.Machine) { page, next = m.Owners(after, limit) })
	return page, next, err
}

// RolesOf implements recheck.Cluster.
func (r rechecked) RolesOf(ctx context.Context, owner session.Owner) (roles [][]string, newest uint64, err error) {
	err = r.cluster.Read(ctx, cluster.Local, func(m *session.Machine) {
		for _, s := range m.SessionsOf(owner.Realm, owner.Username) {
			newest = max(newest, s.Seq)
			if s.Roles != nil {
				roles = append(roles, s.Roles)
			}
		}
	})
	return roles, newest, err
}

// Do implements recheck.Cluster.
func (r rechecked) Do(ctx context.Context, cmd session.Command) (session.Result, error) {
	result, err := r.cluster.Do(ctx, cmd)
	e := audit.Event{Outcome: audit.OK}
	if coded, ok := errorCode(err); ok {
		e.Outcome = coded
	}
	switch cmd := cmd.(type) {
	case *session.EndUser:
		e.Name, e.Realm, e.User, e.By = audit.SessionsEnded, cmd.Realm, cmd.Username, cmd.By
		e.Reason, e.Count = cmd.Reason.String(), int(result.Ended)
	case *session.SetRoles:
		e.Name, e.Realm, e.User, e.Target = audit.Changed, cmd.Realm, cmd.Username, "roles of sessions"
		e.Detail = rolesText(cmd.Roles)
	}
	r.audit.Write(e)
	return result, err
}
