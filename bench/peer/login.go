package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"cloakroom/bench/load"
)

// Login returns workers that log in by POST /api/session, which costs the node a password hash. Those with an even
// number know the password, those with an odd number guess. A node stops to check what comes from an address with many
// wrong passwords, or with many unchecked ones: so each worker has addresses of its own on loopback, and those that guess
// change theirs in time.
func (s *Service) Login() load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker/2%len(s.Targets)]
		password, want := s.Password, http.StatusCreated
		if worker%2 == 1 {
			password, want = "not the password", http.StatusUnauthorized
		}
		body, err := json.Marshal(map[string]string{"username": s.User, "password": string(password)})
		if err != nil {
			return nil, fmt.Errorf("encode login: %w", err)
		}
		request := "POST /api/session HTTP/1.1\r\nHost: " + target.Host +
			"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + string(body)
		c := &loginCaller{conn: NewConn(target, s.Timeout), worker: worker, request: []byte(request), want: want}
		if isLoopback(target.Host) {
			c.conn.dial = c.dialFrom
		}
		return c, nil
	}
}

// loginCaller logs in again and again.
type loginCaller struct {
	conn    *Conn
	worker  int
	request []byte
	want    int // status
	calls   int
}

var _ load.Caller = (*loginCaller)(nil)

// Call implements load.Caller.
func (c *loginCaller) Call(ctx context.Context) error {
	if c.want != http.StatusCreated && c.calls%guessesPerUserAndAddress == 0 {
		if err := c.conn.Close(); err != nil { // the next one comes from another address
			return err
		}
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

// dialFrom connects from an address of 127.0.0.0/8 that few other calls come from.
func (c *loginCaller) dialFrom(ctx context.Context, network, addr string) (net.Conn, error) {
	turn := c.calls / guessesPerUserAndAddress
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+c.worker%200), byte(turn>>8), byte(turn))}}
	return dialer.DialContext(ctx, network, addr)
}

// Close implements load.Caller.
func (c *loginCaller) Close() error { return c.conn.Close() }

// isLoopback says whether an address is in 127.0.0.0/8, all of which a Linux machine may send from.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && ip.To4() != nil && ip.IsLoopback()
}
