package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"cloakroom/cluster/session"
)

// sessionsCmd holds the commands about sessions.
type sessionsCmd struct {
	List sessionsListCmd `cmd:"" help:"List sessions, oldest first."`
	End  sessionsEndCmd  `cmd:"" help:"End sessions: by handle, all of a user, all of a realm, or in an emergency all there are."`
	Why  sessionsWhyCmd  `cmd:"" help:"Say who ended a session, when and by which rule, for an hour after its end."`
}

type sessionsListCmd struct {
	Of          string `placeholder:"NAME" help:"Only the sessions of this user."`
	Realm       string `placeholder:"REALM" help:"Realm of that user, which is native without it; without --of, all sessions of this realm only."`
	clientFlags `embed:""`
}

// sessionView is one session as the API lists it.
type sessionView struct {
	Handle        string `json:"handle"`
	Username      string `json:"username"`
	RealmName     string `json:"realmName"`
	Address       string `json:"address"`
	UserAgent     string `json:"userAgent"`
	CreatedAt     string `json:"createdAt"`
	LastActiveAt  string `json:"lastActiveAt"`
	IdleExpiresAt string `json:"idleExpiresAt"`
	ExpiresAt     string `json:"expiresAt"`
}

// sessionsPage is one page of them; Next, when not empty, asks for the page after it.
type sessionsPage struct {
	Sessions []json.RawMessage `json:"sessions"`
	Next     string            `json:"next"`
}

// Run implements the command sessions list.
func (s *sessionsListCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&s.clientFlags)
	if err != nil {
		return err
	}
	sessions, err := c.sessions(ctx, s.Of, s.Realm)
	if err != nil {
		return err
	}
	if s.JSON {
		return printJSON(a.stdout, sessions)
	}
	return printSessions(a, sessions)
}

// sessions returns the sessions of a user, or of all users of a realm, or all there are.
func (c *client) sessions(ctx context.Context, of, realm string) ([]json.RawMessage, error) {
	query := url.Values{"limit": {strconv.Itoa(ListPage)}}
	switch {
	case of != "":
		query.Set("user", of)
		query.Set("realm", realmOr(realm))
	case realm != "":
		query.Set("realm", realm) // an older node lists all realms
	}
	sessions := []json.RawMessage{}
	for {
		var page sessionsPage
		if err := c.call(ctx, http.MethodGet, "/api/sessions", query, nil, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Sessions {
			if of == "" && realm != "" {
				view, err := readSession(raw)
				if err != nil {
					return nil, err
				}
				if view.RealmName != realm {
					continue
				}
			}
			sessions = append(sessions, raw)
		}
		if page.Next == "" {
			return sessions, nil
		}
		query.Set("after", page.Next)
	}
}

func readSession(raw json.RawMessage) (sessionView, error) {
	var view sessionView
	if err := json.Unmarshal(raw, &view); err != nil {
		return view, fmt.Errorf("read the list of sessions: %w", err)
	}
	return view, nil
}

// realmOr returns the realm that a flag names: the native one if it was left out.
func realmOr(flag string) string { return cmp.Or(flag, session.NativeRealm) }

func printSessions(a *app, sessions []json.RawMessage) error {
	rows := make([][]string, 0, len(sessions))
	for _, raw := range sessions {
		view, err := readSession(raw)
		if err != nil {
			return err
		}
		rows = append(rows, []string{
			view.Handle, view.Username, view.RealmName, view.CreatedAt, view.LastActiveAt, view.Address, view.UserAgent,
		})
	}
	return printTable(a.stdout, []string{"HANDLE", "USER", "REALM", "CREATED", "LAST USED", "ADDRESS", "AGENT"}, rows)
}

type sessionsEndCmd struct {
	Handle      []string `arg:"" optional:"" help:"Handles of sessions."`
	Of          string   `placeholder:"NAME" help:"All sessions of this user instead."`
	Realm       string   `placeholder:"REALM" help:"Realm of that user, which is native without it; with --all, every session of this realm."`
	All         bool     `help:"Every session of every user: everybody has to log in again."`
	clientFlags `embed:""`
}

// Run implements the command sessions end.
func (s *sessionsEndCmd) Run(ctx context.Context, a *app) error {
	ways := 0
	for _, given := range []bool{len(s.Handle) > 0, s.Of != "", s.All} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return usagef("name the sessions to end by their handles, or a user by --of, or take --all of them, or --all of a --realm")
	}
	if len(s.Handle) > 0 && s.Realm != "" {
		return usagef("--realm goes with --of or --all: a handle names a session by itself")
	}
	c, err := a.client(&s.clientFlags)
	if err != nil {
		return err
	}
	switch {
	case s.All && s.Realm != "":
		return s.endRealm(ctx, a, c)
	case s.All:
		return s.endAll(ctx, a, c)
	case s.Of != "":
		return s.endUser(ctx, a, c)
	}
	for _, handle := range s.Handle {
		if err := c.call(ctx, http.MethodDelete, "/api/sessions/"+url.PathEscape(handle), nil, nil, nil); err != nil {
			return fmt.Errorf("end session %s: %w", handle, err)
		}
	}
	return nil
}

func (s *sessionsEndCmd) endAll(ctx context.Context, a *app, c *client) error {
	var answer endedView
	if err := c.call(ctx, http.MethodDelete, "/api/sessions", url.Values{"all": {"true"}}, nil, &answer); err != nil {
		return err
	}
	return s.report(a, answer.Ended, "%d sessions ended: nobody is logged in any more\n", answer.Ended)
}

// endedView is how many sessions a command has ended.
type endedView struct {
	Ended int `json:"ended"`
}

func (s *sessionsEndCmd) report(a *app, ended int, format string, args ...any) error {
	if s.JSON {
		return printJSON(a.stdout, endedView{ended})
	}
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// endUser ends all sessions of a user at once. The number is that of a moment before: it tells a name that was mistyped.
func (s *sessionsEndCmd) endUser(ctx context.Context, a *app, c *client) error {
	realm := realmOr(s.Realm)
	sessions, err := c.sessions(ctx, s.Of, realm)
	if err != nil {
		return err
	}
	if err := c.endUser(ctx, s.Of, realm); err != nil {
		return err
	}
	if len(sessions) == 0 {
		return s.report(a, 0, "%s of the realm %s had no session: is the name right?\n", s.Of, realm)
	}
	return s.report(a, len(sessions), "%d sessions of %s of the realm %s ended\n", len(sessions), s.Of, realm)
}

func (c *client) endUser(ctx context.Context, name, realm string) error {
	return c.call(ctx, http.MethodDelete, "/api/sessions", url.Values{"user": {name}, "realm": {realm}}, nil, nil)
}

// endRealm ends the sessions of a realm, user by user, until there is none: who logs in meanwhile is ended, too.
func (s *sessionsEndCmd) endRealm(ctx context.Context, a *app, c *client) error {
	users, ended := make(map[string]bool), 0
	for range EndRounds {
		sessions, err := c.sessions(ctx, "", s.Realm)
		if err != nil {
			return err
		}
		if len(sessions) == 0 {
			if ended == 0 {
				return s.report(a, 0, "the realm %s had no session: is the name right?\n", s.Realm)
			}
			return s.report(a, ended, "%d sessions of %d users of the realm %s ended: nobody of it is logged in any more\n", ended, len(users), s.Realm)
		}
		round := make(map[string]bool)
		for _, raw := range sessions {
			view, err := readSession(raw)
			if err != nil {
				return err
			}
			round[view.Username], users[view.Username] = true, true
		}
		if err := c.endUsers(ctx, slices.Collect(maps.Keys(round)), s.Realm); err != nil {
			return err
		}
		ended += len(sessions)
	}
	return fmt.Errorf("%d sessions of the realm %s ended, and people go on logging in: disable the realm, and call this again", ended, s.Realm)
}

// endUsers ends all sessions of these users, some at the same time.
func (c *client) endUsers(ctx context.Context, names []string, realm string) error {
	errs := make([]error, len(names))
	var group sync.WaitGroup
	slots := make(chan struct{}, EndAtOnce)
	for i, name := range names {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = c.endUser(ctx, name, realm)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

type sessionsWhyCmd struct {
	Handle      string `arg:"" help:"Handle of a session."`
	clientFlags `embed:""`
}

// Run implements the command sessions why.
func (s *sessionsWhyCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&s.clientFlags)
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := c.call(ctx, http.MethodGet, "/api/sessions/"+url.PathEscape(s.Handle)+"/why", nil, nil, &answer); err != nil {
		return err
	}
	if s.JSON {
		return printJSON(a.stdout, answer)
	}
	var why struct {
		Active                    bool
		EndedAt, Reason, Rule, By string
	}
	if err := json.Unmarshal(answer, &why); err != nil {
		return fmt.Errorf("read why the session ended: %w", err)
	}
	if why.Active {
		_, err := fmt.Fprintln(a.stdout, "it is active")
		return err
	}
	by := "its owner, or the rule itself"
	if why.By != "" {
		by = why.By
	}
	return printTable(a.stdout, []string{"ENDED", "REASON", "BY", "RULE"}, [][]string{{why.EndedAt, why.Reason, by, why.Rule}})
}
