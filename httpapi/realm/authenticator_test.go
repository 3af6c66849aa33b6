package realm

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

var errNoAnswer = errors.New("no leader")

// directory is a Directory of fixed records.
type directory struct {
	realms map[string]*session.Realm
	users  map[string]*session.User // by realm/name
	err    error
}

func (d *directory) User(_ context.Context, realm, username string) (*session.User, *session.Realm, error) {
	if d.err != nil {
		return nil, nil, d.err
	}
	return d.users[realm+"/"+username], d.realms[realm], nil
}

func (d *directory) addRealm(r *session.Realm) { d.realms[r.Name] = r }

func (d *directory) addUser(u *session.User) { d.users[u.Realm+"/"+u.Username] = u }

func newDirectory() *directory {
	d := &directory{realms: map[string]*session.Realm{}, users: map[string]*session.User{}}
	d.addRealm(&session.Realm{ID: "r1", Name: "native", Type: TypeNative, Enabled: true, RoleNames: []string{"everyone"}, Rev: 3})
	d.addRealm(&session.Realm{ID: "r2", Name: "partners", Type: TypeNative, Enabled: true, Rev: 4})
	d.addRealm(&session.Realm{ID: "r3", Name: "closed", Type: TypeNative, Enabled: false, Rev: 5})
	d.addRealm(&session.Realm{ID: "r4", Name: "strange", Type: "kerberos", Enabled: true, Rev: 6})
	return d
}

// fixture is an Authenticator whose hash computations are recorded.
type fixture struct {
	*Authenticator
	directory *directory
	hashed    []costs
	log       *bytes.Buffer
	revision  uint64 // of the last realm made
}

func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{directory: newDirectory(), log: &bytes.Buffer{}}
	h := newTestHasher(t, HasherConfig{})
	for _, u := range []*session.User{
		{ID: "u1", Realm: "native", Username: "ann", PasswordHash: mustHash(t, h, "ann's secret"), Rev: 7},
		{ID: "u2", Realm: "native", Username: "off", PasswordHash: mustHash(t, h, "off's secret"), Disabled: true, Rev: 8},
		{ID: "u3", Realm: "native", Username: "nopassword", Rev: 9},
		{ID: "u4", Realm: "native", Username: "broken", PasswordHash: "$argon2id$v=19$m=4294967295,t=9,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA", Rev: 10},
		{ID: "u5", Realm: "partners", Username: "ann", PasswordHash: mustHash(t, h, "other secret"), Rev: 11},
		{ID: "u6", Realm: "closed", Username: "ann", PasswordHash: mustHash(t, h, "ann's secret"), Rev: 12},
		{ID: "u7", Realm: "strange", Username: "ann", PasswordHash: mustHash(t, h, "ann's secret"), Rev: 13},
	} {
		f.directory.addUser(u)
	}
	derive := h.derive
	h.derive = func(ctx context.Context, password string, p phc) ([]byte, error) {
		f.hashed = append(f.hashed, p.costs)
		return derive(ctx, password, p)
	}
	cfg.Directory, cfg.Hasher, cfg.SealKey = f.directory, h, [32]byte{1}
	cfg.Logger = slog.New(slog.NewTextHandler(f.log, nil))
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Authenticator = a
	return f
}

// Every path computes one hash, of the same costs: the work done does not tell a stranger who exists.
func TestAuthenticateNative(t *testing.T) {
	ann := Identity{Realm: "native", Username: "ann", UserID: "u1", UserRev: 7, RealmRev: 3}
	partner := Identity{Realm: "partners", Username: "ann", UserID: "u5", UserRev: 11, RealmRev: 4}
	for _, tt := range []struct {
		name, realm, username, password string
		identity                        Identity
		err                             error
	}{
		{"right", "native", "ann", "ann's secret", ann, nil},
		{"right, realm by default", "", "ann", "ann's secret", ann, nil},
		{"right, second native realm", "partners", "ann", "other secret", partner, nil},
		{"wrong password", "native", "ann", "ann's secreT", Identity{}, ErrInvalidCredentials},
		{"password of the same name elsewhere", "partners", "ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"unknown user", "native", "nobody", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"other case of a name", "native", "Ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"disabled user", "native", "off", "off's secret", Identity{}, ErrInvalidCredentials},
		{"disabled user, wrong password", "native", "off", "wrong", Identity{}, ErrInvalidCredentials},
		{"user without password", "native", "nopassword", "anything", Identity{}, ErrInvalidCredentials},
		{"user without password, none given", "native", "nopassword", "", Identity{}, ErrInvalidCredentials},
		{"stored hash that would take the machine", "native", "broken", "anything", Identity{}, ErrInvalidCredentials},
		{"unknown realm", "nowhere", "ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"disabled realm", "closed", "ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"realm of unknown type", "strange", "ann", "ann's secret", Identity{}, ErrUnknownRealmType},
		{"bad realm name", "native\r\n", "ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"empty password", "native", "ann", "", Identity{}, ErrInvalidCredentials},
		{"overlong password", "native", "ann", strings.Repeat("x", MaxPassword+1), Identity{}, ErrInvalidCredentials},
		{"no user name", "native", "", "ann's secret", Identity{}, ErrBadUsername},
		{"user name for a header", "native", "ann\r\nX: y", "ann's secret", Identity{}, ErrBadUsername},
		{"user name not ASCII", "native", "änn", "ann's secret", Identity{}, ErrBadUsername},
		{"overlong user name", "native", strings.Repeat("a", session.MaxName+1), "ann's secret", Identity{}, ErrBadUsername},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			identity, err := f.Authenticate(t.Context(), tt.realm, tt.username, tt.password)
			if !errors.Is(err, tt.err) {
				t.Errorf("err = %v, want %v", err, tt.err)
			}
			if any(tt.err) == any(ErrInvalidCredentials) && any(err) != any(ErrInvalidCredentials) {
				t.Errorf("err = %v: not the one answer that all refusals share", err)
			}
			if any(tt.err) == any(ErrBadUsername) && !errors.Is(err, ErrInvalidCredentials) {
				t.Error("a bad user name is not a case of invalid credentials")
			}
			if !equalIdentity(identity, tt.identity) {
				t.Errorf("identity %+v, want %+v", identity, tt.identity)
			}
			if want := []costs{{MinMemory, 1, 1}}; !slices.Equal(f.hashed, want) {
				t.Errorf("hashes computed: %+v, want %+v", f.hashed, want)
			}
		})
	}
}

func equalIdentity(a, b Identity) bool {
	return a.Realm == b.Realm && a.Username == b.Username && a.UserID == b.UserID && a.UserRev == b.UserRev &&
		a.RealmRev == b.RealmRev && a.AutoCreate == b.AutoCreate && a.FixedRoles == b.FixedRoles &&
		slices.Equal(a.Roles, b.Roles) && (a.Roles == nil) == (b.Roles == nil)
}

func TestAuthenticateWithoutAnswerFromCluster(t *testing.T) {
	f := newFixture(t, Config{})
	f.directory.err = errNoAnswer
	if _, err := f.Authenticate(t.Context(), "", "ann", "ann's secret"); !errors.Is(err, errNoAnswer) || errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("err = %v, want the directory's", err)
	}
}

func TestAuthenticateGivesUpWithItsCaller(t *testing.T) {
	f := newFixture(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, username := range []string{"ann", "nobody"} {
		if _, err := f.Authenticate(ctx, "", username, "ann's secret"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: err = %v, want context.Canceled", username, err)
		}
	}
}

func TestBrokenHashIsLoggedWithoutIt(t *testing.T) {
	f := newFixture(t, Config{})
	if _, err := f.Authenticate(t.Context(), "", "broken", "my password"); !errors.Is(err, ErrInvalidCredentials) {
		t.Fatal(err)
	}
	line := f.log.String()
	if !strings.Contains(line, "user=broken") {
		t.Errorf("log %q does not name the user", line)
	}
	if strings.Contains(line, "argon2id$v") || strings.Contains(line, "my password") {
		t.Errorf("log shows a secret: %q", line)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	for name, cfg := range map[string]Config{
		"no directory": {Hasher: h, Logger: slog.New(slog.DiscardHandler)},
		"no hasher":    {Directory: newDirectory(), Logger: slog.New(slog.DiscardHandler)},
		"no logger":    {Directory: newDirectory(), Hasher: h},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
