package peer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Service is the product's API as an administrator or a service sees it. It works on running nodes, whoever started
// them.
type Service struct {
	Targets  []Target      // used in turn
	User     string        // with the role admin or service
	Password Secret        //
	Timeout  time.Duration // of one measured request

	client *http.Client
	cookie string   // of the caller's login
	made   []string // ids of the users that were made for the run
	maker  string   // the first one's login, by which sessions are made; cookie, if none was made
}

// Secret is a password: it prints as <secret>.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "<secret>" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "<secret>" }

// realmName is the realm of the users that sessions are made for. It is one whose users get their records with their
// first session, since making a user with a password costs a hash; nobody ever logs in through it.
const realmName = "bench"

// Open logs in and makes sure that sessions can be made: the realm bench, and for a caller who has the role admin only,
// a user with the role service. Close takes that user away again.
func (s *Service) Open(ctx context.Context) error {
	s.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: s.Targets[0].TLS, MaxIdleConnsPerHost: maxFillParallel},
		Timeout:   s.Timeout,
	}
	var admin bool
	err := patiently(ctx, func() (err error) {
		s.cookie, err = s.login(ctx, s.User, s.Password)
		return err
	})
	if err != nil {
		return err
	}
	s.maker = s.cookie
	err = patiently(ctx, func() (err error) {
		admin, err = s.makeRealm(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if admin {
		if s.maker, err = s.makeCaller(ctx); err != nil {
			return err
		}
	}
	return s.settle(ctx, s.maker)
}

// patiently does something again when it was refused for a reason that passes, such as an election.
func patiently(ctx context.Context, do func() error) error {
	for try := 0; ; try++ {
		err := do()
		if err == nil || !passing(err) || try == fillRetries {
			return err
		}
		select {
		case <-time.After(fillPause):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// settle returns when all targets know what was done so far; token is one of a session that they will know then. A
// node answers a quorum lookup only when it has applied what was committed before. Without one, a request at the level
// local may come to a node that lags, and to which a fresh session is none.
func (s *Service) settle(ctx context.Context, token string) error {
	for _, target := range s.Targets {
		if err := s.settleAt(ctx, target, token); err != nil {
			return fmt.Errorf("wait until %s has caught up: %w", target.Host, err)
		}
	}
	return nil
}

// settleAt asks one target for the session of token at the level quorum, until it answers.
func (s *Service) settleAt(ctx context.Context, target Target, token string) error {
	conn := NewConn(target, s.Timeout)
	request := "GET " + Session.path() + " HTTP/1.1\r\nHost: " + target.Host + "\r\n" + consistency(Quorum) + "Cookie: id=" + token + "\r\n\r\n"
	for try := 0; ; try++ {
		_, err := conn.Do(ctx, []byte(request))
		if err == nil || !passing(err) || try == fillRetries {
			return errors.Join(err, conn.Close())
		}
		select {
		case <-time.After(fillPause):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err(), conn.Close())
		}
	}
}

// login returns the cookie of a new session. With a password on every call, the server would hash it each time.
func (s *Service) login(ctx context.Context, user string, password Secret) (string, error) {
	_, cookies, err := s.send(ctx, http.MethodPost, s.Targets[0], "/api/session", "",
		map[string]string{"username": user, "password": string(password)})
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", user, err)
	}
	for _, c := range cookies {
		if c.Name == "id" {
			return c.Value, nil
		}
	}
	return "", fmt.Errorf("log in as %s: the answer has no cookie id", user)
}

// makeRealm makes the realm, unless it is there, and says whether the caller is an administrator. To one who is not,
// the realm can't be shown: the first session will tell.
func (s *Service) makeRealm(ctx context.Context) (admin bool, err error) {
	_, _, err = s.send(ctx, http.MethodPost, s.Targets[0], "/api/realm-configs", s.cookie, map[string]any{
		"realmType": "ldap",
		"name":      realmName,
		"config":    map[string]any{"host": "127.0.0.1", "login": map[string]string{"bindDnTemplate": "uid={},dc=bench"}},
	})
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.Code {
		case http.StatusForbidden:
			return false, nil
		case http.StatusConflict:
			return true, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("make the realm %s: %w", realmName, err)
	}
	return true, nil
}

// makeCaller makes a user with the role service and returns its login.
func (s *Service) makeCaller(ctx context.Context) (cookie string, err error) {
	var name string
	var password Secret
	err = patiently(ctx, func() (err error) {
		name, password, err = s.makeService(ctx) // another one each time: whether the last one is there, nobody knows
		return err
	})
	if err != nil {
		return "", err
	}
	err = patiently(ctx, func() (err error) {
		cookie, err = s.login(ctx, name, password)
		return err
	})
	return cookie, err
}

// makeService makes a user with the role service.
func (s *Service) makeService(ctx context.Context) (name string, password Secret, err error) {
	name, password = "bench-service-"+rand.Text()[:10], Secret(rand.Text())
	text, _, err := s.send(ctx, http.MethodPost, s.Targets[0], "/api/users", s.cookie, map[string]any{
		"username": name, "realmName": "native", "password": string(password), "roleNames": []string{"service"},
	})
	if err != nil {
		return "", "", fmt.Errorf("make a user with the role service: %w", err)
	}
	var user struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(text, &user); err != nil {
		return "", "", fmt.Errorf("make a user with the role service: %w", err)
	}
	s.made = append(s.made, user.ID)
	return name, password, nil
}

// Close takes away the users that were made and logs out. The sessions that were filled in stay until they time out.
func (s *Service) Close() error {
	if s.cookie == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.loginAgain(ctx); err != nil {
		return err
	}
	var errs []error
	for _, id := range s.made {
		if _, _, err := s.send(ctx, http.MethodDelete, s.Targets[0], "/api/users/"+url.PathEscape(id), s.cookie, nil); err != nil {
			errs = append(errs, fmt.Errorf("remove a user with the role service: %w", err))
		}
	}
	s.made = nil
	if _, _, err := s.send(ctx, http.MethodDelete, s.Targets[0], "/api/session", s.cookie, nil); err != nil {
		errs = append(errs, fmt.Errorf("log out: %w", err))
	}
	s.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// loginAgain logs in anew where the caller's session has timed out meanwhile, as sessions do in a run about just that.
func (s *Service) loginAgain(ctx context.Context) error {
	err := s.settleAt(ctx, s.Targets[0], s.cookie)
	if status, ok := errors.AsType[*StatusError](err); !ok || status.Code != http.StatusUnauthorized {
		return nil // another failure shows in what follows
	}
	s.cookie, err = s.login(ctx, s.User, s.Password)
	return err
}

// send makes one call with a JSON body, or none for nil, and returns the answer's body and cookies. An answer other
// than 2xx is a *StatusError.
func (s *Service) send(ctx context.Context, method string, target Target, path, cookie string, body any) ([]byte, []*http.Cookie, error) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, nil, fmt.Errorf("encode body: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, target.URL(path), bytes.NewReader(encoded))
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		req.AddCookie(&http.Cookie{Name: "id", Value: cookie})
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, nil, &StatusError{Code: resp.StatusCode, Body: string(text[:min(len(text), maxExcerpt)])}
	}
	return text, resp.Cookies(), nil
}
