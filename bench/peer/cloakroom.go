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
	Level  Level  // level of reads that do not name one; "": the product's own
	Route  Route  // of lookups at Level; "": Verify
	Spread bool   // Lookup and Put go to all nodes in turn, not to the leader alone

	Heartbeat time.Duration // after which silence a node takes its leader for lost; 0: the product's own
	Lease     time.Duration // how long a read lease lasts; 0: the product's own

	Nodes int           // in the cluster; 0: three
	Idle  time.Duration // after which an unused session ends; 0: the product's own. More than eight hours moves the longest life, too

	Forwarded bool // the nodes believe this program, as a proxy, which addresses its requests come from

	Progress func(done int) // of Fill; nil: none
}

// Cloakroom is a cluster of the product, of three nodes unless told otherwise, built from this tree, on loopback, with a
// fresh key.
type Cloakroom struct {
	cfg      CloakroomConfig
	dir      string
	binary   string
	password Secret
	ports    *ports
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
	if cfg.Route == "" {
		cfg.Route = Verify
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = nodes
	}
	if cfg.Progress == nil {
		cfg.Progress = func(int) {}
	}
	return &Cloakroom{cfg: cfg, client: &http.Client{Timeout: CallTimeout}}
}

// Name implements Peer.
func (c *Cloakroom) Name() string { return "cloakroom" }

// Note implements Peer.
func (c *Cloakroom) Note() string {
	where := "all requests to the leader"
	if c.cfg.Spread {
		where = "requests to all nodes in turn"
	}
	level := string(c.cfg.Level)
	if level == "" {
		level = "that they have by default"
	}
	return fmt.Sprintf("%d nodes, fsync before a put is answered, audit log and metrics on, %s; lookups at the level %s by %s, others by GET /api/session", c.cfg.Nodes, where, level, c.cfg.Route.path())
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
		if err := c.waitMember(ctx, i, startTimeout); err != nil {
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
	var err error
	if c.ports, err = takePorts(4 * c.cfg.Nodes); err != nil {
		return err
	}
	c.members = nil
	for i := range c.cfg.Nodes {
		a := c.ports.addrs[4*i:]
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
		"--data-dir", m.name, "--cluster-key-file", "cluster.key",
		"--allow-local-reads", "--log-level", "warn",
	}
	if c.cfg.Nodes > 1 { // a node that joins nobody begins a cluster of its own
		argv = append(argv, "--join", strings.Join(gossip, ","), "--bootstrap-expect", fmt.Sprint(c.cfg.Nodes))
	}
	if c.cfg.Idle > 0 {
		argv = append(argv, "--idle-timeout", c.cfg.Idle.String(), "--max-lifetime", max(c.cfg.Idle, usualLifetime).String())
	}
	if c.cfg.Level != "" {
		argv = append(argv, "--consistency", string(c.cfg.Level))
	}
	if c.cfg.Forwarded {
		argv = append(argv, "--trusted-proxies", "127.0.0.0/8")
	}
	if c.cfg.Heartbeat > 0 {
		argv = append(argv, "--heartbeat", c.cfg.Heartbeat.String())
	}
	if c.cfg.Lease > 0 {
		argv = append(argv, "--lease-duration", c.cfg.Lease.String())
	}
	p, err := startProcess(c.dir, m.name, []string{"CLOAKROOM_ADMIN_PASSWORD=" + string(c.password)}, argv...)
	m.process = p
	return err
}

// waitMember returns when node i says that it is ready.
func (c *Cloakroom) waitMember(ctx context.Context, i int, limit time.Duration) error {
	m := c.members[i]
	return m.process.waitFor(ctx, limit, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		_, err := c.get(ctx, "http://"+m.http+"/readyz")
		return err
	})
}

// WaitWhole returns when the nodes agree on a leader and count each other as alive voters.
func (c *Cloakroom) WaitWhole(ctx context.Context) error {
	for _, m := range c.members {
		err := m.process.waitFor(ctx, againTimeout, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			v, err := c.view(ctx, m)
			switch {
			case err != nil:
				return err
			case v.leaderName() == "":
				return errors.New("no leader")
			case v.voters() < c.cfg.Nodes:
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

// Leader returns the number of the node that the others take for the leader. A cluster that elects one has its time for that.
func (c *Cloakroom) Leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		leader, err := c.leader(ctx)
		if !errors.Is(err, errNoLeader) {
			return leader, err
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
			return 0, err
		}
	}
}

var errNoLeader = errors.New("the cluster has no leader")

func (c *Cloakroom) leader(ctx context.Context) (int, error) {
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
	return 0, errNoLeader
}

// Binary returns the path of the program that the nodes run, once they are started.
func (c *Cloakroom) Binary() string { return c.binary }

// Follower returns the number of a node that does not lead.
func (c *Cloakroom) Follower(leader int) int { return (leader + 1) % len(c.members) }

// NodeName returns the name of node i.
func (c *Cloakroom) NodeName(i int) string { return c.members[i].name }

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

// ServiceAt returns the API of one node.
func (c *Cloakroom) ServiceAt(node int) *Service {
	s := c.Service()
	s.Targets = s.Targets[node : node+1]
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

// Lookup implements Peer. The nodes are configured to one level, which forward auth keeps to; for the others, an
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

// LookupAt returns how one node is asked at a level, whichever the nodes are configured to: by an application's call,
// so that nothing but one word of its header differs between levels.
func (c *Cloakroom) LookupAt(node int, level Level) load.Open {
	return c.ServiceAt(node).Lookup(c.sessions, Session, level)
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
	return c.ServiceAt(leader), nil
}

// PIDs implements Peer.
func (c *Cloakroom) PIDs() []int { return pidsOf(c.processes()) }

// PIDAt returns the process of node i, none if it does not run.
func (c *Cloakroom) PIDAt(i int) []int { return pidsOf([]*process{c.members[i].process}) }

// Stop implements Peer.
func (c *Cloakroom) Stop() error {
	return errors.Join(stopAll(c.processes()), c.ports.release())
}

func (c *Cloakroom) processes() []*process {
	var list []*process
	for _, m := range c.members {
		list = append(list, m.process)
	}
	return list
}
