package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cluster"
)

// collectKeys renders which of the cluster's keys and of this node's data keys are in use: an exchange of keys is over, and
// the old one may go, when nothing is under it any more. Keys are named by a hash of theirs.
func collectKeys(ch chan<- prometheus.Metric, s cluster.Stats) {
	send := func(name, help string, kind prometheus.ValueType, value float64, labels, values []string) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("cloakroom_"+name, help, labels, nil), kind, value, values...)
	}
	for _, k := range s.Keys {
		send("cluster_key_first", "1 for the cluster key that is used for all that is new, 0 for others that are accepted.",
			prometheus.GaugeValue, flag(k.First), []string{"key"}, []string{k.ID})
		for kind, n := range map[string]int{"requests": k.Streams, "raft": k.Raft} {
			send("cluster_key_connections", "Connections to other nodes that are under a cluster key, this node's end or the other.",
				prometheus.GaugeValue, float64(n), []string{"key", "kind"}, []string{k.ID, kind})
		}
		send("cluster_key_gossip_messages_total", "Messages of gossip that came under a cluster key.",
			prometheus.CounterValue, float64(k.Gossip), []string{"key"}, []string{k.ID})
	}
	if s.AtRest.Current == "" {
		return
	}
	ids := slices.Clone(s.AtRest.Keys)
	if !slices.Contains(ids, s.AtRest.Current) {
		ids = append(ids, s.AtRest.Current)
	}
	for _, id := range ids {
		send("data_key_current", "1 for the data key that log and snapshots are encrypted under from now on, 0 for others that something on this node's disk is under.",
			prometheus.GaugeValue, flag(id == s.AtRest.Current), []string{"key"}, []string{id})
	}
}

// keySamples are what strangers at the ports between nodes were refused for, and what of the disk is not under the data key.
func keySamples(s cluster.Stats) []sample {
	return []sample{
		{"peers_refused_total", "Connections to the peer port that did not get through the handshake: strangers, or nodes with another key.", true, float64(s.PeersRefused)},
		{"peers_crowded_total", "Connections to the peer port and to gossip's that were closed because there were too many.", true, float64(s.PeersCrowded)},
		{"peers_malformed_total", "Raft connections that were closed for what a peer sent. Should be 0.", true, float64(s.PeersMalformed)},
		{"gossip_refused_total", "Packets and connections of gossip that no member sends.", true, float64(s.GossipRefused)},
		{"gossip_replayed_total", "Of these, those whose message had come before.", true, float64(s.GossipReplayed)},
		{"data_encrypted", "1 when this node encrypts its log and snapshots.", false, flag(s.AtRest.Current != "")},
		{"data_plain_entries", "Entries of the log that are on the disk unencrypted although there is a data key.", false, float64(s.AtRest.PlainEntries)},
		{"data_plain_snapshots", "Snapshots that are on the disk unencrypted although there is a data key.", false, float64(s.AtRest.PlainSnapshots)},
		{"data_old_key_entries", "Entries of the log that are under another data key than the first.", false, float64(s.AtRest.OtherEntries)},
		{"data_old_key_snapshots", "Snapshots that are under another data key than the first.", false, float64(s.AtRest.OtherSnapshots)},
	}
}
