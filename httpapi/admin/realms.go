package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// realms is /api/realm-configs.
type realms struct {
	sealer  Sealer
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
	records *records
}

// realmBody is a realm as the API shows it: its configuration without the secrets.
type realmBody struct {
	RealmType string          `json:"realmType"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Enabled   bool            `json:"enabled"`
	CreatedAt exchange.Moment `json:"createdAt"`
	UpdatedAt exchange.Moment `json:"updatedAt"`
	Config    json.RawMessage `json:"config"`
	RoleNames []string        `json:"roleNames"`
}

func showRealm(r *session.Realm) (realmBody, error) {
	config, err := realm.PublicConfig(r.Config)
	if err != nil {
		return realmBody{}, fmt.Errorf("show the configuration of realm %q: %w", r.Name, err)
	}
	return realmBody{r.Type, r.ID, r.Name, r.Enabled, exchange.Moment(r.Created), exchange.Moment(r.Updated), config, exchange.OrEmpty(r.RoleNames)}, nil
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

// ListRealms is GET /api/realm-configs.
func (rs *realms) ListRealms(rc *exchange.Request) error {
	if _, err := rs.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	var found []*session.Realm
	if err := rs.state.Read(rc, func(m *session.Machine) { found = m.Realms() }); err != nil {
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
	return exchange.WriteJSON(rc, fasthttp.StatusOK, list)
}

// GetRealm is GET /api/realm-configs/{id}.
func (rs *realms) GetRealm(rc *exchange.Request) error {
	if _, err := rs.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	level, err := rs.state.Level(rc)
	if err != nil {
		return err
	}
	return rs.answerRealm(rc, level, rc.Rest, fasthttp.StatusOK)
}

func (rs *realms) realmByID(rc *exchange.Request, level cluster.Level, id string) (*session.Realm, error) {
	var found *session.Realm
	err := rs.state.Cluster.Read(rs.state.Context(rc), level, func(m *session.Machine) { found, _ = m.RealmByID(id) })
	if err == nil && found == nil {
		err = session.ErrRealmNotFound
	}
	return found, err
}

func (rs *realms) answerRealm(rc *exchange.Request, level cluster.Level, id string, status int) error {
	found, err := rs.realmByID(rc, level, id)
	if err != nil {
		return err
	}
	body, err := showRealm(found)
	if err != nil {
		return err
	}
	return exchange.WriteJSON(rc, status, body)
}

// CreateRealm is POST /api/realm-configs.
func (rs *realms) CreateRealm(rc *exchange.Request) error {
	p, err := rs.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in realmInput
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	if in.RealmType == nil || in.Name == nil || *in.Name == "" {
		return exchange.MissingField("realmType and name are required")
	}
	config, _ := in.config()
	sealed, err := rs.sealer.SealConfig(*in.RealmType, config)
	if err != nil {
		return err
	}
	cmd := &session.CreateRealm{ID: credential.NewID(), Name: *in.Name, Type: *in.RealmType, Enabled: true, Config: sealed}
	if in.Enabled != nil {
		cmd.Enabled = *in.Enabled
	}
	if in.RoleNames != nil {
		cmd.RoleNames = *in.RoleNames
	}
	_, err = rs.state.Do(rc, cmd)
	rs.diary.AuditChange(rc, p, "realm "+cmd.Name, "created, type "+cmd.Type, err)
	if err != nil {
		return err
	}
	return rs.answerRealm(rc, rs.state.OwnLevel(), cmd.ID, fasthttp.StatusCreated)
}

// UpdateRealm is PUT /api/realm-configs/{id}.
func (rs *realms) UpdateRealm(rc *exchange.Request) error {
	p, err := rs.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in realmInput
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	var current *session.Realm
	for range maxMerges {
		if current, err = rs.mergeRealm(rc, p, &in); !errors.Is(err, session.ErrRevisionMoved) {
			break
		}
	}
	if err != nil {
		return err
	}
	return rs.answerRealm(rc, rs.state.OwnLevel(), current.ID, fasthttp.StatusOK)
}

// mergeRealm makes one attempt to put what is given in the place of what a realm has. It is refused with
// session.ErrRevisionMoved when somebody else has changed the realm meanwhile, whose change would be undone.
func (rs *realms) mergeRealm(rc *exchange.Request, p access.Principal, in *realmInput) (*session.Realm, error) {
	var current *session.Realm
	modern := false
	err := rs.state.Cluster.Read(rs.state.Context(rc), access.DecisionLevel, func(m *session.Machine) {
		current, _ = m.RealmByID(rc.Rest)
		modern = m.Modern()
	})
	switch {
	case err != nil:
		return nil, err
	case current == nil:
		return nil, session.ErrRealmNotFound
	case in.Name != nil && *in.Name != current.Name || in.RealmType != nil && *in.RealmType != current.Type:
		return nil, exchange.BadField("a realm can't be renamed or get another type: make a new one")
	}
	cmd := &session.UpdateRealm{ID: current.ID, Enabled: current.Enabled, RoleNames: current.RoleNames, Config: current.Config}
	if modern {
		cmd.IfRev = current.Rev
	}
	var changes []string
	if in.Enabled != nil {
		cmd.Enabled = *in.Enabled
		changes = append(changes, "enabled "+strconv.FormatBool(cmd.Enabled))
	}
	if in.RoleNames != nil {
		cmd.RoleNames = *in.RoleNames
		changes = append(changes, "roles "+strings.Join(cmd.RoleNames, " "))
	}
	if config, ok := in.config(); ok {
		if cmd.Config, err = rs.sealer.SealConfig(current.Type, config); err != nil {
			return nil, err
		}
		changes = append(changes, "config")
	}
	_, err = rs.state.Do(rc, cmd)
	if !errors.Is(err, session.ErrRevisionMoved) {
		rs.diary.AuditChange(rc, p, "realm "+current.Name, strings.Join(changes, ", "), err)
	}
	return current, err
}

// DeleteRealm is DELETE /api/realm-configs/{id}. It ends all sessions made through it.
func (rs *realms) DeleteRealm(rc *exchange.Request) error {
	return rs.records.deleteRecord(rc, "realm", func(by string) session.Command { return &session.DeleteRealm{ID: rc.Rest, By: by} })
}
