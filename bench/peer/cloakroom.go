package peer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cloakroom/bench/load"
)

// nodes is the size of the clusters that are started, this product's and etcd's: the smallest that survives a loss.
const nodes = 3

// CloakroomConfig says how a cluster of the product is started.
type CloakroomConfig struct {
	Binary string // a built program; "": `go build` of this tree
	Level  Level  // level of reads that do not name one; "": Local, so that requests may strengthen it
	Route  Route  // of lookups at Level; "": Verify
	Spread bool   // Lookup and Put go to all nodes in turn, not to the leader alone

	Heartbeat time.Duration // after which silence a node takes its leader for lost; 0: the product's own

	Progress func(done int) // of Fill; nil: none
}

// Cloakroom is a three-node cluster of the product, built from this tree, on loopback, with a fresh key.
type Cloakroom struct {
	cfg      CloakroomConfig
	dir      string
	binary   string
	password Secret
	members  []*member
	sessions *Sessions
	client   *http.Client
}

// member is one node and what it needs to be started again.
type member struct {
	name                         string
	http, operator, peer, gossip string // addresses
	process                      *process
}

var _ Peer = (*Cloakroom)(nil)

// NewCloakroom returns the cluster; it is not started.
func NewCloakroom(cfg CloakroomConfig) *Cloakroom {
	if cfg.Level == "" {
		cfg.Level = Local
	}
	if cfg.Route == "" {
		cfg.Route = Verify
	}
	if cfg.Progress == nil {
		cfg.Progress = func(int) {}
	}
	return &Cloakroom{cfg: cfg, client: &http.Client{Timeout: time.Second}}
}

// Name implements Peer.
func (c *Cloakroom) Name() string { return "cloakroom" }

// Note implements Peer.
func (c *Cloakroom) Note() string {
	where := "all requests to the leader"
	if c.cfg.Spread {
		where = "requests to all nodes in turn"
	}
	return fmt.Sprintf("three nodes, fsync before a put is answered, %s; lookups at the level %s by %s, others by GET /api/session", where, c.cfg.Level, c.cfg.Route.path())
}

// Start implements Peer.
func (c *Cloakroom) Start(ctx context.Context, dir string) error {
	c.dir = dir
	if err := c.build(ctx); err != nil {
		return err
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	for i := range c.members {
		if err := c.startMember(i); err != nil {
			return err
		}
	}
	for i := range c.members {
		if err := c.waitMember(ctx, i); err != nil {
			return err
		}
	}
	if err := c.WaitWhole(ctx); err != nil {
		return err
	}
	return c.waitAdmin(ctx)
}

// waitAdmin returns when the first user can log in: a new cluster is ready before it has one. It asks slowly, since too
// many failed logins are refused.
func (c *Cloakroom) waitAdmin(ctx context.Context) error {
	for try := 1; ; try++ {
		s := c.Service()
		err := s.Open(ctx)
		if err == nil {
			return s.Close()
		}
		if try == adminTries {
			return err
		}
		select {
		case <-time.After(adminPause):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// build makes the program, unless one was given.
func (c *Cloakroom) build(ctx context.Context) error {
	if c.cfg.Binary != "" {
		path, err := filepath.Abs(c.cfg.Binary)
		if err != nil {
			return fmt.Errorf("find program: %w", err)
		}
		c.binary = path
		return nil
	}
	c.binary = filepath.Join(c.dir, "cloakroom")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", c.binary, "cloakroom/node").CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// prepare chooses addresses and secrets.
func (c *Cloakroom) prepare(ctx context.Context) error {
	addrs, err := freeAddrs(4 * nodes)
	if err != nil {
		return err
	}
	c.members = nil
	for i := range nodes {
		a := addrs[4*i:]
		c.members = append(c.members, &member{name: fmt.Sprintf("n%d", i+1), http: a[0], operator: a[1], peer: a[2], gossip: a[3]})
	}
	key, err := exec.CommandContext(ctx, c.binary, "keygen").Output()
	if err != nil {
		return fmt.Errorf("make a cluster key: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "cluster.key"), key, 0o600); err != nil {
		return fmt.Errorf("store the cluster key: %w", err)
	}
	c.password = Secret(rand.Text())
	return nil
}

func (c *Cloakroom) startMember(i int) error {
	m := c.members[i]
	var gossip []string
	for _, other := range c.members {
		gossip = append(gossip, other.gossip)
	}
	argv := []string{
		c.binary, "serve", "--name", m.name,
		"--http", m.http, "--operator", m.operator, "--peer", m.peer, "--gossip", m.gossip,
		"--join", strings.Join(gossip, ","), "--bootstrap-expect", fmt.Sprint(nodes),
		"--data-dir", m.name, "--cluster-key-file", "cluster.key",
		"--consistency", string(c.cfg.Level), "--allow-local-reads", "--log-level", "warn",
	}
	if c.cfg.Heartbeat > 0 {
		argv = append(argv, "--heartbeat", c.cfg.Heartbeat.String())
	}
	p, err := startProcess(c.dir, m.name, []string{"CLOAKROOM_ADMIN_PASSWORD=" + string(c.password)}, argv...)
	m.process = p
	return err
}

// waitMember returns when node i says that it is ready.
func (c *Cloakroom) waitMember(ctx context.Context, i int) error {
	m := c.members[i]
	return m.process.waitReady(ctx, func(ctx context.Context) error {
		_, err := c.get(ctx, "http://"+m.http+"/readyz")
		return err
	})
}

// WaitWhole returns when the nodes agree on a leader and count each other as alive voters.
func (c *Cloakroom) WaitWhole(ctx context.Context) error {
	for _, m := range c.members {
		err := m.process.waitReady(ctx, func(ctx context.Context) error {
			v, err := c.view(ctx, m)
			switch {
			case err != nil:
				return err
			case v.leaderName() == "":
				return errors.New("no leader")
			case v.voters() < nodes:
				return fmt.Errorf("%d of %d voters are alive", v.voters(), nodes)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cloakroom) view(ctx context.Context, m *member) (clusterView, error) {
	text, err := c.get(ctx, "http://"+m.operator+"/cluster")
	if err != nil {
		return clusterView{}, err
	}
	return decodeCluster(text)
}

func (c *Cloakroom) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{Code: resp.StatusCode, Body: string(text[:min(len(text), maxExcerpt)])}
	}
	return text, nil
}

// Leader returns the number of the node that the others take for the leader.
func (c *Cloakroom) Leader(ctx context.Context) (int, error) {
	for _, m := range c.members {
		if m.process.ended() {
			continue
		}
		v, err := c.view(ctx, m)
		if err != nil {
			return 0, fmt.Errorf("ask %s for the leader: %w", m.name, err)
		}
		for i, other := range c.members {
			if other.name == v.leaderName() {
				return i, nil
			}
		}
	}
	return 0, errors.New("the cluster has no leader")
}

// NodeName returns the name of node i.
func (c *Cloakroom) NodeName(i int) string { return c.members[i].name }

// Kill ends node i with SIGKILL, and returns when it is gone.
func (c *Cloakroom) Kill(i int) error { return c.members[i].process.kill() }

// Restart starts node i again, with its data, and returns when it is ready.
func (c *Cloakroom) Restart(ctx context.Context, i int) error {
	if err := c.startMember(i); err != nil {
		return err
	}
	return c.waitMember(ctx, i)
}

// Service returns the API of the nodes but for those numbered in without.
func (c *Cloakroom) Service(without ...int) *Service {
	s := &Service{User: "admin", Password: c.password, Timeout: CallTimeout}
	for i, m := range c.members {
		skip := false
		for _, w := range without {
			skip = skip || w == i
		}
		if !skip {
			s.Targets = append(s.Targets, Target{Host: m.http})
		}
	}
	return s
}

// Fill implements Peer.
func (c *Cloakroom) Fill(ctx context.Context, n int) error {
	s := c.Service()
	if err := s.Open(ctx); err != nil {
		return err
	}
	var err error
	c.sessions, err = s.Fill(ctx, n, c.cfg.Progress)
	return errors.Join(err, s.Close())
}

// Sessions returns what Fill made.
func (c *Cloakroom) Sessions() *Sessions { return c.sessions }

// Lookup implements Peer. The nodes are configured to one level, which forward auth keeps to; for the other one, an
// application's call asks by header.
func (c *Cloakroom) Lookup(level Level) (load.Open, error) {
	s, err := c.measured()
	if err != nil {
		return nil, err
	}
	if level == c.cfg.Level && c.cfg.Route == Verify {
		return s.Lookup(c.sessions, Verify, ""), nil
	}
	return s.Lookup(c.sessions, Session, level), nil
}

// Put implements Peer.
func (c *Cloakroom) Put() (load.Open, error) {
	s, err := c.measured()
	if err != nil {
		return nil, err
	}
	return s.Put(c.sessions, ValueBytes), nil
}

// measured returns the API of the nodes that requests go to.
func (c *Cloakroom) measured() (*Service, error) {
	if c.cfg.Spread {
		return c.Service(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	s := c.Service()
	s.Targets = s.Targets[leader : leader+1]
	return s, nil
}

// PIDs implements Peer.
func (c *Cloakroom) PIDs() []int { return pidsOf(c.processes()) }

// Stop implements Peer.
func (c *Cloakroom) Stop() error { return stopAll(c.processes()) }

func (c *Cloakroom) processes() []*process {
	var list []*process
	for _, m := range c.members {
		list = append(list, m.process)
	}
	return list
}
