//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// node is one node of the cluster: a network and a disk that stay, and a process that comes and goes.
type node struct {
	name    string
	number  int
	host    *host
	replica bool // asks not to vote
	dir     string
	binary  string
	flags   []string
	control *http.Client // on its control socket: with an administrator's rights
	metrics *http.Client

	mu      sync.Mutex
	process *process // nil: none was started, or the last one was taken away
	wanted  bool     // it is to run: an end that nobody asked for is a failure
}

// process is one run of a node.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it is over; then err says how
	err   error
}

// Names of the files that builds tagged faults read.
func (n *node) wallFile() string { return filepath.Join(n.dir, "wall") }
func (n *node) diskFile() string { return filepath.Join(n.dir, "disk") }
func (n *node) dataDir() string  { return filepath.Join(n.dir, "data") }
func (n *node) logFile() string  { return filepath.Join(n.dir, "log") }

// mount gives a node a disk of its own.
func (n *node) mount() error {
	if err := os.MkdirAll(n.dataDir(), 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := unix.Mount("cloakroom-"+n.name, n.dataDir(), "tmpfs", 0, "mode=0700,size="+strconv.Itoa(diskBytes)); err != nil {
		return fmt.Errorf("mount disk of %s: %w", n.name, err)
	}
	return nil
}

// wipe empties the disk. The process must have ended.
func (n *node) wipe() error {
	entries, err := os.ReadDir(n.dataDir())
	if err != nil {
		return fmt.Errorf("wipe %s: %w", n.name, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(n.dataDir(), e.Name())); err != nil {
			return fmt.Errorf("wipe %s: %w", n.name, err)
		}
	}
	return nil
}

// start starts the node's process. onEnd is told of an end that nobody asked for.
func (n *node) start(onEnd func(*node, error)) error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", n.name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(n.binary, n.flags...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "CLOAKROOM_ADMIN_PASSWORD="+adminWord,
		"CLOAKROOM_FAULT_WALL="+n.wallFile(), "CLOAKROOM_FAULT_DISK="+n.diskFile())
	if err := n.host.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	n.mu.Lock()
	n.process, n.wanted = p, true
	n.mu.Unlock()
	go func() {
		p.err = cmd.Wait()
		n.mu.Lock()
		unasked := n.process == p && n.wanted
		n.mu.Unlock()
		close(p.ended)
		if unasked {
			onEnd(n, p.err)
		}
	}()
	return nil
}

// expectEnd says that the process is about to end, and returns it; nil: there is none.
func (n *node) expectEnd() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = false
	return n.process
}

// running reports whether there is a process that has not ended.
func (n *node) running() bool {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	return p != nil && !p.over()
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signal sends a signal to the node's process.
func (n *node) signal(s syscall.Signal) error {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return fmt.Errorf("signal %s: %w", n.name, os.ErrProcessDone)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", n.name, err)
	}
	return nil
}

// kill ends the process as a loss of power does, as far as the process is concerned, and says how it ended.
func (n *node) kill() (string, error) {
	p := n.expectEnd()
	if p == nil {
		return "", fmt.Errorf("kill %s: %w", n.name, os.ErrProcessDone)
	}
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return "", fmt.Errorf("kill %s: %w", n.name, err)
	}
	<-p.ended
	return p.state(), nil
}

func (p *process) state() string {
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// stop ends the process in order.
func (n *node) stop() error {
	p := n.expectEnd()
	if p == nil {
		return fmt.Errorf("stop %s: %w", n.name, os.ErrProcessDone)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", n.name, err)
	}
	if !p.within(stopWithin) {
		return fmt.Errorf("stop %s: it has not ended within %v", n.name, stopWithin)
	}
	if p.err != nil {
		return fmt.Errorf("stop %s: %w: %s", n.name, p.err, n.lastWords())
	}
	return nil
}

// within waits for the end of the process.
func (p *process) within(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// frozen reports whether the process is stopped by a signal, by what the kernel says.
func (n *node) frozen() (bool, error) {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return false, fmt.Errorf("read state of %s: %w", n.name, err)
	}
	return stateOf(string(text)) == "T", nil
}

// stateOf returns the state of a process from its line in /proc, whose second field may hold anything.
func stateOf(stat string) string {
	_, rest, _ := strings.Cut(stat[strings.LastIndex(stat, ")")+1:], " ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// command runs the program as an operator would on the node's machine.
func (n *node) command(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, n.binary, append(args, "--data-dir", n.dataDir())...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cloakroom %s at %s: %w: %s", strings.Join(args, " "), n.name, err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// url returns an address of the session API.
func (n *node) url(path string) string { return "http://" + n.host.at(httpPort) + path }

// gauges reads the node's metrics. They are the node's own view and wait for nobody.
func (n *node) gauges(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.host.at(opsPort)+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", n.name, err)
	}
	resp, err := n.metrics.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", n.name, err)
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end, or of no use
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", n.name, err)
	}
	return parseGauges(string(text)), nil
}

// parseGauges reads the series without labels out of Prometheus' text format, without the program's prefix.
func parseGauges(text string) map[string]float64 {
	gauges := map[string]float64{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		name, ours := strings.CutPrefix(name, "cloakroom_")
		if !ok || !ours || strings.Contains(name, "{") {
			continue
		}
		if value, err := strconv.ParseFloat(rest, 64); err == nil {
			gauges[name] = value
		}
	}
	return gauges
}

// logSize returns where the node's log ends now.
func (n *node) logSize() int64 {
	info, err := os.Stat(n.logFile())
	if err != nil {
		return 0
	}
	return info.Size()
}

// logged returns the first line that the node has logged from an offset on and that holds all of the words.
func (n *node) logged(from int64, words ...string) (string, error) {
	text, err := os.ReadFile(n.logFile())
	if err != nil {
		return "", fmt.Errorf("read log of %s: %w", n.name, err)
	}
	for line := range strings.Lines(string(text[min(from, int64(len(text))):])) {
		if hasAll(line, words) {
			return strings.TrimSpace(line), nil
		}
	}
	return "", nil
}

func hasAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// lastWords returns the end of the node's log, for a complaint.
func (n *node) lastWords() string {
	text, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-maxLogQuote):], "\n")
}
