package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"cloakroom/cluster"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// firstAdmin is the name of the user that a new cluster begins with.
const firstAdmin = "admin"

// adminPassword is the password that the first user shall get, and how it came about.
type adminPassword struct {
	secret   session.Secret // "": one is to be made
	variable string         // the environment variable that it was given by, "" if none
	file     string         // with CLOAKROOM_ADMIN_PASSWORD_FILE
}

// adminPassword reads what the environment says. It matters only to the node that begins a cluster.
func (a *app) adminPassword() (adminPassword, error) {
	const variable = "CLOAKROOM_ADMIN_PASSWORD"
	password, _ := a.lookup(variable)
	file, _ := a.lookup(variable + "_FILE")
	switch {
	case password != "" && file != "":
		return adminPassword{}, usagef("%s and %s_FILE are both set: keep one", variable, variable)
	case password != "":
		return adminPassword{secret: session.Secret(password), variable: variable}, checkGiven(variable, password)
	case file != "":
		password, err := a.passwordFile(file)
		if err != nil {
			return adminPassword{}, fmt.Errorf("%s_FILE: %w", variable, err)
		}
		return adminPassword{secret: session.Secret(password), variable: variable, file: file}, checkGiven(variable+"_FILE", password)
	}
	return adminPassword{}, nil
}

// checkGiven refuses a password that could not become a user's: better now than when the cluster has begun.
func checkGiven(variable, password string) error {
	if err := realm.CheckPassword(password); err != nil {
		return usagef("%s: %v", variable, err)
	}
	return nil
}

// state is what it takes of a cluster to look after its first user.
type state interface {
	Do(ctx context.Context, cmd session.Command) (session.Result, error)
	Read(ctx context.Context, level cluster.Level, fn func(*session.Machine)) error
}

var _ state = (*cluster.Cluster)(nil)

// founder makes the first user of a cluster that this node has begun.
type founder struct {
	state  state
	hasher *realm.Hasher
	log    *slog.Logger
}

// firstUser makes the user and returns the password if there was none to take. It goes on trying while the cluster
// can't say whether it was done, or has no room; the command itself takes effect once.
func (f *founder) firstUser(ctx context.Context, given adminPassword) (made session.Secret, err error) {
	password := given.secret
	if password == "" {
		made = session.Secret(rand.Text())
		password = made
	}
	hash, err := f.hasher.HashPassword(ctx, string(password))
	if err != nil {
		return "", fmt.Errorf("hash the first user's password: %w", err)
	}
	create := &session.CreateUser{
		ID:           uuid.NewString(),
		Realm:        session.NativeRealm,
		Username:     firstAdmin,
		RoleNames:    []string{session.RoleAdmin},
		PasswordHash: hash,
		First:        true,
	}
	told := false
	for {
		err := f.tryFirstUser(ctx, create)
		switch {
		case err == nil:
			f.log.Info("made the first user", "user", firstAdmin)
			return made, nil
		case errors.Is(err, session.ErrNotFirstUser):
			return "", nil // somebody was quicker, or a restored state has users
		case ctx.Err() != nil:
			return "", fmt.Errorf("make the first user: %w", err)
		case errors.Is(err, guard.ErrDiskLow), errors.Is(err, guard.ErrLimitMemory):
			if !told {
				f.log.Warn("the first user can't be made yet: it is tried again until there is room", "user", firstAdmin, "error", err)
				told = true
			}
			pause(ctx, FirstAdminPause)
		case !passing(err):
			return "", fmt.Errorf("make the first user: %w", err)
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tryFirstUser is one bounded attempt. A refusal as not the first is looked at: the first may be our own, made by an
// attempt whose answer was lost.
func (f *founder) tryFirstUser(ctx context.Context, create *session.CreateUser) error {
	ctx, cancel := context.WithTimeout(ctx, FirstAdminTimeout)
	defer cancel()
	_, err := f.state.Do(ctx, create)
	if !errors.Is(err, session.ErrNotFirstUser) {
		return err
	}
	var ours bool
	readErr := f.state.Read(ctx, cluster.Quorum, func(m *session.Machine) {
		_, ours = m.UserByID(create.ID)
	})
	if readErr != nil {
		return readErr
	}
	if ours {
		return nil
	}
	return err
}

// passing reports whether an error of the cluster is worth another attempt. Each attempt waits for the cluster by
// itself, so that repeating it is no busy loop.
func passing(err error) bool {
	for _, target := range []error{
		cluster.ErrNoLeader, cluster.ErrTimeout, cluster.ErrOutcomeUnknown, cluster.ErrOverloaded, cluster.ErrCutOff,
		context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// hasUsers reports whether anybody could log in. It goes on asking while the cluster can't say: a node that was ready a
// moment ago may have lost its leader since, and must not end for it.
func (f *founder) hasUsers(ctx context.Context) (bool, error) {
	pause := time.NewTicker(ReadyPoll)
	defer pause.Stop()
	for {
		users, err := f.countUsers(ctx)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return users > 0, err
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

func (f *founder) countUsers(ctx context.Context) (users int, err error) {
	err = f.state.Read(ctx, cluster.Quorum, func(m *session.Machine) { users = m.Stats().Users })
	if err != nil {
		return 0, fmt.Errorf("count the users: %w", err)
	}
	return users, nil
}

// awaitUsers gives the node that has begun the cluster FirstAdminTimeout to make the first user.
func (f *founder) awaitUsers(ctx context.Context) (users bool, err error) {
	patience := time.NewTimer(FirstAdminTimeout)
	defer patience.Stop()
	ticker := time.NewTicker(ReadyPoll)
	defer ticker.Stop()
	for {
		if users, err = f.hasUsers(ctx); err != nil || users {
			return users, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-patience.C:
			return false, nil
		case <-ticker.C:
		}
	}
}
