package session

// Error is an error with a stable code. It travels between nodes as its code and is equal, to errors.Is, to every
// other Error of that code: so a sentinel survives the way over the wire.
type Error struct {
	Code    string // stable, lower-case words joined by hyphens
	Message string // what happened and what to do about it
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// What Apply and the decoders refuse, and why.
var (
	ErrSessionInvalid = &Error{"session-invalid", "there is no such session, or it has ended: log in again"}
	ErrSessionIdle    = &Error{"session-idle-timeout", "the session was idle for too long: log in again"}
	ErrKeyUsed        = &Error{"key-used", "this session key was used before: ask for a new one"}
	ErrTooLate        = &Error{"too-late", "the login page was issued too long ago: load it again"}
	ErrRevisionMoved  = &Error{"revision-moved", "the user or the realm changed while the credentials were checked: try again"}
	ErrConflict       = &Error{"precondition-failed", "the session has changed since: read it again"}
	ErrPrivilegedUser = &Error{"privileged-user", "sessions of users with the role admin are made by a login only"}
	ErrBadHandle      = &Error{"bad-handle", "a handle is 32 hexadecimal digits"}

	ErrBadUserName   = &Error{"bad-username", "user names are 1 to 128 characters of A-Z a-z 0-9 . _ @ -"}
	ErrUserExists    = &Error{"user-exists", "the realm has a user of that name"}
	ErrUserNotFound  = &Error{"user-not-found", "there is no such user"}
	ErrUserDisabled  = &Error{"user-disabled", "the user is disabled"}
	ErrNotFirstUser  = &Error{"not-first-user", "the first user was made before"}
	ErrLastAdmin     = &Error{"last-admin", "this is the last enabled user with the role admin: make another one first"}
	ErrBadRoleName   = &Error{"bad-role-name", "role names are 1 to 128 characters of A-Z a-z 0-9 . _ @ -"}
	ErrRoleExists    = &Error{"role-exists", "there is a role of that name"}
	ErrRoleNotFound  = &Error{"role-not-found", "there is no such role: make it first"}
	ErrRoleInUse     = &Error{"role-in-use", "users or realms have this role: take it from them first"}
	ErrRoleBuiltIn   = &Error{"role-built-in", "the roles admin and service can't be removed or renamed"}
	ErrBadRealmName  = &Error{"bad-realm-name", "realm names are 1 to 128 characters of A-Z a-z 0-9 . _ @ -"}
	ErrRealmExists   = &Error{"realm-exists", "there is a realm of that name"}
	ErrRealmNotFound = &Error{"realm-not-found", "there is no such realm"}
	ErrRealmDisabled = &Error{"realm-disabled", "the realm is disabled"}
	ErrRealmInUse    = &Error{"realm-in-use", "the realm has users: remove them first"}
	ErrRealmBuiltIn  = &Error{"realm-built-in", "the realm native can't be removed, renamed or disabled"}

	ErrLimitAttributeKey   = &Error{"limit-attribute-key", "an attribute's key is 1 to 128 bytes long"}
	ErrLimitAttributeValue = &Error{"limit-attribute-value", "an attribute's value is at most 4096 bytes long"}
	ErrLimitAttributes     = &Error{"limit-attributes", "a session holds at most 64 attributes"}
	ErrLimitSessionBytes   = &Error{"limit-session-bytes", "a session's attributes hold at most 16384 bytes in all"}
	ErrLimitRoles          = &Error{"limit-roles", "a user or realm has at most 64 roles"}
	ErrLimitRealmConfig    = &Error{"limit-realm-config", "a realm's configuration is at most 16384 bytes long"}
	ErrLimitDescription    = &Error{"limit-description", "a role's description is at most 1024 bytes long"}
	ErrLimitUserSessions   = &Error{"limit-user-sessions", "the user has as many sessions as one may have: end one of them first"}
	ErrLimitSessions       = &Error{"limit-sessions", "the cluster holds as many sessions as it is set to hold"}
	ErrBadLimits           = &Error{"bad-limits", "a limit is negative, or above what it may be at most"}
	ErrReservedAttribute   = &Error{"reserved-attribute", "CSRFToken is not an attribute"}

	// ErrBadCommand is the answer to a field that no user chose: a missing or taken id, a timeout of zero. The fault
	// is the proposing node's.
	ErrBadCommand   = &Error{"bad-command", "a field of the command is missing, malformed or taken: report this as a bug"}
	ErrUnknownKind  = &Error{"unknown-command-kind", "this version does not know a command of the log: start a newer one"}
	ErrBadEncoding  = &Error{"bad-encoding", "the bytes are not a valid encoding"}
	ErrOtherCluster = &Error{"other-cluster", "the cluster has another id"}
)
