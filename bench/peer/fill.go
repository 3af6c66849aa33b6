package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Fill makes n sessions in calls of up to maxBulk and returns their tokens. progress is called after each call with
// the number of sessions made so far. When it returns, all targets have all sessions. Open must have been called.
func (s *Service) Fill(ctx context.Context, n int, progress func(done int)) (*Sessions, error) {
	return s.FillFor(ctx, usualUsers, n, progress)
}

// FillFor is Fill for users whose names begin otherwise: who makes more sessions for users than they may have ends their
// oldest ones.
func (s *Service) FillFor(ctx context.Context, users string, n int, progress func(done int)) (*Sessions, error) {
	if n < 1 || n > MaxSessions {
		return nil, fmt.Errorf("%d sessions: need 1 to %d", n, MaxSessions)
	}
	return s.fill(ctx, userNames(users, n), n, progress)
}

func (s *Service) fill(ctx context.Context, users []string, n int, progress func(done int)) (*Sessions, error) {
	first, err := s.create(ctx, 0, users[:1])
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	all := newSessions(n, len(first[0]), users)
	if err := all.set(0, first[0]); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxFillParallel)
	var mu sync.Mutex
	done := 1
	for from := 1; from < n; from += maxBulk {
		count := min(maxBulk, n-from)
		group.Go(func() error {
			tokens, err := s.create(groupCtx, from/maxBulk, all.usersOf(from, count))
			if err != nil {
				return err
			}
			for i, token := range tokens {
				if err := all.set(from+i, token); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			done += count
			progress(done)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	if err := s.settle(ctx, first[0]); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	return all, nil
}

// create makes a session for each user and returns their tokens. What was refused for a passing reason is asked for
// again, at the next target; what has an unknown outcome too: some sessions more do no harm here.
func (s *Service) create(ctx context.Context, call int, users []string) ([]string, error) {
	tokens := make([]string, len(users))
	missing := make([]int, len(users)) // places of tokens
	for i := range missing {
		missing[i] = i
	}
	for try := 0; ; try++ {
		still, err := s.createMissing(ctx, s.Targets[(call+try)%len(s.Targets)], users, tokens, missing)
		if len(still) == 0 && err == nil {
			return tokens, nil
		}
		if !passing(err) || try == fillRetries {
			return nil, err
		}
		if len(still) == len(missing) { // no progress: the cluster needs a moment
			select {
			case <-time.After(fillPause):
			case <-ctx.Done():
				return nil, errors.Join(err, ctx.Err())
			}
		}
		missing = still
	}
}

// createMissing makes one call for the places that have no token yet, and returns those that have none afterwards,
// with the first reason.
func (s *Service) createMissing(ctx context.Context, target Target, users, tokens []string, missing []int) ([]int, error) {
	asked := make([]newSession, len(missing))
	for i, place := range missing {
		asked[i] = sessionFor(users[place])
	}
	text, _, err := s.send(ctx, http.MethodPost, target, "/api/sessions", s.maker, asked)
	if err != nil {
		return missing, fmt.Errorf("make sessions: %w", err)
	}
	made, err := decodeMade(text, len(missing))
	if err != nil {
		return missing, err
	}
	var still []int
	var reason error
	for i, one := range made {
		if one.Token != "" {
			tokens[missing[i]] = one.Token
			continue
		}
		still = append(still, missing[i])
		// A reason that does not pass must not hide behind one that does.
		if refused := (&refusedError{one.Code, one.Message}); reason == nil || !passing(refused) {
			reason = refused
		}
	}
	return still, reason
}

// newSession is one element of the body of POST /api/sessions.
type newSession struct {
	Username   string            `json:"username"`
	RealmName  string            `json:"realmName"`
	Attributes map[string]string `json:"attributes"`
}

// sessionFor returns a session like those that redis holds as a hash of seven short fields: four of them (user, realm,
// creation, expiry) every session has here, the others are attributes.
func sessionFor(user string) newSession {
	return newSession{Username: user, RealmName: realmName, Attributes: map[string]string{
		fieldAddress: sampleAddress, fieldAgent: sampleAgent, fieldTheme: sampleTheme,
	}}
}

// What applications keep in a session.
const (
	fieldAddress = "address"
	fieldAgent   = "agent"
	fieldTheme   = "theme"

	sampleAddress = "192.0.2.117"
	sampleAgent   = "Firefox/145"
	sampleTheme   = "dark"
)

// madeSession is one element of the answer: a token, or why there is none.
type madeSession struct {
	Token   string `json:"token"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// decodeMade reads the answer to POST /api/sessions: one element for each asked for, in that order.
func decodeMade(text []byte, count int) ([]madeSession, error) {
	var made []madeSession
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, fmt.Errorf("decode sessions: %w", err)
	}
	if len(made) != count {
		return nil, fmt.Errorf("%d sessions in the answer to %d", len(made), count)
	}
	return made, nil
}

// refusedError is why one session of several was not made.
type refusedError struct{ code, message string }

func (e *refusedError) Error() string { return "session not made: " + e.code + ": " + e.message }

// Label is the code, under which it is counted.
func (e *refusedError) Label() string { return e.code }

// passingCodes are those of refusals that another try may not get. A user's record appears with the first of its
// sessions: others that were asked for at the same moment are refused once.
var passingCodes = [...]string{"no-leader", "overloaded", "timeout", "outcome-unknown", "revision-moved", "joining", "draining", "cut-off"}

func passing(err error) bool {
	var status *StatusError
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return slices.Contains(passingCodes[:], refused.code)
	case errors.As(err, &status):
		return status.Code == http.StatusServiceUnavailable
	}
	return false
}
