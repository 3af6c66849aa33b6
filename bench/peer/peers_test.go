package peer

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestBare(t *testing.T) {
	t.Parallel()
	b := NewBare(standIn("bare")...)
	startPeer(t, b, 100)
	for _, level := range []Level{Local, Lease} {
		open, err := b.Lookup(level)
		ask(t, open, err)
	}
	if _, err := b.Lookup(Quorum); !errors.Is(err, ErrNotOffered) {
		t.Errorf("quorum: %v, want %v", err, ErrNotOffered)
	}
	if _, err := b.Put(); !errors.Is(err, ErrNotOffered) {
		t.Errorf("put: %v, want %v", err, ErrNotOffered)
	}

	conn := NewConn(Target{Host: b.addr}, CallTimeout)
	defer closeConn(t, conn)
	answer, err := conn.Do(t.Context(), []byte("GET /auth/verify HTTP/1.1\r\nHost: x\r\nCookie: id=abc\r\n\r\n"))
	if err != nil || len(answer.Body()) != ValueBytes {
		t.Errorf("answer %v, %v; want %d bytes", answer, err, ValueBytes)
	}
	var status *StatusError
	if _, err := conn.Do(t.Context(), []byte(simpleGet)); !errors.As(err, &status) || status.Code != 401 {
		t.Errorf("without a cookie: %v, want 401", err)
	}
	if used, known := CPUTime(b.PIDs()); known && used < 0 {
		t.Errorf("CPU time %v", used)
	}
}

func TestRedis(t *testing.T) {
	needs(t, "redis-server")
	t.Parallel()
	r := NewRedis()
	startPeer(t, r, 2500)
	if n, err := r.client.DBSize(t.Context()).Result(); err != nil || n != 2500 {
		t.Errorf("%d keys, %v; want 2500", n, err)
	}
	open, err := r.Lookup(Local)
	ask(t, open, err)
	open, err = r.Put()
	ask(t, open, err)
	open, err = r.Bulk(100)
	ask(t, open, err)
	if _, err := r.Lookup(Quorum); !errors.Is(err, ErrNotOffered) {
		t.Errorf("quorum: %v, want %v", err, ErrNotOffered)
	}
}

// What memory is compared by: as many hashes of seven fields, each with its end.
func TestRedisHashes(t *testing.T) {
	needs(t, "redis-server")
	t.Parallel()
	r := NewRedis()
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Start(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := r.FillHashes(t.Context(), 1500); err != nil {
		t.Fatal(err)
	}
	key := string(r.keys.Token(1499))
	fields, err := r.client.HLen(t.Context(), key).Result()
	if err != nil || fields != 7 {
		t.Errorf("%d fields, %v; want 7", fields, err)
	}
	if left, err := r.client.TTL(t.Context(), key).Result(); err != nil || left <= hashLife-time.Minute {
		t.Errorf("ends in %v, %v", left, err)
	}
}

func TestEtcd(t *testing.T) {
	needs(t, "etcd")
	t.Parallel()
	e := NewEtcd(false)
	startPeer(t, e, 250)
	if n := len(e.PIDs()); n != nodes {
		t.Errorf("%d processes, want %d", n, nodes)
	}
	for _, e.spread = range []bool{false, true} {
		conns, err := e.measured()
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 1, true: nodes}[e.spread]; len(conns) != want {
			t.Errorf("requests go over %d connections, want %d", len(conns), want)
		}
		for _, level := range []Level{Local, Lease, Quorum} {
			open, err := e.Lookup(level)
			ask(t, open, err)
		}
		open, err := e.Put()
		ask(t, open, err)
	}
	got, err := e.conns[0].Call(t.Context(), "etcdserverpb.KV/Range", rangeRequest(nil, e.keys.Token(249), false))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := rangeValue(got); err != nil || string(text) != value(ValueBytes) {
		t.Errorf("last key has %q, %v", text, err)
	}
}

func TestAbsentPeersSaySo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, p := range []Peer{NewRedis(), NewEtcd(false)} {
		if err := p.Start(t.Context(), t.TempDir()); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: %v, want %v", p.Name(), err, ErrAbsent)
		}
		if err := p.Stop(); err != nil {
			t.Errorf("stop %s: %v", p.Name(), err)
		}
	}
}

// The cluster that figures are taken of: it is asked at all levels, loses its leader and gets it back.
func TestCloakroom(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and starts three nodes")
	}
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "cloakroom")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "cloakroom/node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	filled := 0
	c := NewCloakroom(CloakroomConfig{
		Binary: binary, Spread: true, Heartbeat: 2 * time.Second, Progress: func(done int) { filled = done },
	})
	startPeer(t, c, 1500)
	if filled != 1500 || c.Sessions().Len() != 1500 {
		t.Errorf("%d of %d sessions reported, want 1500", filled, c.Sessions().Len())
	}
	for _, level := range []Level{Local, Lease, Quorum} {
		open, err := c.Lookup(level)
		ask(t, open, err)
	}
	open, err := c.Put()
	ask(t, open, err)
	before, err := c.LookupsAt(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, c.LookupAt(1, Local), nil)
	after, err := c.LookupsAt(t.Context(), 1)
	if err != nil || after[Local].Since(before[Local]).Memory == 0 || before[Lease].All() == 0 || before[Quorum].Forwarded == 0 || before[Quorum].Memory != 0 {
		t.Errorf("%v: %+v, then %+v", err, before, after)
	}

	askService(t, c)
	first, err := c.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(leader); err != nil {
		t.Fatal(err)
	}
	if n := len(c.PIDs()); n != nodes-1 {
		t.Errorf("%d processes after a kill, want %d", n, nodes-1)
	}
	if n := len(c.Service(leader).Targets); n != nodes-1 {
		t.Errorf("%d targets without the leader, want %d", n, nodes-1)
	}
	if err := c.Restart(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitWhole(t.Context()); err != nil {
		t.Fatal(err)
	}
	open, err = c.Put()
	ask(t, open, err)
	then, err := c.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if then.Term <= first.Term || then.Leaders <= first.Leaders || first.Leaders < 1 {
		t.Errorf("%+v before the leader was killed, %+v after it", first, then)
	}
}

// askService makes sessions, checks many at once, and logs in.
func askService(t *testing.T, c *Cloakroom) {
	t.Helper()
	s := c.Service()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(t, s.Create(c.Sessions(), 3), nil)
	callers, err := s.Callers(t.Context(), 2)
	if err != nil || len(callers) != 2 || callers[0] == callers[1] {
		t.Fatalf("%d callers, %v", len(callers), err)
	}
	ask(t, s.VerifyBulk(c.Sessions(), callers, 50), nil)
	if held, err := c.Held(t.Context()); err != nil || held < 1500 {
		t.Errorf("%d sessions, %v; 1500 were made", held, err)
	}
	if one := c.PIDAt(1); len(one) != 1 || one[0] != c.PIDs()[1] {
		t.Errorf("process %v of %v", one, c.PIDs())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	ask(t, s.Login(), nil)
}
