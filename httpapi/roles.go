package httpapi

import (
	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// roleBody is a role as the API shows it.
type roleBody struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedAt moment `json:"createdAt"`
	UpdatedAt moment `json:"updatedAt"`
	Desc      string `json:"desc"`
}

func showRole(r *session.Role) roleBody {
	return roleBody{r.ID, r.Name, moment(r.Created), moment(r.Updated), r.Desc}
}

type roleInput struct {
	Name *string `json:"name"`
	Desc *string `json:"desc"`
}

// listRoles is GET /api/roles.
func (s *Server) listRoles(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	var found []*session.Role
	if err := s.read(rc, func(m *session.Machine) { found = m.Roles() }); err != nil {
		return err
	}
	list := make([]roleBody, 0, len(found))
	for _, r := range found {
		list = append(list, showRole(r))
	}
	return writeJSON(rc, fasthttp.StatusOK, list)
}

// getRole is GET /api/roles/{id}.
func (s *Server) getRole(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	level, err := s.level(rc)
	if err != nil {
		return err
	}
	return s.answerRole(rc, level, rc.rest, fasthttp.StatusOK)
}

func (s *Server) answerRole(rc *request, level cluster.Level, id string, status int) error {
	var found *session.Role
	err := s.cluster.Read(s.context(rc), level, func(m *session.Machine) { found, _ = m.RoleByID(id) })
	switch {
	case err != nil:
		return err
	case found == nil:
		return session.ErrRoleNotFound
	}
	return writeJSON(rc, status, showRole(found))
}

// createRole is POST /api/roles.
func (s *Server) createRole(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in roleInput
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	if in.Name == nil || *in.Name == "" {
		return missingField("name is required")
	}
	cmd := &session.CreateRole{ID: newID(), Name: *in.Name}
	if in.Desc != nil {
		cmd.Desc = *in.Desc
	}
	if _, err := s.do(rc, cmd); err != nil {
		return err
	}
	s.audit(rc, p, "role created", "role", cmd.Name, "id", cmd.ID)
	return s.answerRole(rc, cluster.Quorum, cmd.ID, fasthttp.StatusCreated)
}

// updateRole is PUT /api/roles/{id}: the description. A role's name stands in users' records and can't change.
func (s *Server) updateRole(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in roleInput
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	var current *session.Role
	if err := s.cluster.Read(s.context(rc), cluster.Quorum, func(m *session.Machine) { current, _ = m.RoleByID(rc.rest) }); err != nil {
		return err
	}
	switch {
	case current == nil:
		return session.ErrRoleNotFound
	case in.Name != nil && *in.Name != current.Name:
		return badField("a role can't be renamed: make a new one")
	case in.Desc == nil:
		return missingField("desc is required")
	}
	if _, err := s.do(rc, &session.UpdateRole{ID: current.ID, Desc: *in.Desc}); err != nil {
		return err
	}
	s.audit(rc, p, "role changed", "role", current.Name, "id", current.ID)
	return s.answerRole(rc, cluster.Quorum, current.ID, fasthttp.StatusOK)
}

// deleteRole is DELETE /api/roles/{id}.
func (s *Server) deleteRole(rc *request) error {
	return s.deleteRecord(rc, "role", &session.DeleteRole{ID: rc.rest})
}
