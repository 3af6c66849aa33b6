package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/bench/load"
)

// Redis is one redis-server with an append-only file that is synced before each answer, so that a put is as durable as
// one machine can make it. Lookups are not touched by that.
type Redis struct {
	ports   *ports
	addr    string
	process *process
	client  *redis.Client
	keys    *Sessions
}

var _ Peer = (*Redis)(nil)

// NewRedis returns the server; it is not started.
func NewRedis() *Redis { return &Redis{} }

// Name implements Peer.
func (r *Redis) Name() string { return "redis" }

// Note implements Peer.
func (r *Redis) Note() string {
	return "one server, appendfsync always; GET and SET of 66 bytes, not pipelined; what it answers is lost with its machine"
}

// Start implements Peer.
func (r *Redis) Start(ctx context.Context, dir string) error {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redis-server: %w", ErrAbsent)
	}
	if r.ports, err = takePorts(1); err != nil {
		return err
	}
	r.addr = r.ports.addrs[0]
	host, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return fmt.Errorf("split address: %w", err)
	}
	r.process, err = startProcess(dir, "redis", nil, binary, "--bind", host, "--port", port, "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return err
	}
	r.client = redis.NewClient(&redis.Options{Addr: r.addr, Protocol: 2, MaxRetries: -1, ReadTimeout: CallTimeout, WriteTimeout: CallTimeout, PoolSize: load.MaxWorkers})
	return r.process.waitReady(ctx, func(ctx context.Context) error { return r.client.Ping(ctx).Err() })
}

// Fill implements Peer.
func (r *Redis) Fill(ctx context.Context, n int) error {
	return r.fill(ctx, n, func(p redis.Pipeliner, i int) { p.Set(ctx, string(r.keys.Token(i)), value(ValueBytes), 0) })
}

// FillHashes stores n sessions as hashes of seven short fields that expire, which is how applications keep theirs.
func (r *Redis) FillHashes(ctx context.Context, n int) error {
	return r.fill(ctx, n, func(p redis.Pipeliner, i int) {
		key := string(r.keys.Token(i))
		p.HSet(ctx, key, "user", r.keys.User(i), "realm", realmName, "created", "1763788800", "expires", "1763875200",
			fieldAddress, sampleAddress, fieldAgent, sampleAgent, fieldTheme, sampleTheme)
		p.Expire(ctx, key, hashLife)
	})
}

// fill makes n sessions up, and stores each with what put queues for it.
func (r *Redis) fill(ctx context.Context, n int, put func(p redis.Pipeliner, i int)) error {
	const batch = 1000 // sessions of one pipeline
	keys, err := madeUpSessions(n)
	if err != nil {
		return err
	}
	r.keys = keys
	for from := 0; from < n; from += batch {
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := from; i < min(from+batch, n); i++ {
				put(p, i)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill redis: %w", err)
		}
	}
	return nil
}

// hashLife is longer than any run.
const hashLife = 24 * time.Hour

// Lookup implements Peer. Redis has one answer for all who ask; it is linearizable only as long as no replica ever
// takes over, so it stands beside what this machine's memory
// answers, and not beside a quorum.
func (r *Redis) Lookup(level Level) (load.Open, error) {
	if level == Quorum {
		return nil, ErrNotOffered
	}
	return r.open(func(ctx context.Context, conn *redis.Conn, key string) error {
		got, err := conn.Get(ctx, key).Result()
		if err == nil && len(got) != ValueBytes {
			return &wrongAnswer{want: value(ValueBytes), got: got}
		}
		return err
	}), nil
}

// Put implements Peer.
func (r *Redis) Put() (load.Open, error) {
	text := value(ValueBytes)
	return r.open(func(ctx context.Context, conn *redis.Conn, key string) error {
		return conn.Set(ctx, key, text, 0).Err()
	}), nil
}

func (r *Redis) open(call func(context.Context, *redis.Conn, string) error) load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		return &redisCaller{conn: r.client.Conn(), rng: newRand(worker), keys: r.keys, call: call}, nil
	}
}

// redisCaller has a connection of its own: taken from the pool for each command, it would cost the client more.
type redisCaller struct {
	conn *redis.Conn
	rng  *rand.Rand
	keys *Sessions
	call func(context.Context, *redis.Conn, string) error
}

var _ load.Caller = (*redisCaller)(nil)

// Call implements load.Caller.
func (c *redisCaller) Call(ctx context.Context) error {
	return c.call(ctx, c.conn, string(c.keys.Token(c.rng.IntN(c.keys.Len()))))
}

// Close implements load.Caller.
func (c *redisCaller) Close() error { return c.conn.Close() }

// PIDs implements Peer.
func (r *Redis) PIDs() []int { return pidsOf([]*process{r.process}) }

// Stop implements Peer.
func (r *Redis) Stop() error {
	var err error
	if r.client != nil {
		err = r.client.Close()
	}
	return errors.Join(err, stopAll([]*process{r.process}), r.ports.release())
}
