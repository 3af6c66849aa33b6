package cluster_test

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/history"
	levels "cloakroom/cluster/lookup"
	"cloakroom/cluster/session"
)

var (
	fakeFor   = flag.Duration("fake-for", 0, "fake time that the clusters of TestHistories live in all; 0: some minutes")
	fakeSeed  = flag.Uint64("fake-seed", 1, "seed of the first cluster of TestHistories; the others have the following ones")
	fakeLevel = flag.String("fake-level", "", "level of the lookups of TestHistories; empty: the default")
	fakeOnly  = flag.String("fake-only", "", "parts of the names of the faults of TestHistories, separated by |; empty: all")
	fakeQuiet = flag.Duration("fake-quiet", 2*time.Minute, "longest quiet stretch between the faults of TestHistories")
	fakeKeep  = flag.String("fake-keep", "", "folder for pages that show violations")
)

// suiteLevel is the level that the suite's lookups are made at.
const suiteLevel = cluster.Lease

// lifetime is how long one cluster of the suite lives: long enough for all faults, short enough to look at.
const lifetime = 30 * time.Minute

// Clients on all nodes create sessions, put, get, compare-and-set, log out and end all, while nodes crash and come and go,
// links break, clocks jump and disks are slow. Whatever they saw must be what one correct store could have shown.
func TestHistories(t *testing.T) {
	total := *fakeFor
	if total == 0 {
		total = 15 * time.Minute
		if raceEnabled { // ten times as slow
			total = 2 * time.Minute
		}
	}
	level := suiteLevel
	if *fakeLevel != "" {
		var err error
		if level, err = levels.ParseLevel(*fakeLevel); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // all garbage is short-lived here
	sum := newTally()
	for seed := *fakeSeed; sum.fake < total; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			one := runHistory(t, seed, min(lifetime, total-sum.fake), level, sum.faults)
			sum.add(one)
			t.Log(one)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("in all, at level %v: %v", level, sum)
	if *fakeOnly == "" && total >= time.Hour {
		for _, f := range faults() {
			if sum.faults[f.name] == 0 {
				t.Errorf("%s: never done", f.name)
			}
		}
	}
}

// runHistory lets one cluster live for so long, and judges what its clients saw. Faults that were done less often before
// come first.
func runHistory(t *testing.T, seed uint64, long time.Duration, level cluster.Level, done map[string]int) *tally {
	t.Helper()
	begun := time.Now()
	var s *stage
	defer func() { // also if a fault went wrong: what clients saw may tell why
		if s != nil {
			s.tally.real = time.Since(begun)
			s.judge(t)
		}
	}()
	clustertest.Run(t, int64(seed), func(t *testing.T, n *clustertest.Network) {
		s = newStage(t, n, seed, level)
		s.done = done
		s.play(long)
	})
	return s.tally
}

// judge checks what clients saw, outside of fake time.
func (s *stage) judge(t *testing.T) {
	t.Helper()
	rules := suiteRules()
	rules.Firm = s.harms.firm
	report := history.Check(s.recorder.History(), rules)
	s.tally.count(report)
	if err := report.Err(); err != nil {
		t.Errorf("%v\nfaults: %s", err, strings.Join(s.tally.when, ", "))
		keep(t, s.seed, report)
	}
}

// suiteRules: cluster time is off by no more than half a second, also where wall clocks jump and leaders change; and what a
// lost node may have known keeps a session for as long as its grace, here that of the stage's idle timeout.
func suiteRules() history.Rules {
	return history.Rules{
		Early: 500 * time.Millisecond,
		Late:  session.Granularity(idleTimeout, 0) + session.TouchSlack + time.Second,
	}
}

// keep writes the pages of violations where they can be looked at.
func keep(t *testing.T, seed uint64, report *history.Report) {
	if *fakeKeep == "" {
		return
	}
	for i, v := range report.Violations {
		var page strings.Builder
		if ok, err := v.Visualize(&page); err != nil || !ok {
			continue
		}
		path := filepath.Join(*fakeKeep, fmt.Sprintf("violation-%d-%d.html", seed, i))
		if err := os.WriteFile(path, []byte(page.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// tally says what happened in a run.
type tally struct {
	operations, done, refused, unknown, dropped int
	users, largest                              int
	fake, real, search                          time.Duration
	faults                                      map[string]int
	when                                        []string
}

func newTally() *tally { return &tally{faults: make(map[string]int)} }

func (s *tally) count(r *history.Report) {
	s.operations, s.done, s.refused, s.unknown, s.dropped = r.Operations, r.Done, r.Refused, r.Unknown, r.Dropped
	s.users, s.largest, s.search = r.Users, r.Largest, r.Slowest
}

func (s *tally) add(o *tally) {
	s.operations += o.operations
	s.done += o.done
	s.refused += o.refused
	s.unknown += o.unknown
	s.dropped += o.dropped
	s.users += o.users
	s.largest = max(s.largest, o.largest)
	s.fake += o.fake
	s.real += o.real
	s.search = max(s.search, o.search)
	for name, n := range o.faults {
		s.faults[name] += n
	}
}

func (s *tally) String() string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		faults = append(faults, fmt.Sprintf("%s %d", name, s.faults[name]))
	}
	return fmt.Sprintf("%.0f s of fake time in %.1f s, %d operations (%d done, %d refused, %d of unknown outcome, %d dropped) of %d users with at most %d each, slowest search %v; faults: %s",
		s.fake.Seconds(), s.real.Seconds(), s.operations, s.done, s.refused, s.unknown, s.dropped, s.users, s.largest, s.search.Round(time.Millisecond), strings.Join(faults, ", "))
}

// stage is one cluster, its clients and its faults.
type stage struct {
	t        *testing.T
	h        *harness
	random   *rand.Rand
	seed     uint64
	level    cluster.Level
	recorder *history.Recorder
	tally    *tally
	crowd    *crowd
	idlers   *idlers
	disks    map[string]*slowDisk
	walls    map[string]*wall
	harms    harms
	joined   int // nodes that came later
	fault    string
	done     map[string]int // by earlier stages
}

// newStage starts three voters and a read replica, or five voters.
func newStage(t *testing.T, n *clustertest.Network, seed uint64, level cluster.Level) *stage {
	names := []string{"n1", "n2", "n3"}
	if seed%3 == 0 {
		names = append(names, "n4", "n5")
	}
	begun := time.Now()
	s := &stage{
		t: t, h: newHarness(t, n, len(names), names...), random: rand.New(rand.NewPCG(seed, 9)), seed: seed, level: level,
		recorder: history.New(func() time.Duration { return time.Since(begun) }), tally: newTally(), harms: harms{begun: begun},
		disks: make(map[string]*slowDisk), walls: make(map[string]*wall),
	}
	n.SetDelay(time.Millisecond)
	s.h.idle = idleTimeout
	s.h.tune = func(c *consensus.Config) { c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 64<<10, 8<<10, 32 }
	for _, name := range names {
		s.start(name)
	}
	s.h.ready(names...)
	if len(names) == 3 {
		s.h.names, s.h.host["r1"] = append(s.h.names, "r1"), "r1"
		s.start("r1", replica)
		s.h.ready("r1")
	}
	s.crowd = newCrowd(s)
	s.idlers = newIdlers(s)
	t.Cleanup(func() { // before the nodes are closed
		if t.Failed() {
			s.tell()
		}
		s.crowd.leave()
		s.idlers.leave()
	})
	return s
}

// tell says what the nodes say of themselves.
func (s *stage) tell() {
	s.t.Logf("fault: %s", s.fault)
	for _, name := range s.running() {
		c := s.h.nodes[name]
		st := c.Stats()
		s.t.Logf("%s: ready: %v, leader %q, term %d, log %d to %d, applied %d, %d snapshots, %d restores, %d operations so far",
			name, c.Ready(), st.Leader, st.Term, s.firstIndex(name), st.LastLogIndex, st.AppliedIndex, st.Snapshots, st.Restores, s.crowd.operations())
	}
}

// play lets the stage live.
func (s *stage) play(long time.Duration) {
	begun := time.Now()
	var bag []fault
	for time.Since(begun) < long && !s.t.Failed() {
		if len(bag) == 0 {
			bag = s.shuffled()
		}
		s.scene(bag[0])
		bag = bag[1:]
	}
	s.idlers.leave()
	s.h.converged()
	s.tally.fake = time.Since(begun)
}

func (s *stage) shuffled() []fault {
	bag := slices.DeleteFunc(faults(), func(f fault) bool {
		return !slices.ContainsFunc(strings.Split(*fakeOnly, "|"), func(part string) bool { return strings.Contains(f.name, part) })
	})
	if len(bag) == 0 {
		s.t.Fatalf("there is no fault %q", *fakeOnly)
	}
	s.random.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
	slices.SortStableFunc(bag, func(a, b fault) int {
		return cmp.Compare(s.done[a.name]+s.tally.faults[a.name], s.done[b.name]+s.tally.faults[b.name])
	})
	return bag
}

// rate is how many operations a second there must be before a fault.
const rate = 100

// scene is one fault with clients around it, and a quiet stretch after it.
func (s *stage) scene(f fault) {
	s.crowd.enter()
	before := s.crowd.operations()
	const warm = time.Second
	time.Sleep(warm)
	if n := s.crowd.operations() - before; n < rate {
		s.t.Fatalf("%d operations in a second before a fault, want %d: the test shows nothing", n, rate)
	}
	s.fault = f.name
	s.tally.when = append(s.tally.when, fmt.Sprintf("%s at %v", f.name, time.Since(s.harms.begun).Round(time.Millisecond)))
	f.do(s)
	s.h.ready(s.crowd.names()...)
	time.Sleep(time.Second)
	s.crowd.leave()
	s.crowd.look()
	s.tally.faults[f.name]++
	time.Sleep(time.Duration(s.random.Int64N(int64(*fakeQuiet))))
}

func (s *stage) start(name string, options ...option) {
	s.t.Helper()
	w := s.walls[name]
	if w == nil {
		w = &wall{}
		s.walls[name] = w
	}
	s.h.start(name, append(options, w.option, s.slowable(name), func(c *cluster.Config) {
		if os.Getenv("CLOAKROOM_TEST_LOG") == "" {
			c.Logger = slog.New(slog.DiscardHandler) // what is not read need not be formatted
		}
	})...)
	if s.crowd != nil {
		s.crowd.add(name, s.h.nodes[name])
	}
}
