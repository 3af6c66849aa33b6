package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cloakroom/bench/load"
)

// outcome is what one loss of the leader cost. Durations are in milliseconds.
type outcome struct {
	Killed      string  `json:"killed"`
	Recovered   bool    `json:"recovered"`   // a put that was sent after the leader was gone has been acknowledged
	WriteGap    float64 `json:"writeGap"`    // from the kill to the first such acknowledgement
	Puts        int     `json:"puts"`        // from the kill on
	PutsFailed  int     `json:"putsFailed"`  // of them
	Lookups     int     `json:"lookups"`     // from the kill on
	LookupsLost int     `json:"lookupsLost"` // of them, failed
	LookupWait  float64 `json:"lookupWait"`  // longest latency of one, counted from when it should have been sent
	Reason      string  `json:"reason"`      // the first failed put's
}

// newOutcome reads what the witnesses saw. A put counts as acknowledged after the loss only if it was sent when the
// leader no longer existed: what was under way at the kill may have been answered by the old leader's last breath.
func newOutcome(node string, killed, gone time.Time, puts, lookups *witness) outcome {
	o := outcome{Killed: node}
	var first time.Time
	for _, c := range since(puts.calls, killed) {
		o.Puts++
		switch {
		case c.Err != nil:
			o.PutsFailed++
			if o.Reason == "" {
				o.Reason = c.Err.Error()
			}
		case c.Sent.After(gone) && (first.IsZero() || c.Done.Before(first)):
			first = c.Done
		}
	}
	if !first.IsZero() {
		o.Recovered, o.WriteGap = true, inMilliseconds(first.Sub(killed))
	}
	for _, c := range since(lookups.calls, killed) {
		o.Lookups++
		if c.Err != nil {
			o.LookupsLost++
		}
		o.LookupWait = max(o.LookupWait, inMilliseconds(c.Done.Sub(c.Due)))
	}
	return o
}

// since returns the calls that were under way at that moment or came later.
func since(calls []load.Observation, moment time.Time) []load.Observation {
	return slices.DeleteFunc(slices.Clone(calls), func(c load.Observation) bool { return c.Done.Before(moment) })
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (o outcome) String() string {
	if !o.Recovered {
		return fmt.Sprintf("%s killed: no put acknowledged afterwards; %d of %d failed: %s", o.Killed, o.PutsFailed, o.Puts, o.Reason)
	}
	return fmt.Sprintf("%s killed: next acknowledged put after %.0f ms; %d of %d puts failed; %d of %d lookups failed, longest %.0f ms",
		o.Killed, o.WriteGap, o.PutsFailed, o.Puts, o.LookupsLost, o.Lookups, o.LookupWait)
}

func printOutcomes(w io.Writer, c *failoverCmd, outcomes []outcome) error {
	p := &printer{w: w}
	p.linef("leader killed %d times under %g puts and %g lookups (%s) a second on the other two nodes", len(outcomes), c.Puts, c.Lookups, c.Consistency)
	for _, o := range outcomes {
		p.linef("  %s", o)
	}
	var gaps, waits []float64
	for _, o := range outcomes {
		if o.Recovered {
			gaps = append(gaps, o.WriteGap)
			waits = append(waits, o.LookupWait)
		}
	}
	if len(gaps) > 0 {
		p.linef("kill to next acknowledged put, ms: %s", number(spreadOf(gaps), "%.0f"))
		if c.Lookups > 0 {
			p.linef("longest lookup, ms: %s", number(spreadOf(waits), "%.0f"))
		}
	}
	return p.err
}

// errNoRecovery is a cluster that takes no writes after it has lost one of three nodes.
var errNoRecovery = errors.New("no put was acknowledged after the leader was killed")

func verdict(outcomes []outcome) error {
	if slices.ContainsFunc(outcomes, func(o outcome) bool { return !o.Recovered }) {
		return errNoRecovery
	}
	return nil
}
