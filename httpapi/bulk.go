package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// bulk makes many sessions in one call.
type bulk struct {
	panics  *atomic.Uint64
	log     *slog.Logger
	state   *access.State
	callers *access.Callers
	logins  *access.Logins
	diary   *access.Diary
}

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
func (b *bulk) createSessions(rc *exchange.Request) error {
	p, err := b.callers.Authorize(rc, session.RoleService)
	if err != nil {
		return err
	}
	var body []newSession
	if err := exchange.DecodeJSON(rc, &body); err != nil {
		return err
	}
	switch {
	case len(body) == 0:
		return exchange.MissingField("an array of at least one session is required")
	case len(body) > maxBulkCreate:
		return exchange.ErrBulkLimit
	}
	e := audit.Event{Name: audit.SessionsMade, Detail: fmt.Sprintf("%d asked for", len(body))}
	creates, failures, err := b.prepareCreates(rc, body)
	if err != nil {
		b.diary.Audit(rc, p, e, err)
		return err
	}
	made := b.createAll(b.state.Context(rc), creates, failures)
	for i, one := range made { // at most maxBulkCreate lines
		if one.Token != "" {
			e.Count++
			b.diary.Audit(rc, p, audit.Event{Name: audit.SessionsMade, Realm: creates[i].Realm, User: creates[i].Username, Handle: one.Handle}, nil)
		}
	}
	if first := failures[0]; e.Count == 0 && first != nil {
		b.diary.Audit(rc, p, e, first)
		return first
	}
	b.diary.Audit(rc, p, e, nil)
	return exchange.WriteJSON(rc, fasthttp.StatusCreated, made)
}

// prepareCreates turns the elements of a body into commands, with the revisions of users and realms as they are now.
// failures holds, at the same places, why there is no command.
func (b *bulk) prepareCreates(rc *exchange.Request, body []newSession) (creates []*session.Create, failures []error, err error) {
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
	err = b.state.Cluster.Read(b.state.Context(rc), access.DecisionLevel, func(m *session.Machine) {
		rules := newcomers{}
		for i, create := range creates {
			failures[i] = resolveUser(m, rules, create, body[i].Username)
		}
	})
	return creates, failures, err
}

// newcomers keeps how each realm takes users without a record: to read that from its configuration for each of them would
// take too long with the machine held.
type newcomers map[string]*realm.Newcomers

func (n newcomers) of(r *session.Realm) *realm.Newcomers {
	if n[r.Name] == nil {
		n[r.Name] = realm.NewcomersOf(r)
	}
	return n[r.Name]
}

// resolveUser fills in the user of a create and the revisions. Where there is no record, it is for the realm to say what
// becomes of the user.
func resolveUser(m *session.Machine, rules newcomers, create *session.Create, username string) error {
	if username == "" {
		return exchange.MissingField("username is required")
	}
	r, ok := m.RealmByName(create.Realm)
	if !ok {
		return session.ErrRealmNotFound
	}
	create.Username, create.RealmRev = realm.CanonicalUsername(r.Type, username), r.Rev
	if user, ok := m.UserByName(create.Realm, create.Username); ok {
		create.UserID, create.UserRev, create.AutoCreate = user.ID, user.Rev, false
		return nil
	}
	var err error
	create.UserRev = 0 // a former run of the read may have found a record
	create.UserID, create.AutoCreate, err = rules.of(r).Identify(create.Username)
	return err
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
func (b *bulk) createAll(ctx context.Context, creates []*session.Create, failures []error) []madeSession {
	made := make([]madeSession, len(creates))
	places := make(chan int)
	var workers sync.WaitGroup
	for range min(bulkParallel, len(creates)) {
		workers.Go(func() {
			for i := range places {
				made[i], failures[i] = b.createOne(ctx, creates[i])
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
			made[i] = b.notMade(err)
		}
	}
	return made
}

// createOne makes one session. It runs in a goroutine of its own, where no one else contains a panic.
func (b *bulk) createOne(ctx context.Context, create *session.Create) (made madeSession, err error) {
	defer func() {
		if p := recover(); p != nil {
			b.panics.Add(1)
			made, err = madeSession{}, fmt.Errorf("make a session: panic: %v", p)
		}
	}()
	t := credential.Mint()
	create.Key = t.Key
	if err := b.logins.CreateSession(ctx, 0, create); err != nil {
		return madeSession{}, err
	}
	return madeSession{Token: t.Text, Handle: t.Key.String()}, nil
}

func (b *bulk) notMade(err error) madeSession {
	_, e, known := exchange.AnswerOf(err)
	if !known {
		b.log.Error("session not made", "error", err)
	}
	return madeSession{Code: e.Code, Error: e.Message, Message: e.Message}
}
