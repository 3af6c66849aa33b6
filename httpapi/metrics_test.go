package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"cloakroom/cluster"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/metrics"
)

// counting is a cluster that has counted.
type counting struct {
	access.Cluster
	lookup lookup.Stats
	change func(*cluster.Stats)
}

func (c counting) Stats() cluster.Stats {
	s := c.Cluster.Stats()
	s.Lookup = c.lookup
	if c.change != nil {
		c.change(&s)
	}
	return s
}

// metricsOf returns what a server says of a cluster that has counted.
func metricsOf(t *testing.T, l lookup.Stats) string {
	t.Helper()
	return scrape(t, counting{lookup: l})
}

func scrape(t *testing.T, c counting) string {
	t.Helper()
	f := newFixture(t, func(cfg *Config) {
		c.Cluster = cfg.Cluster
		cfg.Cluster = c
	}).opened()
	f.send("GET", "/auth/verify")
	res, err := http.Get("http://" + f.OperatorAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %v: %.600s", res.StatusCode, err, body)
	}
	return string(body)
}

func expectLines(t *testing.T, body string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestLookupMetrics(t *testing.T) {
	body := metricsOf(t, lookup.Stats{
		Local: 5, Rounds: 6,
		ByLease:  lookup.Outcomes{Own: 1000, Waited: 20, Asked: 30, Refused: 4},
		ByQuorum: lookup.Outcomes{Asked: 70, Refused: 8},
		Held:     true, Remaining: 750 * time.Millisecond, GivenBack: map[string]uint64{"stop": 2, "touches": 3}, Jumps: 9,
		Stable: 100, Lag: 11, Out: 2, Grants: 13,
	})
	expectLines(t, body,
		`cloakroom_lookups_total{level="lease",outcome="memory"} 1000`,
		`cloakroom_lookups_total{level="lease",outcome="waited"} 20`,
		`cloakroom_lookups_total{level="lease",outcome="forwarded"} 30`,
		`cloakroom_lookups_total{level="lease",outcome="refused"} 4`,
		`cloakroom_lookups_total{level="quorum",outcome="forwarded"} 70`,
		`cloakroom_lookups_total{level="quorum",outcome="refused"} 8`,
		`cloakroom_lookups_total{level="local",outcome="memory"} 5`,
		`cloakroom_lease_held 1`, `cloakroom_lease_remaining_seconds 0.75`, `cloakroom_lease_frozen 0`,
		`cloakroom_leases_out 2`, `cloakroom_leases_granted_total 13`,
		`cloakroom_leases_given_back_total{reason="stop"} 2`, `cloakroom_leases_given_back_total{reason="touches"} 3`,
		`cloakroom_leases_given_back_total{reason="clock-jump"} 0`,
		`cloakroom_stable_index 100`, `cloakroom_stable_lag_entries 11`, `cloakroom_clock_jumps_total 9`, `cloakroom_quorum_rounds_total 6`,
	)
}

func TestMetricsOfAFrozenLeader(t *testing.T) {
	expectLines(t, metricsOf(t, lookup.Stats{Frozen: true}), `cloakroom_lease_frozen 1`, `cloakroom_lease_held 0`, `cloakroom_lease_remaining_seconds 0`)
}

// What the lane answers on connections of a real listener is counted, and timed one for eight.
func TestMetricsOfTheLane(t *testing.T) {
	f := newFixture(t).opened()
	token := f.create(session.Create{Username: "ann"})
	for range 3 {
		c := f.dial()
		for range 1 + metrics.TimeOne { // the first one on a connection is left to fasthttp
			c.write(laneText("/auth/verify", "Cookie: id="+token.Text))
			if a := c.read(); a.status != 200 {
				t.Fatalf("%+v", a)
			}
		}
		if err := c.c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// An answer is counted when it is sent: the client may have it before that.
	await(t, "connections to end", func() bool { return f.api.GetOpenConnectionsCount() == 0 })
	status, took := f.lane.verify.Meter.Counts()
	if all := uint64(3 * (1 + metrics.TimeOne)); status[100] != all || took.Total() != all || took.Sum <= 0 {
		t.Errorf("%d answers, %d times, %v in all", status[100], took.Total(), took.Sum)
	}
}

// Series are there before anything has happened: a rate from the first event on needs the zero before it.
func TestLookupMetricsBeginAtZero(t *testing.T) {
	body := metricsOf(t, lookup.Stats{})
	for _, level := range []string{"lease", "quorum"} {
		for _, outcome := range []string{"memory", "waited", "forwarded", "refused"} {
			expectLines(t, body, `cloakroom_lookups_total{level="`+level+`",outcome="`+outcome+`"} 0`)
		}
	}
	for _, reason := range []string{"clock-jump", "recall", "restore", "stop", "unwanted"} {
		expectLines(t, body, `cloakroom_leases_given_back_total{reason="`+reason+`"} 0`)
	}
	expectLines(t, body, `cloakroom_lookups_total{level="local",outcome="memory"} 0`, `cloakroom_lease_held 0`)
}

// keysInUse are the counters of a node at which both keys are being exchanged.
func keysInUse(s *cluster.Stats) {
	s.Keys = []cluster.KeyStats{{ID: "k-new", First: true, Streams: 2, Raft: 3, Gossip: 40}, {ID: "k-old", Raft: 1, Gossip: 5}}
	s.PeersRefused, s.PeersCrowded, s.PeersMalformed, s.GossipRefused, s.GossipReplayed = 6, 7, 8, 9, 10
	s.AtRest.Current, s.AtRest.Keys = "d-new", []string{"d-old"}
	s.AtRest.PlainEntries, s.AtRest.PlainSnapshots, s.AtRest.OtherEntries, s.AtRest.OtherSnapshots = 11, 12, 13, 14
}

func TestKeyMetrics(t *testing.T) {
	expectLines(
		t, scrape(t, counting{change: keysInUse}),
		`cloakroom_cluster_key_first{key="k-new"} 1`, `cloakroom_cluster_key_first{key="k-old"} 0`,
		`cloakroom_cluster_key_connections{key="k-new",kind="requests"} 2`, `cloakroom_cluster_key_connections{key="k-new",kind="raft"} 3`,
		`cloakroom_cluster_key_connections{key="k-old",kind="requests"} 0`, `cloakroom_cluster_key_connections{key="k-old",kind="raft"} 1`,
		`cloakroom_cluster_key_gossip_messages_total{key="k-new"} 40`, `cloakroom_cluster_key_gossip_messages_total{key="k-old"} 5`,
		`cloakroom_peers_refused_total 6`, `cloakroom_peers_crowded_total 7`, `cloakroom_peers_malformed_total 8`,
		`cloakroom_gossip_refused_total 9`, `cloakroom_gossip_replayed_total 10`,
		`cloakroom_data_key_current{key="d-new"} 1`, `cloakroom_data_key_current{key="d-old"} 0`, `cloakroom_data_encrypted 1`,
		`cloakroom_data_plain_entries 11`, `cloakroom_data_plain_snapshots 12`, `cloakroom_data_old_key_entries 13`, `cloakroom_data_old_key_snapshots 14`,
	)
	plain := scrape(t, counting{})
	expectLines(t, plain, `cloakroom_data_encrypted 0`, `cloakroom_data_plain_entries 0`, `cloakroom_peers_refused_total 0`)
	if strings.Contains(plain, "data_key_current") {
		t.Error("there is a data key where there is none")
	}
}

// Names, units, help and types are as Prometheus wants them: these are the rules of `promtool check metrics`.
func TestMetricsAreCleanForPromtool(t *testing.T) {
	body := scrape(t, counting{lookup: lookup.Stats{GivenBack: map[string]uint64{"touches": 1}}, change: keysInUse})
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "cloakroom_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if bad, err := promlint.New(strings.NewReader("# TYPE cloakroom_lookups counter\ncloakroom_lookups 1\n")).Lint(); err != nil || len(bad) == 0 {
		t.Errorf("%v, %v: the linter finds nothing in a counter without a unit and a help", bad, err)
	}
}
