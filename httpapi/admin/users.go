package admin

import (
	"log/slog"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// users is /api/users.
type users struct {
	hasher  Hasher
	log     *slog.Logger
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
	records *records
}

// userBody is a user as the API shows it: never with anything of its password.
type userBody struct {
	ID        string          `json:"id"`
	Username  string          `json:"username"`
	RealmName string          `json:"realmName"`
	CreatedAt exchange.Moment `json:"createdAt"`
	UpdatedAt exchange.Moment `json:"updatedAt"`
	RoleNames []string        `json:"roleNames"`
	Disabled  bool            `json:"disabled"`
}

func showUser(u *session.User) userBody {
	return userBody{u.ID, u.Username, u.Realm, exchange.Moment(u.Created), exchange.Moment(u.Updated), exchange.OrEmpty(u.RoleNames), u.Disabled}
}

// userInput is the body of POST and PUT. What is absent is left alone by PUT.
type userInput struct {
	Username  *string   `json:"username"`
	RealmName *string   `json:"realmName"`
	Password  *string   `json:"password"`
	RoleNames *[]string `json:"roleNames"`
	Disabled  *bool     `json:"disabled"`
}

// ListUsers is GET /api/users?limit=N&after=ID: an array, in the order of ids. Where there are more, the header Link
// names the next page (RFC 8288).
func (us *users) ListUsers(rc *exchange.Request) error {
	if _, err := us.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	limit := exchange.MaxPage
	if rc.Ctx.QueryArgs().Has("limit") {
		n, err := exchange.PageSize(rc)
		if err != nil {
			return err
		}
		limit = n
	}
	after := string(rc.Ctx.QueryArgs().Peek("after"))
	var found []*session.User
	if err := us.state.Read(rc, func(m *session.Machine) { found = m.Users(after, limit+1) }); err != nil {
		return err
	}
	if len(found) > limit {
		found = found[:limit]
		rc.Ctx.Response.Header.Set(fasthttp.HeaderLink, "</api/users?limit="+strconv.Itoa(limit)+"&after="+found[limit-1].ID+`>; rel="next"`)
	}
	list := make([]userBody, 0, len(found))
	for _, u := range found {
		list = append(list, showUser(u))
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, list)
}

// GetUser is GET /api/users/{id}.
func (us *users) GetUser(rc *exchange.Request) error {
	if _, err := us.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	level, err := us.state.Level(rc)
	if err != nil {
		return err
	}
	return us.answerUser(rc, level, rc.Rest, fasthttp.StatusOK)
}

// answerUser answers with a user's record.
func (us *users) answerUser(rc *exchange.Request, level cluster.Level, id string, status int) error {
	var found *session.User
	err := us.state.Cluster.Read(us.state.Context(rc), level, func(m *session.Machine) { found, _ = m.UserByID(id) })
	switch {
	case err != nil:
		return err
	case found == nil:
		return session.ErrUserNotFound
	}
	return exchange.WriteJSON(rc, status, showUser(found))
}

// CreateUser is POST /api/users.
func (us *users) CreateUser(rc *exchange.Request) error {
	p, err := us.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in userInput
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	if in.Username == nil || *in.Username == "" {
		return exchange.MissingField("username is required")
	}
	cmd := &session.CreateUser{ID: credential.NewID(), Realm: session.NativeRealm, Username: *in.Username}
	if in.RealmName != nil && *in.RealmName != "" {
		cmd.Realm = *in.RealmName
	}
	if in.RoleNames != nil {
		cmd.RoleNames = *in.RoleNames
	}
	if err := us.completeUser(rc, cmd, in); err != nil {
		return err
	}
	_, err = us.state.Do(rc, cmd)
	us.diary.Audit(rc, p, audit.Event{Name: audit.Changed, Target: "user " + cmd.ID, Realm: cmd.Realm, User: cmd.Username, Detail: "created"}, err)
	if err != nil {
		return err
	}
	if in.Disabled != nil && *in.Disabled { // a second step: should it fail, the user is there, and the caller is told
		disable := &session.UpdateUser{ID: cmd.ID, Disabled: in.Disabled, By: p.Name()}
		_, err := us.state.Do(rc, disable)
		us.diary.Audit(rc, p, audit.Event{Name: audit.Changed, Target: "user " + cmd.ID, Realm: cmd.Realm, User: cmd.Username, Detail: changesOf(disable)}, err)
		if err != nil {
			return err
		}
	}
	return us.answerUser(rc, us.state.OwnLevel(), cmd.ID, fasthttp.StatusCreated)
}

// completeUser gives a new user the name and the password that its realm's type asks for.
func (us *users) completeUser(rc *exchange.Request, cmd *session.CreateUser, in userInput) error {
	var of *session.Realm
	if err := us.state.Cluster.Read(us.state.Context(rc), access.DecisionLevel, func(m *session.Machine) { of, _ = m.RealmByName(cmd.Realm) }); err != nil {
		return err
	}
	if of == nil {
		return session.ErrRealmNotFound
	}
	cmd.Username = realm.CanonicalUsername(of.Type, cmd.Username)
	given := in.Password != nil && *in.Password != ""
	switch native := of.Type == realm.TypeNative; {
	case native && !given:
		return exchange.MissingField("password is required for users of a native realm")
	case !native && given:
		return exchange.BadField("the users of this realm have their passwords elsewhere: leave password out")
	case !given:
		return nil
	}
	hash, err := us.hasher.HashPassword(us.state.Context(rc), *in.Password)
	cmd.PasswordHash = hash
	return err
}

// UpdateUser is PUT /api/users/{id}. A new password or disabled ends all sessions of the user.
func (us *users) UpdateUser(rc *exchange.Request) error {
	p, err := us.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in userInput
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	var current *session.User
	native := false
	err = us.state.Cluster.Read(us.state.Context(rc), access.DecisionLevel, func(m *session.Machine) {
		if current, _ = m.UserByID(rc.Rest); current != nil {
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
		return exchange.BadField("a user can't be renamed or moved to another realm: make a new one")
	case in.Password != nil && *in.Password == "":
		return exchange.MissingField("password is empty: leave it out to keep it")
	case in.Password != nil && !native:
		return exchange.BadField("the user has its password elsewhere: leave password out")
	}
	cmd := &session.UpdateUser{ID: current.ID, RoleNames: in.RoleNames, Disabled: in.Disabled, By: p.Name()}
	if in.Password != nil {
		hash, err := us.hasher.HashPassword(us.state.Context(rc), *in.Password)
		if err != nil {
			return err
		}
		cmd.PasswordHash = &hash
	}
	_, err = us.state.Do(rc, cmd)
	us.diary.Audit(rc, p, audit.Event{
		Name: audit.Changed, Target: "user " + current.ID, Realm: current.Realm, User: current.Username, Detail: changesOf(cmd),
	}, err)
	if err != nil {
		return err
	}
	return us.answerUser(rc, us.state.OwnLevel(), current.ID, fasthttp.StatusOK)
}

// DeleteUser is DELETE /api/users/{id}. It ends all sessions of the user.
func (us *users) DeleteUser(rc *exchange.Request) error {
	about := func() audit.Event { // before it is gone; the audit log is not worth a question to other nodes
		e := audit.Event{Target: "user " + rc.Rest}
		err := us.state.Cluster.Read(us.state.Context(rc), cluster.Local, func(m *session.Machine) {
			if u, ok := m.UserByID(rc.Rest); ok {
				e.Realm, e.User = u.Realm, u.Username
			}
		})
		if err != nil {
			us.log.Debug("the user to delete is audited without its name", "id", rc.Rest, "error", err)
		}
		return e
	}
	return us.records.deleteAudited(rc, about, func(by string) session.Command { return &session.DeleteUser{ID: rc.Rest, By: by} })
}

// changesOf names what a command changes of a user, and roles by their names.
func changesOf(cmd *session.UpdateUser) string {
	var changes []string
	if cmd.PasswordHash != nil {
		changes = append(changes, "password")
	}
	if cmd.RoleNames != nil {
		changes = append(changes, "roles "+strings.Join(*cmd.RoleNames, " "))
	}
	if cmd.Disabled != nil {
		changes = append(changes, "disabled "+strconv.FormatBool(*cmd.Disabled))
	}
	return strings.Join(changes, ", ")
}

// records is what users, roles and realms have in common.
type records struct {
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
}

// deleteRecord is what the three kinds of DELETE have in common.
func (r *records) deleteRecord(rc *exchange.Request, kind string, command func(by string) session.Command) error {
	return r.deleteAudited(rc, func() audit.Event { return audit.Event{Target: kind + " " + rc.Rest} }, command)
}

// deleteAudited is deleteRecord with about, which says what the audit log calls the record.
func (r *records) deleteAudited(rc *exchange.Request, about func() audit.Event, command func(by string) session.Command) error {
	p, err := r.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	e := about()
	e.Name, e.Detail = audit.Changed, "deleted"
	_, err = r.state.Do(rc, command(p.Name()))
	r.diary.Audit(rc, p, e, err)
	if err != nil {
		return err
	}
	return exchange.NoContent(rc)
}
