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
	"strings"
	"sync"
	"syscall"
	"time"
)

// node is one data directory, and the process that runs on it at the moment.
type node struct {
	name, log string
	flags     []string
	api, ops  string // URLs

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is over
}

// cluster is the nodes, and the programs that they can be.
type cluster struct {
	*programs
	nodes []*node
}

// newCluster starts nodes of the older program, and waits until they are ready.
func newCluster(ctx context.Context, dir string, p *programs) (*cluster, error) {
	key, err := exec.CommandContext(ctx, p.oldBinary, "keygen").Output()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		return nil, fmt.Errorf("write the key: %w", err)
	}
	addrs, err := freeAddresses(4 * nodes)
	if err != nil {
		return nil, err
	}
	c := &cluster{programs: p}
	for i := range nodes {
		own := addrs[4*i : 4*i+4] // HTTP, operator, peer, gossip
		var join []string
		for j := range nodes {
			if j != i {
				join = append(join, addrs[4*j+3])
			}
		}
		name := fmt.Sprint("n", i+1)
		c.nodes = append(c.nodes, &node{
			name: name, log: filepath.Join(dir, name+".log"), api: "http://" + own[0], ops: "http://" + own[1],
			flags: []string{
				"serve", "--name", name, "--data-dir", filepath.Join(dir, name), "--cluster-key-file", keyFile, "--http", own[0],
				"--operator", own[1], "--peer", own[2], "--gossip", own[3], "--join", strings.Join(join, ","),
				"--bootstrap-expect", fmt.Sprint(nodes), "--argon2-memory", "7168", "--argon2-iterations", "1",
			},
		})
	}
	for _, n := range c.nodes {
		if err := n.start(p.oldBinary); err != nil {
			c.kill()
			return nil, err
		}
	}
	for _, n := range c.nodes {
		if err := n.awaitReady(ctx); err != nil {
			c.kill()
			return nil, fmt.Errorf("%w\n%s", err, c.lastWords())
		}
	}
	return c, nil
}

// freeAddresses returns addresses of this host that nobody listens on at the moment.
func freeAddresses(n int) (addrs []string, err error) {
	var held []net.Listener
	for range n {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0")
		if listenErr != nil {
			err = fmt.Errorf("find a port: %w", listenErr)
			break
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	for _, l := range held {
		err = errors.Join(err, l.Close())
	}
	return addrs, err
}

func (n *node) start(binary string) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", n.name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(binary, n.flags...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "CLOAKROOM_ADMIN_PASSWORD="+adminPassword)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.ended = cmd, ended
	return nil
}

// awaitReady waits until the node takes requests.
func (n *node) awaitReady(ctx context.Context) error {
	return await(ctx, readyWithin, n.name+" is ready", func() (bool, error) {
		select {
		case <-n.ended:
			return false, fmt.Errorf("%s has ended by itself", n.name)
		default:
		}
		resp, err := http.Get(n.api + "/readyz")
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
}

// refuses starts a program that must not run on this data, and waits until it has said so.
func (n *node) refuses(ctx context.Context, binary string) (why string, err error) {
	if err := n.start(binary); err != nil {
		return "", err
	}
	timeout := time.NewTimer(refuseWithin)
	defer timeout.Stop()
	select {
	case <-n.ended:
		return n.lastLine(), nil
	case <-ctx.Done():
		return "", ctx.Err()
	case <-timeout.C:
		return "", fmt.Errorf("%s runs on data that its program must not take", n.name)
	}
}

// stop ends the process, in order or by force.
func (n *node) stop(s syscall.Signal) error {
	n.mu.Lock()
	cmd, ended := n.cmd, n.ended
	n.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", n.name, err)
	}
	timeout := time.NewTimer(stopWithin)
	defer timeout.Stop()
	select {
	case <-ended:
		return nil
	case <-timeout.C:
		return errors.Join(fmt.Errorf("%s does not stop", n.name), cmd.Process.Kill())
	}
}

func (c *cluster) kill() {
	for _, n := range c.nodes {
		_ = n.stop(syscall.SIGKILL) // it goes with this process's folder
	}
}

// lastWords quotes the ends of the nodes' logs.
func (c *cluster) lastWords() string {
	var b strings.Builder
	for _, n := range c.nodes {
		text, _ := os.ReadFile(n.log) // for people; without it there is nothing to quote
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		fmt.Fprintf(&b, "--- %s\n%s\n", n.name, bytes.Join(lines[max(0, len(lines)-logTail):], []byte("\n")))
	}
	return b.String()
}

// lastLine is what the program said last, without the time and such.
func (n *node) lastLine() string {
	text, _ := os.ReadFile(n.log) // as above
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// view is what a node says of the cluster.
type view struct {
	Leader  string
	Version int // 0: the program does not say
	Members []struct {
		Name, Role, State string
		AppliedIndex      uint64
		Version           int
	}
}

func (n *node) view(ctx context.Context) (v view, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.ops+"/cluster", nil)
	if err != nil {
		return v, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, err
	}
	return v, errors.Join(json.NewDecoder(resp.Body).Decode(&v), resp.Body.Close())
}

// await asks until something is true.
func await(ctx context.Context, within time.Duration, what string, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := cond()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s", within, what)
		}
	}
}
