package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// newSession is one element of the body of POST /api/sessions.
type newSession struct {
	Username   string            `json:"username"`
	RealmName  string            `json:"realmName"`
	Attributes map[string]string `json:"attributes"`
}

// madeSession is the answer to one of them: a token, or why there is none.
type madeSession struct {
	Token   string `json:"token,omitempty"`
	Handle  string `json:"handle,omitempty"`
	Code    string `json:"code,omitempty"`
	Error   string `json:"error,omitempty"`
	Message string `json:"message,omitempty"`
}

// createSessions is POST /api/sessions: sessions for users whom the caller, a service, has authenticated itself. The
// answer has the order of the request. It is 201 when at least one session was made, else the first one's error.
func (s *Server) createSessions(rc *request) error {
	p, err := s.authorize(rc, session.RoleService)
	if err != nil {
		return err
	}
	var body []newSession
	if err := decodeJSON(rc, &body); err != nil {
		return err
	}
	switch {
	case len(body) == 0:
		return missingField("an array of at least one session is required")
	case len(body) > maxBulkCreate:
		return errBulkLimit
	}
	creates, failures, err := s.prepareCreates(rc, body)
	if err != nil {
		return err
	}
	made := s.createAll(s.context(rc), creates, failures)
	count := 0
	for _, one := range made {
		if one.Token != "" {
			count++
		}
	}
	if first := failures[0]; count == 0 && first != nil {
		return first
	}
	s.audit(rc, p, "sessions made by a service", "asked", len(body), "made", count)
	return writeJSON(rc, fasthttp.StatusCreated, made)
}

// prepareCreates turns the elements of a body into commands, with the revisions of users and realms as they are now.
// failures holds, at the same places, why there is no command.
func (s *Server) prepareCreates(rc *request, body []newSession) (creates []*session.Create, failures []error, err error) {
	creates, failures = make([]*session.Create, len(body)), make([]error, len(body))
	for i := range body {
		if body[i].RealmName == "" {
			body[i].RealmName = session.NativeRealm
		}
		creates[i] = &session.Create{
			Realm:   body[i].RealmName,
			Surface: session.SurfaceService,
			Attrs:   sortedAttrs(body[i].Attributes),
			NoAdmin: true,
		}
	}
	err = s.cluster.Read(s.context(rc), cluster.Quorum, func(m *session.Machine) {
		for i, create := range creates {
			failures[i] = resolveUser(m, create, body[i].Username)
		}
	})
	return creates, failures, err
}

// resolveUser fills in the user of a create and the revisions. Users of the native realm must be there; others get a
// record with their first session, as they do when they log in themselves.
func resolveUser(m *session.Machine, create *session.Create, username string) error {
	if username == "" {
		return missingField("username is required")
	}
	r, ok := m.RealmByName(create.Realm)
	if !ok {
		return session.ErrRealmNotFound
	}
	create.Username, create.RealmRev = realm.CanonicalUsername(r.Type, username), r.Rev
	user, ok := m.UserByName(create.Realm, create.Username)
	switch {
	case ok:
		create.UserID, create.UserRev = user.ID, user.Rev
	case r.Type == realm.TypeNative:
		return session.ErrUserNotFound
	default:
		create.UserID, create.AutoCreate = newID(), true
	}
	return nil
}

func sortedAttrs(attributes map[string]string) []session.Attr {
	attrs := make([]session.Attr, 0, len(attributes))
	for key, value := range attributes {
		attrs = append(attrs, session.Attr{Key: key, Value: value})
	}
	slices.SortFunc(attrs, func(a, b session.Attr) int { return strings.Compare(a.Key, b.Key) })
	return attrs
}

// createAll proposes the commands, a bounded number at a time, so that one call can't fill the node's queue.
func (s *Server) createAll(ctx context.Context, creates []*session.Create, failures []error) []madeSession {
	made := make([]madeSession, len(creates))
	places := make(chan int)
	var workers sync.WaitGroup
	for range min(bulkParallel, len(creates)) {
		workers.Go(func() {
			for i := range places {
				made[i], failures[i] = s.createOne(ctx, creates[i])
			}
		})
	}
	for i := range creates {
		if failures[i] == nil {
			places <- i
		}
	}
	close(places)
	workers.Wait()
	for i, err := range failures {
		if err != nil {
			made[i] = s.notMade(err)
		}
	}
	return made
}

// createOne makes one session. It runs in a goroutine of its own, where no one else contains a panic.
func (s *Server) createOne(ctx context.Context, create *session.Create) (made madeSession, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Add(1)
			made, err = madeSession{}, fmt.Errorf("make a session: panic: %v", p)
		}
	}()
	t := mintToken()
	create.Key = t.key
	if err := s.createSession(ctx, 0, create); err != nil {
		return madeSession{}, err
	}
	return madeSession{Token: t.text, Handle: t.key.String()}, nil
}

func (s *Server) notMade(err error) madeSession {
	_, e, known := answerOf(err)
	if !known {
		s.log.Error("session not made", "error", err)
	}
	return madeSession{Code: e.Code, Error: e.Message, Message: e.Message}
}
