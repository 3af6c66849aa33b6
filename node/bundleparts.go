package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/support"
)

// bundleParts is what a running node puts into a support bundle. Each part picks what it tells: nothing is written as it
// comes, so that a field which somebody adds somewhere does not get into what is handed on to strangers.
func (n *Node) bundleParts() []support.Part {
	return []support.Part{
		partVersion(),
		partSettings(n.cfg),
		{Name: "members.json", Holds: "the nodes of the cluster, as this one sees them", Take: n.tellMembers},
		{Name: "raft.json", Holds: "where this node is in raft's log, its lease, its disk and its memory", Take: n.tellRaft},
		{Name: "limits.json", Holds: "limits, realms by name and type, and counts, as far as this node knows", Take: n.tellLimits},
		{Name: "doctor.txt", Holds: "what `cloakroom doctor` finds", Take: n.tellDoctor},
		{Name: "metrics.txt", Holds: "what /metrics answers", Take: func(_ context.Context, w io.Writer) error { return n.server.WriteMetrics(w) }},
		n.lines.Part(),
		{Name: "goroutines.txt", Holds: "the stacks of goroutines, without arguments", Take: tellGoroutines},
		{Name: "heap.pprof", Holds: "where the memory was allocated, without what is in it", Take: tellHeap},
		{Name: "runtime.json", Holds: "the settings of Go's runtime", Take: n.tellRuntime},
		partFiles(n.cfg.DataDir),
		partKernel(),
	}
}

// tellJSON writes a value for people and programs.
func tellJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// partVersion is which program it is.
func partVersion() support.Part {
	return support.Part{Name: "version.json", Holds: "version and build of the program", Take: func(_ context.Context, w io.Writer) error {
		told := struct {
			Version, Go, OS, Arch    string
			MinCommands, MaxCommands int
			Build                    map[string]string
			Modules                  []string
		}{
			Version: buildVersion(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
			MinCommands: int(session.MinVersion), MaxCommands: int(session.MaxVersion), Build: map[string]string{},
		}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if slices.Contains([]string{"-race", "-tags", "-trimpath", "CGO_ENABLED", "GOAMD64", "GOARM64", "vcs.revision", "vcs.time", "vcs.modified"}, s.Key) {
					told.Build[s.Key] = s.Value
				}
			}
			for _, m := range info.Deps {
				told.Modules = append(told.Modules, m.Path+" "+m.Version)
			}
		}
		return tellJSON(w, told)
	}}
}

func (n *Node) tellMembers(_ context.Context, w io.Writer) error {
	return tellJSON(w, n.server.Cluster())
}

// tellRaft is what of the counters says how the node stands; all of them are in the metrics.
func (n *Node) tellRaft(_ context.Context, w io.Writer) error {
	s := n.cluster.Stats()
	ready := "ready"
	if err := n.cluster.Ready(); err != nil {
		ready = err.Error()
	}
	return tellJSON(w, map[string]any{
		"cluster": s.ClusterID, "node": s.NodeID, "name": s.Name, "ready": ready, "clusterTime": moment(n.cluster.Now()),
		"leader": s.Leader, "isLeader": s.IsLeader, "term": s.Term, "lastContactSeconds": s.LastContact,
		"lastLogIndex": s.LastLogIndex, "commitIndex": s.CommitIndex, "appliedIndex": s.AppliedIndex, "pending": s.Pending,
		"elections": s.Elections, "snapshots": s.Snapshots, "restores": s.Restores, "longestLogWriteSeconds": s.LogLongestWrite,
		"queuedCommands": s.QueuedCommands, "leaseHeld": s.Lookup.Held, "leaseRemaining": s.Lookup.Remaining.String(),
		"stableIndex": s.Lookup.Stable, "clockJumps": s.Lookup.Jumps, "frozen": s.Lookup.Frozen, "leasesOut": s.Lookup.Out,
		"gossipAlive": s.GossipAlive, "gossipFailed": s.GossipFailed, "gossipHealth": s.GossipHealth, "peerConnections": s.PeerConns,
		"peersRefused": s.PeersRefused, "gossipRefused": s.GossipRefused, "clusterKeys": len(s.Keys), "sealedAtRest": s.AtRest.Current != "",
		"disk": s.Disk, "memory": s.Memory, "memoryParts": s.Parts,
	})
}

// tellLimits reads what this node has, without asking anybody.
func (n *Node) tellLimits(ctx context.Context, w io.Writer) error {
	type realmTold struct {
		Name, Type string
		Enabled    bool
	}
	var told struct {
		Limits                             session.Limits
		Realms                             []realmTold
		Sessions, Users, Roles, Tombstones int
		AttributeBytes                     int64
		Created                            uint64
		Ended                              map[string]uint64
		ClusterTime                        string
		Applied                            uint64
	}
	told.Ended = map[string]uint64{}
	err := n.cluster.Read(ctx, cluster.Local, func(m *session.Machine) {
		told.Limits, told.Applied, told.ClusterTime = m.Limits(), m.Applied(), moment(m.Clock())
		for _, r := range m.Realms() {
			told.Realms = append(told.Realms, realmTold{r.Name, r.Type, r.Enabled})
		}
		s := m.Stats()
		told.Sessions, told.Users, told.Roles, told.Tombstones = s.Sessions, s.Users, s.Roles, s.Tombstones
		told.AttributeBytes, told.Created = s.AttributeBytes, s.Created
		for reason, count := range s.Ended {
			told.Ended[reason.String()] = count
		}
	})
	if err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	return tellJSON(w, told)
}

// tellDoctor has the doctor look at this node's own configuration, and at the cluster as the command does: by the socket.
func (n *Node) tellDoctor(ctx context.Context, w io.Writer) error {
	nothing := func(string) (string, bool) { return "", false }
	a := &app{stdin: strings.NewReader(""), stdout: w, stderr: io.Discard, lookup: nothing}
	cfg := n.cfg
	doctor := &doctor{cfg: &cfg, now: time.Now(), app: a}
	return printFindings(a, append(doctor.examine(), a.examineCluster(ctx, &cfg)...))
}

func tellGoroutines(_ context.Context, w io.Writer) error {
	return pprof.Lookup("goroutine").WriteTo(w, 1) // 2 would write the words of arguments
}

func tellHeap(_ context.Context, w io.Writer) error { return pprof.Lookup("heap").WriteTo(w, 0) }

// tellRuntime is what Go was told, and what it has.
func (n *Node) tellRuntime(_ context.Context, w io.Writer) error {
	samples := []metrics.Sample{
		{Name: "/gc/gogc:percent"},
		{Name: "/gc/gomemlimit:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/sched/gomaxprocs:threads"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	told := map[string]any{"processors": runtime.NumCPU(), "started": n.begun.UTC().Format(time.RFC3339), "now": time.Now().UTC().Format(time.RFC3339)}
	for _, s := range samples {
		if s.Value.Kind() != metrics.KindUint64 {
			continue
		}
		value := any(s.Value.Uint64())
		if s.Value.Uint64() >= math.MaxInt64 {
			value = "none" // a limit that there is not
		}
		told[s.Name] = value
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG"} {
		if value, set := os.LookupEnv(name); set {
			told[name] = value
		}
	}
	return tellJSON(w, told)
}

// partSettings is what the node was configured to.
func partSettings(cfg Config) support.Part {
	return support.Part{Name: "settings.txt", Holds: "the settings that this node runs with", Take: func(_ context.Context, w io.Writer) error {
		var text bytes.Buffer
		for _, s := range settingsOf(cfg) {
			fmt.Fprintf(&text, "%s: %s\n", s.name, s.shown)
		}
		_, err := w.Write(text.Bytes())
		return err
	}}
}
