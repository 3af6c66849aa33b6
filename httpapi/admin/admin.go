package admin

import (
	"log/slog"
	"sync"

	"cloakroom/httpapi/access"
)

// Config is what the administration is made of, besides what all handlers rest on.
type Config struct {
	Hasher     Hasher
	Sealer     Sealer
	Membership Membership
	Backups    Backups         // nil: none can be made
	Served     *sync.WaitGroup // of what the server waits for when it closes
	LogLevel   *slog.LevelVar  // of this node
	Logger     *slog.Logger
	View       func() any  // the cluster as this node sees it, as JSON
	Stopping   func() bool // this node is about to stop
}

// Admin answers the calls of administrators.
type Admin struct {
	Users    *users
	Roles    *roles
	Realms   *realms
	Limits   *quota
	Members  *members
	Backups  *backups
	LogLevel *logLevel
}

// New returns the administration.
func New(a *access.Access, cfg Config) *Admin {
	shared := &records{state: a.State, callers: a.Callers, diary: a.Diary}
	return &Admin{
		Users:  &users{hasher: cfg.Hasher, log: cfg.Logger, state: a.State, callers: a.Callers, diary: a.Diary, records: shared},
		Roles:  &roles{state: a.State, callers: a.Callers, diary: a.Diary, records: shared},
		Realms: &realms{sealer: cfg.Sealer, state: a.State, callers: a.Callers, diary: a.Diary, records: shared},
		Limits: &quota{state: a.State, callers: a.Callers, diary: a.Diary},
		Members: &members{
			membership: cfg.Membership, view: cfg.View, stopping: cfg.Stopping, state: a.State, callers: a.Callers, diary: a.Diary,
		},
		Backups:  &backups{source: cfg.Backups, served: cfg.Served, log: cfg.Logger, state: a.State, callers: a.Callers, diary: a.Diary},
		LogLevel: &logLevel{level: cfg.LogLevel, log: cfg.Logger, callers: a.Callers, diary: a.Diary},
	}
}
