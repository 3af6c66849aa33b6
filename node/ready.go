package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// readyPatience is how long a node may take to say whether it is ready: less than what health checks allow.
const readyPatience = 3 * time.Second

type readyCmd struct {
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*readyCmd) Help() string {
	return "Exit code 0 says that the node wants requests, as its /readyz does; 1 that it joins, drains, has no leader or does not run, with the " +
		"reason. For health checks where there is no other program, and for scripts that wait."
}

// Run implements the command ready.
func (r *readyCmd) Run(ctx context.Context, a *app) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	c, err := a.client(&r.clientFlags)
	if err != nil {
		return err
	}
	var answer struct {
		Status string `json:"status"`
	}
	if err := c.call(ctx, http.MethodGet, "/readyz", nil, nil, &answer); err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	if r.JSON {
		return printJSON(a.stdout, answer)
	}
	_, err = fmt.Fprintln(a.stdout, answer.Status)
	return err
}
