package realm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"cloakroom/httpapi/realm/slapdtest"
)

func TestServerMustProveItsName(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	other := slapdtest.NewCA(t)
	trusted, stranger := server.CA.Pool(), other.Pool()
	ssl, start := settings{"ssl": true}, settings{"startTls": true}
	for _, tt := range []struct {
		name, host string
		port       int
		how        settings
		roots      *x509.CertPool
		err        error
	}{
		{"ssl, by its name", "localhost", server.TLSPort, ssl, trusted, nil},
		{"ssl, by another name", "127.0.0.1", server.TLSPort, ssl, trusted, ErrUnavailable},
		{"ssl, another CA", "localhost", server.TLSPort, ssl, stranger, ErrUnavailable},
		{"ssl, the system's CAs", "localhost", server.TLSPort, ssl, nil, ErrUnavailable},
		{"ssl, CA in the configuration", "localhost", server.TLSPort, merge(ssl, settings{"caCertificates": server.CA.PEM}), nil, nil},
		{"ssl, CA beside others", "localhost", server.TLSPort, merge(ssl, settings{"caCertificates": other.PEM + server.CA.PEM}), stranger, nil},
		{"ssl, another CA in the configuration", "localhost", server.TLSPort, merge(ssl, settings{"caCertificates": other.PEM}), nil, ErrUnavailable},
		{"ssl, CA does not make a name right", "127.0.0.1", server.TLSPort, merge(ssl, settings{"caCertificates": server.CA.PEM}), nil, ErrUnavailable},
		{"ssl to the plain port", "localhost", server.Port, ssl, trusted, ErrUnavailable},
		{"StartTLS, by its name", "localhost", server.Port, start, trusted, nil},
		{"StartTLS, by another name", "127.0.0.1", server.Port, start, trusted, ErrUnavailable},
		{"StartTLS, another CA", "localhost", server.Port, start, stranger, ErrUnavailable},
		{"StartTLS, CA in the configuration", "localhost", server.Port, merge(start, settings{"caCertificates": server.CA.PEM}), nil, nil},
		{"StartTLS to the TLS port", "localhost", server.TLSPort, start, trusted, ErrUnavailable},
		{"plain", "127.0.0.1", server.Port, nil, trusted, nil},
		{"plain to the TLS port", "127.0.0.1", server.TLSPort, nil, trusted, ErrUnavailable},
	} {
		for kind, of := range map[string]func(int, settings) settings{"template": byTemplate, "search": bySearch} {
			how := merge(settings{"host": tt.host, "ephemeralUsers": true}, tt.how)
			f := ldapFixture(t, Config{RootCAs: tt.roots}, of(tt.port, how))
			if _, err := f.login(t, "ann"); !errors.Is(err, tt.err) || errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("%s, %s: %v, want %v", tt.name, kind, err, tt.err)
			}
		}
	}
	for _, line := range server.Log() {
		// Whatever came over TLS stands behind a line that says so; the configurations that must fail have said nothing.
		if strings.Contains(line, "result: BIND") && strings.Contains(line, "err=49") {
			t.Errorf("a password was tried that should not have been: %s", line)
		}
	}
}

// startTLSReply is what a server says to StartTLS: message 1, extended response, this result.
func startTLSReply(result byte) string {
	return "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01" + string(result) + "\x04\x00\x04\x00"
}

// What a stranger puts behind the answer to StartTLS, in clear, must never be taken for an answer within TLS.
func TestStartTLSAnswers(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	pair := server.Certificate()
	const bindAccepted = "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
	for _, tt := range []struct {
		name, reply string
		err         error
	}{
		{"in order", startTLSReply(0), nil},
		{"lengths longer than needed", "\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00", nil},
		{"an answer injected behind it", startTLSReply(0) + bindAccepted, ErrUnavailable},
		{"refused", startTLSReply(2), ErrUnavailable},
		{"another message", strings.Replace(startTLSReply(0), "\x02\x01\x01", "\x02\x01\x02", 1), ErrUnavailable},
		{"a bind's answer", bindAccepted, ErrUnavailable},
		{"huge", "\x30\x84\x7f\xff\xff\xff\x02\x01\x01", ErrUnavailable},
		{"indefinite", "\x30\x80\x02\x01\x01", ErrUnavailable},
		{"short", "\x30\x03\x02\x01\x01", ErrUnavailable},
		{"no LDAP", "HTTP/1.1 400 Bad Request\r\n\r\n", ErrUnavailable},
		{"nothing", "", ErrUnavailable},
	} {
		silent := tt.reply == "" // waits for the client to give up, which it may do before it has asked
		port := serve(t, func(conn net.Conn) {
			request := make([]byte, len(startTLSRequest))
			if _, err := io.ReadFull(conn, request); !silent && err != nil || err == nil && string(request) != startTLSRequest {
				t.Errorf("%s: the request is %q, %v", tt.name, request, err)
			}
			_, _ = io.WriteString(conn, tt.reply)
			secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
			if secure.Handshake() == nil {
				_, _ = secure.Read(make([]byte, 1000))
				_, _ = io.WriteString(secure, bindAccepted)
			}
		})
		config := byTemplate(port, settings{"host": "localhost", "startTls": true, "ephemeralUsers": true})
		if silent {
			config = merge(config, hasty("500ms"))
		}
		f := ldapFixture(t, Config{RootCAs: server.CA.Pool()}, config)
		if _, err := f.login(t, "ann"); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// The time for a server is over: that is the server's fault, and not the end of the client's own time.
func TestServerThatNeverShakesHands(t *testing.T) {
	port := serve(t, answering())
	f := ldapFixture(t, Config{}, byTemplate(port, merge(hasty("200ms"), settings{"ssl": true, "ephemeralUsers": true})))
	if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want ErrUnavailable alone", err)
	}
}
