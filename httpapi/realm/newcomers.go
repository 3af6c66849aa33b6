package realm

import (
	"encoding/json"

	"github.com/google/uuid"

	"cloakroom/cluster/session"
)

// Newcomers says how a realm takes users of whom it has no record and whom it has not checked itself: a service vouches
// for them. What the configuration says of users who log in goes for these as well. Where it says nothing they get a
// record, for such a realm may be there for the service alone.
type Newcomers struct {
	realm  *session.Realm
	config struct {
		AutoCreateUsers *bool `json:"autoCreateUsers"`
		EphemeralUsers  bool  `json:"ephemeralUsers"`
	}
	err error
}

// NewcomersOf reads it from a realm's record.
func NewcomersOf(r *session.Realm) *Newcomers {
	n := &Newcomers{realm: r}
	if len(r.Config) > 0 && json.Unmarshal(r.Config, &n.config) != nil {
		n.err = ErrUnavailable
	}
	return n
}

// Identify returns the id of such a user, by canonical name, and whether a record is to be made together with the session.
// Errors: session.ErrUserNotFound for one who may not come in without a record; ErrUnavailable when the configuration is
// broken.
func (n *Newcomers) Identify(username string) (id string, autoCreate bool, err error) {
	switch {
	case n.realm.Type == TypeNative:
		return "", false, session.ErrUserNotFound
	case n.err != nil:
		return "", false, n.err
	case n.config.EphemeralUsers:
		return ephemeralID(n.realm, username), false, nil
	case n.config.AutoCreateUsers != nil && !*n.config.AutoCreateUsers:
		return "", false, session.ErrUserNotFound
	}
	return uuid.NewString(), true, nil
}

// ephemeralID is the id of a user of whom no record is kept: the same at each login.
func ephemeralID(r *session.Realm, username string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(r.ID+"/"+username)).String()
}
