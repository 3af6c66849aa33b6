package main

import (
	"context"
	"net/http"
	"strconv"
)

// limitsCmd shows the limits of the cluster, and sets those that are given.
type limitsCmd struct {
	SessionsPerUser *int    `placeholder:"N" help:"Sessions a user (0: the default)."`
	WhenOver        *string `enum:"evict,refuse" placeholder:"WHAT" help:"What a login over that does: evict the user's oldest session, or be refused."`
	Sessions        *int    `placeholder:"N" help:"Sessions of the whole cluster (0: as many as there is memory for)."`
	Attributes      *int    `placeholder:"N" help:"Attributes a session (0: the most that there may be)."`
	SessionBytes    *int    `placeholder:"BYTES" help:"Bytes of attributes a session (0: the most that there may be)."`
	clientFlags     `embed:""`
}

// limitsView is the limits as the API shows and takes them.
type limitsView struct {
	SessionsPerUser *int    `json:"sessionsPerUser,omitempty"`
	WhenOver        *string `json:"whenOver,omitempty"`
	Sessions        *int    `json:"sessions,omitempty"`
	Attributes      *int    `json:"attributes,omitempty"`
	SessionBytes    *int    `json:"sessionBytes,omitempty"`
}

// Run implements the command limits.
func (l *limitsCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&l.clientFlags)
	if err != nil {
		return err
	}
	set := limitsView{l.SessionsPerUser, l.WhenOver, l.Sessions, l.Attributes, l.SessionBytes}
	var now limitsView
	if set == (limitsView{}) {
		err = c.call(ctx, http.MethodGet, "/api/limits", nil, nil, &now)
	} else {
		err = c.call(ctx, http.MethodPut, "/api/limits", nil, set, &now)
	}
	if err != nil {
		return err
	}
	if l.JSON {
		return printJSON(a.stdout, now)
	}
	total := "no limit"
	if *now.Sessions > 0 {
		total = strconv.Itoa(*now.Sessions)
	}
	return printTable(a.stdout, []string{"SESSIONS A USER", "WHEN OVER", "SESSIONS", "ATTRIBUTES A SESSION", "BYTES A SESSION"}, [][]string{{
		strconv.Itoa(*now.SessionsPerUser), *now.WhenOver, total, strconv.Itoa(*now.Attributes), strconv.Itoa(*now.SessionBytes),
	}})
}
