package recheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// fake is a cluster and its realms. Users stand in the order of their names, each with one session of that key.
type fake struct {
	mu       sync.Mutex
	leading  bool
	users    []session.Owner
	roles    map[session.Owner][][]string
	verdicts map[session.Owner]realm.Verdict
	errs     map[string]error // by realm, or by user@realm
	hang     map[string]bool  // realms that never answer
	newest   map[session.Owner]uint64
	onAsk    func(session.Owner) // called under the lock when the directory has made up its mind

	listErr error
	doErr   error
	asked   []string // user@realm, in order
	askedAt []time.Time
	running map[string]int
	most    int // checks at once
	done    []session.Command
}

func newFake() *fake {
	return &fake{
		leading: true, roles: make(map[session.Owner][][]string), verdicts: make(map[session.Owner]realm.Verdict),
		errs: make(map[string]error), hang: make(map[string]bool), newest: make(map[session.Owner]uint64), running: make(map[string]int),
	}
}

// add makes so many users of a realm, who are in order.
func (f *fake) add(realmName string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range n {
		owner := session.Owner{Realm: realmName, Username: fmt.Sprintf("u%05d", i)}
		f.users = append(f.users, owner)
		f.roles[owner] = [][]string{{"staff"}}
		f.verdicts[owner] = realm.Verdict{Roles: []string{"staff"}}
	}
}

func (f *fake) Leading() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leading
}

func keyAt(i int) (k session.Key) {
	k[14], k[15] = byte(i>>8), byte(i)
	return k
}

func (f *fake) Owners(_ context.Context, after session.Key, limit int) ([]session.Owner, session.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listErr != nil {
		return nil, session.Key{}, f.listErr
	}
	from := int(after[14])<<8 | int(after[15])
	limit = min(limit, 7) // small pages
	to := min(from+limit, len(f.users))
	next := keyAt(to)
	if to == len(f.users) {
		next = session.Key{}
	}
	return slices.Clone(f.users[from:to]), next, nil
}

func (f *fake) RolesOf(_ context.Context, owner session.Owner) ([][]string, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roles[owner], f.newest[owner], nil
}

func (f *fake) Do(_ context.Context, cmd session.Command) (session.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.doErr != nil {
		return session.Result{}, f.doErr
	}
	f.done = append(f.done, cmd)
	switch c := cmd.(type) {
	case *session.EndUser:
		f.users = slices.DeleteFunc(f.users, func(o session.Owner) bool { return o == session.Owner{Realm: c.Realm, Username: c.Username} })
	case *session.SetRoles:
		f.roles[session.Owner{Realm: c.Realm, Username: c.Username}] = [][]string{c.Roles}
	}
	return session.Result{Ended: 1}, nil
}

func (f *fake) Recheck(ctx context.Context, realmName, username string) (realm.Verdict, error) {
	f.mu.Lock()
	owner := session.Owner{Realm: realmName, Username: username}
	f.asked = append(f.asked, username+"@"+realmName)
	f.askedAt = append(f.askedAt, time.Now())
	f.running[realmName]++
	total := 0
	for _, n := range f.running {
		total += n
	}
	f.most = max(f.most, total)
	if f.running[realmName] > 1 {
		panic("two checks of one realm at once")
	}
	verdict, err, hang := f.verdicts[owner], errors.Join(f.errs[realmName], f.errs[username+"@"+realmName]), f.hang[realmName]
	if f.onAsk != nil {
		f.onAsk(owner)
	}
	f.mu.Unlock()
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
	}
	if hang {
		<-ctx.Done()
		err = ctx.Err()
	}
	f.mu.Lock()
	f.running[realmName]--
	f.mu.Unlock()
	return verdict, err
}

// gone makes users gone, by their place.
func (f *fake) gone(realmName string, from, to int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := from; i < to; i++ {
		f.verdicts[session.Owner{Realm: realmName, Username: fmt.Sprintf("u%05d", i)}] = realm.Verdict{Gone: true, Reason: "deleted"}
	}
}

// set changes the fake.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// count returns how many checks and commands there were since the last call.
func (f *fake) count() (asked, done int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked, done = len(f.asked), len(f.done)
	f.asked, f.askedAt, f.done = nil, nil, nil
	return asked, done
}

// opened is a loop at work on a fake.
type opened struct {
	*Loop
	log *bytes.Buffer
}

func open(t *testing.T, f *fake) opened {
	t.Helper()
	log := &bytes.Buffer{}
	l, err := New(Config{Cluster: f, Realms: f, Node: "n1", Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return opened{l, log}
}

func (o opened) logged(t *testing.T, what string, want int) {
	t.Helper()
	o.mu.Lock() // whoever logs has had the lock before
	defer o.mu.Unlock()
	if n := strings.Count(o.log.String(), what); n != want {
		t.Errorf("%q is logged %d times, want %d:\n%s", what, n, want, o.log)
	}
}
