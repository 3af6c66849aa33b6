package admin

import (
	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// roles is /api/roles.
type roles struct {
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
	records *records
}

// roleBody is a role as the API shows it.
type roleBody struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	CreatedAt exchange.Moment `json:"createdAt"`
	UpdatedAt exchange.Moment `json:"updatedAt"`
	Desc      string          `json:"desc"`
}

func showRole(r *session.Role) roleBody {
	return roleBody{r.ID, r.Name, exchange.Moment(r.Created), exchange.Moment(r.Updated), r.Desc}
}

type roleInput struct {
	Name *string `json:"name"`
	Desc *string `json:"desc"`
}

// ListRoles is GET /api/roles.
func (rs *roles) ListRoles(rc *exchange.Request) error {
	if _, err := rs.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	var found []*session.Role
	if err := rs.state.Read(rc, func(m *session.Machine) { found = m.Roles() }); err != nil {
		return err
	}
	list := make([]roleBody, 0, len(found))
	for _, r := range found {
		list = append(list, showRole(r))
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, list)
}

// GetRole is GET /api/roles/{id}.
func (rs *roles) GetRole(rc *exchange.Request) error {
	if _, err := rs.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	level, err := rs.state.Level(rc)
	if err != nil {
		return err
	}
	return rs.answerRole(rc, level, rc.Rest, fasthttp.StatusOK)
}

func (rs *roles) answerRole(rc *exchange.Request, level cluster.Level, id string, status int) error {
	var found *session.Role
	err := rs.state.Cluster.Read(rs.state.Context(rc), level, func(m *session.Machine) { found, _ = m.RoleByID(id) })
	switch {
	case err != nil:
		return err
	case found == nil:
		return session.ErrRoleNotFound
	}
	return exchange.WriteJSON(rc, status, showRole(found))
}

// CreateRole is POST /api/roles.
func (rs *roles) CreateRole(rc *exchange.Request) error {
	p, err := rs.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in roleInput
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	if in.Name == nil || *in.Name == "" {
		return exchange.MissingField("name is required")
	}
	cmd := &session.CreateRole{ID: credential.NewID(), Name: *in.Name}
	if in.Desc != nil {
		cmd.Desc = *in.Desc
	}
	_, err = rs.state.Do(rc, cmd)
	rs.diary.AuditChange(rc, p, "role "+cmd.Name, "created", err)
	if err != nil {
		return err
	}
	return rs.answerRole(rc, rs.state.OwnLevel(), cmd.ID, fasthttp.StatusCreated)
}

// UpdateRole is PUT /api/roles/{id}: the description. A role's name stands in users' records and can't change.
func (rs *roles) UpdateRole(rc *exchange.Request) error {
	p, err := rs.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in roleInput
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	var current *session.Role
	if err := rs.state.Cluster.Read(rs.state.Context(rc), access.DecisionLevel, func(m *session.Machine) { current, _ = m.RoleByID(rc.Rest) }); err != nil {
		return err
	}
	switch {
	case current == nil:
		return session.ErrRoleNotFound
	case in.Name != nil && *in.Name != current.Name:
		return exchange.BadField("a role can't be renamed: make a new one")
	case in.Desc == nil:
		return exchange.MissingField("desc is required")
	}
	_, err = rs.state.Do(rc, &session.UpdateRole{ID: current.ID, Desc: *in.Desc})
	rs.diary.AuditChange(rc, p, "role "+current.Name, "description", err)
	if err != nil {
		return err
	}
	return rs.answerRole(rc, rs.state.OwnLevel(), current.ID, fasthttp.StatusOK)
}

// DeleteRole is DELETE /api/roles/{id}.
func (rs *roles) DeleteRole(rc *exchange.Request) error {
	return rs.records.deleteRecord(rc, "role", func(string) session.Command { return &session.DeleteRole{ID: rc.Rest} })
}
