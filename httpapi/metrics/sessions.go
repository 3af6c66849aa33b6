package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// collectSessions renders what the machine has by realm and by reason. Both are bounded: realms are made by administrators.
func (m *Collector) collectSessions(ch chan<- prometheus.Metric, s session.Stats) {
	for realm, n := range s.ByRealm {
		ch <- prometheus.MustNewConstMetric(m.byRealm, prometheus.GaugeValue, float64(n), realm)
	}
	for reason := session.EndedByLogout; reason.Valid(); reason++ {
		ch <- prometheus.MustNewConstMetric(m.ended, prometheus.CounterValue, float64(s.Ended[reason]), reason.String())
	}
}

// sessionSamples are what the machine holds, and how last uses get into it and sessions that are over out of it.
func sessionSamples(s cluster.Stats) []sample {
	return []sample{
		{"sessions", "Sessions that the machine holds.", false, float64(s.Machine.Sessions)},
		{"users", "Users' records.", false, float64(s.Machine.Users)},
		{"tombstones", "Ended sessions that are still remembered.", false, float64(s.Machine.Tombstones)},
		{"attribute_bytes", "Bytes of all sessions' attributes.", false, float64(s.Machine.AttributeBytes)},
		{"sessions_created_total", "Sessions made in the cluster.", true, float64(s.Machine.Created)},

		{"uses_total", "Lookups on this node that counted as a use of a session.", true, float64(s.Idle.Uses)},
		{"uses_replicated_total", "Of these, brought to the leader.", true, float64(s.Idle.Touched)},
		{"uses_forgotten_total", "Of these, not remembered because the table was full. Should be 0.", true, float64(s.Idle.Forgotten)},
		{"uses_unsent", "Uses of this node that are to be replicated and not known to be in the log yet.", false, float64(s.Idle.Unsent)},
		{"uses_oldest_unsent_seconds", "How long the oldest use of this node has waited that is to be replicated.", false, s.Idle.OldestUnsent},
		{"touches_proposed_total", "Commands with uses that this node proposed as leader.", true, float64(s.Idle.Touches)},
		{"touches_coalesced_total", "Uses that this node as leader did not propose because another one of the session sufficed.", true, float64(s.Idle.Coalesced)},
		{"expires_proposed_total", "Commands with sessions that are over that this node proposed as leader.", true, float64(s.Idle.Expires)},
		{"expiry_lag_seconds", "How long the oldest session that is to end has been over, on the leader.", false, s.Idle.ExpiryLag},
		{"idle_questions_total", "Sessions that seemed to be over, which lookups on this node had all nodes asked about.", true, float64(s.Idle.Questions)},
		{"idle_questions_alive_total", "Of these, used on another node.", true, float64(s.Idle.Alive)},
		{"idle_questions_ended_total", "Of these, over.", true, float64(s.Idle.Ended)},
		{"idle_questions_undecided_total", "Of these, accepted because a node could not be asked.", true, float64(s.Idle.Undecided)},
	}
}
