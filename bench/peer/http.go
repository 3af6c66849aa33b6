package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Target is one node's API.
type Target struct {
	Host string // host:port
	TLS  *tls.Config
}

// ParseTarget reads http://host[:port] or https://host[:port]. roots are the CAs trusted with https; nil: the system's.
func ParseTarget(text string, roots *x509.CertPool) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: %w", text, err)
	}
	if u.User != nil {
		return Target{}, errors.New("target: credentials belong into --user and the environment, not into a URL")
	}
	if u.Host == "" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return Target{}, fmt.Errorf("target %q: need http://host:port or https://host:port", text)
	}
	t := Target{Host: u.Host}
	port := "80"
	switch u.Scheme {
	case "http":
	case "https":
		port = "443"
		t.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: roots}
	default:
		return Target{}, fmt.Errorf("target %q: need http or https", text)
	}
	if u.Port() == "" {
		t.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return t, nil
}

// URL returns the target with a path.
func (t Target) URL(path string) string {
	if t.TLS != nil {
		return "https://" + t.Host + path
	}
	return "http://" + t.Host + path
}

// Conn sends one request after another over one connection, opened at the first request and again after a failure. It
// never repeats a request: a failed one is the measurement's business. It costs the shared machine far less than a
// pooling client, which matters where client and server have the same cores.
type Conn struct {
	target  Target
	timeout time.Duration
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)

	conn   net.Conn // nil: not connected
	reader *bufio.Reader
	answer fasthttp.Response
}

// NewConn returns a connection to target that gives each request at most timeout.
func NewConn(target Target, timeout time.Duration) *Conn {
	return &Conn{target: target, timeout: timeout, dial: new(net.Dialer).DialContext, reader: bufio.NewReaderSize(nil, maxHeader)}
}

// Do sends a complete request and returns its answer, which is valid until the next call. An answer other than 2xx is
// a *StatusError.
func (c *Conn) Do(ctx context.Context, request []byte) (*fasthttp.Response, error) {
	deadline := time.Now().Add(c.timeout)
	if c.conn == nil {
		if err := c.connect(ctx, deadline); err != nil {
			return nil, err
		}
	}
	if err := c.exchange(request, deadline); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if c.answer.ConnectionClose() {
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	if code := c.answer.StatusCode(); code < 200 || code > 299 {
		body := c.answer.Body()
		return nil, &StatusError{Code: code, Body: string(body[:min(len(body), maxExcerpt)])}
	}
	return &c.answer, nil
}

func (c *Conn) connect(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", c.target.Host)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.target.TLS != nil {
		secure := tls.Client(conn, c.target.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return errors.Join(fmt.Errorf("connect: %w", err), conn.Close())
		}
		conn = secure
	}
	c.conn = conn
	c.reader.Reset(conn)
	return nil
}

func (c *Conn) exchange(request []byte, deadline time.Time) error {
	if err := c.conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := c.conn.Write(request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := c.answer.ReadLimitBody(c.reader, maxAnswer); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// Close closes the connection if there is one; the next Do opens another.
func (c *Conn) Close() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	if err := conn.Close(); err != nil {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}

// StatusError is an answer that is not 2xx.
type StatusError struct {
	Code int
	Body string // its beginning
}

func (e *StatusError) Error() string {
	return "answered " + strconv.Itoa(e.Code) + ": " + e.Body
}

// Label is the status, under which it is counted.
func (e *StatusError) Label() string { return strconv.Itoa(e.Code) }

// wrongAnswer is a 2xx answer that says something else than it must.
type wrongAnswer struct{ want, got string }

func (e *wrongAnswer) Error() string {
	return fmt.Sprintf("answer should name %q: %q", e.want, e.got[:min(len(e.got), maxMismatchReport)])
}

// Label is what it is counted under.
func (e *wrongAnswer) Label() string { return "wrong-answer" }
