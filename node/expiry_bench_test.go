package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// What expires in BenchmarkMassExpiry, and what is looked up meanwhile.
const (
	massSessions = 1_000_000
	massIdle     = 3 * time.Minute  // they must live until all are made
	massBefore   = 20 * time.Second // of lookups, before they expire
	massRate     = 1000             // lookups a second, on all nodes together
	massLive     = 500              // sessions that are looked up
)

// BenchmarkMassExpiry has a million sessions end in one and the same millisecond on three nodes, which are processes,
// and measures lookups of other ones over HTTP before and meanwhile: an open loop, from the time at which each should
// have been sent. A fourth node makes the sessions, in this process: a read replica. It takes its part of the machine
// before and meanwhile alike. Run it with -benchtime 1x.
func BenchmarkMassExpiry(b *testing.B) {
	for range b.N {
		s := newSuite(b)
		s.startAll()
		m := &massExpiry{suite: s}
		m.openReplica(b)
		m.fill(b)
		at := m.align(b)
		terms := s.cluster(s.nodes[0]).Term
		time.Sleep(time.Until(at.Add(-massBefore - time.Second)))
		before := m.lookups(b, func() bool { return time.Now().After(at.Add(-time.Second)) })
		time.Sleep(time.Until(at))
		during := m.lookups(b, func() bool { return m.left() == 0 })
		gone := time.Since(at)
		if after := s.cluster(s.nodes[0]).Term; after != terms {
			b.Errorf("term %d, before %d: there was an election", after, terms)
		}
		b.ReportMetric(gone.Seconds(), "s-until-gone")
		for name, h := range map[string]*hdrhistogram.Histogram{"before": before, "during": during} {
			b.Logf("%s: %d lookups, p50 %v, p99 %v, p99.9 %v, max %v", name, h.TotalCount(), micros(h, 50), micros(h, 99), micros(h, 99.9), micros(h, 100))
			b.ReportMetric(float64(h.ValueAtPercentile(99))/1000, "ms-p99-"+name)
		}
		b.ReportMetric(float64(during.ValueAtPercentile(99))/float64(before.ValueAtPercentile(99)), "p99-ratio")
	}
}

func micros(h *hdrhistogram.Histogram, percentile float64) time.Duration {
	return time.Duration(h.ValueAtPercentile(percentile)) * time.Microsecond
}

type massExpiry struct {
	*suite
	replica *cluster.Cluster
	users   []massUser
	cookies []string
	others  int // sessions that stay
}

type massUser struct {
	name string
	rev  uint64
}

func (m *massExpiry) openReplica(b *testing.B) {
	text, err := os.ReadFile(filepath.Join(m.dir, "key"))
	if err != nil {
		b.Fatal(err)
	}
	key, err := wire.ParseClusterKey(string(text))
	if err != nil {
		b.Fatal(err)
	}
	ports := freePorts(b, 2)
	m.replica, err = cluster.Open(cluster.Config{
		Name: "driver", Ephemeral: true, Peer: ports[0], Gossip: ports[1], HTTP: "127.0.0.1:1", Join: []string{m.nodes[0].flags[14]},
		Key: key, ReadReplica: true, Idle: 30 * time.Minute, Logger: slog.New(slog.DiscardHandler),
		OnFatal: func(err error) { b.Errorf("the replica: %v", err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.replica.Close(); err != nil {
			b.Errorf("close the replica: %v", err)
		}
	})
	m.until("the replica is ready", func() bool { return m.replica.Ready() == nil })
}

// fill makes users with a hundred sessions each, and the sessions that stay.
func (m *massExpiry) fill(b *testing.B) {
	ctx := b.Context()
	client := m.client()
	for i := range massLive / session.DefaultSessionsPerUser {
		m.addUser(m.nodes[0], m.cookie(m.nodes[0]), fmt.Sprintf("live%d", i), suitePassword)
		for range session.DefaultSessionsPerUser {
			a := m.login(client, m.nodes[0], fmt.Sprintf("live%d", i), suitePassword)
			if a.StatusCode != http.StatusCreated {
				b.Fatalf("login: %d %s", a.StatusCode, a.text)
			}
			m.cookies = append(m.cookies, "id="+a.cookie("id"))
		}
	}
	m.users = make([]massUser, massSessions/session.DefaultSessionsPerUser)
	parallel(len(m.users), func(i int) error {
		name := fmt.Sprintf("user%d", i)
		result, err := m.replica.Do(ctx, &session.CreateUser{ID: uuid.NewString(), Realm: session.NativeRealm, Username: name})
		m.users[i] = massUser{name: name, rev: result.Rev}
		return err
	}, b)
	var realmRev uint64
	if err := m.replica.Read(ctx, cluster.Quorum, func(machine *session.Machine) {
		native, _ := machine.RealmByName(session.NativeRealm)
		realmRev = native.Rev
	}); err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	parallel(massSessions, func(i int) error {
		user := m.users[i/session.DefaultSessionsPerUser]
		_, err := m.replica.Do(ctx, &session.Create{
			Key: massKey(i), Realm: session.NativeRealm, Username: user.name, UserRev: user.rev, RealmRev: realmRev,
			Surface: session.SurfaceService, Idle: massIdle, Lifetime: 8 * time.Hour,
			Attrs: []session.Attr{{Key: "colour", Value: "green"}, {Key: "size", Value: "9"}},
		})
		return err
	}, b)
	b.Logf("%d sessions made in %v", massSessions, time.Since(begun).Round(time.Second))
	m.others = m.sessions() - massSessions
}

func massKey(i int) session.Key { return session.KeyOf(fmt.Appendf(nil, "mass %d", i)) }

// align gives all of them the same last use, and returns when they are over.
func (m *massExpiry) align(b *testing.B) time.Time {
	last, now := m.replica.Now(), time.Now()
	batches := massSessions / session.MaxTouches
	parallel(batches+1, func(i int) error {
		var uses []session.Use
		for j := i * session.MaxTouches; j < min((i+1)*session.MaxTouches, massSessions); j++ {
			uses = append(uses, session.Use{Key: massKey(j), At: last})
		}
		_, err := m.replica.Do(b.Context(), &session.Touch{Uses: uses})
		return err
	}, b)
	if took := time.Since(now); took > massIdle-massBefore-5*time.Second {
		b.Fatalf("this machine is too slow: the sessions were aligned in %v", took)
	}
	if left := m.left(); left != massSessions {
		b.Fatalf("%d sessions are left before they expire", left)
	}
	return now.Add(massIdle)
}

// left is how many of the sessions that are to end have not.
func (m *massExpiry) left() int { return m.sessions() - m.others }

func (m *massExpiry) sessions() (n int) {
	_ = m.replica.Read(context.Background(), cluster.Local, func(machine *session.Machine) { n = machine.Stats().Sessions }) // at this level nothing is asked
	return n
}

// lookups asks at a fixed rate until enough, and returns the latencies in microseconds.
func (m *massExpiry) lookups(b *testing.B, enough func() bool) *hdrhistogram.Histogram {
	const workers = 64
	h := hdrhistogram.New(1, 60_000_000, 3)
	var mu sync.Mutex
	var next atomic.Int64
	var stop atomic.Bool
	begun := time.Now()
	var group sync.WaitGroup
	for range workers {
		client := m.client()
		group.Go(func() {
			for !stop.Load() {
				i := next.Add(1)
				due := begun.Add(time.Duration(i) * time.Second / massRate)
				time.Sleep(time.Until(due))
				n := m.nodes[i%3]
				a, err := m.try(b.Context(), client, http.MethodGet, m.url(n)+"/api/session", "", "Cookie", m.cookies[int(i)%len(m.cookies)])
				if err != nil || a.StatusCode != http.StatusOK {
					b.Errorf("lookup on %s: %d %s %v", n.name, a.StatusCode, a.text, err)
					stop.Store(true)
					return
				}
				mu.Lock()
				_ = h.RecordValue(min(time.Since(due).Microseconds(), 60_000_000)) // within its range
				mu.Unlock()
			}
		})
	}
	for !enough() && !stop.Load() {
		time.Sleep(50 * time.Millisecond)
	}
	stop.Store(true)
	group.Wait()
	return h
}

// parallel does work by many callers at once; the first error ends the benchmark.
func parallel(n int, work func(i int) error, b *testing.B) {
	b.Helper()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range 256 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := work(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}
