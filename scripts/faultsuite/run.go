//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// run is one run of the suite, inside.
type run struct {
	spec    spec
	cluster *cluster
	tally   *tally
	judges  *judges
	stage   *stage
	random  *rand.Rand
	report  *report
	begun   time.Time // of the load
}

// inside is the process in namespaces of its own. Whatever it finds is in the report; an error is for what kept it from
// finding anything.
func inside(specFile string) error {
	text, err := os.ReadFile(specFile)
	if err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	var s spec
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	if err := settle(); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	r := &run{spec: s, random: rand.New(rand.NewPCG(s.Options.Seed, 0)), report: newReport(s)}
	if err := r.all(ctx); err != nil {
		return err
	}
	return r.report.write(filepath.Join(s.Dir, reportFile))
}

// all starts the cluster, lets the clients play and the faults happen, and judges.
func (r *run) all(ctx context.Context) error {
	o := r.spec.Options
	nodesDir := filepath.Join(r.spec.Dir, "nodes")
	if err := os.MkdirAll(nodesDir, 0o700); err != nil {
		return fmt.Errorf("make folder of the nodes: %w", err)
	}
	c, err := newCluster(clusterConfig{
		dir: nodesDir, binary: r.spec.Binary, voters: o.Nodes, consistency: o.Consistency, heartbeat: o.Heartbeat, idle: o.Idle,
	})
	if err != nil {
		return err
	}
	r.cluster = c
	defer func() {
		if err := c.close(); err != nil {
			r.say("%v", err)
		}
	}()
	if err := c.open(ctx); err != nil {
		return err
	}
	r.tally, r.judges = newTally(), newJudges(o.Idle, filepath.Join(r.spec.Dir, "evidence"))
	r.stage = newStage(c, r.tally, r.judges)
	r.judges.open()
	playing, stop := context.WithCancel(ctx)
	calls, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	r.begun = time.Now()
	r.stage.open(playing, calls)
	r.injectAll(ctx)
	stop()
	r.stage.close()
	r.collect()
	return nil
}

// injectAll warms up and goes through the plan. In the hunt for a bug it ends with the first violation.
func (r *run) injectAll(ctx context.Context) {
	limit := 2*r.spec.Options.For + recoverWithin + wholeWithin
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLate)
	defer cancel()
	if r.spec.Mutant != "" {
		go func() {
			select {
			case <-r.judges.first:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	if !r.warmUp(ctx) {
		return
	}
	begun, end := time.Now(), r.begun.Add(r.spec.Options.For)
	for sequence := r.sequence(); time.Now().Before(end) && ctx.Err() == nil; {
		r.step(ctx, sequence.next())
	}
	r.report.Wanted = int(end.Sub(begun) / secondsPerFault)
}

// warmUp waits until the clients do enough to see anything, and reports whether the faults may begin. A machine that is
// busy with something else for a moment, as at the start of a compiler, gets more than one chance; the last rate counts.
func (r *run) warmUp(ctx context.Context) bool {
	if !pause(ctx, settleTime) {
		return false
	}
	for range maxWarmUps {
		before, begun := r.tally.answered(), time.Now()
		if !pause(ctx, rateTime) {
			return false
		}
		r.report.Rate = float64(r.tally.answered()-before) / time.Since(begun).Seconds()
		r.say("%.0f operations a second before the first fault", r.report.Rate)
		if r.report.Rate >= minRate {
			break
		}
	}
	return true
}

// sequence is that of this run: at random, or in the hunt for a bug what shows it best, again and again.
func (r *run) sequence() sequence {
	o := r.spec.Options
	if m, ok := mutantNamed(r.spec.Mutant); ok && len(o.Faults) == 0 {
		return &script{faults: named(m.faults)}
	}
	kinds := faults()
	if len(o.Faults) > 0 {
		kinds = named(o.Faults)
	}
	return &deck{random: r.random, kinds: kinds}
}

// act is one fault of a step while it lasts.
type act struct {
	fault     fault
	injection injection
	incident  *incident
	begun     bool // and not healed
}

// step injects one fault, or two, heals, and waits until all is well again.
func (r *run) step(ctx context.Context, s step) {
	begun := time.Now()
	acts, err := r.arm(ctx, s)
	if err == nil {
		r.tally.open(r.unharmed(acts))
		err = hold(ctx, acts)
	}
	// Whatever went wrong, nothing of it is left behind.
	for _, a := range acts {
		a.heal(context.WithoutCancel(ctx))
	}
	first := acts[0].incident
	if ctx.Err() == nil {
		first.fail(err)
		first.fail(r.recover(ctx))
	}
	write, look := r.tally.close()
	for _, a := range acts {
		one := a.incident
		one.At, one.Seconds, one.Pair = begun.Sub(r.begun).Seconds(), time.Since(begun).Seconds(), len(acts) > 1
		one.WriteGap, one.LookupGap = write.Seconds(), look.Seconds()
		if ctx.Err() != nil && one.Proof == "" {
			one.Error = "" // it was cut short
		}
		r.report.Incidents = append(r.report.Incidents, one)
		r.say("%s", one)
	}
	pause(ctx, quietTime)
}

// arm chooses where the faults are to be. There is one act at least, though it may have nothing to inject after an error;
// a second fault that finds no place beside the first is left out.
func (r *run) arm(ctx context.Context, s step) (acts []*act, err error) {
	for _, f := range s {
		acts = append(acts, &act{fault: f, incident: &incident{Fault: f.name}})
	}
	leader, term, err := r.cluster.awaitLeader(ctx, 0, recoverWithin)
	if err != nil {
		return acts[:1], err
	}
	scene := &scene{cluster: r.cluster, random: r.random, leader: leader, term: term, halved: s.halves()}
	for i, a := range acts {
		a.injection, err = a.fault.arm(ctx, scene)
		if _, nobody := errors.AsType[errNobody](err); nobody && i > 0 {
			return acts[:i], nil
		}
		if err != nil {
			return acts[:i+1], err
		}
		scene.busy = append(scene.busy, a.injection.targets()...)
		for _, n := range a.injection.targets() {
			a.incident.Targets = append(a.incident.Targets, n.name)
		}
	}
	return acts, nil
}

// hold injects what was armed, has each prove itself when it has lasted as long as it should, and heals it.
func hold(ctx context.Context, acts []*act) error {
	for _, a := range acts {
		a.begun = true // or half of it
		if err := a.injection.inject(ctx); err != nil {
			return err
		}
	}
	begun := time.Now()
	shortest := func(a, b *act) int { return cmp.Compare(a.fault.hold, b.fault.hold) }
	for _, a := range slices.SortedStableFunc(slices.Values(acts), shortest) {
		if !pause(ctx, time.Until(begun.Add(a.fault.hold))) {
			return context.Cause(ctx)
		}
		proof, err := a.injection.proof(ctx)
		if err == nil {
			a.incident.Proof = proof
		}
		a.incident.fail(err)
		a.heal(ctx)
	}
	return nil
}

// heal ends what has begun.
func (a *act) heal(ctx context.Context) {
	if a.begun {
		a.begun = false
		a.incident.fail(a.injection.heal(ctx))
	}
}

// unharmed returns the nodes that no fault is about; all of them if there is none.
func (r *run) unharmed(acts []*act) []*node {
	var hurt []*node
	for _, a := range acts {
		hurt = append(hurt, a.injection.targets()...)
	}
	if rest := r.cluster.others(hurt...); len(rest) > 0 {
		return rest
	}
	return r.cluster.everyone()
}

// recover waits until all nodes are back, and each of them reads and writes again.
func (r *run) recover(ctx context.Context) error {
	for _, n := range r.cluster.everyone() {
		if err := r.cluster.awaitReady(ctx, n); err != nil {
			return err
		}
	}
	served := r.tally.watch(r.cluster.everyone())
	missing := ""
	if err := until(ctx, recoverWithin, func() bool { missing = served.missing(); return missing == "" }); err != nil {
		return fmt.Errorf("%s %w", missing, err)
	}
	return r.cluster.awaitWhole(ctx)
}

// collect puts together what the report says.
func (r *run) collect() {
	rep := r.report
	rep.Seconds = time.Since(r.begun).Seconds()
	rep.Operations, rep.Odd = r.tally.counts()
	rep.Deaths = r.cluster.died()
	rep.Verdicts = r.judges.close()
	if rep.Verdicts.Violations > 0 {
		rep.Caught = r.judges.caughtAt.Sub(r.begun).Seconds()
	}
	rep.judge()
}

// say tells people how it goes.
func (r *run) say(format string, args ...any) {
	fmt.Printf("%7.1fs  %s\n", time.Since(r.begun).Seconds(), strings.TrimSpace(fmt.Sprintf(format, args...)))
}
