package realm

import "cloakroom/cluster/session"

// Why a login or a realm's configuration is refused.
var (
	// ErrInvalidCredentials is one and the same for a wrong password, an unknown or disabled user and an unknown or
	// disabled realm: the answer must not tell a stranger which of them it was.
	ErrInvalidCredentials = &session.Error{Code: "invalid-credentials", Message: "the user name or the password is wrong, or the user may not log in"}
	// ErrBadUsername is ErrInvalidCredentials to errors.Is. It says more because it depends on the name's characters
	// alone, not on whether there is such a user.
	ErrBadUsername = &session.Error{Code: ErrInvalidCredentials.Code, Message: session.ErrBadUserName.Message}

	ErrBusy        = &session.Error{Code: "login-busy", Message: "too many passwords are being checked at the moment: try again"}
	ErrUnavailable = &session.Error{Code: "realm-unavailable", Message: "the realm's directory server does not answer: try again later"}

	// Why Recheck can't tell. No client sees them.
	ErrRecheckImpossible = &session.Error{Code: "recheck-impossible", Message: "the realm can't say whether a user is still there: it has no directory, or no service account to ask it with"}
	ErrRecheckUnclear    = &session.Error{Code: "recheck-unclear", Message: "the directory gives no clear answer about the user"}

	ErrPasswordTooShort = &session.Error{Code: "password-too-short", Message: "a password has at least 8 characters"}
	ErrPasswordTooLong  = &session.Error{Code: "password-too-long", Message: "a password has at most 1024 bytes"}

	ErrUnknownRealmType = &session.Error{Code: "unknown-realm-type", Message: "the type of a realm is native, ldap, header or jwt"}
	ErrRealmConfig      = &session.Error{Code: "bad-realm-config", Message: "the realm's configuration is not valid"}
)

// errHashFormat is what the parser of stored password hashes answers. It goes to the log only, never to a client.
var errHashFormat = &session.Error{Code: "bad-password-hash", Message: "the stored password hash is not a valid argon2id string within bounds"}

// badConfig names what is wrong with a configuration. It is ErrRealmConfig to errors.Is.
func badConfig(what string) error {
	return &session.Error{Code: ErrRealmConfig.Code, Message: "the realm's configuration: " + what}
}
