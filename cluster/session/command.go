package session

import "time"

// Kind numbers the commands. Numbers are stored: never change or reuse one.
type Kind uint8

// The kinds of command.
const (
	KindGenesis      Kind = 1
	KindTick         Kind = 2
	KindCreate       Kind = 3
	KindPut          Kind = 4
	KindDelete       Kind = 5
	KindInvalidate   Kind = 6
	KindTouch        Kind = 7
	KindExpire       Kind = 8
	KindEndUser      Kind = 9
	KindSweep        Kind = 10
	KindCreateUser   Kind = 11
	KindUpdateUser   Kind = 12
	KindDeleteUser   Kind = 13
	KindCreateRole   Kind = 14
	KindUpdateRole   Kind = 15
	KindDeleteRole   Kind = 16
	KindCreateRealm  Kind = 17
	KindUpdateRealm  Kind = 18
	KindDeleteRealm  Kind = 19
	KindPutMember    Kind = 20
	KindRemoveMember Kind = 21
	KindPace         Kind = 22 // since version 2
	KindHandover     Kind = 23 // since version 3
	KindSetLimits    Kind = 24 // since version 4
	KindEndAll       Kind = 25 // since version 4
	KindSetRoles     Kind = 26 // since version 4
)

// Version range of commands that this build knows; members announce it. Version 2 adds Pace, and Member.Pin;
// version 3 Handover; version 4 SetLimits, EndAll, SetRoles, SurfaceBearer, UpdateRealm.IfRev, and who ends sessions (By).
const (
	MinVersion = 1
	MaxVersion = 4
)

// Command is one change of the state. Its fields are the whole input of its effect, together with the entry's stamp
// and index.
type Command interface {
	Kind() Kind
}

// Genesis is the first command of a cluster: it names it and makes the realm native and the built-in roles. A second
// one is refused (ErrOtherCluster), unless it carries the same id.
type Genesis struct {
	ClusterID string
	RealmID   string // ids of the records that it makes
	AdminID   string
	ServiceID string
}

// Tick carries nothing but the entry's stamp: a new leader proves its term by it, and read leases are counted from it. Its
// result says whether the command before it was a Handover.
type Tick struct{}

// Create makes a session; nothing else does. Everything that admission needs is in the one command: revisions that
// the credentials were checked against, the session that it replaces, the user's limit.
type Create struct {
	Key        Key
	Realm      string
	Username   string
	UserID     string   // id of the user's record if there is none yet (AutoCreate, external realms)
	UserRev    uint64   // User.Rev that was checked; 0: there was no record
	RealmRev   uint64   // Realm.Rev that was checked
	AutoCreate bool     // make the user's record when it is missing
	Roles      []string // with FixedRoles: the session's roles, for external realms
	FixedRoles bool
	Surface    Surface
	CSRFOff    bool
	Address    string
	Agent      string
	Idle       time.Duration // idle timeout, > 0
	Lifetime   time.Duration // absolute lifetime, > 0
	Attrs      []Attr
	Replaces   Key  // session to end in the same step; zero: none
	NotAfter   Time // refuse with ErrTooLate after it; zero: no limit
	NoAdmin    bool // refuse a user that has the role admin (ErrPrivilegedUser)
}

// Put sets attributes, all in one step. It never makes a session.
type Put struct {
	Key   Key
	Attrs []Attr
	IfRev uint64 // 0: unconditional; else Session.Rev must be this (ErrConflict)
}

// Delete removes attributes; no names: all of them.
type Delete struct {
	Key   Key
	Names []string
	IfRev uint64
}

// Invalidate ends a session. Ending one that has ended, or never was, is ErrSessionInvalid. A Reason since version 4 without
// By is ErrBadCommand until the machine is Modern, as it is to older builds.
type Invalidate struct {
	Key    Key
	Reason Reason
	By     string // who does, where it is not the owner: user@realm, or a node and why; at most MaxBy bytes, longer ones are cut
}

// Use says when a session was last used.
type Use struct {
	Key Key
	At  Time
}

// Touch moves last uses forward, never back; sessions that have ended are passed over.
type Touch struct{ Uses []Use }

// Expire ends those of the keys whose replicated last use plus idle timeout is at or before Cutoff, or whose absolute
// lifetime is over at the entry's stamp. A touch that came first wins.
type Expire struct {
	Cutoff Time
	Keys   []Key
}

// EndUser ends all sessions of a user in O(1), by an end index that lookups compare; Sweep removes the records.
type EndUser struct {
	Realm    string
	Username string
	Reason   Reason // 0: EndedByUser
	By       string // as Invalidate's
}

// EndAll ends every session of every realm, at a price that does not depend on their number; Sweep removes the records.
type EndAll struct{ By string }

// SetRoles replaces the roles of all sessions of a user that were fixed at their creation; those that follow the records
// are left alone.
type SetRoles struct {
	Realm    string
	Username string
	Roles    []string
}

// SetLimits replaces the limits of the whole cluster.
type SetLimits struct {
	Limits Limits
	If     *Limits // nil: unconditional; else what they must be now, as Machine.SetLimits returns it (ErrRevisionMoved)
}

// Sweep turns at most MaxSweep sessions that were ended by an end index into tombstones.
type Sweep struct{}

// CreateUser makes a user's record. With First it does so only if no user ever was (ErrNotFirstUser).
type CreateUser struct {
	ID           string
	Realm        string
	Username     string
	RoleNames    []string
	PasswordHash Secret
	First        bool
}

// UpdateUser changes what is not nil. A new password or Disabled ends all sessions of the user.
type UpdateUser struct {
	ID           string
	RoleNames    *[]string
	PasswordHash *Secret
	Disabled     *bool
	By           string // as Invalidate's
}

// DeleteUser removes a user's record and ends all its sessions.
type DeleteUser struct{ ID, By string }

// CreateRole makes a role.
type CreateRole struct{ ID, Name, Desc string }

// UpdateRole changes a role's description.
type UpdateRole struct{ ID, Desc string }

// DeleteRole removes a role that nobody has (ErrRoleInUse).
type DeleteRole struct{ ID string }

// CreateRealm makes a realm.
type CreateRealm struct {
	ID, Name, Type string
	Enabled        bool
	RoleNames      []string
	Config         []byte
}

// UpdateRealm replaces a realm's settings. Disabling it ends no session but lets nobody in.
type UpdateRealm struct {
	ID        string
	Enabled   bool
	RoleNames []string
	Config    []byte
	IfRev     uint64 // 0: unconditional; else Realm.Rev must be this (ErrRevisionMoved). Since version 4
}

// DeleteRealm removes a realm that has no users (ErrRealmInUse), and ends all sessions made through it.
type DeleteRealm struct{ ID, By string }

// PutMember sets a node's entry in the roster; Joined is the entry's stamp when it is new.
type PutMember struct{ Member Member }

// RemoveMember takes a node from the roster.
type RemoveMember struct{ ID string }

// Pace sets the pace of touches: see Granularity. Grace is never below Touch (ErrBadCommand): what expiry forgives must
// not be less than what touches leave out. So to raise both, raise Grace first; to lower them, lower Touch first.
type Pace struct {
	Touch time.Duration // lowest granularity of touches
	Grace time.Duration // the granularity that expiry reckons with
}

// Handover is the last command of a leader that leaves its office in order: all read leases have been given back, and it
// grants no more. It counts only in an entry of that leader's own term: one that came late into a later one, of the same
// node, would say what is not true any more.
type Handover struct{ Term uint64 }

// Kind returns the stored number of each command.
func (*Genesis) Kind() Kind      { return KindGenesis }
func (*Tick) Kind() Kind         { return KindTick }
func (*Create) Kind() Kind       { return KindCreate }
func (*Put) Kind() Kind          { return KindPut }
func (*Delete) Kind() Kind       { return KindDelete }
func (*Invalidate) Kind() Kind   { return KindInvalidate }
func (*Touch) Kind() Kind        { return KindTouch }
func (*Expire) Kind() Kind       { return KindExpire }
func (*EndUser) Kind() Kind      { return KindEndUser }
func (*Sweep) Kind() Kind        { return KindSweep }
func (*CreateUser) Kind() Kind   { return KindCreateUser }
func (*UpdateUser) Kind() Kind   { return KindUpdateUser }
func (*DeleteUser) Kind() Kind   { return KindDeleteUser }
func (*CreateRole) Kind() Kind   { return KindCreateRole }
func (*UpdateRole) Kind() Kind   { return KindUpdateRole }
func (*DeleteRole) Kind() Kind   { return KindDeleteRole }
func (*CreateRealm) Kind() Kind  { return KindCreateRealm }
func (*UpdateRealm) Kind() Kind  { return KindUpdateRealm }
func (*DeleteRealm) Kind() Kind  { return KindDeleteRealm }
func (*PutMember) Kind() Kind    { return KindPutMember }
func (*RemoveMember) Kind() Kind { return KindRemoveMember }
func (*Pace) Kind() Kind         { return KindPace }
func (*Handover) Kind() Kind     { return KindHandover }
func (*SetLimits) Kind() Kind    { return KindSetLimits }
func (*EndAll) Kind() Kind       { return KindEndAll }
func (*SetRoles) Kind() Kind     { return KindSetRoles }

// Entry is what one raft log entry holds: commands in order, under one stamp.
type Entry struct {
	Stamp    Time // cluster time of the leader that proposed it
	Commands []Command
	Term     uint64 // of the log entry. Not encoded: whoever applies it knows, the same on every node
}

// Result is the outcome of one command.
type Result struct {
	Err   *Error // nil: it took effect
	Rev   uint64 // Create, Put, Delete: the session's revision after it; users, realms: theirs
	Ended uint32 // how many sessions it ended (Create: evicted and replaced)
	More  bool   // Sweep: there is more to sweep
	// Handed is a Tick's: the command before it was a Handover. It is for the leader that has proposed the tick: it is not
	// encoded, and a machine that was restored in between does not know and says no.
	Handed bool
}
