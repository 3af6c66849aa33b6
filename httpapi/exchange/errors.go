package exchange

import (
	"context"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/realm"
)

// What this floor itself refuses. Every other error that a client can see is defined on the floor that owns it.
var (
	ErrMalformedJSON = &session.Error{Code: "malformed-json", Message: "the body must be valid JSON, sent as application/json"}
	errBadRequest    = &session.Error{Code: "bad-request", Message: "the request is not valid HTTP: check its first line, its headers and the chunks of its body"}
	errFraming       = &session.Error{Code: "bad-framing", Message: "a request has either a Content-Length or a chunked body: send one of them, once"}
	errVersion       = &session.Error{Code: "http-version", Message: "this server speaks HTTP/1.1 and HTTP/1.0: send one of them"}
	ErrEncoding      = &session.Error{Code: "content-encoding", Message: "the body is compressed: send it as it is"}
	ErrSlowRequest   = &session.Error{Code: "request-timeout", Message: "the request did not arrive in time: send it faster"}
	ErrNotFound      = &session.Error{Code: "not-found", Message: "there is nothing at this path: check the address"}
	ErrNoSession     = &session.Error{Code: "session-not-found", Message: "there is no such session, or it has ended: list the sessions again"}
	ErrMethod        = &session.Error{Code: "method-not-allowed", Message: "this path does not know the method: see the header Allow"}
	ErrForbidden     = &session.Error{Code: "forbidden", Message: "the caller does not have the role that this needs: log in as a user who has it"}
	ErrForeignOrigin = &session.Error{Code: "foreign-origin", Message: "a page of another origin may not do this: allow its origin in the server's configuration"}
	ErrConsistency   = &session.Error{Code: "bad-consistency", Message: "the header Consistency is quorum, lease or local, and local only where the server allows it"}
	ErrBodyLimit     = &session.Error{Code: "limit-body", Message: "the body is longer than 32 KiB, or for bulk calls 256 KiB, 320 KiB of tokens to check"}
	errHeaderLimit   = &session.Error{Code: "limit-header", Message: "the request line and headers are longer than 8 KiB"}
	ErrBulkLimit     = &session.Error{Code: "limit-bulk", Message: "a bulk call makes at most 1000 sessions"}
	ErrVerifyLimit   = &session.Error{Code: ErrBulkLimit.Code, Message: "a bulk call checks at most 4096 tokens"}
	ErrInternal      = &session.Error{Code: "internal", Message: "something went wrong in this node: its log knows more under the request id"}
)

// MissingField names what a body or query lacks.
func MissingField(names string) error {
	return &session.Error{Code: "missing-field", Message: "missing or empty: " + names}
}

// BadField names what is wrong with a value.
func BadField(what string) error {
	return &session.Error{Code: "bad-field", Message: what}
}

// waitError is an error that says when to try again.
type waitError struct {
	error
	after time.Duration
}

// WaitFor makes err say when to try again.
func WaitFor(err error, after time.Duration) error { return &waitError{err, after} }

func (e *waitError) Unwrap() error { return e.error }

// WaitOf returns what to say in Retry-After.
func WaitOf(err error) time.Duration {
	if w, ok := errors.AsType[*waitError](err); ok {
		return w.after
	}
	if refusal, ok := errors.AsType[*tries.Refusal](err); ok {
		return refusal.Wait
	}
	if errors.Is(err, guard.ErrDiskLow) || errors.Is(err, guard.ErrLimitMemory) {
		return RetryRoom
	}
	return RetryAfter
}

// RefusedRead turns fasthttp's reason for not reading a request into ours.
func RefusedRead(err error) *session.Error {
	var timeout interface{ Timeout() bool }
	var header *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return ErrBodyLimit
	case errors.As(err, &header):
		return errHeaderLimit
	case errors.Is(err, fasthttp.ErrDuplicateContentLength), errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		return errFraming
	case errors.As(err, &timeout) && timeout.Timeout(), strings.HasSuffix(err.Error(), os.ErrDeadlineExceeded.Error()):
		return ErrSlowRequest // within a chunk's size it is wrapped so that only the text is left
	}
	return errBadRequest
}

// AnswerOf is the one map from errors to answers. What it does not know is a 500 that says nothing of its cause: known
// is false, and the caller logs it.
func AnswerOf(err error) (status int, e *session.Error, known bool) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = cluster.ErrTimeout // of a read: do has seen to the rest
	}
	if !errors.As(err, &e) {
		return fasthttp.StatusInternalServerError, ErrInternal, false
	}
	if status = StatusOf(e.Code); status == 0 {
		return fasthttp.StatusInternalServerError, ErrInternal, false
	}
	return status, e, true
}

// StatusOf returns the status of an error's code, 0 for one that no client is meant to see.
func StatusOf(code string) int {
	switch code {
	case ErrMalformedJSON.Code, errBadRequest.Code, errFraming.Code, ErrConsistency.Code, "missing-field", "bad-field",
		session.ErrBadHandle.Code, session.ErrBadUserName.Code, session.ErrBadRoleName.Code, session.ErrBadRealmName.Code,
		session.ErrReservedAttribute.Code, session.ErrBadLimits.Code, realm.ErrPasswordTooShort.Code, realm.ErrPasswordTooLong.Code,
		realm.ErrUnknownRealmType.Code, realm.ErrRealmConfig.Code, realm.ErrTwoCredentials.Code,
		ErrGrantType.Code, ErrScope.Code, ErrOAuthTwice.Code:
		return fasthttp.StatusBadRequest
	case session.ErrSessionInvalid.Code, session.ErrSessionIdle.Code, session.ErrTooLate.Code, realm.ErrInvalidCredentials.Code:
		return fasthttp.StatusUnauthorized
	case ErrForbidden.Code, ErrForeignOrigin.Code, session.ErrPrivilegedUser.Code:
		return fasthttp.StatusForbidden
	case ErrNotFound.Code, ErrNoSession.Code, session.ErrUserNotFound.Code, session.ErrRoleNotFound.Code, session.ErrRealmNotFound.Code,
		roster.ErrMemberNotFound.Code:
		return fasthttp.StatusNotFound
	case ErrMethod.Code:
		return fasthttp.StatusMethodNotAllowed
	case ErrSlowRequest.Code:
		return fasthttp.StatusRequestTimeout
	case ErrEncoding.Code:
		return fasthttp.StatusUnsupportedMediaType
	case errVersion.Code:
		return fasthttp.StatusHTTPVersionNotSupported
	case session.ErrUserExists.Code, session.ErrRoleExists.Code, session.ErrRealmExists.Code, session.ErrRoleInUse.Code,
		session.ErrRealmInUse.Code, session.ErrRoleBuiltIn.Code, session.ErrRealmBuiltIn.Code, session.ErrLastAdmin.Code,
		session.ErrUserDisabled.Code, session.ErrRealmDisabled.Code, session.ErrNotFirstUser.Code, session.ErrKeyUsed.Code,
		cluster.ErrAmbiguousName.Code, roster.ErrQuorumAtRisk.Code, roster.ErrLastVoter.Code, roster.ErrNotTransferred.Code, consensus.ErrNotVoter.Code,
		propose.ErrUpgradePending.Code, ErrBackupRuns.Code, ErrBundleRuns.Code:
		return fasthttp.StatusConflict
	case session.ErrConflict.Code:
		return fasthttp.StatusPreconditionFailed
	case ErrBodyLimit.Code, errHeaderLimit.Code, ErrBulkLimit.Code, session.ErrLimitAttributeKey.Code,
		session.ErrLimitAttributeValue.Code, session.ErrLimitAttributes.Code, session.ErrLimitSessionBytes.Code,
		session.ErrLimitRoles.Code, session.ErrLimitRealmConfig.Code, session.ErrLimitDescription.Code, propose.ErrTooLarge.Code:
		return fasthttp.StatusRequestEntityTooLarge
	case tries.ErrFailures.Code, ErrChecks.Code, guard.ErrLimitMemory.Code, session.ErrLimitSessions.Code, session.ErrLimitUserSessions.Code:
		return fasthttp.StatusTooManyRequests
	case ErrInternal.Code:
		return fasthttp.StatusInternalServerError
	case cluster.ErrNoLeader.Code, cluster.ErrOverloaded.Code, cluster.ErrTimeout.Code, cluster.ErrOutcomeUnknown.Code,
		cluster.ErrJoining.Code, cluster.ErrDraining.Code, cluster.ErrCutOff.Code, session.ErrRevisionMoved.Code,
		realm.ErrBusy.Code, realm.ErrUnavailable.Code, guard.ErrDiskLow.Code:
		return fasthttp.StatusServiceUnavailable
	}
	return 0
}

// ErrBackupRuns refuses a second backup at a time: each makes the node keep what changes meanwhile.
var ErrBackupRuns = &session.Error{Code: "backup-runs", Message: "this node writes a backup already: wait for that one, or ask another node"}

// ErrBundleRuns refuses a second support bundle at a time: one is enough for a node in trouble.
var ErrBundleRuns = &session.Error{Code: "support-bundle-runs", Message: "this node makes a support bundle already: it takes some seconds at most"}

// ErrChecks refuses a caller who has had more tokens checked than it may.
var ErrChecks = &session.Error{Code: "limit-checks", Message: "this caller has had too many tokens checked: wait, and ask again"}

// What the token endpoint refuses.
var (
	ErrGrantType  = &session.Error{Code: "bad-grant-type", Message: "grant_type is client_credentials or password, or absent"}
	ErrScope      = &session.Error{Code: "bad-scope", Message: "scopes are not known here: the roles of the user hold"}
	ErrOAuthTwice = &session.Error{Code: "bad-request-parameters", Message: "a parameter came twice: send it once"}
)

// IsUnknown reports whether a command may have taken effect, or may still, although there was an error.
func IsUnknown(err error) bool {
	return errors.Is(err, cluster.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// IsSignedOut reports whether an error says that there is no such session, rather than that nobody can tell.
func IsSignedOut(err error) bool {
	return errors.Is(err, session.ErrSessionInvalid) || errors.Is(err, session.ErrSessionIdle)
}

// WriteError writes the one form that every error has. error and message say the same: clients of one product read
// the first, those of the other the second.
func WriteError(ctx *fasthttp.RequestCtx, status int, e *session.Error, id []byte, wait time.Duration) {
	h := &ctx.Response.Header
	if status == fasthttp.StatusServiceUnavailable || status == fasthttp.StatusTooManyRequests {
		h.Set(HeaderRetryAfter, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	h.SetBytesV(HeaderRequestID, id)
	h.SetContentType(TypeJSON)
	ctx.SetStatusCode(status)
	ctx.Response.ResetBody()
	b := AppendString([]byte(`{"code":`), e.Code)
	b = AppendString(append(b, `,"error":`...), e.Message)
	b = AppendString(append(b, `,"message":`...), e.Message)
	ctx.SetBody(append(b, '}'))
}
