package realm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// ldapLink is one connection to a directory server. It is one account's for all its life: of a user, whose password it
// checks and who is the only one that it asks for, or the service account. So nothing is ever asked in the name of
// somebody who logged in before.
type ldapLink struct {
	client  *ldap.Conn
	wire    *boundedConn
	server  *ldapServer
	spoiled bool        // a deadline has cut it off
	expiry  *time.Timer // closes it when it lies idle for too long
}

// dial opens a connection; with ssl or startTls the server must prove its name before anything is said.
func (s *ldapServer) dial(ctx context.Context) (*ldapLink, error) {
	ctx, cancel := context.WithTimeout(ctx, s.connectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address.dial)
	if err != nil {
		return nil, fault(serverFails, fmt.Errorf("connect: %w", err))
	}
	encrypted := s.ssl || s.startTLS
	if encrypted {
		secure, err := s.secure(ctx, conn)
		if err != nil {
			_ = conn.Close()
			return nil, fault(serverFails, err)
		}
		conn = secure
	}
	wire := &boundedConn{Conn: conn}
	wire.allow(maxBindReply)
	client := ldap.NewConn(wire, encrypted)
	client.Start()
	return &ldapLink{client: client, wire: wire, server: s}, nil
}

// secure turns a new connection into one with TLS.
func (s *ldapServer) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if s.startTLS {
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
		err := startTLS(conn)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("start TLS: %w", err)
		}
	}
	secure := tls.Client(conn, &tls.Config{ServerName: s.address.host, RootCAs: s.rootCAs, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("check the server's certificate: %w", err)
	}
	return secure, nil
}

// past as a deadline wakes whoever reads or writes.
var past = time.Unix(1, 0)

// do runs one operation of at most so many bytes of answer.
func (l *ldapLink) do(ctx context.Context, reply int64, operation func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.wire.allow(reply)
	if deadline, ok := ctx.Deadline(); ok {
		l.client.SetTimeout(max(time.Until(deadline), time.Millisecond))
	}
	stop := context.AfterFunc(ctx, func() { _ = l.wire.SetDeadline(past) })
	err := operation()
	if !stop() {
		l.spoiled = true
	}
	return err
}

// bind returns nil when the server accepts the password. Errors: ErrInvalidCredentials, or a ldapFault.
func (l *ldapLink) bind(ctx context.Context, name, password string) error {
	// To a server a bind without name or without password is an anonymous one, and succeeds (RFC 4513, 5.1).
	if name == "" || password == "" {
		return ErrInvalidCredentials
	}
	return bindVerdict(l.do(ctx, maxBindReply, func() error { return l.client.Bind(name, password) }))
}

// search returns the entries of a complete answer. limit is the most that may come; one more is an error. Errors:
// errNoSuchObject when there is no base, or a ldapFault.
func (l *ldapLink) search(ctx context.Context, base string, scope, limit int, filter string, attributes ...string) ([]*ldap.Entry, error) {
	if len(attributes) == 0 {
		attributes = []string{"1.1"} // no attributes (RFC 4511, 4.5.1.8)
	}
	seconds := 1
	if deadline, ok := ctx.Deadline(); ok {
		seconds = max(seconds, int(time.Until(deadline)/time.Second))
	}
	request := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, limit+1, seconds, false, filter, attributes, nil)
	var result *ldap.SearchResult
	err := l.do(ctx, maxSearchReply, func() (err error) {
		result, err = l.client.Search(request)
		return err
	})
	if result != nil && len(result.Entries) > limit && (err == nil || ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded)) {
		return nil, fault(answerUnclear, fmt.Errorf("search below %q: %w than %d", base, errTooMany, limit))
	}
	if err = searchVerdict(result, err); err != nil {
		return nil, err
	}
	return result.Entries, nil
}

// exists reports whether a search finds anything at all; how much more there would be does not matter.
func (l *ldapLink) exists(ctx context.Context, base string, scope, least int, filter string) (bool, error) {
	request := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, least, 0, false, filter, []string{"1.1"}, nil)
	var result *ldap.SearchResult
	err := l.do(ctx, maxSearchReply, func() (err error) {
		result, err = l.client.Search(request)
		return err
	})
	if result != nil && ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		err = nil
	}
	if err = searchVerdict(result, err); err != nil {
		return false, err
	}
	return len(result.Entries) >= least, nil
}

func (l *ldapLink) close() {
	// It must not wait for a server that does not read any more.
	_ = l.wire.SetDeadline(past)
	// The verdict is in: an error on closing adds nothing to it.
	_ = l.client.Close()
}

// faultKind says what is to be done about a question that found no answer.
type faultKind uint8

const (
	serverFails   faultKind = iota // this server does not work at the moment: another one may
	answerUnclear                  // there was an answer, but not a clear and complete one: for this user
	realmFails                     // there was an answer, and no user can be asked for
)

// ldapFault is why the directory could not say something. It is ErrUnavailable to errors.Is.
type ldapFault struct {
	kind  faultKind
	cause error
}

func fault(kind faultKind, cause error) error { return &ldapFault{kind, cause} }

func (f *ldapFault) Error() string { return f.cause.Error() }

// Unwrap hides a deadline of our own among the causes: the caller would take it for the caller's.
func (f *ldapFault) Unwrap() []error {
	if errors.Is(f.cause, context.DeadlineExceeded) || errors.Is(f.cause, context.Canceled) {
		return []error{ErrUnavailable}
	}
	return []error{ErrUnavailable, f.cause}
}

// isFault reports whether an error is a fault of that kind.
func isFault(err error, kind faultKind) bool {
	f, ok := errors.AsType[*ldapFault](err)
	return ok && f.kind == kind
}

// errTooMany is the answer to a search that found more than it may.
var errTooMany = errors.New("more entries")

// errNoSuchObject is the answer to a search whose base does not exist, or is hidden from who asks.
var errNoSuchObject = errors.New("the directory has no such entry")

var errReferral = errors.New("the directory server refers to another one, which is never asked: give a base DN that this server holds whole, or Active Directory's global catalog (port 3268 or 3269)")

// bindVerdict tells a refusal of this user from a server that can't answer. Only what speaks of the credentials
// counts as a refusal; anything else would tell users that their password is wrong while the server is ill.
func bindVerdict(err error) error {
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorAnyOf(err,
		ldap.LDAPResultInvalidCredentials,
		ldap.LDAPResultNoSuchObject,
		ldap.LDAPResultInvalidDNSyntax,
		ldap.LDAPResultInappropriateAuthentication, // the entry has no password
		ldap.LDAPResultConstraintViolation,         // locked by a password policy
		ldap.LDAPResultInsufficientAccessRights,
		ldap.LDAPResultUnwillingToPerform): // account disabled, at some servers
		return ErrInvalidCredentials
	}
	return fmt.Errorf("bind: %w", answerFault(err))
}

func searchVerdict(result *ldap.SearchResult, err error) error {
	switch {
	case err == nil && len(result.Referrals) > 0:
		return fmt.Errorf("search: %w", fault(answerUnclear, errReferral))
	case err == nil:
		return nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return errNoSuchObject
	}
	return fmt.Errorf("search: %w", answerFault(err))
}

// answerFault sorts what a server answered beside what was asked for. What is no answer of LDAP's is the server's failure.
func answerFault(err error) error {
	answer, ok := errors.AsType[*ldap.Error](err)
	switch {
	case !ok, answer.ResultCode >= ldap.ErrorNetwork && answer.ResultCode <= ldap.ErrorMalformedPacket:
		return fault(serverFails, err)
	case answer.ResultCode == ldap.LDAPResultReferral:
		return fault(answerUnclear, errReferral)
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultOther,
		ldap.LDAPResultOperationsError, ldap.LDAPResultProtocolError):
		return fault(serverFails, err)
	}
	return fault(answerUnclear, err)
}
