package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest/mutant"
	"cloakroom/cluster/history"
)

var fakeMutants = flag.String("fake-mutants", "", "part of the name of the bugs that TestHistoriesCatch makes; \"all\": all of them; empty: those that are quick to catch")

// bug is one that TestHistories must catch.
type bug struct {
	mutant.Mutant
	faults string        // the ones that bring it out, as for -fake-only; empty: all
	level  string        // as for -fake-level
	within time.Duration // fake time
	idle   bool          // it shows in quiet stretches
	quick  bool          // to build and to catch
}

// bugs are mistakes that were made somewhere, or nearly.
func bugs() []bug {
	const (
		merger  = "cluster/propose/merger.go"
		machine = "cluster/session/apply_session.go"
		reading = "cluster/lookup/read.go"
		leader  = "cluster/lease/leader.go"
	)
	return []bug{
		{
			Mutant: mutant.Mutant{
				Name: "acknowledge at commit", File: merger,
				Old: "case !m.stable(ctx, entry.Index):",
				New: "case false:",
			}, faults: "cut off|isolated|minority", within: 15 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "an end is acknowledged early", File: "cluster/cluster.go",
				Old: "	result, _, err := c.proposer.Do(ctx, cmd)\n",
				New: "	if _, end := cmd.(*session.Invalidate); end {\n		go c.proposer.Do(c.ctx, cmd)\n		return session.Result{Ended: 1}, nil\n	}\n	result, _, err := c.proposer.Do(ctx, cmd)\n",
			}, within: 2 * time.Minute, quick: true,
		},
		{
			Mutant: mutant.Mutant{
				Name: "an entry of a lost leader counts as not appended", File: merger,
				Old: "		finishAll(batch, unknown)\n	case err != nil:",
				New: "		finishAll(batch, notAppended)\n	case err != nil:",
			}, faults: "leader", within: 30 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "no tombstones", File: "cluster/session/lookup.go",
				Old: "	if t, ok := m.Tombstone(k); ok {\n		return t.Mod\n",
				New: "	if _, ok := m.Tombstone(k); ok {\n		return 0\n",
			}, faults: "slow follower|hears late", within: 60 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "put that creates", File: machine,
				Old: "func (s step) put(c *Put) Result {\n",
				New: `func (s step) put(c *Put) Result {
	_, there := s.store.table.get(c.Key)
	if _, ended := s.store.table.tombstone(c.Key); ended && !there {
		rs := s.realms[NativeRealm]
		s.store.insert(&Session{Head: Head{
			Key: c.Key, Realm: rs.name, Username: "ann", Surface: SurfaceFusion, Created: s.clock, LastUse: s.clock,
			Expires: s.clock.Add(time.Hour), Idle: time.Hour, Seq: s.seq, Rev: s.seq, Mod: s.mod,
		}}, rs.account("ann"), s.clock)
	}
`,
			}, within: 2 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "compare-and-set without the comparison", File: machine,
				Old: "ifRev != 0 && ifRev != r.rev",
				New: "ifRev > r.rev",
			}, within: 2 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "expiry without the grace", File: "cluster/idle/judge.go",
				Old: "case h.now < f.idleAt().Add(f.grace):",
				New: "case h.now < f.idleAt():",
			}, faults: "killed", idle: true, within: 60 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "touch lost on hand-over", File: "cluster/idle/sender.go",
				Old: "lastErr = k.flush(ctx, batch[:n])",
				New: "lastErr = nil",
			}, faults: "rolling", idle: true, within: 30 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "other nodes are not asked for uses", File: "cluster/idle/judge.go",
				Old: "	case later.Add(f.idle) > h.now:\n",
				New: "	case false:\n",
			}, faults: "transfer", idle: true, within: 30 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "no freeze", File: leader,
				Old: "m.history.lastOld(term).Add(m.cfg.outlast())",
				New: "m.history.lastOld(term)",
			}, faults: "minority", within: 3 * time.Hour,
		},
		{
			Mutant: mutant.Mutant{
				Name: "lease from receipt", File: "cluster/lease/member.go",
				Old: "	until := m.cfg.until(g)\n",
				New: "	g.Echo = m.now\n	until := m.cfg.until(g)\n",
			}, faults: "slow follower, then", within: 60 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "leases that are out do not hold S back", File: leader,
				Old: "		index = min(index, r.applied)\n",
				New: "		_ = r\n",
			}, faults: "isolated|cut off", within: 15 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "hand-over before leases are back", File: "cluster/lease/handover.go",
				Old: "	case len(m.office.records) > 0:\n		if m.now >= h.recall {",
				New: "	case false:\n		if m.now >= h.recall {",
			}, faults: "transfer beside", within: 60 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "Covers skipped", File: reading,
				Old: "if s.Covers(mod, r.run.stable.Load()) && (p.held()",
				New: "if s.Floor <= mod|s.Floor && (p.held()",
			}, faults: "slow|cut off|isolated", within: 15 * time.Minute,
		},
		{
			Mutant: mutant.Mutant{
				Name: "quorum read without its round", File: "cluster/lookup/round.go",
				Old: "	r.counts.rounds.Add(1)\n",
				New: "	r.counts.rounds.Add(1)\n	if len(servers) > 0 {\n		return index, nil\n	}\n",
			}, faults: "leader isolated|minority", level: "quorum", within: 60 * time.Minute,
		},
	}
}

// The table of bugs must fit the program as it is, or a hunt catches nothing: each can be made, and they compile.
func TestMutantsFit(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("builds the program anew")
	}
	root, err := mutant.Root()
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant.Mutant
	for _, b := range bugs() {
		all = append(all, b.Mutant)
	}
	overlay, err := mutant.Overlay(root, t.TempDir(), all...)
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "./cluster")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each bug is caught by what clients see, or the suite shows little.
func TestHistoriesCatch(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("builds the tests anew for each bug")
	}
	root, err := mutant.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bugs() {
		if !b.wanted() {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
			defer cancel()
			quiet := 5 * time.Second
			if b.idle {
				quiet = 2 * time.Minute
			}
			args := []string{
				"-fake-quiet=" + quiet.String(), fmt.Sprint("-fake-for=", b.within), "-fake-only=" + b.faults, "-fake-level=" + b.level, fmt.Sprint("-fake-seed=", *fakeSeed),
			}
			outcome, err := mutant.Try(ctx, root, t.TempDir(), b.Mutant, mutant.Test{Package: "./cluster", Run: "^TestHistories$", Args: args})
			if err != nil {
				t.Fatal(err)
			}
			if !outcome.Caught {
				t.Fatalf("not caught in %v\n%s", outcome.Took, outcome.Output)
			}
			if !strings.Contains(outcome.Output, history.ErrViolation.Error()) {
				t.Fatalf("the suite failed without a violation\n%s", outcome.Output)
			}
			t.Logf("caught in %v, %s", outcome.Took.Round(100*time.Millisecond), lived(outcome.Output))
		})
	}
}

// lived returns how long the clusters of a run lived, as it says.
func lived(output string) string {
	var total float64
	for _, m := range regexp.MustCompile(`(\d+) s of fake time in `).FindAllStringSubmatch(output, -1) {
		if s, err := strconv.ParseFloat(m[1], 64); err == nil {
			total += s
		}
	}
	return fmt.Sprintf("%.0f s of fake time", total)
}

func (b bug) wanted() bool {
	switch *fakeMutants {
	case "":
		return b.quick
	case "all":
		return true
	}
	return strings.Contains(b.Name, *fakeMutants)
}
