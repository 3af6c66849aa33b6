//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clusterConfig is what the nodes are told.
type clusterConfig struct {
	dir         string
	binary      string
	voters      int
	consistency string        // "": the program's own default
	heartbeat   time.Duration // 0: likewise
	idle        time.Duration
}

// cluster is the nodes: voters, one read replica, and one that is not a member but may become one.
type cluster struct {
	cfg    clusterConfig
	nodes  []*node // those that belong to it from the start
	spare  *node
	serial int // of cuts and relays

	mu     sync.Mutex
	deaths []string // ends of processes that nobody asked for
}

// newCluster lays the network and makes disks and flags. Nothing runs yet.
func newCluster(cfg clusterConfig) (*cluster, error) {
	if err := lay(); err != nil {
		return nil, err
	}
	keyFile := filepath.Join(cfg.dir, "key")
	key, err := exec.Command(cfg.binary, "keygen").Output()
	if err != nil {
		return nil, fmt.Errorf("make cluster key: %w", err)
	}
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		return nil, fmt.Errorf("write cluster key: %w", err)
	}
	c := &cluster{cfg: cfg}
	var seeds []string
	for i := range cfg.voters + 2 {
		name := "n" + strconv.Itoa(i+1)
		switch i {
		case cfg.voters:
			name = "replica"
		case cfg.voters + 1:
			name = "spare"
		}
		n, err := c.makeNode(name, i+1)
		if err != nil {
			return nil, err
		}
		if i < cfg.voters {
			seeds = append(seeds, n.host.at(gossipPort))
		}
		n.replica = i == cfg.voters
		c.nodes = append(c.nodes, n)
	}
	for i, n := range c.nodes {
		n.flags = c.flagsOf(n, keyFile, seeds, i < cfg.voters)
	}
	c.spare, c.nodes = c.nodes[cfg.voters+1], c.nodes[:cfg.voters+1]
	return c, nil
}

func (c *cluster) makeNode(name string, number int) (*node, error) {
	h, err := plug(name, number)
	if err != nil {
		return nil, err
	}
	n := &node{name: name, number: number, host: h, dir: filepath.Join(c.cfg.dir, name), binary: c.cfg.binary}
	socket := filepath.Join(n.dataDir(), "control.sock")
	n.control = &http.Client{Timeout: clientTimeout, Transport: &http.Transport{
		MaxIdleConnsPerHost: casts,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	n.metrics = &http.Client{Timeout: askTimeout}
	return n, n.mount()
}

func (c *cluster) flagsOf(n *node, keyFile string, seeds []string, founder bool) []string {
	flags := []string{
		"serve", "--name", n.name, "--data-dir", n.dataDir(), "--cluster-key-file", keyFile,
		"--http", n.host.at(httpPort), "--operator", n.host.at(opsPort), "--peer", n.host.at(peerPort), "--gossip", n.host.at(gossipPort),
		"--join", strings.Join(seeds, ","), "--disk-reserve", reserveFlag, "--idle-timeout", c.cfg.idle.String(),
		"--argon2-memory", "7168", "--argon2-iterations", "1",
	}
	if founder {
		flags = append(flags, "--bootstrap-expect", strconv.Itoa(c.cfg.voters))
	}
	if n.replica {
		flags = append(flags, "--read-replica")
	}
	if c.cfg.consistency != "" {
		flags = append(flags, "--consistency", c.cfg.consistency)
	}
	if c.cfg.heartbeat > 0 {
		flags = append(flags, "--heartbeat", c.cfg.heartbeat.String())
	}
	return flags
}

// open starts all nodes and waits until every one is ready and in its place.
func (c *cluster) open(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.start(c.ended); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := c.awaitReady(ctx, n); err != nil {
			return err
		}
	}
	return c.awaitWhole(ctx)
}

// close kills what runs.
func (c *cluster) close() error {
	var errs []error
	for _, n := range append(slices.Clone(c.nodes), c.spare) {
		if n.running() {
			_, err := n.kill()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *cluster) ended(n *node, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaths = append(c.deaths, fmt.Sprintf("%s ended by itself: %v\n%s", n.name, err, n.lastWords()))
}

// died returns the ends of processes that nobody asked for.
func (c *cluster) died() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.deaths...)
}

// everyone returns the nodes whose processes run.
func (c *cluster) everyone() []*node {
	var running []*node
	for _, n := range append(slices.Clone(c.nodes), c.spare) {
		if n.running() {
			running = append(running, n)
		}
	}
	return running
}

// others returns the members besides some.
func (c *cluster) others(not ...*node) []*node {
	var others []*node
	for _, n := range c.everyone() {
		if !slices.Contains(not, n) {
			others = append(others, n)
		}
	}
	return others
}

// leader returns who leads in the highest term, by what the nodes themselves say.
func (c *cluster) leader(ctx context.Context, among ...*node) (*node, uint64) {
	if len(among) == 0 {
		among = c.everyone()
	}
	views := make([]map[string]float64, len(among))
	var group sync.WaitGroup
	for i, n := range among {
		group.Go(func() { views[i], _ = n.gauges(ctx) }) // one that does not answer does not lead for anybody
	}
	group.Wait()
	var leader *node
	var term float64
	for i, view := range views {
		if view["raft_is_leader"] == 1 && view["raft_term"] > term {
			leader, term = among[i], view["raft_term"]
		}
	}
	return leader, uint64(term)
}

// awaitLeader waits until one of the nodes leads in a term after the given one.
func (c *cluster) awaitLeader(ctx context.Context, after uint64, within time.Duration, among ...*node) (leader *node, term uint64, err error) {
	err = until(ctx, within, func() bool {
		leader, term = c.leader(ctx, among...)
		return leader != nil && term > after
	})
	if err != nil {
		return nil, 0, fmt.Errorf("no leader after term %d: %w", after, err)
	}
	return leader, term, nil
}

// awaitReady waits until a node says that it wants requests.
func (c *cluster) awaitReady(ctx context.Context, n *node) error {
	err := until(ctx, readyWithin, func() bool {
		view, err := n.gauges(ctx)
		return err == nil && view["ready"] == 1
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w\n%s", n.name, err, n.lastWords())
	}
	return nil
}

// clusterView is what a node answers to GET /cluster on its operator's address.
type clusterView struct {
	Leader  string
	Term    uint64
	Members []memberView
}

type memberView struct {
	ID, Name, Role, State string
	AppliedIndex          uint64
}

// members asks the leader who belongs to the cluster.
func (c *cluster) members(ctx context.Context) (clusterView, error) {
	leader, _ := c.leader(ctx)
	if leader == nil {
		return clusterView{}, errors.New("nobody leads")
	}
	out, err := leader.command(ctx, "members", "--json")
	if err != nil {
		return clusterView{}, err
	}
	return parseMembers([]byte(out))
}

func parseMembers(text []byte) (v clusterView, err error) {
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&v); err != nil {
		return v, fmt.Errorf("read members: %w", err)
	}
	return v, nil
}

func (v clusterView) member(name string) (memberView, bool) {
	for _, m := range v.Members {
		if m.Name == name {
			return m, true
		}
	}
	return memberView{}, false
}

// awaitWhole waits until the members are exactly those that run, alive and in their places.
func (c *cluster) awaitWhole(ctx context.Context) error {
	why := ""
	err := until(ctx, wholeWithin, func() bool {
		view, err := c.members(ctx)
		if err != nil {
			why = err.Error()
			return false
		}
		why = c.missing(view)
		return why == ""
	})
	if err != nil {
		return fmt.Errorf("the cluster is not whole: %s: %w", why, err)
	}
	return nil
}

// missing says what is not in place yet.
func (c *cluster) missing(view clusterView) string {
	running := c.everyone()
	for _, n := range running {
		m, ok := view.member(n.name)
		want := "voter"
		if n.replica {
			want = "non-voter"
		}
		switch {
		case !ok:
			return n.name + " is no member"
		case m.State != "alive":
			return n.name + " is " + m.State
		case m.Role != want:
			return n.name + " is a " + m.Role
		}
	}
	if len(view.Members) != len(running) {
		return fmt.Sprintf("%d members, %d processes", len(view.Members), len(running))
	}
	return ""
}

// next returns a number for the name of a cut or a relay.
func (c *cluster) next() int {
	c.serial++
	return c.serial
}

// errTooLate is for what did not happen in time.
var errTooLate = errors.New("not in time")

// until waits for a condition.
func until(ctx context.Context, within time.Duration, cond func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errTooLate)
	defer cancel()
	for !cond() {
		if !pause(ctx, pollInterval) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// pause waits; false: the context ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
