package httpapi

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// What this floor itself refuses. Every other error that a client can see is defined on the floor that owns it.
var (
	errMalformedJSON = &session.Error{Code: "malformed-json", Message: "the body must be valid JSON, sent as application/json"}
	errBadRequest    = &session.Error{Code: "bad-request", Message: "the request is not valid HTTP: check its first line, its headers and the chunks of its body"}
	errFraming       = &session.Error{Code: "bad-framing", Message: "a request has either a Content-Length or a chunked body: send one of them, once"}
	errVersion       = &session.Error{Code: "http-version", Message: "this server speaks HTTP/1.1 and HTTP/1.0: send one of them"}
	errEncoding      = &session.Error{Code: "content-encoding", Message: "the body is compressed: send it as it is"}
	errSlowRequest   = &session.Error{Code: "request-timeout", Message: "the request did not arrive in time: send it faster"}
	errNotFound      = &session.Error{Code: "not-found", Message: "there is nothing at this path: check the address"}
	errNoSession     = &session.Error{Code: "session-not-found", Message: "there is no such session, or it has ended: list the sessions again"}
	errMethod        = &session.Error{Code: "method-not-allowed", Message: "this path does not know the method: see the header Allow"}
	errForbidden     = &session.Error{Code: "forbidden", Message: "the caller does not have the role that this needs: log in as a user who has it"}
	errForeignOrigin = &session.Error{Code: "foreign-origin", Message: "a page of another origin may not do this: allow its origin in the server's configuration"}
	errConsistency   = &session.Error{Code: "bad-consistency", Message: "the header Consistency is quorum, lease or local, and local only where the server allows it"}
	errFailures      = &session.Error{Code: "limit-login-failures", Message: "too many failed logins: wait as long as Retry-After says"}
	errBodyLimit     = &session.Error{Code: "limit-body", Message: "the body is longer than 32 KiB, or 256 KiB for bulk calls"}
	errHeaderLimit   = &session.Error{Code: "limit-header", Message: "the request line and headers are longer than 8 KiB"}
	errBulkLimit     = &session.Error{Code: "limit-bulk", Message: "a bulk call makes at most 1000 sessions"}
	errInternal      = &session.Error{Code: "internal", Message: "something went wrong in this node: its log knows more under the request id"}
)

// missingField names what a body or query lacks.
func missingField(names string) error {
	return &session.Error{Code: "missing-field", Message: "missing or empty: " + names}
}

// badField names what is wrong with a value.
func badField(what string) error {
	return &session.Error{Code: "bad-field", Message: what}
}

// waitError is an error that says when to try again.
type waitError struct {
	error
	after time.Duration
}

func (e *waitError) Unwrap() error { return e.error }

// waitOf returns what to say in Retry-After.
func waitOf(err error) time.Duration {
	if w, ok := errors.AsType[*waitError](err); ok {
		return w.after
	}
	if errors.Is(err, guard.ErrDiskLow) || errors.Is(err, guard.ErrLimitMemory) {
		return retryRoom
	}
	return retryAfter
}

// refusedRead turns fasthttp's reason for not reading a request into ours.
func refusedRead(err error) *session.Error {
	var timeout interface{ Timeout() bool }
	var header *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return errBodyLimit
	case errors.As(err, &header):
		return errHeaderLimit
	case errors.Is(err, fasthttp.ErrDuplicateContentLength), errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		return errFraming
	case errors.As(err, &timeout) && timeout.Timeout(), strings.HasSuffix(err.Error(), os.ErrDeadlineExceeded.Error()):
		return errSlowRequest // within a chunk's size it is wrapped so that only the text is left
	}
	return errBadRequest
}

// answerOf is the one map from errors to answers. What it does not know is a 500 that says nothing of its cause: known
// is false, and the caller logs it.
func answerOf(err error) (status int, e *session.Error, known bool) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = cluster.ErrTimeout // of a read: do has seen to the rest
	}
	if !errors.As(err, &e) {
		return fasthttp.StatusInternalServerError, errInternal, false
	}
	if status = statusOf(e.Code); status == 0 {
		return fasthttp.StatusInternalServerError, errInternal, false
	}
	return status, e, true
}

// statusOf returns the status of an error's code, 0 for one that no client is meant to see.
func statusOf(code string) int {
	switch code {
	case errMalformedJSON.Code, errBadRequest.Code, errFraming.Code, errConsistency.Code, "missing-field", "bad-field",
		session.ErrBadHandle.Code, session.ErrBadUserName.Code, session.ErrBadRoleName.Code, session.ErrBadRealmName.Code,
		session.ErrReservedAttribute.Code, realm.ErrPasswordTooShort.Code, realm.ErrPasswordTooLong.Code,
		realm.ErrUnknownRealmType.Code, realm.ErrRealmConfig.Code:
		return fasthttp.StatusBadRequest
	case session.ErrSessionInvalid.Code, session.ErrSessionIdle.Code, session.ErrTooLate.Code, realm.ErrInvalidCredentials.Code:
		return fasthttp.StatusUnauthorized
	case errForbidden.Code, errForeignOrigin.Code, session.ErrPrivilegedUser.Code:
		return fasthttp.StatusForbidden
	case errNotFound.Code, errNoSession.Code, session.ErrUserNotFound.Code, session.ErrRoleNotFound.Code, session.ErrRealmNotFound.Code,
		roster.ErrMemberNotFound.Code:
		return fasthttp.StatusNotFound
	case errMethod.Code:
		return fasthttp.StatusMethodNotAllowed
	case errSlowRequest.Code:
		return fasthttp.StatusRequestTimeout
	case errEncoding.Code:
		return fasthttp.StatusUnsupportedMediaType
	case errVersion.Code:
		return fasthttp.StatusHTTPVersionNotSupported
	case session.ErrUserExists.Code, session.ErrRoleExists.Code, session.ErrRealmExists.Code, session.ErrRoleInUse.Code,
		session.ErrRealmInUse.Code, session.ErrRoleBuiltIn.Code, session.ErrRealmBuiltIn.Code, session.ErrLastAdmin.Code,
		session.ErrUserDisabled.Code, session.ErrRealmDisabled.Code, session.ErrNotFirstUser.Code, session.ErrKeyUsed.Code,
		cluster.ErrAmbiguousName.Code, roster.ErrQuorumAtRisk.Code, roster.ErrLastVoter.Code, roster.ErrNotTransferred.Code, consensus.ErrNotVoter.Code,
		propose.ErrUpgradePending.Code:
		return fasthttp.StatusConflict
	case session.ErrConflict.Code:
		return fasthttp.StatusPreconditionFailed
	case errBodyLimit.Code, errHeaderLimit.Code, errBulkLimit.Code, session.ErrLimitAttributeKey.Code,
		session.ErrLimitAttributeValue.Code, session.ErrLimitAttributes.Code, session.ErrLimitSessionBytes.Code,
		session.ErrLimitRoles.Code, session.ErrLimitRealmConfig.Code, session.ErrLimitDescription.Code, propose.ErrTooLarge.Code:
		return fasthttp.StatusRequestEntityTooLarge
	case errFailures.Code, guard.ErrLimitMemory.Code:
		return fasthttp.StatusTooManyRequests
	case errInternal.Code:
		return fasthttp.StatusInternalServerError
	case cluster.ErrNoLeader.Code, cluster.ErrOverloaded.Code, cluster.ErrTimeout.Code, cluster.ErrOutcomeUnknown.Code,
		cluster.ErrJoining.Code, cluster.ErrDraining.Code, cluster.ErrCutOff.Code, session.ErrRevisionMoved.Code,
		realm.ErrBusy.Code, realm.ErrUnavailable.Code, guard.ErrDiskLow.Code:
		return fasthttp.StatusServiceUnavailable
	}
	return 0
}
