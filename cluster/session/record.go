package session

import (
	"sort"
	"time"
)

// Surface says which login made a session; the CSRF rules differ by it.
type Surface uint8

// The surfaces. Their numbers are stored.
const (
	SurfaceFusion  Surface = 1 // POST /api/session
	SurfaceMMonit  Surface = 2 // /z_security_check
	SurfaceService Surface = 3 // POST /api/sessions, by a service for its user
	SurfaceBearer  Surface = 4 // POST /oauth2/token: good as a bearer token only, not as a cookie. Since version 4
)

func (s Surface) valid() bool { return s >= SurfaceFusion && s <= SurfaceBearer }

// Attr is one attribute of a session.
type Attr struct{ Key, Value string }

// Head is what a lookup shows of a session: all but what only its owner and listings ask for. It may be kept.
type Head struct {
	Key      Key
	Realm    string
	Username string
	UserID   string
	Roles    []string // fixed at creation, sorted; nil: the roles follow the user's record and the realm. Not to be changed
	Surface  Surface
	CSRFOff  bool // z_csrf_protection=off at the login
	Created  Time
	LastUse  Time          // replicated: lags behind the true last use
	Expires  Time          // end of the absolute lifetime
	Idle     time.Duration // idle timeout
	Seq      uint64        // number of the command that made it, in the order of all commands
	Rev      uint64        // number of the command that last changed its attributes: the ETag. A touch does not move it
	Mod      uint64        // log index of the last change of what a lookup shows. A touch does not move it
}

// Session is one session's whole record, as it was when it was read.
type Session struct {
	Head
	Address string // of the client at the login
	Agent   string // the client's User-Agent at the login
	Attrs   []Attr // sorted by key
}

// Attr returns the value of an attribute.
func (s *Session) Attr(key string) (string, bool) {
	i := sort.Search(len(s.Attrs), func(i int) bool { return s.Attrs[i].Key >= key })
	if i < len(s.Attrs) && s.Attrs[i].Key == key {
		return s.Attrs[i].Value, true
	}
	return "", false
}

// Tombstone remembers an ended session: see TombstoneLife and WhyLife.
type Tombstone struct {
	Key    Key
	Ended  Time
	Reason Reason
	Mod    uint64
	By     string // who has ended it, where that is known and it was not the owner; since version 4
}

// Reason says why a session ended. The numbers are stored.
type Reason uint8

// The reasons.
const (
	EndedByLogout   Reason = 1
	EndedByAdmin    Reason = 2
	EndedByIdle     Reason = 3
	EndedByLifetime Reason = 4
	EndedByEviction Reason = 5 // over Limits.SessionsPerUser
	EndedByLogin    Reason = 6 // a login replaced it
	EndedByUser     Reason = 7 // all of the user's sessions were ended; before version 4 also for the reasons 11 to 14
	EndedByOrphan   Reason = 8 // made, but its answer was never given

	// Since version 4.
	EndedByRecheck   Reason = 9  // a directory server knows the user no longer, or not as one who may log in
	EndedByEmergency Reason = 10 // all sessions of all users were ended
	EndedByDisabled  Reason = 11 // the user was disabled
	EndedByDeleted   Reason = 12 // the user's record was removed
	EndedByPassword  Reason = 13 // the user got a new password
	EndedByRealm     Reason = 14 // the realm was removed
)

// reasonCount is one more than the last reason; reasonCountV3 was, before version 4.
const (
	reasonCount   = 15
	reasonCountV3 = 9
)

// Valid reports whether there is such a reason.
func (r Reason) Valid() bool { return r >= EndedByLogout && r < reasonCount }

func (r Reason) String() string {
	switch r {
	case EndedByLogout:
		return "logout"
	case EndedByAdmin:
		return "admin"
	case EndedByIdle:
		return "idle"
	case EndedByLifetime:
		return "lifetime"
	case EndedByEviction:
		return "eviction"
	case EndedByLogin:
		return "login"
	case EndedByUser:
		return "user"
	case EndedByOrphan:
		return "orphan"
	case EndedByRecheck:
		return "directory"
	case EndedByEmergency:
		return "emergency"
	case EndedByDisabled:
		return "disabled"
	case EndedByDeleted:
		return "deleted"
	case EndedByPassword:
		return "password"
	case EndedByRealm:
		return "realm"
	}
	return "unknown"
}

// User is a user's record. Immutable, like Session.
type User struct {
	ID           string
	Realm        string
	Username     string
	RoleNames    []string // sorted, without duplicates
	PasswordHash Secret   // PHC string; empty: no login by password
	Disabled     bool
	Created      Time
	Updated      Time
	Rev          uint64 // number of the command that last changed it
	Mod          uint64 // log index of that command
}

// Role is a role's record. Immutable.
type Role struct {
	ID      string
	Name    string
	Desc    string
	Created Time
	Updated Time
	Mod     uint64
}

// Realm is a realm's record. Immutable.
type Realm struct {
	ID        string
	Name      string
	Type      string // "native", "ldap"
	Enabled   bool
	RoleNames []string // every user of the realm has these; sorted
	Config    []byte   // JSON; what is secret in it is sealed by the node that proposes it
	Created   Time
	Updated   Time
	Rev       uint64
	Mod       uint64
}

// Member is one node of the roster.
type Member struct {
	ID          string // UUID of the data directory
	Name        string
	Peer        string // address of the peer port
	HTTP        string // address of the API
	ReadReplica bool
	MinVersion  uint8 // range of command versions that it knows
	MaxVersion  uint8
	Joined      Time
	Pin         Pin // what an operator has decided about its vote; since version 2
}

// Pin is an operator's decision about a node's vote, which goes before what the node itself asks for. The numbers are
// stored.
type Pin uint8

// The pins.
const (
	PinNone     Pin = 0 // a node votes when it has caught up, unless it is a read replica
	PinVoter    Pin = 1 // votes, read replica or not
	PinNonVoter Pin = 2 // never votes
)

func (p Pin) String() string {
	switch p {
	case PinVoter:
		return "voter"
	case PinNonVoter:
		return "non-voter"
	}
	return ""
}

func (p Pin) valid() bool { return p <= PinNonVoter }

// Names that every cluster has from its first entry.
const (
	NativeRealm = "native"
	RoleAdmin   = "admin"
	RoleService = "service"
)

// Secret is a string that no log prints.
type Secret string

func (Secret) String() string   { return "<secret>" }
func (Secret) GoString() string { return "<secret>" }

// MarshalText keeps the secret out of JSON, and so out of structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }
