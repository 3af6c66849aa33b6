//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// reportFile is where a run inside leaves its report, in its folder.
const reportFile = "report.json"

// report is what a run has done and found.
type report struct {
	Seed        uint64
	Consistency string
	Mutant      string
	Rate        float64 // operations a second before the first fault
	Seconds     float64
	Wanted      int // faults, at least
	Incidents   []*incident
	Operations  map[string]map[string]int // by kind and outcome
	Odd         map[string]int            // answers that no node should give
	Deaths      []string                  // of processes, that nobody asked for
	Verdicts    verdicts
	Caught      float64  // seconds until the first violation; 0: there was none
	Problems    []string // why the run failed; none: it did not
}

// incident is one fault that was injected.
type incident struct {
	Fault     string
	Pair      bool // another one came at the same time
	Targets   []string
	At        float64 // seconds since the load began
	Seconds   float64 // until all was well again
	Proof     string  // that it bit
	Error     string
	WriteGap  float64 // seconds: the longest that any unharmed node went without a write that was answered
	LookupGap float64
}

func (i *incident) fail(err error) {
	if err != nil {
		i.Error = strings.TrimPrefix(i.Error+"; "+err.Error(), "; ")
	}
}

func (i *incident) String() string {
	var b strings.Builder
	b.WriteString(i.Fault)
	if i.Pair {
		b.WriteString(" (one of two at once)")
	}
	if len(i.Targets) > 0 {
		fmt.Fprintf(&b, " %s", strings.Join(i.Targets, " "))
	}
	fmt.Fprintf(&b, ": %.1f s", i.Seconds)
	if i.Proof != "" {
		fmt.Fprintf(&b, "; %s", i.Proof)
	}
	if i.Error != "" {
		fmt.Fprintf(&b, "; FAILED: %s", i.Error)
	}
	return b.String()
}

func newReport(s spec) *report {
	return &report{Seed: s.Options.Seed, Consistency: s.Options.Consistency, Mutant: s.Mutant}
}

// judge finds out why the run failed. A run with a bug on purpose has only one way to fail: not to catch it.
func (r *report) judge() {
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	if r.Mutant != "" {
		if r.Verdicts.Violations == 0 {
			problem("the bug was not caught")
		}
		return
	}
	if r.Rate < minRate {
		problem("%.0f operations a second before the first fault: at least %d are needed to see anything", r.Rate, minRate)
	}
	bit := 0
	for _, i := range r.Incidents {
		switch {
		case i.Error != "":
			problem("%s: %s", i.Fault, i.Error)
		case i.Proof != "":
			bit++
		}
	}
	if bit < r.Wanted || bit == 0 {
		problem("%d faults bit, and there were to be at least %d", bit, r.Wanted)
	}
	for _, death := range r.Deaths {
		problem("%s", death)
	}
	for _, what := range slices.Sorted(maps.Keys(r.Odd)) {
		problem("%d times: %s", r.Odd[what], what)
	}
	v := r.Verdicts
	if v.Histories == 0 {
		problem("no history was checked")
	}
	if v.Violations > 0 {
		problem("%d violations: %s", v.Violations, strings.Join(v.What, "; "))
	}
	if v.Undecided > 0 {
		problem("%d histories were not judged in time", v.Undecided)
	}
}

func (r *report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// text is the report for people.
func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nSeed %d, %.0f seconds, %.0f operations a second before the first fault.\n", r.Seed, r.Seconds, r.Rate)
	r.operationsText(&b)
	r.faultsText(&b)
	v := r.Verdicts
	fmt.Fprintf(&b, "\n%d histories checked, %d operations, at most %d in one, the slowest in %v: %d violations, %d undecided.\n",
		v.Histories, v.Operations, v.Largest, v.Slowest.Round(time.Millisecond), v.Violations, v.Undecided)
	for _, file := range v.Evidence {
		fmt.Fprintf(&b, "  %s\n", file)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "FAILED: %s\n", p)
	}
	return b.String()
}

func (r *report) operationsText(b *strings.Builder) {
	outcomes := []string{"done", "refused", "unknown", "dropped"}
	fmt.Fprintf(b, "\n%-10s", "operation")
	for _, o := range outcomes {
		fmt.Fprintf(b, "%10s", o)
	}
	b.WriteString("\n")
	sum := map[string]int{}
	for _, kind := range slices.Sorted(maps.Keys(r.Operations)) {
		fmt.Fprintf(b, "%-10s", kind)
		for _, o := range outcomes {
			fmt.Fprintf(b, "%10d", r.Operations[kind][o])
			sum[o] += r.Operations[kind][o]
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "%-10s", "all")
	for _, o := range outcomes {
		fmt.Fprintf(b, "%10d", sum[o])
	}
	b.WriteString("\n")
}

// kindly is what came out of one kind of fault.
type kindly struct {
	times, bit  int
	seconds     float64
	write, look float64
}

// faultsText tells what each kind of fault has done. Gaps of faults that came in pairs count for both.
func (r *report) faultsText(b *strings.Builder) {
	kinds := map[string]*kindly{}
	bit := 0
	for _, i := range r.Incidents {
		k := kinds[i.Fault]
		if k == nil {
			k = new(kindly)
			kinds[i.Fault] = k
		}
		k.times++
		if i.Proof != "" && i.Error == "" {
			k.bit++
			bit++
		}
		k.seconds += i.Seconds
		k.write, k.look = max(k.write, i.WriteGap), max(k.look, i.LookupGap)
	}
	fmt.Fprintf(b, "\n%-20s%6s%6s%10s%12s%12s\n", "fault", "times", "bit", "seconds", "write gap", "lookup gap")
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		fmt.Fprintf(b, "%-20s%6d%6d%9.1fs%11.2fs%11.2fs\n", name, k.times, k.bit, k.seconds, k.write, k.look)
	}
	fmt.Fprintf(b, "%d faults, %d of them bit. Gaps are the longest in which an unharmed node answered no client.\n", len(r.Incidents), bit)
}
