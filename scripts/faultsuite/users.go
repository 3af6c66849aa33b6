//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
)

// userWord is the password of all users: what is tested begins after the login.
const userWord = "a cloak and a dagger"

// supply makes users ahead of those who need them.
type supply struct {
	cluster *cluster
	prefix  string
	ready   chan string
}

func newSupply(c *cluster, prefix string, ahead int) *supply {
	return &supply{cluster: c, prefix: prefix, ready: make(chan string, ahead)}
}

// run makes users until the context ends. What can't be made now is tried again, under another name: the outcome may be
// unknown.
func (s *supply) run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		name := s.prefix + strconv.Itoa(i)
		if err := s.make(ctx, name); err != nil {
			if !pause(ctx, pollInterval) {
				return
			}
			continue
		}
		select {
		case s.ready <- name:
		case <-ctx.Done():
			return
		}
	}
}

func (s *supply) make(ctx context.Context, name string) error {
	running := s.cluster.everyone()
	if len(running) == 0 {
		return errTooLate
	}
	return makeUser(ctx, running[rand.IntN(len(running))], name)
}

// makeUser makes a user by the control socket of a node.
func makeUser(ctx context.Context, n *node, name string) error {
	body := fmt.Sprintf(`{"username":%q,"password":%q,"realmName":"native","roleNames":[]}`, name, userWord)
	r, err := send(ctx, n.control, http.MethodPost, "http://control/api/users", body, "Content-Type", "application/json")
	if err != nil {
		return err
	}
	if r.status != http.StatusCreated {
		return fmt.Errorf("make user %s: %d %s", name, r.status, r.code)
	}
	return nil
}

// take returns a user who has just been made, or none if none is ready.
func (s *supply) take() (string, bool) {
	select {
	case name := <-s.ready:
		return name, true
	default:
		return "", false
	}
}

// endAll ends all sessions of a user, by the node's control socket.
func endAll(ctx context.Context, n *node, user string) (reply, error) {
	return send(ctx, n.control, http.MethodDelete, "http://control/api/sessions?user="+url.QueryEscape(user)+"&realm=native", "")
}
