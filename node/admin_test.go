package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// unsure is a cluster that applies what it is given, and loses some of its answers.
type unsure struct {
	machine *session.Machine
	index   uint64
	answers []error // of Do, before it applies anything honestly; nil: apply, then say that the outcome is unknown
	tries   int
	unread  []error // of Read, before it reads anything
}

func newUnsure(answers ...error) *unsure {
	u := &unsure{machine: session.New(), answers: answers}
	u.apply(&session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
	return u
}

func (u *unsure) apply(cmd session.Command) session.Result {
	u.index++
	return u.machine.Apply(u.index, &session.Entry{Stamp: 1000, Commands: []session.Command{cmd}})[0]
}

func (u *unsure) Do(_ context.Context, cmd session.Command) (session.Result, error) {
	u.tries++
	if len(u.answers) > 0 {
		answer := u.answers[0]
		u.answers = u.answers[1:]
		if answer == nil {
			u.apply(cmd)
			answer = cluster.ErrOutcomeUnknown
		}
		return session.Result{}, answer
	}
	result := u.apply(cmd)
	if result.Err != nil {
		return result, result.Err
	}
	return result, nil
}

func (u *unsure) Read(_ context.Context, _ cluster.Level, fn func(*session.Machine)) error {
	if len(u.unread) > 0 {
		err := u.unread[0]
		u.unread = u.unread[1:]
		return err
	}
	fn(u.machine)
	return nil
}

func newFounder(t *testing.T, state state) *founder {
	t.Helper()
	hasher, err := realm.NewHasher(realm.HasherConfig{Memory: realm.MinMemory, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	return &founder{state: state, hasher: hasher, log: slog.New(slog.DiscardHandler)}
}

// TestFirstUser: whatever becomes of the answers, there is one user, and a password is shown if and only if it is the
// one that this user has.
func TestFirstUser(t *testing.T) {
	for name, answers := range map[string][]error{
		"at once":               {},
		"no leader at first":    {cluster.ErrNoLeader, cluster.ErrTimeout, cluster.ErrOverloaded},
		"not done, not known":   {cluster.ErrOutcomeUnknown},
		"done, but not known":   {nil},
		"done, lost, no leader": {nil, cluster.ErrNoLeader},
	} {
		u := newUnsure(answers...)
		made, err := newFounder(t, u).firstUser(t.Context(), adminPassword{})
		if err != nil || made == "" || u.tries != len(answers)+1 {
			t.Errorf("%s: password %d characters long after %d tries, %v", name, len(made), u.tries, err)
		}
		user, ok := u.machine.UserByName(session.NativeRealm, firstAdmin)
		if !ok || len(user.RoleNames) != 1 || user.RoleNames[0] != session.RoleAdmin {
			t.Errorf("%s: the user is %+v", name, user)
		}
	}
}

// TestGivenPasswordIsChecked: a node does not begin a cluster whose first user can't have the password that was given.
func TestGivenPasswordIsChecked(t *testing.T) {
	for password, want := range map[string]error{
		"short":                                  realm.ErrPasswordTooShort,
		strings.Repeat("x", realm.MaxPassword):   nil,
		strings.Repeat("x", realm.MaxPassword+1): realm.ErrPasswordTooLong,
	} {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		for variable, value := range map[string]string{"CLOAKROOM_ADMIN_PASSWORD": password, "CLOAKROOM_ADMIN_PASSWORD_FILE": file} {
			if len(password) > realm.MaxPassword && value == file {
				continue // the file itself is too long, and refused for that
			}
			a := &app{stderr: t.Output(), lookup: func(name string) (string, bool) { return map[string]string{variable: value}[name], name == variable }}
			_, err := a.adminPassword()
			if want == nil && err != nil || want != nil && (err == nil || err.Error() != variable+": "+want.Error()) {
				t.Errorf("%d bytes by %s: %v", len(password), variable, err)
			}
		}
	}
}

func TestFirstUserOfAnother(t *testing.T) {
	u := newUnsure()
	if _, err := newFounder(t, u).firstUser(t.Context(), adminPassword{}); err != nil {
		t.Fatal(err)
	}
	made, err := newFounder(t, u).firstUser(t.Context(), adminPassword{})
	if err != nil || made != "" {
		t.Errorf("a second first user: password %d characters long, %v", len(made), err)
	}
}

func TestFirstUserKeepsGivenPassword(t *testing.T) {
	u := newUnsure()
	made, err := newFounder(t, u).firstUser(t.Context(), adminPassword{secret: "given-by-the-operator"})
	if err != nil || made != "" {
		t.Errorf("a password is to be shown although one was given: %d characters, %v", len(made), err)
	}
}

// TestFirstUserWaitsForRoom: a new cluster on disks that are nearly full serves until somebody makes room, and says once why
// it has no user.
func TestFirstUserWaitsForRoom(t *testing.T) {
	for name, full := range map[string]error{"disk": guard.ErrDiskLow, "memory": guard.ErrLimitMemory} {
		synctest.Test(t, func(t *testing.T) {
			u := newUnsure(full, full, cluster.ErrNoLeader, full)
			f := newFounder(t, u)
			var out strings.Builder
			f.log = slog.New(slog.NewTextHandler(&out, nil))
			begun := time.Now()
			if made, err := f.firstUser(t.Context(), adminPassword{}); err != nil || made == "" {
				t.Errorf("%s: password %d characters long after %d tries, %v", name, len(made), u.tries, err)
			}
			if took := time.Since(begun); took != 3*FirstAdminPause {
				t.Errorf("%s: done after %v", name, took)
			}
			if text := out.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, full.Error()) {
				t.Errorf("%s: logged %q", name, text)
			}
		})
	}
}

func TestFirstUserGivesUp(t *testing.T) {
	refused := errors.New("refused for good")
	if _, err := newFounder(t, newUnsure(refused)).firstUser(t.Context(), adminPassword{}); !errors.Is(err, refused) {
		t.Errorf("a lasting error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newFounder(t, newUnsure(cluster.ErrNoLeader)).firstUser(ctx, adminPassword{}); err == nil {
		t.Error("a node that is stopped went on")
	}
}

func TestAwaitUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnsure()
		f := &founder{state: u}
		if users, err := f.awaitUsers(t.Context()); err != nil || users {
			t.Errorf("users %v, %v where there are none", users, err)
		}
		u.apply(&session.CreateUser{ID: "1", Realm: session.NativeRealm, Username: "ann"})
		if users, err := f.awaitUsers(t.Context()); err != nil || !users {
			t.Errorf("users %v, %v where there is one", users, err)
		}
	})
}

// TestUsersAreCountedWithoutLeader: a node that has just become ready, and loses the leader, waits for the next one.
func TestUsersAreCountedWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnsure()
		u.apply(&session.CreateUser{ID: "1", Realm: session.NativeRealm, Username: "ann"})
		u.unread = []error{cluster.ErrNoLeader, cluster.ErrTimeout, cluster.ErrOverloaded, cluster.ErrCutOff}
		f := &founder{state: u}
		if users, err := f.hasUsers(t.Context()); err != nil || !users || len(u.unread) > 0 {
			t.Errorf("users %v, %v, %d answers are left", users, err, len(u.unread))
		}
		refused := errors.New("refused for good")
		u.unread = []error{refused}
		if _, err := f.hasUsers(t.Context()); !errors.Is(err, refused) {
			t.Errorf("a lasting error: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		u.unread = []error{cluster.ErrNoLeader}
		if _, err := f.hasUsers(ctx); err == nil {
			t.Error("a node that is stopped went on")
		}
	})
}
