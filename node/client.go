package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// clientFlags say which node a command talks to, and as whom.
type clientFlags struct {
	DataDir      string `group:"client" default:"./cloakroom-data" placeholder:"DIR" help:"Data directory of a node on this machine: its control.sock gives an admin's rights."`
	URL          string `name:"url" group:"client" placeholder:"URL" help:"Address of a node instead, with --user."`
	User         string `group:"client" placeholder:"NAME" help:"Log in to --url as this user; the password comes from CLOAKROOM_PASSWORD, --password-file or standard input."`
	UserRealm    string `group:"client" placeholder:"REALM" help:"Realm of --user (default: native)."`
	PasswordFile string `group:"client" placeholder:"FILE" help:"File with the password of --user."`
	JSON         bool   `name:"json" group:"client" help:"Print JSON for programs."`
}

// client calls the HTTP API of one node.
type client struct {
	http     *http.Client
	base     string // scheme and host, no slash at the end
	user     string // "": no credentials are sent
	password string
	realm    string
	socket   string // "" with --url
}

// client returns the client that the flags describe.
func (a *app) client(flags *clientFlags) (*client, error) {
	if flags.URL == "" {
		return socketClient(flags)
	}
	u, err := url.Parse(flags.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, flagErrorf("url", "%q is not an address such as http://127.0.0.1:8080", flags.URL)
	}
	if u.User != nil {
		return nil, flagErrorf("url", "no credentials belong into an address: use --user")
	}
	c := &client{
		http:  &http.Client{Timeout: ClientTimeout, CheckRedirect: stayHere},
		base:  u.Scheme + "://" + u.Host,
		user:  flags.User,
		realm: flags.UserRealm,
	}
	if c.user == "" {
		return c, nil
	}
	c.password, err = a.clientPassword(flags)
	return c, err
}

func socketClient(flags *clientFlags) (*client, error) {
	if flags.User != "" {
		return nil, flagErrorf("user", "goes with --url: the control socket needs no login")
	}
	path := controlSocket(flags.DataDir)
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
	}
	return &client{
		http:   &http.Client{Timeout: ClientTimeout, Transport: transport, CheckRedirect: stayHere},
		base:   "http://localhost",
		socket: path,
	}, nil
}

// stayHere refuses redirects: the API has none, and credentials must not follow one.
func stayHere(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (a *app) clientPassword(flags *clientFlags) (string, error) {
	if flags.PasswordFile != "" {
		return a.passwordFile(flags.PasswordFile)
	}
	if password, ok := a.lookup("CLOAKROOM_PASSWORD"); ok && password != "" {
		return password, nil
	}
	return a.input().password("Password of "+flags.User, false)
}

// apiError is a refusal by the API.
type apiError struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *apiError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the node answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// call makes one request. body, when not nil, goes as JSON; the answer is decoded into the value that into points
// to, when not nil. A refusal is an *apiError.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	request, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer response.Body.Close()
	data, err := readReply(response)
	if refusal, ok := errors.AsType[*apiError](err); ok && refusal.Status == http.StatusUnauthorized && c.user == "" && c.socket == "" {
		return fmt.Errorf("%s asks for a login: name an administrator by --user (%s)", c.base, refusal.Code)
	}
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

// readReply returns an answer's body. A refusal is an *apiError.
func readReply(response *http.Response) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(response.Body, MaxReply+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(data) > MaxReply {
		return nil, fmt.Errorf("the answer is longer than %d bytes", MaxReply)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		refusal := &apiError{Status: response.StatusCode}
		if json.Unmarshal(data, refusal) != nil {
			refusal.Code, refusal.Message = "", "" // not ours: a proxy's page
		}
		return nil, refusal
	}
	return data, nil
}

// stream makes a request whose answer may take as long as it goes on, and hands its body to take. A refusal is an *apiError.
func (c *client) stream(ctx context.Context, method, path string, query url.Values, take func(io.Reader) error) error {
	request, err := c.request(ctx, method, path, query, nil)
	if err != nil {
		return err
	}
	patient := *c.http
	patient.Timeout = 0 // the node sees to it that it goes on
	response, err := patient.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		if _, err := readReply(response); err != nil {
			return err
		}
		return &apiError{Status: response.StatusCode}
	}
	return take(response.Body)
}

func (c *client) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	target := c.base + path
	if c.realm != "" {
		query = withValue(query, "realmName", c.realm)
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	if c.user != "" {
		request.SetBasicAuth(c.user, c.password)
	}
	return request, nil
}

func withValue(query url.Values, key, value string) url.Values {
	merged := url.Values{key: {value}}
	maps.Copy(merged, query)
	return merged
}

// noNodeError is a data directory on which no node answers.
type noNodeError struct{ error }

func (e *noNodeError) Unwrap() error { return e.error }

// explain says what a failed connection means to somebody who typed a command.
func (c *client) explain(err error) error {
	if address, ok := errors.AsType[*url.Error](err); ok {
		err = address.Err // its text repeats the request line, and the socket has no address to show
	}
	_, stranger := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case c.socket == "" && stranger:
		return fmt.Errorf("call %s: %w: name the file of your own authority by SSL_CERT_FILE", c.base, err)
	case c.socket == "" && errors.Is(err, io.EOF) && strings.HasPrefix(c.base, "http:"):
		return fmt.Errorf("call %s: the connection was closed without an answer: perhaps it is to be https", c.base)
	case c.socket == "":
		return fmt.Errorf("call %s: %w", c.base, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &noNodeError{fmt.Errorf("no node is running on %s: start one, or name another by --data-dir or --url", strings.TrimSuffix(c.socket, "/control.sock"))}
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s belongs to another user: run the command as the user that runs the node", c.socket)
	}
	return fmt.Errorf("call the node at %s: %w", c.socket, err)
}
