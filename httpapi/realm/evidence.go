package realm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	"cloakroom/cluster/session"
)

// The types of realm that need no password: the request itself says who sends it.
const (
	TypeHeader = "header" // a proxy names the user in headers of the request
	TypeJWT    = "jwt"    // an issuer of signed tokens does
)

// Evidence is what a request without a password brings along. It is valid only as long as the request is.
type Evidence struct {
	Peer    netip.Addr                // the socket's own address, never one that somebody claims; zero: not to be trusted
	Headers iter.Seq2[[]byte, []byte] // every line of the head, in the spelling that it came in; nil: none
	Bearer  string                    // the token of "Authorization: Bearer"
	Other   bool                      // the request has credentials of another kind, too
}

var (
	// ErrNoEvidence says that the request brings nothing along that this realm looks at: it may have other credentials.
	ErrNoEvidence = &session.Error{Code: "no-evidence", Message: "the request does not say who sends it: log in"}
	// ErrTwoCredentials refuses to choose.
	ErrTwoCredentials = &session.Error{Code: "two-credentials", Message: "the request has credentials of two kinds: send one of them"}
	// ErrAmbiguousHeaders is ErrInvalidCredentials to errors.Is. Only a trusted proxy is told.
	ErrAmbiguousHeaders = &session.Error{Code: ErrInvalidCredentials.Code, Message: "a header that says who the user is came twice, or in another spelling: the proxy must remove those of its clients"}
	// ErrTokenExpired is ErrInvalidCredentials to errors.Is. Only the holder of a token that was good is told.
	ErrTokenExpired = &session.Error{Code: ErrInvalidCredentials.Code, Message: "the token has expired: get a new one from its issuer"}
)

// refusal is of somebody who has proved who it is, or of a request that proves nothing either way.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// IsGuess reports whether an error of Authenticate or AuthenticateRequest means that credentials were wrong, and should
// be counted. Those who have proved who they are and may not come in have guessed nothing: to count them would let one of
// them hold up all others behind the same proxy.
func IsGuess(err error) bool {
	_, refused := errors.AsType[refusal](err)
	return errors.Is(err, ErrInvalidCredentials) && !refused
}

// AuthenticateRequest is Authenticate for realms of the types header and jwt; of any other it is ErrInvalidCredentials.
// Further errors: ErrNoEvidence, ErrTwoCredentials, ErrBadUsername, ErrTokenExpired, ErrUnavailable (of a realm whose
// keys can't be had, or whose configuration is broken), those of the Directory and of the context.
//
// No password hash is spent: what is compared here is too long to be guessed, and who exists is looked up only for
// those who have proved that they are it.
func (a *Authenticator) AuthenticateRequest(ctx context.Context, realmName string, ev Evidence) (Identity, error) {
	if !session.ValidName(realmName) {
		return Identity{}, ErrInvalidCredentials
	}
	_, realm, err := a.directory.User(ctx, realmName, "")
	if err != nil {
		return Identity{}, fmt.Errorf("look up realm: %w", err)
	}
	if realm == nil || !realm.Enabled || realm.Type != TypeHeader && realm.Type != TypeJWT {
		return Identity{}, ErrInvalidCredentials
	}
	settings, err := a.evidence.settings(a.sealer, realm)
	if err != nil {
		a.log.Error("nobody can log in here: the realm's configuration can't be used", "realm", realm.Name, "err", err)
		return Identity{}, fmt.Errorf("use realm %q: %w", realm.Name, ErrUnavailable)
	}
	claim, err := settings.prove(ctx, ev)
	if err != nil {
		return Identity{}, err
	}
	claim.username = CanonicalUsername(realm.Type, claim.username)
	if !session.ValidName(claim.username) {
		return Identity{}, refusal{ErrBadUsername}
	}
	// The realm once more, together with the user. What has changed since is refused when the session is made.
	user, same, err := a.directory.User(ctx, realmName, claim.username)
	if err != nil {
		return Identity{}, fmt.Errorf("look up user: %w", err)
	}
	if same == nil || same.Rev != realm.Rev {
		return Identity{}, session.ErrRevisionMoved
	}
	return claim.identity(realm, user, settings.common())
}

// claim is who somebody has proved to be.
type claim struct {
	username string
	groups   []string
	until    time.Time // a session must not outlive it; zero: no limit
}

// prover is the configuration of a realm whose users prove who they are by the request.
type prover interface {
	prove(ctx context.Context, ev Evidence) (claim, error)
	common() evidenceConfig
}

// evidenceConfig is the part of the configuration that both types have.
type evidenceConfig struct {
	AutoCreateUsers bool    `json:"autoCreateUsers"` // make a record at a user's first login
	EphemeralUsers  bool    `json:"ephemeralUsers"`  // let users in who have no record, and make none
	GroupRoles      roleMap `json:"groupRoles"`      // what groups are worth; all others are worth nothing
}

// identity decides whether the user may come in, and with which roles.
func (c claim) identity(realm *session.Realm, user *session.User, cfg evidenceConfig) (Identity, error) {
	identity := Identity{Realm: realm.Name, Username: c.username, RealmRev: realm.Rev, FixedRoles: true, Until: c.until}
	var own []string
	switch {
	case user != nil && user.Disabled:
		return Identity{}, refusal{ErrInvalidCredentials}
	case user != nil:
		identity.UserID, identity.UserRev, own = user.ID, user.Rev, user.RoleNames
	case cfg.EphemeralUsers:
		identity.UserID = ephemeralID(realm, c.username)
	case cfg.AutoCreateUsers:
		identity.UserID, identity.AutoCreate = uuid.NewString(), true
	default:
		return Identity{}, refusal{ErrInvalidCredentials}
	}
	identity.Roles = union(union(own, realm.RoleNames), cfg.GroupRoles.of(c.groups))
	return identity, nil
}

// roleMap says which roles a group of another system stands for. A group may be given one role or a list.
type roleMap map[string]nameList

func (m roleMap) of(groups []string) (roles []string) {
	for _, group := range groups {
		roles = append(roles, m[group]...)
	}
	return roles
}

// check refuses what no login could make use of.
func (m roleMap) check() error {
	if len(m) > maxGroupRoles {
		return badConfig(fmt.Sprintf("groupRoles has at most %d groups", maxGroupRoles))
	}
	for _, roles := range m {
		for _, role := range roles {
			if !session.ValidName(role) {
				return badConfig("groupRoles: " + session.ErrBadRoleName.Message)
			}
		}
	}
	return nil
}

// nameList is a list of names that may be written as one name.
type nameList []string

// UnmarshalJSON accepts both spellings.
func (l *nameList) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*l = nil
		if string(b) != "null" {
			*l = nameList{one}
		}
		return nil
	}
	var list []string
	err := json.Unmarshal(b, &list)
	*l = list
	return err
}

// evidence is what the realms of these types share. Configurations are kept as they were read: to unseal and parse one
// at each call would cost more than the rest of the call.
type evidence struct {
	keys *keyStore
	now  func() time.Time

	mu     sync.Mutex
	parsed map[string]parsedRealm // by the realm's id
}

func newEvidence(cfg Config) *evidence {
	return &evidence{
		keys:   newKeyStore(cfg.KeySetDir, cfg.RootCAs, time.Now, cfg.Logger),
		now:    time.Now,
		parsed: map[string]parsedRealm{},
	}
}

type parsedRealm struct {
	stored []byte
	prover prover
}

// settings returns a realm's configuration, ready to use.
func (e *evidence) settings(s *sealer, realm *session.Realm) (prover, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, ok := e.parsed[realm.ID]; ok && bytes.Equal(known.stored, realm.Config) {
		return known.prover, nil
	}
	plain, err := s.open(realm.Type, realm.Config)
	if err != nil {
		return nil, err
	}
	p, err := e.parse(realm.Type, plain)
	if err != nil {
		return nil, err
	}
	if len(e.parsed) >= maxParsedRealms {
		clear(e.parsed) // they are only copies
	}
	e.parsed[realm.ID] = parsedRealm{realm.Config, p}
	return p, nil
}

func (e *evidence) parse(realmType string, plain []byte) (prover, error) {
	if realmType == TypeHeader {
		return parseHeaderConfig(plain)
	}
	c, err := parseJWTConfig(plain)
	if err != nil {
		return nil, err
	}
	return &jwtRealm{jwtConfig: c, keys: e.keys, now: e.now}, nil
}

// strictConfig reads a configuration into v. A member that v does not know is refused: who misspells one here would
// leave out a check.
func strictConfig(config []byte, v any) error {
	object, err := parseObject(config)
	if err != nil {
		return err
	}
	plain, err := marshal(object)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(v)
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return badConfig(wrongType.Field + " has the wrong type")
	}
	if err != nil {
		return badConfig("has a member that realms of its type don't have, or one of the wrong type")
	}
	return nil
}
