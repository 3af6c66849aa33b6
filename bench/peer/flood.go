package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"

	"cloakroom/bench/load"
)

// Flood is many logins with a wrong password, and what became of them. The nodes must take this program for a proxy that
// they trust: it says which addresses the logins come from.
type Flood struct {
	Users     int // names that are tried, of users that are not there; 0: always that of the administrator
	Addresses int // that the logins come from

	refused, throttled, busy atomic.Int64
}

// FloodCounts is what became of the logins of a flood.
type FloodCounts struct {
	Refused   int64 `json:"refused"`   // 401: the password was looked at
	Throttled int64 `json:"throttled"` // 429: it was not, since too many had failed
	Busy      int64 `json:"busy"`      // 503: it was not, since too many were waiting
}

// Counts returns the counts so far.
func (f *Flood) Counts() FloodCounts {
	return FloodCounts{Refused: f.refused.Load(), Throttled: f.throttled.Load(), Busy: f.busy.Load()}
}

// Flood returns workers that guess, at all nodes in turn.
func (s *Service) Flood(f *Flood) load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker%len(s.Targets)]
		return &floodCaller{
			conn: NewConn(target, s.Timeout), host: target.Host, user: s.User, flood: f,
			random: rand.New(rand.NewPCG(uint64(worker), 1)),
		}, nil
	}
}

type floodCaller struct {
	conn   *Conn
	host   string
	user   string
	flood  *Flood
	random *rand.Rand
}

var _ load.Caller = (*floodCaller)(nil)

// Call implements load.Caller. Whatever refuses the login is a good answer.
func (c *floodCaller) Call(ctx context.Context) error {
	user := c.user
	if c.flood.Users > 0 {
		user = fmt.Sprint("nobody-", c.random.IntN(c.flood.Users))
	}
	request, err := loginRequest(c.host, user, "not the password", address(c.random.IntN(c.flood.Addresses)))
	if err != nil {
		return err
	}
	_, err = c.conn.Do(ctx, request)
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.Code {
		case http.StatusUnauthorized:
			c.flood.refused.Add(1)
			return nil
		case http.StatusTooManyRequests:
			c.flood.throttled.Add(1)
			return nil
		case http.StatusServiceUnavailable:
			c.flood.busy.Add(1)
			return nil
		}
	}
	if err == nil {
		return &wrongAnswer{want: "a refusal", got: "a login with a wrong password"}
	}
	return err
}

// Close implements load.Caller.
func (c *floodCaller) Close() error { return c.conn.Close() }
