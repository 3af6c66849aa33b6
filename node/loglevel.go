package main

import (
	"context"
	"fmt"
	"net/http"
)

// logLevelCmd shows how much a running node logs, or changes it.
type logLevelCmd struct {
	Level       string `arg:"" optional:"" placeholder:"LEVEL" help:"debug, info, warn or error."`
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*logLevelCmd) Help() string {
	return "Without LEVEL it shows the level. It is that of the node that is asked alone; when the node is started again, --log-level counts."
}

// logLevelView is the level as the API shows and takes it.
type logLevelView struct {
	Level string `json:"level"`
}

// Run implements the command log-level.
func (l *logLevelCmd) Run(ctx context.Context, a *app) error {
	switch l.Level {
	case "", "debug", "info", "warn", "error":
	default:
		return usagef("%q is no level: it is debug, info, warn or error", l.Level)
	}
	c, err := a.client(&l.clientFlags)
	if err != nil {
		return err
	}
	var now logLevelView
	if l.Level == "" {
		err = c.call(ctx, http.MethodGet, "/api/log-level", nil, nil, &now)
	} else {
		err = c.call(ctx, http.MethodPut, "/api/log-level", nil, logLevelView{l.Level}, &now)
	}
	switch {
	case err != nil:
		return err
	case l.JSON:
		return printJSON(a.stdout, now)
	}
	if _, err := fmt.Fprintln(a.stdout, now.Level); err != nil {
		return fmt.Errorf("print the level: %w", err)
	}
	return nil
}
