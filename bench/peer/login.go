package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cloakroom/bench/load"
)

// Login returns workers that log in by POST /api/session, which costs the node a password hash. Those with an even
// number know the password, those with an odd number guess. The cluster stops to check what comes from an address, or for
// a user, with many wrong passwords, or with many unchecked ones: so each worker has addresses of its own, by word of this
// program, which the nodes must take for a proxy that they trust; and those that guess change theirs, and the user, in time.
func (s *Service) Login() load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker/2%len(s.Targets)]
		c := &loginCaller{conn: NewConn(target, s.Timeout), host: target.Host, worker: worker}
		if worker%2 == 1 {
			c.want = http.StatusUnauthorized
			return c, nil
		}
		c.want = http.StatusCreated
		var err error
		c.request, err = loginRequest(target.Host, s.User, string(s.Password), address(worker))
		return c, err
	}
}

// loginRequest returns a login from an address.
func loginRequest(host, user, password, from string) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"username": user, "password": password})
	if err != nil {
		return nil, fmt.Errorf("encode login: %w", err)
	}
	return []byte("POST /api/session HTTP/1.1\r\nHost: " + host + "\r\nX-Forwarded-For: " + from +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + string(body)), nil
}

// address returns the nth of 2^24 addresses.
func address(n int) string { return fmt.Sprintf("10.%d.%d.%d", byte(n>>16), byte(n>>8), byte(n)) }

// loginCaller logs in again and again.
type loginCaller struct {
	conn    *Conn
	host    string
	worker  int
	request []byte
	want    int // status
	calls   int
}

var _ load.Caller = (*loginCaller)(nil)

// Call implements load.Caller.
func (c *loginCaller) Call(ctx context.Context) error {
	if c.want != http.StatusCreated && c.calls%guessesPerUserAndAddress == 0 {
		turn := c.calls / guessesPerUserAndAddress
		user := fmt.Sprintf("nobody-%d-%d", c.worker, turn)
		request, err := loginRequest(c.host, user, "not the password", address(c.worker<<16+turn))
		if err != nil {
			return err
		}
		c.request = request
	}
	c.calls++
	_, err := c.conn.Do(ctx, c.request)
	if status, ok := errors.AsType[*StatusError](err); ok && status.Code == c.want {
		return nil
	}
	if err == nil && c.want != http.StatusCreated {
		return &wrongAnswer{want: strconv.Itoa(c.want), got: "a login with a wrong password"}
	}
	return err
}

// Close implements load.Caller.
func (c *loginCaller) Close() error { return c.conn.Close() }
