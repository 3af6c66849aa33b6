package httpapi

import (
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cloakroom/cluster/session"
)

// meter counts one route's answers and times. Counting is three atomic adds: a lookup must not pay for its metrics
// what the client library's vectors cost.
type meter struct {
	status  [500]atomic.Uint64 // by status, from 100
	buckets [latencyBuckets + 1]atomic.Uint64
	nanos   atomic.Uint64
}

// Latencies are counted in buckets whose bounds are powers of two, from about 8 µs to about 8.6 s.
const (
	firstLatency   = 13 // the first bound is 2^13 ns
	latencyBuckets = 21
)

func (m *meter) observe(status int, d time.Duration) {
	if i := status - 100; i >= 0 && i < len(m.status) {
		m.status[i].Add(1)
	}
	d = max(d, 0)
	m.buckets[latencyBucket(d)].Add(1)
	m.nanos.Add(uint64(d))
}

// latencyBucket returns the first bucket whose bound is at or above d.
func latencyBucket(d time.Duration) int {
	if d <= 1<<firstLatency {
		return 0
	}
	return min(bits.Len64(uint64(d-1))-firstLatency, latencyBuckets)
}

// metrics renders what the server and the cluster count. It owns its registry: several nodes can live in one process.
type metrics struct {
	server   *Server
	registry *prometheus.Registry

	loginsRefused atomic.Uint64
	throttled     atomic.Uint64
	panics        atomic.Uint64

	requests *prometheus.Desc
	latency  *prometheus.Desc
	info     *prometheus.Desc
	ended    *prometheus.Desc
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		server:   s,
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewDesc("cloakroom_http_requests_total", "Requests answered, by route and status.", []string{"route", "status"}, nil),
		latency:  prometheus.NewDesc("cloakroom_http_request_duration_seconds", "Time from a request's arrival to its answer, by route.", []string{"route"}, nil),
		info:     prometheus.NewDesc("cloakroom_info", "What this node is.", []string{"version", "cluster", "node", "name"}, nil),
		ended:    prometheus.NewDesc("cloakroom_sessions_ended_total", "Sessions ended in the cluster, by reason.", []string{"reason"}, nil),
	}
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe sends nothing: the collector is an unchecked one, since which series there are depends on what happened.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect renders everything from one look at the counters.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	stats := m.server.cluster.Stats()
	ch <- prometheus.MustNewConstMetric(m.info, prometheus.GaugeValue, 1, m.server.cfg.Version, stats.ClusterID, stats.NodeID, stats.Name)
	for _, r := range m.server.router.all {
		m.collectRoute(ch, r)
	}
	for reason := session.EndedByLogout; reason <= session.EndedByOrphan; reason++ {
		ch <- prometheus.MustNewConstMetric(m.ended, prometheus.CounterValue, float64(stats.Machine.Ended[reason]), reason.String())
	}
	for _, one := range m.simple() {
		kind := prometheus.GaugeValue
		if one.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("cloakroom_"+one.name, one.help, nil, nil), kind, one.value)
	}
}

func (m *metrics) collectRoute(ch chan<- prometheus.Metric, r *route) {
	total := uint64(0)
	for i := range r.meter.status {
		if n := r.meter.status[i].Load(); n > 0 {
			ch <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), r.path, strconv.Itoa(i+100))
		}
	}
	bounds := make(map[float64]uint64, latencyBuckets)
	for i := range r.meter.buckets {
		total += r.meter.buckets[i].Load()
		if i < latencyBuckets {
			bounds[time.Duration(1<<(firstLatency+i)).Seconds()] = total
		}
	}
	if total > 0 {
		sum := time.Duration(r.meter.nanos.Load()).Seconds()
		ch <- prometheus.MustNewConstHistogram(m.latency, total, sum, bounds, r.path)
	}
}

// sample is a metric without labels.
type sample struct {
	name, help string
	counter    bool
	value      float64
}

func (m *metrics) simple() []sample {
	s, h := m.server.cluster.Stats(), m.server.cfg.Hasher.Stats()
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []sample{
		{"http_requests_in_flight", "Requests in handlers.", false, float64(m.server.inFlight.Load())},
		{"http_panics_total", "Handlers that panicked. Should be 0.", true, float64(m.panics.Load())},
		{"logins_refused_total", "Logins refused by this node for wrong credentials.", true, float64(m.loginsRefused.Load())},
		{"logins_throttled_total", "Logins refused by this node because too many had failed.", true, float64(m.throttled.Load())},
		{"password_hashes_total", "Password hashes computed by this node.", true, float64(h.Hashes)},
		{"password_hashes_running", "Password hashes being computed.", false, float64(h.Running)},
		{"password_hashes_waiting", "Logins waiting for a password hash.", false, float64(h.Waiting)},
		{"password_hashes_refused_total", "Logins refused because too many waited.", true, float64(h.Refused)},
		{"orphans_pending", "Sessions of unknown outcome that this node is ending.", false, float64(m.server.orphans.count())},
		{"ready", "1 when this node wants requests.", false, flag(m.server.ready() == nil)},

		{"sessions", "Sessions that the machine holds.", false, float64(s.Machine.Sessions)},
		{"users", "Users' records.", false, float64(s.Machine.Users)},
		{"tombstones", "Ended sessions that are still remembered.", false, float64(s.Machine.Tombstones)},
		{"attribute_bytes", "Bytes of all sessions' attributes.", false, float64(s.Machine.AttributeBytes)},
		{"sessions_created_total", "Sessions made in the cluster.", true, float64(s.Machine.Created)},

		{"raft_is_leader", "1 on the leader.", false, flag(s.IsLeader)},
		{"raft_has_leader", "1 when this node knows a leader.", false, flag(s.LeaderID != "")},
		{"raft_term", "Raft's term.", false, float64(s.Term)},
		{"raft_last_log_index", "Last index of the log.", false, float64(s.LastLogIndex)},
		{"raft_commit_index", "Last committed index that this node knows.", false, float64(s.CommitIndex)},
		{"raft_applied_index", "Last index whose effects this node shows.", false, float64(s.AppliedIndex)},
		{"raft_leader_changes_total", "Changes of leader that this node has seen.", true, float64(s.Elections)},
		{"raft_snapshots_total", "Snapshots that this node has taken.", true, float64(s.Snapshots)},
		{"raft_last_contact_seconds", "Time since this node heard from the leader.", false, s.LastContact},

		{"commands_queued", "Commands that wait in this node's batch.", false, float64(s.QueuedCommands)},
		{"commands_proposed_total", "Commands that this node sent to the leader.", true, float64(s.Proposed)},
		{"commands_refused_total", "Commands refused by a full queue.", true, float64(s.Refused)},
		{"commands_unknown_total", "Commands whose outcome this node never learned.", true, float64(s.Unknown)},
		{"entries_proposed_total", "Log entries that this node proposed as leader.", true, float64(s.Entries)},
		{"entry_commands_total", "Commands in those entries.", true, float64(s.EntryCommands)},
		{"lookups_local_total", "Lookups at level local.", true, float64(s.LookupsLocal)},
		{"lookups_quorum_total", "Lookups at level quorum.", true, float64(s.LookupsQuorum)},
		{"quorum_rounds_total", "Rounds to a majority, each shared by the lookups that waited for it.", true, float64(s.QuorumRounds)},
		{"commands_denied_total", "Commands that the leader did not admit, for want of room or for a member that does not know them.", true, float64(s.Denied)},

		{"uses_total", "Lookups on this node that counted as a use of a session.", true, float64(s.Idle.Uses)},
		{"uses_replicated_total", "Of these, brought to the leader.", true, float64(s.Idle.Touched)},
		{"uses_forgotten_total", "Of these, not remembered because the table was full. Should be 0.", true, float64(s.Idle.Forgotten)},
		{"uses_oldest_unsent_seconds", "How long the oldest use of this node has waited that is to be replicated.", false, s.Idle.OldestUnsent},
		{"touches_proposed_total", "Commands with uses that this node proposed as leader.", true, float64(s.Idle.Touches)},
		{"touches_coalesced_total", "Uses that this node as leader did not propose because another one of the session sufficed.", true, float64(s.Idle.Coalesced)},
		{"expires_proposed_total", "Commands with sessions that are over that this node proposed as leader.", true, float64(s.Idle.Expires)},
		{"expiry_lag_seconds", "How long the oldest session that is to end has been over, on the leader.", false, s.Idle.ExpiryLag},
		{"idle_questions_total", "Sessions that seemed to be over, which lookups on this node had all nodes asked about.", true, float64(s.Idle.Questions)},
		{"idle_questions_alive_total", "Of these, used on another node.", true, float64(s.Idle.Alive)},
		{"idle_questions_ended_total", "Of these, over.", true, float64(s.Idle.Ended)},
		{"idle_questions_undecided_total", "Of these, accepted because a node could not be asked.", true, float64(s.Idle.Undecided)},

		{"disk_free_bytes", "Free bytes where the data directory is.", false, float64(s.Disk.Free)},
		{"disk_reserve_bytes", "Below so many nothing new is stored.", false, float64(s.Disk.Reserve)},
		{"disk_low", "1 when less than the reserve is free.", false, flag(s.Disk.Low)},
		{"memory_used_bytes", "Memory that the collector can't free, as of the last collection.", false, float64(s.Memory.Used)},
		{"memory_limit_bytes", "Above so many nothing new is stored; 0: no limit.", false, float64(s.Memory.Limit)},
		{"memory_full", "1 when the limit is reached.", false, flag(s.Memory.Full)},

		{"gossip_members_alive", "Members that gossip sees alive.", false, float64(s.GossipAlive)},
		{"gossip_members_failed", "Members that gossip sees failed.", false, float64(s.GossipFailed)},
		{"peer_connections", "Open connections to other nodes.", false, float64(s.PeerConns)},
	}
}
