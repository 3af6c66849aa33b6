package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cluster"
	"cloakroom/cluster/histogram"
)

// collectRoute renders how a route was answered, and how fast.
func (m *Collector) collectRoute(ch chan<- prometheus.Metric, r Metered) {
	status, took := r.Meter.Counts()
	for i, n := range status {
		if n > 0 {
			ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), r.Path, strconv.Itoa(i+100))
		}
	}
	if took.Total() > 0 {
		ch <- constHistogram(m.latency, took, r.Path)
	}
}

func constHistogram(d *prometheus.Desc, c histogram.Counts, labels ...string) prometheus.Metric {
	bounds := make(map[float64]uint64, histogram.Buckets)
	total := uint64(0)
	for i := range histogram.Buckets {
		total += c.Buckets[i]
		bounds[histogram.Bound(i).Seconds()] = total
	}
	return prometheus.MustNewConstHistogram(d, total+c.Buckets[histogram.Buckets], c.Sum.Seconds(), bounds, labels...)
}

// requestSamples are about requests, and logins above all.
func (m *Collector) requestSamples(s cluster.Stats) []sample {
	h, server := m.source.Hasher(), m.source.Server()
	return []sample{
		{"http_requests_in_flight", "Requests in handlers.", false, float64(server.InFlight)},
		{"http_panics_total", "Handlers that panicked. Should be 0.", true, float64(server.Panics)},
		{"logins_refused_total", "Logins refused by this node for wrong credentials.", true, float64(server.LoginsRefused)},
		{"logins_throttled_total", "Logins refused by this node because too many had failed.", true, float64(server.LoginsThrottled)},
		{"login_tries_asked_total", "Logins at this node for which the leader was asked.", true, float64(s.Tries.Asked)},
		{"login_tries_overloaded_total", "Of these, refused because too many asked at the same time.", true, float64(s.Tries.Overloaded)},
		{"login_tries_unanswered_total", "Of these, refused because there was no leader.", true, float64(s.Tries.Unanswered)},
		{"login_tries_lost_total", "Logins at this node that were no failures and stay counted, as the leader could not be told.", true, float64(s.Tries.Lost)},
		{"login_tries_granted_total", "Logins of all nodes that this node granted as leader.", true, float64(s.Tries.Granted)},
		{"login_tries_refused_total", "Logins of all nodes that this node refused as leader.", true, float64(s.Tries.Refused)},
		{"login_tries_forgiven_total", "Granted logins that were no failures, as this node was told as leader.", true, float64(s.Tries.Forgiven)},
		{"login_counters", "Counters of failed logins, and known addresses, that this node has heard of.", false, float64(s.Tries.Users + s.Tries.Pairs + s.Tries.Addresses + s.Tries.Known)},
		{"login_counters_forgotten_total", "Counters of failed logins pushed out of the full table.", true, float64(s.Tries.Forgotten)},
		{"login_counters_heard_total", "Changes of counters that this node has heard of by gossip.", true, float64(s.Tries.Heard)},
		{"login_counters_malformed_total", "Messages with counters that this node can't read. Should be 0, but for the time of an upgrade.", true, float64(s.Tries.Malformed)},
		{"login_tries_waiting", "Logins that wait for the leader to be asked.", false, float64(s.Tries.Waiting)},
		{"login_counters_pending", "Changes of counters that wait to be told of.", false, float64(s.Tries.News)},
		{"password_hashes_total", "Password hashes computed by this node.", true, float64(h.Hashes)},
		{"password_hashes_running", "Password hashes being computed.", false, float64(h.Running)},
		{"password_hashes_inline_total", "Of these, computed at full priority for want of a worker process. Should be 0.", true, float64(h.Inline)},
		{"password_hashes_waiting", "Logins waiting for a password hash.", false, float64(h.Waiting)},
		{"password_hashes_refused_total", "Logins refused because too many waited, or would have waited for more than 3 s.", true, float64(h.Refused)},
		{"orphans_pending", "Sessions of unknown outcome that this node is ending.", false, float64(server.Orphans)},
		{"ready", "1 when this node wants requests.", false, flag(server.Ready)},
	}
}
