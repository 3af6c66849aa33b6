package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cloakroom/cluster/session"
)

// userCmd holds the commands about users of the realm native: other realms keep their users elsewhere.
type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Make a user; the password is read from standard input."`
	Passwd  userPasswdCmd  `cmd:"" help:"Give a user a new password, read from standard input, and end all sessions of that user."`
	Disable userDisableCmd `cmd:"" help:"Let a user in no more, and end all sessions of that user."`
	List    userListCmd    `cmd:"" help:"List the users."`
}

// newPassword says where the password of the user in question comes from. It is never an argument: those are seen by
// everyone on the machine and stay in the shell's history.
type newPassword struct {
	NewPasswordFile string `placeholder:"FILE" help:"Read the new password from this file instead."`
}

func (n *newPassword) read(a *app, name string) (string, error) {
	if n.NewPasswordFile != "" {
		return a.passwordFile(n.NewPasswordFile)
	}
	return a.input().password("New password of "+name, true)
}

// userView is a user as the API shows one.
type userView struct {
	ID        string   `json:"id"`
	Username  string   `json:"username"`
	RealmName string   `json:"realmName"`
	Disabled  bool     `json:"disabled"`
	RoleNames []string `json:"roleNames"`
	CreatedAt string   `json:"createdAt"`
}

type userAddCmd struct {
	Name        string   `arg:"" help:"Name of the user."`
	Role        []string `placeholder:"ROLE" help:"Roles of the user; admin may manage everything."`
	newPassword `embed:""`
	clientFlags `embed:""`
}

// Run implements the command user add.
func (u *userAddCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&u.clientFlags)
	if err != nil {
		return err
	}
	password, err := u.read(a, u.Name)
	if err != nil {
		return err
	}
	roles := u.Role
	if roles == nil {
		roles = []string{}
	}
	body := map[string]any{"username": u.Name, "password": password, "roleNames": roles}
	return c.call(ctx, http.MethodPost, "/api/users", nil, body, nil)
}

type userPasswdCmd struct {
	Name        string `arg:"" help:"Name of the user."`
	newPassword `embed:""`
	clientFlags `embed:""`
}

// Run implements the command user passwd.
func (u *userPasswdCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&u.clientFlags)
	if err != nil {
		return err
	}
	user, err := c.userNamed(ctx, u.Name)
	if err != nil {
		return err
	}
	password, err := u.read(a, u.Name)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, "/api/users/"+url.PathEscape(user.ID), nil, map[string]any{"password": password}, nil)
}

type userDisableCmd struct {
	Name        string `arg:"" help:"Name of the user."`
	clientFlags `embed:""`
}

// Run implements the command user disable.
func (u *userDisableCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&u.clientFlags)
	if err != nil {
		return err
	}
	user, err := c.userNamed(ctx, u.Name)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, "/api/users/"+url.PathEscape(user.ID), nil, map[string]any{"disabled": true}, nil)
}

type userListCmd struct {
	clientFlags `embed:""`
}

// Run implements the command user list.
func (u *userListCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&u.clientFlags)
	if err != nil {
		return err
	}
	users, err := c.users(ctx)
	if err != nil {
		return err
	}
	if u.JSON {
		return printJSON(a.stdout, users)
	}
	rows := make([][]string, 0, len(users))
	for _, raw := range users {
		var view userView
		if err := json.Unmarshal(raw, &view); err != nil {
			return fmt.Errorf("read the list of users: %w", err)
		}
		state := "enabled"
		if view.Disabled {
			state = "disabled"
		}
		rows = append(rows, []string{view.Username, view.RealmName, state, strings.Join(view.RoleNames, ","), view.CreatedAt, view.ID})
	}
	return printTable(a.stdout, []string{"USER", "REALM", "STATE", "ROLES", "CREATED", "ID"}, rows)
}

// users reads the whole list, page by page: a page that is not full is the last one.
func (c *client) users(ctx context.Context) ([]json.RawMessage, error) {
	query := url.Values{"limit": {strconv.Itoa(ListPage)}}
	users := []json.RawMessage{}
	for {
		var page []json.RawMessage
		if err := c.call(ctx, http.MethodGet, "/api/users", query, nil, &page); err != nil {
			return nil, err
		}
		users = append(users, page...)
		if len(page) < ListPage {
			return users, nil
		}
		var last userView
		if err := json.Unmarshal(page[len(page)-1], &last); err != nil {
			return nil, fmt.Errorf("read the list of users: %w", err)
		}
		query.Set("after", last.ID)
	}
}

// userNamed finds a user of the realm native.
func (c *client) userNamed(ctx context.Context, name string) (*userView, error) {
	users, err := c.users(ctx)
	if err != nil {
		return nil, err
	}
	for _, raw := range users {
		var view userView
		if err := json.Unmarshal(raw, &view); err != nil {
			return nil, fmt.Errorf("read the list of users: %w", err)
		}
		if view.Username == name && view.RealmName == session.NativeRealm {
			return &view, nil
		}
	}
	return nil, fmt.Errorf("the realm %s has no user %q", session.NativeRealm, name)
}
