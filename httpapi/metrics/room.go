package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cluster"
)

// collectMemory renders what the memory is used for.
func (m *Collector) collectMemory(ch chan<- prometheus.Metric, p cluster.MemoryParts) {
	for part, n := range map[string]int64{
		"sessions": p.Sessions, "sessions-spare": p.SessionsSpare, "heap": p.Heap, "heap-spare": p.Spare, "stacks": p.Stacks, "runtime": p.Runtime,
	} {
		ch <- prometheus.MustNewConstMetric(m.memory, prometheus.GaugeValue, float64(n), part)
	}
}

// roomSamples are what there is room for, and the ways to the other nodes.
func roomSamples(s cluster.Stats) []sample {
	return []sample{
		{"disk_free_bytes", "Free bytes where the data directory is.", false, float64(s.Disk.Free)},
		{"disk_reserve_bytes", "Below so many nothing new is stored.", false, float64(s.Disk.Reserve)},
		{"disk_low", "1 when less than the reserve is free.", false, flag(s.Disk.Low)},
		{"memory_used_bytes", "Memory that the collector can't free, as of the last collection.", false, float64(s.Memory.Used)},
		{"memory_limit_bytes", "Above so many nothing new is stored; 0: no limit.", false, float64(s.Memory.Limit)},
		{"memory_full", "1 when the limit is reached.", false, flag(s.Memory.Full)},

		{"members_missing", "Members of the cluster that this node does not find alive.", false, float64(s.MembersMissing)},
		{"gossip_members_alive", "Members that gossip sees alive.", false, float64(s.GossipAlive)},
		{"gossip_members_failed", "Members that gossip sees failed.", false, float64(s.GossipFailed)},
		{"gossip_health_score", "How slow this node finds itself to be in gossip: 0 is well, each late or lost answer adds to it.", false, float64(s.GossipHealth)},
		{"gossip_failures_total", "Members that this node has seen fail.", true, float64(s.GossipFailures)},
		{"gossip_changes_total", "Changes of members that this node has heard of.", true, float64(s.GossipChanges)},
		{"peer_connections", "Open connections to other nodes.", false, float64(s.PeerConns)},
	}
}
