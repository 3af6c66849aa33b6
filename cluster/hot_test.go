package cluster_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// A lookup that this node can answer for at once takes no allocation, by whatever way it comes.
func TestLookupsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		h.startAll()
		c := h.nodes["n1"]
		h.user(c)
		h.create(c, key(1))
		time.Sleep(time.Second)
		known, unknown := key(1), key(2)
		both := []session.Key{known, unknown}
		seen := 0
		count := func(_ int, view *session.View, err error) {
			if (err == nil) == (view != nil) {
				seen++
			}
		}
		for name, fn := range map[string]func() error{
			"Lookup":         func() error { _, _, err := c.Lookup(t.Context(), known, cluster.Lease); return err },
			"Use":            func() error { _, _, err := c.Use(t.Context(), known, cluster.Lease); return err },
			"Use of nothing": func() error { _, _, err := c.Use(t.Context(), unknown, cluster.Lease); return unlessInvalid(err) },
			"Glance":         func() error { return unless(c.Glance(known, cluster.Lease)) },
			"Glance, local":  func() error { return unless(c.Glance(known, cluster.Local)) },
			"Glances": func() error {
				seen = 0
				c.Glances(both, cluster.Lease, count)
				return unless(session.View{}, seen == len(both))
			},
		} {
			var failed error
			most := 0.0
			if name == "Glances" {
				most = 1 // the closure, for however many keys
			}
			if got := testing.AllocsPerRun(100, func() { failed = errors.Join(failed, fn()) }); got > most || failed != nil {
				t.Errorf("%s: %v allocations, %v", name, got, failed)
			}
		}
	})
}

var errNothing = errors.New("not answered")

func unless(_ session.View, ok bool) error {
	if !ok {
		return errNothing
	}
	return nil
}

func unlessInvalid(err error) error {
	if !errors.Is(err, session.ErrSessionInvalid) {
		return errNothing
	}
	return nil
}

// BenchmarkLookup looks random sessions up on a node of its own, in the ways that there are.
func BenchmarkLookup(b *testing.B) {
	const sessions = 20_000
	c := benchNode(b)
	keys := make([]session.Key, sessions)
	fillNode(b, c, keys)
	for name, fn := range map[string]func(key session.Key) error{
		"lookup": func(key session.Key) error { _, _, err := c.Lookup(b.Context(), key, cluster.Lease); return err },
		"use":    func(key session.Key) error { _, _, err := c.Use(b.Context(), key, cluster.Lease); return err },
		"glance": func(key session.Key) error { return unless(c.Glance(key, cluster.Lease)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := fn(keys[rand.IntN(sessions)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("glances", func(b *testing.B) {
		const many = 1000
		asked, good := make([]session.Key, many), 0
		b.ReportAllocs()
		for b.Loop() {
			for i := range asked {
				asked[i] = keys[rand.IntN(sessions)]
			}
			c.Glances(asked, cluster.Lease, func(_ int, _ *session.View, err error) {
				if err == nil {
					good++
				}
			})
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/many, "ns/key")
		if good != b.N*many {
			b.Errorf("%d of %d", good, b.N*many)
		}
	})
}

// benchNode opens a node that is a cluster by itself, and waits until it is.
func benchNode(b *testing.B) *cluster.Cluster {
	b.Helper()
	c, err := cluster.Open(cluster.Config{
		Name: "n1", Ephemeral: true, Expect: 1, Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", HTTP: "127.0.0.1:1",
		Key: wire.DevelopmentKey(), Idle: time.Hour, Logger: slog.New(slog.DiscardHandler), OnFatal: func(err error) { b.Error(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	formed := false
	for c.Read(b.Context(), cluster.Lease, func(m *session.Machine) { formed = m.ClusterID() != "" }) != nil || !formed {
		if b.Context().Err() != nil {
			b.FailNow()
		}
		runtime.Gosched()
	}
	return c
}

// fillNode makes sessions, fifty a user.
func fillNode(b *testing.B, c *cluster.Cluster, keys []session.Key) {
	b.Helper()
	const each = 50
	failed := make(chan error, len(keys)/each)
	for u := range len(keys) / each {
		go func() { failed <- fillUser(c, u, keys[u*each:(u+1)*each]) }()
	}
	for range len(keys) / each {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

func fillUser(c *cluster.Cluster, u int, keys []session.Key) error {
	ctx := context.Background()
	name := session.KeyOf(binary.BigEndian.AppendUint64(nil, uint64(u))).String()
	if _, err := c.Do(ctx, &session.CreateUser{ID: "id-" + name, Realm: "native", Username: name}); err != nil {
		return err
	}
	var user, realm uint64
	if err := c.Read(ctx, cluster.Lease, func(m *session.Machine) {
		record, _ := m.UserByName("native", name)
		native, _ := m.RealmByName("native")
		user, realm = record.Rev, native.Rev
	}); err != nil {
		return err
	}
	for i := range keys {
		keys[i] = session.KeyOf(binary.BigEndian.AppendUint64([]byte(name), uint64(i)))
		if _, err := c.Do(ctx, &session.Create{
			Key: keys[i], Realm: "native", Username: name, UserID: "id-" + name, UserRev: user, RealmRev: realm,
			Surface: session.SurfaceFusion, Idle: time.Hour, Lifetime: 8 * time.Hour,
		}); err != nil {
			return err
		}
	}
	return nil
}
