package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"cloakroom/bench/load"
)

// Etcd is a cluster of three members that syncs before it answers, with its defaults.
type Etcd struct {
	spread    bool
	ports     *ports
	processes []*process
	conns     []*grpcConn // one a member, as its own client has
	keys      *Sessions
}

var _ Peer = (*Etcd)(nil)

// NewEtcd returns the cluster; it is not started. With spread, requests go to all members in turn, else to the leader.
func NewEtcd(spread bool) *Etcd { return &Etcd{spread: spread} }

// Name implements Peer.
func (e *Etcd) Name() string { return "etcd" }

// Note implements Peer.
func (e *Etcd) Note() string {
	where := "all requests to the leader"
	if e.spread {
		where = "requests to all members in turn"
	}
	return "three members, fsync before a put is answered, " + where + ", over gRPC; local is its serializable get, lease and quorum its linearizable one; a million keys at most, since its default quota of 2 GiB holds few more"
}

// Start implements Peer.
func (e *Etcd) Start(ctx context.Context, dir string) error {
	binary, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("etcd: %w", ErrAbsent)
	}
	if e.ports, err = takePorts(2 * nodes); err != nil {
		return err
	}
	addrs := e.ports.addrs
	var cluster []string
	for i := range nodes {
		cluster = append(cluster, fmt.Sprintf("e%d=http://%s", i+1, addrs[2*i+1]))
	}
	for i := range nodes {
		name, client, peer := fmt.Sprintf("e%d", i+1), "http://"+addrs[2*i], "http://"+addrs[2*i+1]
		p, err := startProcess(dir, name, nil, binary, "--name", name, "--data-dir", name,
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(cluster, ","), "--logger", "zap", "--log-level", "error")
		if err != nil {
			return err
		}
		e.processes = append(e.processes, p)
	}
	for i, p := range e.processes {
		if err := p.waitReady(ctx, func(ctx context.Context) error { return e.connect(ctx, i, addrs[2*i]) }); err != nil {
			return err
		}
	}
	return nil
}

// connect opens the connection to member i, once, and returns an error until the member knows a leader.
func (e *Etcd) connect(ctx context.Context, i int, addr string) error {
	if len(e.conns) == i {
		conn, err := dialGRPC(ctx, addr)
		if err != nil {
			return err
		}
		e.conns = append(e.conns, conn)
	}
	_, known, err := e.status(ctx, i, probeTimeout)
	if err == nil && !known {
		err = errors.New("no leader")
	}
	return err
}

func (e *Etcd) status(ctx context.Context, i int, limit time.Duration) (leads, known bool, err error) {
	answer, err := e.conns[i].callTimeout(ctx, "etcdserverpb.Maintenance/Status", nil, limit)
	if err != nil {
		return false, false, fmt.Errorf("ask etcd for its status: %w", err)
	}
	return statusLeader(answer)
}

// Fill implements Peer.
func (e *Etcd) Fill(ctx context.Context, n int) error {
	const batch = 100 // puts of one transaction; etcd takes 128 unless told otherwise
	n = min(n, maxEtcdKeys)
	keys, err := madeUpSessions(n)
	if err != nil {
		return err
	}
	e.keys = keys
	for from := 0; from < n; from += batch {
		var txn []byte
		for i := from; i < min(from+batch, n); i++ {
			txn = appendTxnPut(txn, keys.Token(i), []byte(value(ValueBytes)))
		}
		if _, err := e.conns[0].callTimeout(ctx, "etcdserverpb.KV/Txn", txn, CallTimeout); err != nil {
			return fmt.Errorf("fill etcd: %w", err)
		}
	}
	return nil
}

// Lookup implements Peer.
func (e *Etcd) Lookup(level Level) (load.Open, error) {
	return e.open(func(ctx context.Context, c *etcdCaller, key []byte) error {
		c.buf = rangeRequest(c.buf[:0], key, level == Local)
		answer, err := c.conn.callTimeout(ctx, "etcdserverpb.KV/Range", c.buf, CallTimeout)
		if err != nil {
			return err
		}
		got, err := rangeValue(answer)
		if err == nil && len(got) != ValueBytes {
			return &wrongAnswer{want: value(ValueBytes), got: string(got)}
		}
		return err
	})
}

// Put implements Peer.
func (e *Etcd) Put() (load.Open, error) {
	text := []byte(value(ValueBytes))
	return e.open(func(ctx context.Context, c *etcdCaller, key []byte) error {
		c.buf = putRequest(c.buf[:0], key, text)
		_, err := c.conn.callTimeout(ctx, "etcdserverpb.KV/Put", c.buf, CallTimeout)
		return err
	})
}

func (e *Etcd) open(call func(context.Context, *etcdCaller, []byte) error) (load.Open, error) {
	conns, err := e.measured()
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, worker int) (load.Caller, error) {
		return &etcdCaller{conn: conns[worker%len(conns)], rng: newRand(worker), keys: e.keys, call: call}, nil
	}, nil
}

// measured returns the connections that requests go over. Members that elect a leader have their time for that.
func (e *Etcd) measured() ([]*grpcConn, error) {
	if e.spread {
		return e.conns, nil
	}
	for late := time.Now().Add(startTimeout); ; time.Sleep(probePause) {
		for i, conn := range e.conns {
			leads, _, err := e.status(context.Background(), i, CallTimeout)
			if err != nil {
				return nil, err
			}
			if leads {
				return []*grpcConn{conn}, nil
			}
		}
		if time.Now().After(late) {
			return nil, errors.New("etcd has no leader")
		}
	}
}

// etcdCaller shares its connection with the other callers.
type etcdCaller struct {
	conn *grpcConn
	rng  *rand.Rand
	keys *Sessions
	call func(context.Context, *etcdCaller, []byte) error
	buf  []byte
}

var _ load.Caller = (*etcdCaller)(nil)

// Call implements load.Caller.
func (c *etcdCaller) Call(ctx context.Context) error {
	return c.call(ctx, c, c.keys.Token(c.rng.IntN(c.keys.Len())))
}

// Close implements load.Caller: the connection is the cluster's.
func (c *etcdCaller) Close() error { return nil }

// PIDs implements Peer.
func (e *Etcd) PIDs() []int { return pidsOf(e.processes) }

// Stop implements Peer. The members are killed: asked to end all at once, the leader would wait for a while for another one to
// lead in its place, and nobody needs their data any more.
func (e *Etcd) Stop() error {
	var errs []error
	for _, conn := range e.conns {
		errs = append(errs, conn.Close())
	}
	for _, p := range e.processes {
		errs = append(errs, p.kill())
	}
	return errors.Join(append(errs, e.ports.release())...)
}
