package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom/bench/load"
)

// outcome is what one loss of a node cost. All counts but those of Before are from the loss on, durations are in
// milliseconds.
type outcome struct {
	Loss       loss    `json:"loss"`
	Node       string  `json:"node"`
	Recovered  bool    `json:"recovered"`  // a put that was sent after the node was gone has been acknowledged
	WriteGap   float64 `json:"writeGap"`   // from the loss to the first such acknowledgement
	Silence    float64 `json:"silence"`    // longest time without an acknowledged put
	Silences   int     `json:"silences"`   // how many were longer than longSilence
	Puts       int     `json:"puts"`       //
	PutsFailed int     `json:"putsFailed"` // of them
	PutWait    float64 `json:"putWait"`    // longest latency of an acknowledged one, counted from when it should have been sent
	Reason     string  `json:"reason"`     // the first failed put's

	Lookups asked   `json:"lookups"` // of sessions that no put changed
	Changed asked   `json:"changed"` // of sessions that were changed about once a second
	Late    float64 `json:"late"`    // by how much this program was late itself with a lookup, at most

	Before ordinary `json:"before"`
}

// ordinary is how it was right before the loss, for as long as the load had run: what nobody can blame on the loss.
type ordinary struct {
	Silence    float64 `json:"silence"`
	PutWait    float64 `json:"putWait"`
	LookupWait float64 `json:"lookupWait"`
}

// asked is what came of lookups.
type asked struct {
	Count  int     `json:"count"`
	Failed int     `json:"failed"`
	Wait   float64 `json:"wait"` // longest latency of one, counted from when it should have been sent
	Reason string  `json:"reason"`
}

// newOutcome reads what the witnesses saw. A put counts as acknowledged after the loss only if it was sent when the
// node was gone: what was under way at the kill may have been answered by the old leader's last breath.
func newOutcome(how loss, node string, m moments, saw *witnesses) outcome {
	o := outcome{Loss: how, Node: node, Lookups: newAsked(saw.lookups, m.lost), Changed: newAsked(saw.changed, m.lost)}
	var first time.Time
	after := since(saw.puts.calls, m.lost)
	o.PutWait = longest(after)
	for _, c := range after {
		o.Puts++
		if c.Err != nil {
			o.PutsFailed++
			if o.Reason == "" {
				o.Reason = c.Err.Error()
			}
			continue
		}
		if c.Sent.After(m.gone) && (first.IsZero() || c.Done.Before(first)) {
			first = c.Done
		}
	}
	if !first.IsZero() {
		o.Recovered, o.WriteGap = true, inMilliseconds(first.Sub(m.lost))
	}
	o.Silence, o.Silences = silences(saw.puts.calls, m.lost)
	puts, lookups := until(saw.puts.calls, m.lost), until(saw.lookups.calls, m.lost)
	o.Before.Silence, _ = silences(puts, time.Time{})
	o.Before.PutWait, o.Before.LookupWait = longest(puts), longest(lookups)
	if saw.result != nil {
		o.Late = load.PercentilesOf(saw.result.Late).Max / 1000
	}
	return o
}

// until returns the calls that had ended by that moment.
func until(calls []load.Observation, moment time.Time) []load.Observation {
	return slices.DeleteFunc(slices.Clone(calls), func(c load.Observation) bool { return !c.Done.Before(moment) })
}

// longest returns the longest latency of a good call.
func longest(calls []load.Observation) (ms float64) {
	for _, c := range calls {
		if c.Err == nil {
			ms = max(ms, inMilliseconds(c.Done.Sub(c.Due)))
		}
	}
	return ms
}

func newAsked(w *witness, lost time.Time) asked {
	var a asked
	for _, c := range since(w.calls, lost) {
		a.Count++
		if c.Err != nil {
			a.Failed++
			if a.Reason == "" {
				a.Reason = c.Err.Error()
			}
		}
		a.Wait = max(a.Wait, inMilliseconds(c.Done.Sub(c.Due)))
	}
	return a
}

// silences returns the longest time between two acknowledgements that ended after that moment, in milliseconds, and how
// many such times were longer than longSilence. The end of the last call ends the last one, whatever came of it.
func silences(calls []load.Observation, moment time.Time) (longest float64, long int) {
	var ends []time.Time
	var end time.Time
	for _, c := range calls {
		if c.Err == nil {
			ends = append(ends, c.Done)
		}
		if c.Done.After(end) {
			end = c.Done
		}
	}
	ends = append(ends, end)
	slices.SortFunc(ends, time.Time.Compare)
	last := ends[0]
	for _, t := range ends[1:] {
		if t.After(moment) {
			silence := t.Sub(last)
			longest = max(longest, inMilliseconds(silence))
			if silence > longSilence {
				long++
			}
		}
		last = t
	}
	return longest, long
}

// since returns the calls that were under way at that moment or came later.
func since(calls []load.Observation, moment time.Time) []load.Observation {
	return slices.DeleteFunc(slices.Clone(calls), func(c load.Observation) bool { return c.Done.Before(moment) })
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (o outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s: ", o.Loss, o.Node)
	if !o.Recovered {
		fmt.Fprintf(&b, "no put acknowledged afterwards; %d of %d failed: %s", o.PutsFailed, o.Puts, o.Reason)
		return b.String()
	}
	if o.Loss == lossKill {
		fmt.Fprintf(&b, "next acknowledged put after %.0f ms; ", o.WriteGap)
	}
	fmt.Fprintf(&b, "longest time without one %.0f ms, %d times over %d ms; longest put %.0f ms, %d of %d failed",
		o.Silence, o.Silences, longSilence.Milliseconds(), o.PutWait, o.PutsFailed, o.Puts)
	for _, one := range []struct {
		what  string
		asked asked
	}{{"lookups", o.Lookups}, {"of changed sessions", o.Changed}} {
		if one.asked.Count > 0 {
			fmt.Fprintf(&b, "; %s: %d of %d failed, longest %.0f ms", one.what, one.asked.Failed, one.asked.Count, one.asked.Wait)
		}
	}
	return b.String()
}

// Figures of a loss.
const (
	writeGap      = "loss to next put, ms"
	silence       = "longest without a put, ms"
	putWait       = "longest put, ms"
	putsFailed    = "puts failed"
	lookupsFailed = "lookups failed"
	lookupWait    = "longest lookup, ms"
	changedFailed = "lookups of changed failed"
	changedWait   = "longest lookup of changed, ms"
	ownLateMax    = "own lateness max, ms"
	usualSilence  = "before: longest without a put, ms"
	usualLookup   = "before: longest lookup, ms"
)

var lossFigures = []string{writeGap, silence, putWait, putsFailed, lookupsFailed, lookupWait, changedFailed, changedWait, ownLateMax, usualSilence, usualLookup}

// reading returns the outcome's figures. The gap is known of a leader that was killed only: one that is stopped in order hands
// over, and a follower is not missed.
func (o outcome) reading() reading {
	r := reading{Figures: map[string]float64{
		silence: o.Silence, putWait: o.PutWait, putsFailed: float64(o.PutsFailed),
		usualSilence: o.Before.Silence,
	}}
	if o.Loss == lossKill {
		r.Figures[writeGap] = o.WriteGap
	}
	if o.Lookups.Count > 0 {
		r.Figures[lookupsFailed], r.Figures[lookupWait] = float64(o.Lookups.Failed), o.Lookups.Wait
		r.Figures[ownLateMax], r.Figures[usualLookup] = o.Late, o.Before.LookupWait
	}
	if o.Changed.Count > 0 {
		r.Figures[changedFailed], r.Figures[changedWait] = float64(o.Changed.Failed), o.Changed.Wait
	}
	return r
}

// errNoRecovery is a cluster that takes no writes after it has lost one of three nodes.
var errNoRecovery = errors.New("no put was acknowledged after a node was lost")
