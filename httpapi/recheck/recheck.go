// Package recheck owns the question when users who are logged in are looked at again: whether their realm still knows
// them, and with which roles. It asks no directory itself and keeps no session; it brings realms and cluster together.
//
// Every node runs a Loop; the one that leads works. Within each interval it asks for every user of a realm with a
// directory who has live sessions, one user at a time in each realm, spread evenly. The rules:
//
//   - A user who is gone, deleted or disabled, loses all sessions; one whose roles are others gets them.
//   - Who has logged in while the directory was asked is left for the next round: the login's answer may be the newer one.
//   - Only a clear answer counts. What can't be told changes nothing. A user at whom the realm does not answer is passed
//     over in that round. A realm that does not answer about 5 in a row is left alone for the round, which is logged when
//     it begins and when it ends; until then one question a round is enough to see that it is out still.
//   - The brake: when more than half of a realm's users, and more than 10, are found gone in one round, that is taken for
//     a fault of the directory. At most 10 of them have lost their sessions by then; the others keep them, in later
//     rounds all of them do, and an error is logged. If it is no fault, an administrator sets
//     "recheck": {"force": true} in the realm's configuration, waits for the next round, and takes it out again.
package recheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// Cluster is what the loop needs of the cluster.
type Cluster interface {
	// Leading reports whether this node leads.
	Leading() bool
	// Owners returns users with live sessions: those of the next limit sessions that follow after; see
	// session.Machine.Owners.
	Owners(ctx context.Context, after session.Key, limit int) (page []session.Owner, next session.Key, err error)
	// RolesOf returns the roles of each of a user's live sessions that has fixed ones, and the number (Seq) of the newest
	// of all live ones, 0 without any.
	RolesOf(ctx context.Context, owner session.Owner) (sets [][]string, newest uint64, err error)
	Do(ctx context.Context, cmd session.Command) (session.Result, error)
}

// Checker is what the loop needs of the realms.
type Checker interface {
	Recheck(ctx context.Context, realmName, username string) (realm.Verdict, error)
}

var _ Checker = (*realm.Authenticator)(nil)

// Config is what a Loop works with.
type Config struct {
	Cluster  Cluster
	Realms   Checker
	Node     string        // this node's name, which ended sessions are marked with
	Interval time.Duration // 0: DefaultInterval
	Logger   *slog.Logger
}

// Loop checks users again while this node leads.
type Loop struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	checks chan struct{} // a place for each check that runs

	mu      sync.Mutex
	realms  map[string]*state // what is remembered of each realm from round to round
	stats   Stats
	listing bool // the list of users could not be read: it has been logged
}

// state is what is remembered of a realm.
type state struct {
	busy    bool        // a round is at work on it
	due     time.Time   // when its next round may begin
	outage  bool        // its last answer was none
	braked  bool        // too many of its users were gone
	resume  session.Key // where the next round begins to look for its users: the last one had enough before the end
	skip    int         // how many users the next round asks for last: the check after them found an outage
	unclear bool        // its last round had users about whom nothing could be told: it has been logged
}

// New checks the configuration.
func New(cfg Config) (*Loop, error) {
	if cfg.Cluster == nil || cfg.Realms == nil || cfg.Logger == nil || cfg.Node == "" {
		return nil, errors.New("recheck: Cluster, Realms, Node and Logger are required")
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Interval < MinInterval {
		return nil, fmt.Errorf("recheck: Interval is at least %v", MinInterval)
	}
	l := &Loop{cfg: cfg, checks: make(chan struct{}, maxChecks), realms: make(map[string]*state)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// Open starts the loop.
func (l *Loop) Open() error {
	l.group.Go(l.run)
	return nil
}

// Close stops it and waits.
func (l *Loop) Close() error {
	l.cancel()
	l.group.Wait()
	return nil
}

// run begins rounds as they become due while this node leads, and at once when it begins to lead.
func (l *Loop) run() {
	var listed time.Time // when all users were listed last
	for {
		now := time.Now()
		if !l.cfg.Cluster.Leading() {
			listed = time.Time{}
			l.with(l.forgetDue)
		} else if now.Sub(listed) >= l.cfg.Interval || l.anyDue(now) {
			if l.begin(now) {
				listed = now
			}
		}
		if !l.sleep(leadPause) {
			return
		}
	}
}

// forgetDue makes every realm due: another node may have led meanwhile, and nobody knows how far it came.
func (l *Loop) forgetDue() {
	for _, s := range l.realms {
		s.due = time.Time{}
	}
}

func (l *Loop) anyDue(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.realms {
		if s.isDue(now) {
			return true
		}
	}
	return false
}

func (s *state) isDue(now time.Time) bool { return !s.busy && !now.Before(s.due) }

// sleep returns false when the loop closes.
func (l *Loop) sleep(d time.Duration) bool {
	if d <= 0 {
		return l.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// begin lists the users and starts a round for each realm that is due. It reports whether the list could be read.
func (l *Loop) begin(now time.Time) bool {
	users, err := l.list(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if first := err != nil && !l.listing; first && l.ctx.Err() == nil {
		l.cfg.Logger.Warn("the users with sessions can't be listed for the re-check", "error", err)
	}
	l.listing = err != nil
	if err != nil {
		return false
	}
	for name, names := range users {
		s := l.realms[name]
		s.busy, s.due = true, now.Add(l.cfg.Interval)
		r := &round{loop: l, realm: name, state: s, users: names}
		l.group.Go(r.run)
		l.stats.Rounds++
	}
	return true
}

// list returns the users to check, by realm, of realms that are due.
func (l *Loop) list(now time.Time) (map[string][]string, error) {
	found := listing{now: now, users: make(map[string][]string), resume: make(map[string]session.Key), seen: make(map[string]bool)}
	var after session.Key
	for first := true; first || !after.IsZero(); first = false {
		if !l.cfg.Cluster.Leading() {
			return nil, errNotLeading
		}
		page, next, err := l.cfg.Cluster.Owners(l.ctx, after, pageSessions)
		if err != nil {
			return nil, fmt.Errorf("list users with sessions: %w", err)
		}
		l.with(func() { l.add(&found, after, page) })
		after = next
	}
	l.with(func() { l.settle(&found) })
	return found.users, nil
}

// listing is what one walk through all users with sessions finds.
type listing struct {
	now    time.Time
	users  map[string][]string    // by realm
	resume map[string]session.Key // of realms with more than maxUsers: where the page begins that was too much
	seen   map[string]bool
}

// add takes the users of one page; l.mu is held.
func (l *Loop) add(found *listing, after session.Key, page []session.Owner) {
	for _, owner := range page {
		s := l.realms[owner.Realm]
		if s == nil {
			s = &state{}
			l.realms[owner.Realm] = s
		}
		found.seen[owner.Realm] = true
		switch _, full := found.resume[owner.Realm]; {
		case full, !s.isDue(found.now), bytes.Compare(after[:], s.resume[:]) < 0:
		case len(found.users[owner.Realm]) < maxUsers:
			found.users[owner.Realm] = append(found.users[owner.Realm], owner.Username)
		default:
			found.resume[owner.Realm] = after
		}
	}
}

// settle notes where the next rounds begin, and forgets realms that nobody has a session in; l.mu is held.
func (l *Loop) settle(found *listing) {
	for name, s := range l.realms {
		switch {
		case s.busy:
		case !found.seen[name]:
			delete(l.realms, name)
		case s.isDue(found.now):
			s.resume = found.resume[name]
		}
	}
}

var errNotLeading = errors.New("this node does not lead any more")

// Stats is what the loop has done since it was made, and what it knows of realms.
type Stats struct {
	Rounds       uint64 // begun
	Checks       uint64 // users asked for
	Ended        uint64 // users who were gone and have lost their sessions
	RolesChanged uint64 // users whose sessions have got other roles
	Unclear      uint64 // checks that could not tell about a user
	PassedOver   uint64 // checks without an answer, of a realm that answered about others
	Failed       uint64 // verdicts that the cluster did not take
	Outages      int    // realms that did not answer last
	Braked       int    // realms where too many users were gone
}

// Stats returns the counters.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.stats
	for _, s := range l.realms {
		if s.outage {
			stats.Outages++
		}
		if s.braked {
			stats.Braked++
		}
	}
	return stats
}
