package consensus

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// BenchmarkPropose measures acknowledged entries of one command: three nodes in this process, their logs on one disk
// with fsync, over loopback TCP. How much later a follower has applied the same entry is reported too.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			nodes := diskTrio(b)
			leader := nodes[0]
			var serial atomic.Int64
			var behind atomic.Int64
			var group sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				group.Go(func() { // as many at a time as there are callers: b.Loop has one
					for i := serial.Add(1); i <= int64(b.N); i = serial.Add(1) {
						applied, err := leader.Propose(b.Context(), encode(b, role(fmt.Sprintf("r%d", i), 512))).Wait(b.Context())
						start := time.Now()
						if err == nil {
							err = nodes[2].WaitApplied(b.Context(), applied.Index)
						}
						if err != nil {
							b.Error(err)
							return
						}
						behind.Add(int64(time.Since(start)))
					}
				})
			}
			group.Wait()
			b.StopTimer()
			s := leader.Stats()
			b.ReportMetric(float64(behind.Load())/float64(b.N)/1e3, "follower-µs/op")
			b.ReportMetric(float64(s.Store.Took.Sum.Microseconds())/float64(s.Store.Writes), "fsync-µs")
			b.ReportMetric(float64(s.Store.Entries)/float64(s.Store.Writes), "entries/fsync")
			b.ReportMetric(float64(s.Elections), "elections")
		})
	}
}

// diskTrio starts three nodes on disk; the first leads.
func diskTrio(b *testing.B) []*Node {
	b.Helper()
	dir := b.TempDir()
	var nodes []*Node
	var servers []Server
	for i := range 3 {
		id := fmt.Sprintf("n%d", i+1)
		n := onDisk(b, id, filepath.Join(dir, id), Config{Heartbeat: DefaultHeartbeat})
		nodes = append(nodes, n)
		servers = append(servers, Server{ID: id, Addr: string(n.transport.LocalAddr()), Voter: true})
	}
	if err := nodes[0].Bootstrap(servers); err != nil {
		b.Fatal(err)
	}
	untilLeader(b, nodes[0])
	put(b, nodes[0], &session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
	return nodes
}
