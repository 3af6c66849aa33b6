package admin

import (
	"log/slog"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/exchange"
)

// logLevel is /api/log-level.
type logLevel struct {
	level   *slog.LevelVar
	log     *slog.Logger
	callers *access.Callers
	diary   *access.Diary
}

// logLevelBody is how much this node logs. It begins anew with what the node was configured to when it is started again.
type logLevelBody struct {
	Level *string `json:"level"`
}

// logLevels are the names that a level may have, as the configuration has them.
func logLevels() map[string]slog.Level {
	return map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
}

func logLevelName(l slog.Level) string { return strings.ToLower(l.String()) }

// GetLogLevel is GET /api/log-level, of this node.
func (l *logLevel) GetLogLevel(rc *exchange.Request) error {
	if _, err := l.callers.Authorize(rc, session.RoleAdmin); err != nil {
		return err
	}
	return l.showLogLevel(rc)
}

func (l *logLevel) showLogLevel(rc *exchange.Request) error {
	name := logLevelName(l.level.Level())
	return exchange.WriteJSON(rc, fasthttp.StatusOK, logLevelBody{&name})
}

// PutLogLevel is PUT /api/log-level, of this node. It needs nothing of the cluster but who is asking, and by the control
// socket not even that: it is for a node in trouble.
func (l *logLevel) PutLogLevel(rc *exchange.Request) error {
	p, err := l.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	var in logLevelBody
	if err := exchange.DecodeJSON(rc, &in); err != nil {
		return err
	}
	if in.Level == nil {
		return exchange.MissingField("level is required: debug, info, warn or error")
	}
	level, ok := logLevels()[*in.Level]
	if !ok {
		return exchange.BadField("level must be debug, info, warn or error")
	}
	before := logLevelName(l.level.Level())
	l.level.Set(level)
	l.log.Info("log level changed", "before", before, "level", *in.Level, "by", p.Name())
	l.diary.Audit(rc, p, audit.Event{Name: audit.Changed, Target: "log level of this node", Detail: before + " to " + *in.Level}, nil)
	return l.showLogLevel(rc)
}
