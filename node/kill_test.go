package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The load that a kill must meet, and by how many workers it is made.
const (
	wantPuts    = 300  // a second
	wantLookups = 2000 // a second
	putters     = 24
	lookers     = 8
	ended       = 60 // sessions that are logged out while nodes die
)

// Each node is killed in turn under load and comes back. Then every acknowledged put is readable on every node, and no
// session whose end was acknowledged is accepted by any.
func TestKill(t *testing.T) {
	t.Parallel()
	s := newSuite(t)
	s.startAll()
	load := newKillLoad(s)
	load.run(func() {
		load.settle()
		for _, n := range s.nodes {
			s.kill(n)
			load.spell()
			s.start(n)
			s.awaitReady(n)
			load.spell()
		}
	})
	t.Logf("in %v: %d puts acknowledged, %d unknown, %d failed; %d lookups, %d failed; %d sessions ended", load.lasted.Round(time.Millisecond),
		load.puts.Load(), load.unknown.Load(), load.putsFailed.Load(), load.lookups.Load(), load.lookupsFailed.Load(), load.over.Load())
	load.check()
}

// killLoad is clients that put, look up and log out through all nodes.
type killLoad struct {
	s       *suite
	writers []*killWriter
	doomed  []string
	lasted  time.Duration

	puts, putsFailed, unknown, lookups, lookupsFailed, over atomic.Int64

	mu   sync.Mutex
	gone []string // tokens whose end was acknowledged
}

// killWriter is one session: it puts growing numbers under a few keys.
type killWriter struct {
	token string
	acked map[string]int // key to the last number that was acknowledged
	sent  map[string]int // key to the last number that was sent
}

func newKillLoad(s *suite) *killLoad {
	l := &killLoad{s: s}
	for range putters {
		l.writers = append(l.writers, &killWriter{token: l.login(), acked: make(map[string]int), sent: make(map[string]int)})
	}
	for range ended {
		l.doomed = append(l.doomed, l.login())
	}
	return l
}

func (l *killLoad) login() string {
	l.s.t.Helper()
	a := l.s.login(l.s.client(), l.s.nodes[0], "admin", suitePassword)
	if a.StatusCode != http.StatusCreated {
		l.s.t.Fatalf("login: %d %s", a.StatusCode, a.text)
	}
	return a.cookie("id")
}

// run keeps the load up while fn runs.
func (l *killLoad) run(fn func()) {
	ctx, cancel := context.WithCancel(l.s.t.Context())
	defer cancel()
	var group sync.WaitGroup
	for i, w := range l.writers {
		group.Go(func() { l.put(ctx, w, i) })
	}
	for i := range lookers {
		group.Go(func() { l.look(ctx, i) })
	}
	group.Go(func() { l.end(ctx) })
	start := time.Now()
	fn()
	l.lasted = time.Since(start)
	cancel()
	group.Wait()
}

// node returns the address of a node, another one each time, whether it runs or not.
func (l *killLoad) node(i int) string { return l.s.url(l.s.nodes[i%len(l.s.nodes)]) }

func (l *killLoad) put(ctx context.Context, w *killWriter, worker int) {
	client := l.s.client()
	for i := worker; ctx.Err() == nil; i++ {
		key := "k" + strconv.Itoa(i%5)
		w.sent[key]++
		url := fmt.Sprintf("%s/api/2/session/put?%s=%d", l.node(i), key, w.sent[key])
		a, err := l.s.try(context.WithoutCancel(ctx), client, http.MethodPost, url, "", "Cookie", "id="+w.token)
		switch {
		case err != nil:
			l.putsFailed.Add(1)
		case a.StatusCode == http.StatusOK:
			w.acked[key] = w.sent[key]
			l.puts.Add(1)
		case a.StatusCode == http.StatusServiceUnavailable && strings.Contains(a.text, "outcome-unknown"):
			l.unknown.Add(1)
		case a.StatusCode == http.StatusServiceUnavailable:
			l.putsFailed.Add(1)
		default:
			l.s.t.Errorf("put: %d %s", a.StatusCode, a.text)
			return
		}
	}
}

// look looks sessions up that are live, and such whose end was acknowledged: none of those may be accepted.
func (l *killLoad) look(ctx context.Context, worker int) {
	client := l.s.client()
	random := rand.New(rand.NewPCG(uint64(worker), 1))
	for i := worker; ctx.Err() == nil; i++ {
		token, live := l.writers[random.IntN(len(l.writers))].token, true
		if random.IntN(4) == 0 {
			l.mu.Lock()
			if len(l.gone) > 0 {
				token, live = l.gone[random.IntN(len(l.gone))], false
			}
			l.mu.Unlock()
		}
		a, err := l.s.try(context.WithoutCancel(ctx), client, http.MethodGet, l.node(i)+"/auth/verify", "", "Cookie", "id="+token)
		switch {
		case err != nil, a.StatusCode == http.StatusServiceUnavailable:
			l.lookupsFailed.Add(1)
		case live && a.StatusCode != http.StatusOK, !live && a.StatusCode != http.StatusUnauthorized:
			l.s.t.Errorf("lookup of a session (live: %v): %d %s", live, a.StatusCode, a.text)
			return
		default:
			l.lookups.Add(1)
		}
	}
}

// end logs out one session after another while nodes die.
func (l *killLoad) end(ctx context.Context) {
	client := l.s.client()
	for i, token := range l.doomed {
		a, err := l.s.try(context.WithoutCancel(ctx), client, http.MethodDelete, l.node(i)+"/api/session", "", "Cookie", "id="+token)
		if err == nil && a.StatusCode == http.StatusNoContent {
			l.over.Add(1)
			l.mu.Lock()
			l.gone = append(l.gone, token)
			l.mu.Unlock()
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// settle waits until the load is what it is meant to be before a fault.
func (l *killLoad) settle() {
	l.s.t.Helper()
	l.s.until(fmt.Sprintf("%d puts/s and %d lookups/s", wantPuts, wantLookups), func() bool {
		puts, lookups, start := l.puts.Load(), l.lookups.Load(), time.Now()
		<-time.After(time.Second)
		second := time.Since(start).Seconds()
		return float64(l.puts.Load()-puts) >= wantPuts*second && float64(l.lookups.Load()-lookups) >= wantLookups*second
	})
}

// spell lets the load go on until some of everything has been done with the cluster as it is.
func (l *killLoad) spell() {
	l.s.t.Helper()
	puts, lookups := l.puts.Load(), l.lookups.Load()
	l.s.until("puts and lookups go on", func() bool {
		return l.puts.Load() >= puts+2*wantPuts && l.lookups.Load() >= lookups+2*wantLookups
	})
}

func (l *killLoad) check() {
	l.s.t.Helper()
	client := l.s.client()
	for _, n := range l.s.nodes {
		for _, w := range l.writers {
			a := l.s.do(client, http.MethodGet, l.s.url(n)+"/api/2/session/get", "", "Cookie", "id="+w.token)
			var attrs map[string]string
			if err := json.Unmarshal([]byte(a.text), &attrs); a.StatusCode != http.StatusOK || err != nil {
				l.s.t.Fatalf("%s: get: %d %s", n.name, a.StatusCode, a.text)
			}
			for key, acked := range w.acked {
				if got, err := strconv.Atoi(attrs[key]); err != nil || got < acked || got > w.sent[key] {
					l.s.t.Errorf("%s: %s is %q: %d was acknowledged and %d sent last", n.name, key, attrs[key], acked, w.sent[key])
				}
			}
		}
		for _, token := range l.gone {
			if a := l.s.do(client, http.MethodGet, l.s.url(n)+"/api/session", "", "Cookie", "id="+token); a.StatusCode != http.StatusUnauthorized {
				l.s.t.Errorf("%s accepts a session whose end was acknowledged: %d", n.name, a.StatusCode)
			}
		}
	}
	if len(l.gone) == 0 {
		l.s.t.Error("no session was ended: the test shows nothing of it")
	}
}
