package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// sessionsCmd holds the commands about sessions.
type sessionsCmd struct {
	List sessionsListCmd `cmd:"" help:"List sessions, oldest first."`
	End  sessionsEndCmd  `cmd:"" help:"End sessions, by handle or all of a user."`
}

type sessionsListCmd struct {
	Of          string `placeholder:"NAME" help:"Only the sessions of this user."`
	Realm       string `default:"native" placeholder:"REALM" help:"Realm of that user."`
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
	query := url.Values{"limit": {strconv.Itoa(ListPage)}}
	if s.Of != "" {
		query.Set("user", s.Of)
		query.Set("realm", s.Realm)
	}
	sessions := []json.RawMessage{}
	for {
		var page sessionsPage
		if err := c.call(ctx, http.MethodGet, "/api/sessions", query, nil, &page); err != nil {
			return err
		}
		sessions = append(sessions, page.Sessions...)
		if page.Next == "" {
			break
		}
		query.Set("after", page.Next)
	}
	if s.JSON {
		return printJSON(a.stdout, sessions)
	}
	return printSessions(a, sessions)
}

func printSessions(a *app, sessions []json.RawMessage) error {
	rows := make([][]string, 0, len(sessions))
	for _, raw := range sessions {
		var view sessionView
		if err := json.Unmarshal(raw, &view); err != nil {
			return fmt.Errorf("read the list of sessions: %w", err)
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
	Realm       string   `default:"native" placeholder:"REALM" help:"Realm of that user."`
	clientFlags `embed:""`
}

// Run implements the command sessions end.
func (s *sessionsEndCmd) Run(ctx context.Context, a *app) error {
	if (len(s.Handle) == 0) == (s.Of == "") {
		return usagef("name the sessions to end by their handles, or a user by --of")
	}
	c, err := a.client(&s.clientFlags)
	if err != nil {
		return err
	}
	if s.Of != "" {
		query := url.Values{"user": {s.Of}, "realm": {s.Realm}}
		return c.call(ctx, http.MethodDelete, "/api/sessions", query, nil, nil)
	}
	for _, handle := range s.Handle {
		if err := c.call(ctx, http.MethodDelete, "/api/sessions/"+url.PathEscape(handle), nil, nil, nil); err != nil {
			return fmt.Errorf("end session %s: %w", handle, err)
		}
	}
	return nil
}
