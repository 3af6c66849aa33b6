package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// realmBody is a realm as the API shows it: its configuration without the secrets.
type realmBody struct {
	RealmType string          `json:"realmType"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Enabled   bool            `json:"enabled"`
	CreatedAt moment          `json:"createdAt"`
	UpdatedAt moment          `json:"updatedAt"`
	Config    json.RawMessage `json:"config"`
	RoleNames []string        `json:"roleNames"`
}

func showRealm(r *session.Realm) (realmBody, error) {
	config, err := realm.PublicConfig(r.Config)
	if err != nil {
		return realmBody{}, fmt.Errorf("show the configuration of realm %q: %w", r.Name, err)
	}
	return realmBody{r.Type, r.ID, r.Name, r.Enabled, moment(r.Created), moment(r.Updated), config, orEmpty(r.RoleNames)}, nil
}

// realmInput is the body of POST and PUT. What is absent is left alone by PUT; a config that is given replaces the old
// one whole, secrets included.
type realmInput struct {
	RealmType *string         `json:"realmType"`
	Name      *string         `json:"name"`
	Enabled   *bool           `json:"enabled"`
	Config    json.RawMessage `json:"config"`
	RoleNames *[]string       `json:"roleNames"`
}

// config returns the given configuration; ok is false where none is given.
func (in *realmInput) config() (config []byte, ok bool) {
	if len(in.Config) == 0 || string(in.Config) == "null" {
		return nil, false
	}
	return in.Config, true
}

// listRealms is GET /api/realm-configs.
func (s *Server) listRealms(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	var found []*session.Realm
	if err := s.read(rc, func(m *session.Machine) { found = m.Realms() }); err != nil {
		return err
	}
	list := make([]realmBody, 0, len(found))
	for _, r := range found {
		body, err := showRealm(r)
		if err != nil {
			return err
		}
		list = append(list, body)
	}
	return writeJSON(rc, fasthttp.StatusOK, list)
}

// getRealm is GET /api/realm-configs/{id}.
func (s *Server) getRealm(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	level, err := s.level(rc)
	if err != nil {
		return err
	}
	return s.answerRealm(rc, level, rc.rest, fasthttp.StatusOK)
}

func (s *Server) realmByID(rc *request, level cluster.Level, id string) (*session.Realm, error) {
	var found *session.Realm
	err := s.cluster.Read(s.context(rc), level, func(m *session.Machine) { found, _ = m.RealmByID(id) })
	if err == nil && found == nil {
		err = session.ErrRealmNotFound
	}
	return found, err
}

func (s *Server) answerRealm(rc *request, level cluster.Level, id string, status int) error {
	found, err := s.realmByID(rc, level, id)
	if err != nil {
		return err
	}
	body, err := showRealm(found)
	if err != nil {
		return err
	}
	return writeJSON(rc, status, body)
}

// createRealm is POST /api/realm-configs.
func (s *Server) createRealm(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in realmInput
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	if in.RealmType == nil || in.Name == nil || *in.Name == "" {
		return missingField("realmType and name are required")
	}
	config, _ := in.config()
	sealed, err := s.cfg.Sealer.SealConfig(*in.RealmType, config)
	if err != nil {
		return err
	}
	cmd := &session.CreateRealm{ID: newID(), Name: *in.Name, Type: *in.RealmType, Enabled: true, Config: sealed}
	if in.Enabled != nil {
		cmd.Enabled = *in.Enabled
	}
	if in.RoleNames != nil {
		cmd.RoleNames = *in.RoleNames
	}
	if _, err := s.do(rc, cmd); err != nil {
		return err
	}
	s.audit(rc, p, "realm created", "realm", cmd.Name, "type", cmd.Type, "id", cmd.ID)
	return s.answerRealm(rc, cluster.Quorum, cmd.ID, fasthttp.StatusCreated)
}

// updateRealm is PUT /api/realm-configs/{id}.
func (s *Server) updateRealm(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in realmInput
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	current, err := s.realmByID(rc, cluster.Quorum, rc.rest)
	if err != nil {
		return err
	}
	if in.Name != nil && *in.Name != current.Name || in.RealmType != nil && *in.RealmType != current.Type {
		return badField("a realm can't be renamed or get another type: make a new one")
	}
	cmd := &session.UpdateRealm{ID: current.ID, Enabled: current.Enabled, RoleNames: current.RoleNames, Config: current.Config}
	if in.Enabled != nil {
		cmd.Enabled = *in.Enabled
	}
	if in.RoleNames != nil {
		cmd.RoleNames = *in.RoleNames
	}
	if config, ok := in.config(); ok {
		if cmd.Config, err = s.cfg.Sealer.SealConfig(current.Type, config); err != nil {
			return err
		}
	}
	if _, err := s.do(rc, cmd); err != nil {
		return err
	}
	s.audit(rc, p, "realm changed", "realm", current.Name, "id", current.ID, "enabled", cmd.Enabled)
	return s.answerRealm(rc, cluster.Quorum, current.ID, fasthttp.StatusOK)
}

// deleteRealm is DELETE /api/realm-configs/{id}. It ends all sessions made through it.
func (s *Server) deleteRealm(rc *request) error {
	return s.deleteRecord(rc, "realm", &session.DeleteRealm{ID: rc.rest})
}
