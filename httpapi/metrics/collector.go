package metrics

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Collector renders what the server and the cluster count. It owns its registry: several nodes can live in one process.
type Collector struct {
	source   Source
	registry *prometheus.Registry

	requests  *prometheus.Desc
	latency   *prometheus.Desc
	info      *prometheus.Desc
	byRealm   *prometheus.Desc
	ended     *prometheus.Desc
	memory    *prometheus.Desc
	lookups   *prometheus.Desc
	givenBack *prometheus.Desc
}

// New returns a collector with a registry of its own.
func New(s Source) *Collector {
	m := &Collector{
		source:   s,
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewDesc("cloakroom_http_requests_total", "Requests answered, by route and status.", []string{"route", "status"}, nil),
		latency:  prometheus.NewDesc("cloakroom_http_request_duration_seconds", "Time from a request's arrival to its answer, by route. Of the lookups that are answered before anything else is done with them, one in 8 is timed, and counts as 8.", []string{"route"}, nil),
		info:     prometheus.NewDesc("cloakroom_info", "What this node is.", []string{"version", "cluster", "node", "name"}, nil),
		byRealm:  prometheus.NewDesc("cloakroom_realm_sessions", "Sessions that the machine holds, by realm.", []string{"realm"}, nil),
		memory:   prometheus.NewDesc("cloakroom_memory_part_bytes", "What the memory is used for: sessions (beside the heap), the heap, stacks, and the runtime itself.", []string{"part"}, nil),
		ended:    prometheus.NewDesc("cloakroom_sessions_ended_total", "Sessions ended in the cluster, by reason.", []string{"reason"}, nil),
		lookups: prometheus.NewDesc("cloakroom_lookups_total",
			"Lookups on this node, by level and outcome: from memory at once, after a wait, after a question to the leader, or refused.", []string{"level", "outcome"}, nil),
		givenBack: prometheus.NewDesc("cloakroom_leases_given_back_total", "Leases that this node gave back before their time, by reason.", []string{"reason"}, nil),
	}
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves what there is, in Prometheus's format. What can't be rendered is logged.
func (m *Collector) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)})
}

// Describe sends nothing: the collector is an unchecked one, since which series there are depends on what happened.
func (m *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect renders everything from one look at the counters.
func (m *Collector) Collect(ch chan<- prometheus.Metric) {
	stats := m.source.Cluster()
	ch <- prometheus.MustNewConstMetric(m.info, prometheus.GaugeValue, 1, m.source.Version, stats.ClusterID, stats.NodeID, stats.Name)
	for _, r := range m.source.Routes {
		m.collectRoute(ch, r)
	}
	m.collectSessions(ch, stats.Machine)
	m.collectLookups(ch, stats.Lookup)
	m.collectMemory(ch, stats.Parts)
	collectRaft(ch, stats)
	collectKeys(ch, stats)
	for _, one := range slices.Concat(
		m.requestSamples(stats), sessionSamples(stats), raftSamples(stats), roomSamples(stats), leaseSamples(stats.Lookup), keySamples(stats),
		m.certificateSamples(), m.auditSamples(), m.recheckSamples(),
	) {
		kind := prometheus.GaugeValue
		if one.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("cloakroom_"+one.name, one.help, nil, nil), kind, one.value)
	}
}

// sample is a metric without labels.
type sample struct {
	name, help string
	counter    bool
	value      float64
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
