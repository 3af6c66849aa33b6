package httpapi

import (
	"encoding/json"
	"strconv"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// moment is a time as JSON shows it.
type moment session.Time

// MarshalJSON writes RFC 3339 with milliseconds.
func (t moment) MarshalJSON() ([]byte, error) { return appendTime(nil, session.Time(t)), nil }

// userBody is a user as the API shows it: never with anything of its password.
type userBody struct {
	ID        string   `json:"id"`
	Username  string   `json:"username"`
	RealmName string   `json:"realmName"`
	CreatedAt moment   `json:"createdAt"`
	UpdatedAt moment   `json:"updatedAt"`
	RoleNames []string `json:"roleNames"`
	Disabled  bool     `json:"disabled"`
}

func showUser(u *session.User) userBody {
	return userBody{u.ID, u.Username, u.Realm, moment(u.Created), moment(u.Updated), orEmpty(u.RoleNames), u.Disabled}
}

// orEmpty keeps a list from being shown as null.
func orEmpty(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// userInput is the body of POST and PUT. What is absent is left alone by PUT.
type userInput struct {
	Username  *string   `json:"username"`
	RealmName *string   `json:"realmName"`
	Password  *string   `json:"password"`
	RoleNames *[]string `json:"roleNames"`
	Disabled  *bool     `json:"disabled"`
}

// listUsers is GET /api/users?limit=N&after=ID: an array, in the order of ids. Where there are more, the header Link
// names the next page (RFC 8288).
func (s *Server) listUsers(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	limit := maxPage
	if rc.ctx.QueryArgs().Has("limit") {
		n, err := pageSize(rc)
		if err != nil {
			return err
		}
		limit = n
	}
	after := string(rc.ctx.QueryArgs().Peek("after"))
	var found []*session.User
	if err := s.read(rc, func(m *session.Machine) { found = m.Users(after, limit+1) }); err != nil {
		return err
	}
	if len(found) > limit {
		found = found[:limit]
		rc.ctx.Response.Header.Set(fasthttp.HeaderLink, "</api/users?limit="+strconv.Itoa(limit)+"&after="+found[limit-1].ID+`>; rel="next"`)
	}
	list := make([]userBody, 0, len(found))
	for _, u := range found {
		list = append(list, showUser(u))
	}
	return writeJSON(rc, fasthttp.StatusOK, list)
}

// getUser is GET /api/users/{id}.
func (s *Server) getUser(rc *request) error {
	if _, err := s.authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	level, err := s.level(rc)
	if err != nil {
		return err
	}
	return s.answerUser(rc, level, rc.rest, fasthttp.StatusOK)
}

// answerUser answers with a user's record.
func (s *Server) answerUser(rc *request, level cluster.Level, id string, status int) error {
	var found *session.User
	err := s.cluster.Read(s.context(rc), level, func(m *session.Machine) { found, _ = m.UserByID(id) })
	switch {
	case err != nil:
		return err
	case found == nil:
		return session.ErrUserNotFound
	}
	return writeJSON(rc, status, showUser(found))
}

// read is a read at the level of the request.
func (s *Server) read(rc *request, fn func(*session.Machine)) error {
	level, err := s.level(rc)
	if err != nil {
		return err
	}
	return s.cluster.Read(s.context(rc), level, fn)
}

// createUser is POST /api/users.
func (s *Server) createUser(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in userInput
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	if in.Username == nil || *in.Username == "" {
		return missingField("username is required")
	}
	cmd := &session.CreateUser{ID: newID(), Realm: session.NativeRealm, Username: *in.Username}
	if in.RealmName != nil && *in.RealmName != "" {
		cmd.Realm = *in.RealmName
	}
	if in.RoleNames != nil {
		cmd.RoleNames = *in.RoleNames
	}
	if err := s.completeUser(rc, cmd, in); err != nil {
		return err
	}
	if _, err := s.do(rc, cmd); err != nil {
		return err
	}
	s.audit(rc, p, "user created", "user", cmd.Username, "realm", cmd.Realm, "id", cmd.ID)
	if in.Disabled != nil && *in.Disabled { // a second step: should it fail, the user is there, and the caller is told
		if _, err := s.do(rc, &session.UpdateUser{ID: cmd.ID, Disabled: in.Disabled}); err != nil {
			return err
		}
	}
	return s.answerUser(rc, cluster.Quorum, cmd.ID, fasthttp.StatusCreated)
}

// completeUser gives a new user the name and the password that its realm's type asks for.
func (s *Server) completeUser(rc *request, cmd *session.CreateUser, in userInput) error {
	var of *session.Realm
	if err := s.cluster.Read(s.context(rc), cluster.Quorum, func(m *session.Machine) { of, _ = m.RealmByName(cmd.Realm) }); err != nil {
		return err
	}
	if of == nil {
		return session.ErrRealmNotFound
	}
	cmd.Username = realm.CanonicalUsername(of.Type, cmd.Username)
	given := in.Password != nil && *in.Password != ""
	switch native := of.Type == realm.TypeNative; {
	case native && !given:
		return missingField("password is required for users of a native realm")
	case !native && given:
		return badField("the users of this realm have their passwords elsewhere: leave password out")
	case !given:
		return nil
	}
	hash, err := s.cfg.Hasher.HashPassword(s.context(rc), *in.Password)
	cmd.PasswordHash = hash
	return err
}

// updateUser is PUT /api/users/{id}. A new password or disabled ends all sessions of the user.
func (s *Server) updateUser(rc *request) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in userInput
	if err := decodeJSON(rc, &in); err != nil {
		return err
	}
	var current *session.User
	native := false
	err = s.cluster.Read(s.context(rc), cluster.Quorum, func(m *session.Machine) {
		if current, _ = m.UserByID(rc.rest); current != nil {
			of, ok := m.RealmByName(current.Realm)
			native = ok && of.Type == realm.TypeNative
		}
	})
	if err != nil {
		return err
	}
	switch {
	case current == nil:
		return session.ErrUserNotFound
	case in.Username != nil && *in.Username != current.Username, in.RealmName != nil && *in.RealmName != current.Realm:
		return badField("a user can't be renamed or moved to another realm: make a new one")
	case in.Password != nil && *in.Password == "":
		return missingField("password is empty: leave it out to keep it")
	case in.Password != nil && !native:
		return badField("the user has its password elsewhere: leave password out")
	}
	cmd := &session.UpdateUser{ID: current.ID, RoleNames: in.RoleNames, Disabled: in.Disabled}
	if in.Password != nil {
		hash, err := s.cfg.Hasher.HashPassword(s.context(rc), *in.Password)
		if err != nil {
			return err
		}
		cmd.PasswordHash = &hash
	}
	if _, err := s.do(rc, cmd); err != nil {
		return err
	}
	s.audit(rc, p, "user changed", "user", current.Username, "realm", current.Realm, "id", current.ID,
		"password", cmd.PasswordHash != nil, "roles", in.RoleNames != nil, "disabled", in.Disabled != nil && *in.Disabled)
	return s.answerUser(rc, cluster.Quorum, current.ID, fasthttp.StatusOK)
}

// deleteUser is DELETE /api/users/{id}. It ends all sessions of the user.
func (s *Server) deleteUser(rc *request) error {
	return s.deleteRecord(rc, "user", &session.DeleteUser{ID: rc.rest})
}

// deleteRecord is what the three kinds of DELETE have in common.
func (s *Server) deleteRecord(rc *request, kind string, cmd session.Command) error {
	p, err := s.authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	if _, err := s.do(rc, cmd); err != nil {
		return err
	}
	s.audit(rc, p, kind+" deleted", "id", rc.rest)
	return noContent(rc)
}

var _ json.Marshaler = moment(0)
