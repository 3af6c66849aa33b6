package realm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// binder checks passwords by a simple bind at a directory server, each on a connection of its own: a bind changes
// whose connection it is, so one that was used is never used again.
type binder struct {
	gate    *gate
	rootCAs *x509.CertPool
}

func newBinder(rootCAs *x509.CertPool) *binder {
	return &binder{gate: newGate(maxBinds, bindQueue), rootCAs: rootCAs}
}

// bind returns nil when the server accepts the password. Errors: ErrInvalidCredentials, ErrUnavailable, ErrBusy, or
// the context's.
func (b *binder) bind(ctx context.Context, c ldapConfig, username, password string) error {
	if password == "" {
		return ErrInvalidCredentials
	}
	if err := b.gate.enter(ctx); err != nil {
		return fmt.Errorf("bind at directory server: %w", err)
	}
	defer b.gate.leave()

	limited, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout))
	defer cancel()
	err := b.bindWithin(limited, c, username, password)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("bind at directory server: %w", ctx.Err())
	}
	return err
}

func (b *binder) bindWithin(ctx context.Context, c ldapConfig, username, password string) error {
	conn, err := b.connect(ctx, c)
	if err != nil {
		return fmt.Errorf("connect to directory server: %w: %w", ErrUnavailable, err)
	}
	// A deadline in the past wakes whoever reads or writes; the bind's error is the one that counts.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	client := ldap.NewConn(&boundedConn{Conn: conn, left: maxReply}, c.SSL)
	client.SetTimeout(time.Duration(c.Timeout))
	client.Start()
	err = client.Bind(c.bindName(username), password)
	// The verdict is in: an error on closing adds nothing to it.
	_ = client.Close()
	return bindVerdict(err)
}

// connect opens the connection; with ssl the server must prove its name.
func (b *binder) connect(ctx context.Context, c ldapConfig) (net.Conn, error) {
	dialer := &net.Dialer{}
	if !c.SSL {
		return dialer.DialContext(ctx, "tcp", c.address())
	}
	secure := &tls.Dialer{
		NetDialer: dialer,
		Config:    &tls.Config{ServerName: c.Host, RootCAs: b.rootCAs, MinVersion: tls.VersionTLS12},
	}
	return secure.DialContext(ctx, "tcp", c.address())
}

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
	return fmt.Errorf("bind at directory server: %w: %w", ErrUnavailable, err)
}

// boundedConn ends a connection whose other side sends more than a bind's answer can need. The reader of packets
// would otherwise buffer whatever length a server claims.
type boundedConn struct {
	net.Conn
	left int
}

var errReplyTooLong = errors.New("the directory server's reply is too long")

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errReplyTooLong
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
