package recheck

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// round is a little more than an interval: a round begins and ends in it.
const aRound = DefaultInterval + leadPause

// pass lets fake time go on.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEverybodyIsCheckedOncePerInterval(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 100)
		f.add("lab", 3)
		l := open(t, f)
		start := time.Now()
		pass(DefaultInterval - time.Second)
		if len(f.asked) != 103 {
			t.Fatalf("%d checks in the first interval, want 103", len(f.asked))
		}
		for i := range 100 {
			if want := fmt.Sprintf("u%05d@corp", i); !slices.Contains(f.asked, want) {
				t.Errorf("%s is not checked", want)
			}
		}
		for part := range 9 { // evenly: as many in each ninth of the time
			n, from := 0, start.Add(time.Duration(part)*DefaultInterval/10)
			for i, at := range f.askedAt {
				if strings.HasSuffix(f.asked[i], "@corp") && !at.Before(from) && at.Before(from.Add(DefaultInterval/10)) {
					n++
				}
			}
			if n < 10 || n > 12 {
				t.Errorf("%d checks in part %d, want 11", n, part)
			}
		}
		f.count()
		for range 3 {
			pass(DefaultInterval)
			if asked, done := f.count(); asked < 101 || asked > 105 || done != 0 {
				t.Errorf("%d checks, %d commands in an interval", asked, done)
			}
		}
		if s := l.Stats(); s.Checks < 400 || s.Rounds < 8 || s.Ended != 0 || s.RolesChanged != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGoneUsersLoseTheirSessions(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 50)
		f.gone("corp", 7, 8)
		l := open(t, f)
		pass(aRound)
		want := &session.EndUser{Realm: "corp", Username: "u00007", Reason: session.EndedByRecheck, By: "node n1 (directory re-check)"}
		if len(f.done) != 1 || *f.done[0].(*session.EndUser) != *want {
			t.Errorf("commands %+v, want %+v", f.done, want)
		}
		l.logged(t, "user=u00007 why=deleted", 1)
		if s := l.Stats(); s.Ended != 1 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRolesFollowTheDirectory(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 6)
		owner := func(i int) session.Owner { return f.users[i] }
		f.verdicts[owner(0)] = realm.Verdict{Roles: []string{"ops", "staff"}} // got one more
		f.verdicts[owner(1)] = realm.Verdict{Roles: []string{}}               // lost all
		f.roles[owner(2)] = [][]string{{"staff"}, {"admin", "staff"}}         // an older session has more
		f.roles[owner(3)] = [][]string{{"staff"}, {"staff"}}
		f.roles[owner(4)] = nil // no session with fixed roles
		l := open(t, f)
		pass(aRound)
		got := make(map[string][]string)
		for _, cmd := range f.done {
			c := cmd.(*session.SetRoles)
			got[c.Username] = c.Roles
		}
		if len(f.done) != 3 || !slices.Equal(got["u00000"], []string{"ops", "staff"}) || got["u00001"] == nil ||
			len(got["u00001"]) != 0 || !slices.Equal(got["u00002"], []string{"staff"}) {
			t.Errorf("commands: %v", got)
		}
		if s := l.Stats(); s.RolesChanged != 3 {
			t.Errorf("%+v", s)
		}
		f.count()
		pass(aRound)
		if _, done := f.count(); done != 0 {
			t.Errorf("%d commands in the next round, which changes nothing", done)
		}
	})
}

// Who logs in anew while the directory is asked keeps what the login was told, until the next round.
func TestLoginMeanwhileIsNewer(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 6)
		gone, less := f.users[2], f.users[4]
		f.gone("corp", 2, 3)
		f.verdicts[less] = realm.Verdict{Roles: []string{}}
		f.onAsk = func(owner session.Owner) {
			if owner == gone || owner == less {
				f.newest[owner] += 7
			}
		}
		l := open(t, f)
		pass(aRound)
		if asked, done := f.count(); asked < 6 || done != 0 {
			t.Errorf("%d checks, %d commands", asked, done)
		}
		f.set(func() { f.onAsk = nil })
		pass(aRound)
		if _, done := f.count(); done != 2 {
			t.Errorf("%d commands in the next round", done)
		}
		if s := l.Stats(); s.Ended != 1 || s.RolesChanged != 1 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestOnlyTheLeaderWorks(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 60)
		f.gone("corp", 59, 60)
		f.leading = false
		open(t, f)
		pass(3 * aRound)
		if asked, _ := f.count(); asked != 0 {
			t.Fatalf("%d checks by a node that does not lead", asked)
		}
		f.set(func() { f.leading = true })
		pass(DefaultInterval / 2)
		if asked, _ := f.count(); asked < 25 || asked > 35 {
			t.Errorf("%d checks in half an interval after it began to lead", asked)
		}
		f.set(func() { f.leading = false })
		pass(3 * aRound)
		if asked, done := f.count(); asked > 0 || done > 0 {
			t.Errorf("%d checks, %d commands by a node that leads no more", asked, done)
		}
		f.set(func() { f.leading = true })
		pass(aRound)
		if asked, done := f.count(); asked < 60 || done != 1 {
			t.Errorf("%d checks, %d commands after it leads again", asked, done)
		}
	})
}

// An outage ends nothing, is logged once, and once when it is over; other realms do not notice.
func TestOutage(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 40)
		f.add("lab", 40)
		f.gone("corp", 20, 21)
		f.gone("lab", 20, 21)
		f.errs["corp"] = fmt.Errorf("corp: %w", realm.ErrUnavailable)
		l := open(t, f)
		for range 3 {
			pass(aRound)
		}
		l.logged(t, "can't be asked", 1)
		if n := count(f, "corp"); n > maxFaults+4 { // then one a round
			t.Errorf("%d checks at a realm that does not answer, in 3 rounds", n)
		}
		if _, done := f.count(); done != 1 {
			t.Errorf("%d commands, want the one in the other realm", done)
		}
		if s := l.Stats(); s.Outages != 1 {
			t.Errorf("%+v", s)
		}
		f.set(func() { f.errs["corp"] = nil })
		pass(2 * aRound)
		l.logged(t, "asked about its users again", 1)
		if _, done := f.count(); done != 1 {
			t.Errorf("%d commands after the outage", done)
		}
		if s := l.Stats(); s.Outages != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func count(f *fake, realmName string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, asked := range f.asked {
		if strings.HasSuffix(asked, "@"+realmName) {
			n++
		}
	}
	return n
}

// One user about whom nothing can be told keeps nobody else from being checked: neither one whose answer is unclear, nor
// one at whom the server always fails.
func TestOneUserDoesNotHoldUpTheOthers(t *testing.T) {
	for name, err := range map[string]error{"unclear": realm.ErrRecheckUnclear, "unavailable": realm.ErrUnavailable} {
		clustertest.Bubble(t, func(t *testing.T) {
			f := newFake()
			f.add("corp", 20)
			f.errs["u00003@corp"] = err
			f.gone("corp", 19, 20)
			f.gone("corp", 3, 4) // what comes with an error is no verdict
			l := open(t, f)
			pass(3 * aRound)
			if len(f.done) != 1 || f.done[0].(*session.EndUser).Username != "u00019" {
				t.Errorf("%s: commands %+v, want the end of u00019", name, f.done)
			}
			if s := l.Stats(); name == "unclear" && s.Unclear < 3 {
				t.Errorf("%s: %+v", name, s)
			}
			if name == "unclear" {
				l.logged(t, "could not be checked", 1)
			}
		})
	}
}

// A user at whom the realm always fails does not keep the round from its end, where those are ended who were put by, and
// the brake comes off.
func TestFaultsDoNotKeepTheRoundFromItsEnd(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 100)
		f.gone("corp", 0, 100)
		for _, at := range []int{3, 70, 71, 72, 99} {
			f.errs[f.users[at].Username+"@corp"] = realm.ErrUnavailable
		}
		l := open(t, f)
		pass(aRound)
		if _, done := f.count(); done > freeGone || l.Stats().Braked != 1 {
			t.Fatalf("%d users lost their sessions, %+v", done, l.Stats())
		}
		f.set(func() {
			for _, owner := range f.users {
				f.verdicts[owner] = realm.Verdict{Roles: []string{"staff"}}
			}
		})
		f.gone("corp", 30, 60)
		before := l.Stats()
		pass(2 * aRound)
		after := l.Stats()
		if _, done := f.count(); done != 30 || after.Braked != 0 || after.Outages != 0 {
			t.Errorf("%d of 30 users lost their sessions, %+v", done, after)
		}
		if n := after.PassedOver - before.PassedOver; n < 5 || n > 15 {
			t.Errorf("%d checks are counted as passed over", n)
		}
		l.logged(t, "could not be checked", 1)
	})
}

func TestRealmThatCanNotSay(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("header", 100)
		f.errs["header"] = realm.ErrRecheckImpossible
		l := open(t, f)
		pass(3 * aRound)
		if asked, done := f.count(); asked > 4 || done != 0 {
			t.Errorf("%d checks, %d commands", asked, done)
		}
		if s := l.Stats(); s.Outages != 0 || l.log.Len() > 0 {
			t.Errorf("%+v, log %s", s, l.log)
		}
	})
}

// More than half gone, and more than 10: at most 10 lose their sessions, in however many rounds, until it is confirmed.
func TestBrake(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 100)
		f.gone("corp", 0, 100)
		l := open(t, f)
		for range 4 {
			pass(aRound)
		}
		if _, done := f.count(); done > freeGone {
			t.Errorf("%d users lost their sessions", done)
		}
		l.logged(t, "level=ERROR", 1)
		l.logged(t, "force", 1)
		if s := l.Stats(); s.Braked != 1 {
			t.Errorf("%+v", s)
		}
		f.set(func() {
			for owner, verdict := range f.verdicts {
				verdict.Forced = true
				f.verdicts[owner] = verdict
			}
		})
		pass(2 * aRound)
		if _, done := f.count(); done != 90 || l.Stats().Braked != 0 {
			t.Errorf("%d users lost their sessions after it was confirmed, %+v", done, l.Stats())
		}
	})
}

// The directory is mended: the brake comes off, and who is gone indeed is ended.
func TestBrakeComesOff(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 100)
		f.gone("corp", 0, 100)
		l := open(t, f)
		pass(aRound)
		_, lost := f.count()
		f.set(func() {
			for i, owner := range f.users {
				f.verdicts[owner] = realm.Verdict{Roles: []string{"staff"}, Gone: i == 50, Reason: "deleted"}
			}
		})
		pass(2 * aRound)
		if _, done := f.count(); done != 1 || lost > freeGone || l.Stats().Braked != 0 {
			t.Errorf("%d lost their sessions before, %d after, %+v", lost, done, l.Stats())
		}
		l.logged(t, "in its directory again", 1)
	})
}

// Half of a large realm, or all of a small one, may go: that is no fault.
func TestWhatTheBrakeLetsPass(t *testing.T) {
	for _, tt := range []struct{ users, gone int }{{10, 10}, {100, 50}, {22, 11}, {1000, 400}, {12, 6}} {
		clustertest.Bubble(t, func(t *testing.T) {
			f := newFake()
			f.add("corp", tt.users)
			f.gone("corp", 0, tt.gone)
			l := open(t, f)
			pass(aRound)
			if _, done := f.count(); done != tt.gone || l.Stats().Braked != 0 {
				t.Errorf("%d of %d gone: %d lost their sessions, %+v", tt.gone, tt.users, done, l.Stats())
			}
		})
	}
	for _, tt := range []struct{ users, gone int }{{11, 11}, {20, 11}, {100, 51}} {
		clustertest.Bubble(t, func(t *testing.T) {
			f := newFake()
			f.add("corp", tt.users)
			f.gone("corp", tt.users-tt.gone, tt.users)
			l := open(t, f)
			pass(aRound)
			if _, done := f.count(); done != freeGone || l.Stats().Braked != 1 {
				t.Errorf("%d of %d gone: %d lost their sessions, %+v", tt.gone, tt.users, done, l.Stats())
			}
		})
	}
}

// Realms are checked side by side, a bounded number at once and never two checks of one (the fake sees to that); those
// that hang do not hold up the others for ever.
func TestRealmsAtOnce(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		for i := range 3 * maxChecks {
			name := fmt.Sprintf("r%02d", i)
			f.add(name, 5)
			f.hang[name] = i < 2*maxChecks
		}
		l := open(t, f)
		pass(2 * aRound)
		if f.most != maxChecks {
			t.Errorf("%d checks at once, want %d", f.most, maxChecks)
		}
		for i := 2 * maxChecks; i < 3*maxChecks; i++ {
			if n := count(f, fmt.Sprintf("r%02d", i)); n < 5 {
				t.Errorf("realm %d: %d checks", i, n)
			}
		}
		if s := l.Stats(); s.Outages != 2*maxChecks {
			t.Errorf("%+v", s)
		}
	})
}

func TestRateIsBounded(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 60000)
		open(t, f)
		pass(10 * time.Second)
		if asked, _ := f.count(); asked > int(10*time.Second/minGap)+1 || asked < 1000 {
			t.Errorf("%d checks in 10 s", asked)
		}
	})
}

// A round takes a bounded number of users; the next one goes on where it ended.
func TestMoreUsersThanOneRoundTakes(t *testing.T) {
	f := newFake()
	f.add("corp", 50)
	f.add("lab", 5)
	l, err := New(Config{Cluster: f, Realms: f, Node: "n1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	found := listing{users: map[string][]string{"corp": make([]string, maxUsers)}, resume: map[string]session.Key{}, seen: map[string]bool{}}
	page, next, err := f.Owners(t.Context(), keyAt(14), pageSessions)
	if err != nil {
		t.Fatal(err)
	}
	l.add(&found, keyAt(14), page)
	l.settle(&found)
	if got := l.realms["corp"].resume; got != keyAt(14) || len(found.users["corp"]) != maxUsers {
		t.Fatalf("a full realm goes on at %v with %d users", got, len(found.users["corp"]))
	}
	users, err := l.list(time.Now())
	if err != nil || len(users["corp"]) != 50-14 || users["corp"][0] != "u00014" || len(users["lab"]) != 5 {
		t.Errorf("the next round has %d users, %v (next page %v)", len(users["corp"]), err, next)
	}
	if users, err = l.list(time.Now()); err != nil || len(users["corp"]) != 50 {
		t.Errorf("the round after that has %d users, %v", len(users["corp"]), err)
	}
}

func TestListThatCanNotBeRead(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 5)
		f.listErr = errors.New("no leader")
		l := open(t, f)
		pass(aRound)
		l.logged(t, "can't be listed", 1)
		f.set(func() { f.listErr = nil })
		pass(time.Minute)
		if asked, _ := f.count(); asked == 0 {
			t.Error("nobody is checked when it can be read again")
		}
	})
}

// A command that the cluster does not take is tried again in the next round.
func TestCommandThatFails(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 5)
		f.gone("corp", 1, 2)
		f.doErr = errors.New("no leader")
		l := open(t, f)
		pass(aRound)
		if s := l.Stats(); s.Failed == 0 || s.Ended != 0 {
			t.Errorf("%+v", s)
		}
		f.set(func() { f.doErr = nil })
		pass(aRound)
		if s := l.Stats(); s.Ended != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Close does not wait for a realm that hangs.
func TestCloseEndsChecks(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFake()
		f.add("corp", 5)
		f.hang["corp"] = true
		l := open(t, f)
		pass(time.Second)
		start := time.Now()
		if err := l.Close(); err != nil || time.Since(start) > 0 {
			t.Errorf("Close took %v, %v", time.Since(start), err)
		}
	})
}

func TestNewNeedsItsParts(t *testing.T) {
	f, log := newFake(), slog.New(slog.DiscardHandler)
	for name, cfg := range map[string]Config{
		"no cluster":     {Realms: f, Node: "n1", Logger: log},
		"no realms":      {Cluster: f, Node: "n1", Logger: log},
		"no node":        {Cluster: f, Realms: f, Logger: log},
		"no logger":      {Cluster: f, Realms: f, Node: "n1"},
		"short interval": {Cluster: f, Realms: f, Node: "n1", Logger: log, Interval: time.Second},
		"negative":       {Cluster: f, Realms: f, Node: "n1", Logger: log, Interval: -time.Minute},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

var (
	_ Cluster = (*fake)(nil)
	_ Checker = (*fake)(nil)
)
