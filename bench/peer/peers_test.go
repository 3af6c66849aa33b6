package peer

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestBare(t *testing.T) {
	b := NewBare(standIn("bare")...)
	startPeer(t, b, 100)
	open, err := b.Lookup(Local)
	ask(t, open, err)
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
	r := NewRedis()
	startPeer(t, r, 2500)
	if n, err := r.client.DBSize(t.Context()).Result(); err != nil || n != 2500 {
		t.Errorf("%d keys, %v; want 2500", n, err)
	}
	open, err := r.Lookup(Local)
	ask(t, open, err)
	open, err = r.Put()
	ask(t, open, err)
	if _, err := r.Lookup(Quorum); !errors.Is(err, ErrNotOffered) {
		t.Errorf("quorum: %v, want %v", err, ErrNotOffered)
	}
}

func TestEtcd(t *testing.T) {
	needs(t, "etcd")
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
		for _, level := range []Level{Local, Quorum} {
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

// The cluster that figures are taken of: it is asked at both levels, loses its leader and gets it back.
func TestCloakroom(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and starts three nodes")
	}
	binary := filepath.Join(t.TempDir(), "cloakroom")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "cloakroom/node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	filled := 0
	c := NewCloakroom(CloakroomConfig{
		Binary: binary, Spread: true, Heartbeat: 800 * time.Millisecond, Progress: func(done int) { filled = done },
	})
	startPeer(t, c, 1500)
	if filled != 1500 || c.Sessions().Len() != 1500 {
		t.Errorf("%d of %d sessions reported, want 1500", filled, c.Sessions().Len())
	}
	for _, level := range []Level{Local, Quorum} {
		open, err := c.Lookup(level)
		ask(t, open, err)
	}
	open, err := c.Put()
	ask(t, open, err)

	s := c.Service()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(t, s.Create(c.Sessions(), 3), nil)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	ask(t, s.Login(), nil)
	before, err := c.Counts(t.Context())
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
	after, err := c.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Term <= before.Term || after.Leaders <= before.Leaders || before.Leaders < 1 {
		t.Errorf("%+v before the leader was killed, %+v after it", before, after)
	}
}
