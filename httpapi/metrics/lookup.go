package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cluster"
	"cloakroom/cluster/lookup"
)

// collectLookups renders how lookups were answered, and why leases were given back. Series are there from the start, so
// that a rate can be taken of the first one.
func (m *Collector) collectLookups(ch chan<- prometheus.Metric, s lookup.Stats) {
	count := func(level cluster.Level, outcome string, n uint64) {
		ch <- prometheus.MustNewConstMetric(m.lookups, prometheus.CounterValue, float64(n), level.String(), outcome)
	}
	count(cluster.Local, "memory", s.Local)
	for level, of := range map[cluster.Level]lookup.Outcomes{cluster.Lease: s.ByLease, cluster.Quorum: s.ByQuorum} {
		count(level, "memory", of.Own)
		count(level, "waited", of.Waited)
		count(level, "forwarded", of.Asked)
		count(level, "refused", of.Refused)
	}
	givenBack := map[string]uint64{
		lookup.GivenBackAtJump: 0, lookup.GivenBackAtRecall: 0, lookup.GivenBackAtRestore: 0, lookup.GivenBackAtStop: 0, lookup.GivenBackUnwanted: 0,
	}
	maps.Copy(givenBack, s.GivenBack)
	for _, reason := range slices.Sorted(maps.Keys(givenBack)) {
		ch <- prometheus.MustNewConstMetric(m.givenBack, prometheus.CounterValue, float64(givenBack[reason]), reason)
	}
}

// leaseSamples are the state of the read leases.
func leaseSamples(s lookup.Stats) []sample {
	return []sample{
		{"quorum_rounds_total", "Rounds to a majority, each shared by the lookups that waited for it.", true, float64(s.Rounds)},
		{"lease_held", "1 when this node may answer lookups at level lease from its memory.", false, flag(s.Held)},
		{"lease_remaining_seconds", "How long it may without hearing from the leader.", false, s.Remaining.Seconds()},
		{"lease_frozen", "1 on a leader that takes no writes yet, because leases of the one before may be out.", false, flag(s.Frozen)},
		{"leases_out", "Leases of other nodes that have not run out, on the leader.", false, float64(s.Out)},
		{"leases_granted_total", "Leases that this node granted to others as leader, renewals included.", true, float64(s.Grants)},
		{"stable_index", "Index up to which this node knows that every node with a lease has applied the log.", false, float64(s.Stable)},
		{"stable_lag_entries", "How many entries that is behind what this node has applied.", false, float64(s.Lag)},
		{"clock_jumps_total", "Times that this machine's clocks disagreed, so that it gave its lease back.", true, float64(s.Jumps)},
	}
}
