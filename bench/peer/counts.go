package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Counts is what the nodes of a cluster have counted since they were started.
type Counts struct {
	Term      uint64 // highest that a node is in: it rises by one with each election, won or not
	Leaders   int    // leaders that the nodes have found, the same one again included: the most that one of them has
	Snapshots int    // taken of the nodes' own state, all nodes together
}

// Counts asks all nodes, which must be running.
func (c *Cloakroom) Counts(ctx context.Context) (Counts, error) {
	var counts Counts
	for _, m := range c.members {
		v, err := c.view(ctx, m)
		if err != nil {
			return Counts{}, fmt.Errorf("ask %s for its term: %w", m.name, err)
		}
		text, err := c.get(ctx, "http://"+m.operator+"/metrics")
		if err != nil {
			return Counts{}, fmt.Errorf("ask %s for its counters: %w", m.name, err)
		}
		leaders, err := counter(string(text), "cloakroom_raft_leader_changes_total")
		if err != nil {
			return Counts{}, fmt.Errorf("counters of %s: %w", m.name, err)
		}
		snapshots, err := counter(string(text), "cloakroom_raft_snapshots_total")
		if err != nil {
			return Counts{}, fmt.Errorf("counters of %s: %w", m.name, err)
		}
		counts.Term = max(counts.Term, v.Term)
		counts.Leaders = max(counts.Leaders, leaders)
		counts.Snapshots += snapshots
	}
	return counts, nil
}

// Held asks the leader how many sessions the cluster holds.
func (c *Cloakroom) Held(ctx context.Context) (int, error) {
	leader, err := c.Leader(ctx)
	if err != nil {
		return 0, err
	}
	m := c.members[leader]
	text, err := c.get(ctx, "http://"+m.operator+"/metrics")
	if err != nil {
		return 0, fmt.Errorf("ask %s for its sessions: %w", m.name, err)
	}
	return counter(string(text), "cloakroom_sessions")
}

// counter finds a counter without labels in what Prometheus' text format says.
func counter(text, name string) (int, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0, fmt.Errorf("counter %s: %w", name, err)
			}
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("there is no counter %s", name)
}

// MachineTime is what the machine's processors have done since it was started, all of them together.
type MachineTime struct {
	Busy   time.Duration
	Idle   time.Duration // waiting for a disk included
	Stolen time.Duration // taken by the host that this machine is a guest of
}

// Since returns what was done since an earlier reading.
func (t MachineTime) Since(before MachineTime) MachineTime {
	return MachineTime{t.Busy - before.Busy, t.Idle - before.Idle, t.Stolen - before.Stolen}
}

// Share returns a part of the whole, from 0 to 1.
func (t MachineTime) Share(part time.Duration) float64 {
	whole := t.Busy + t.Idle + t.Stolen
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// ReadMachineTime returns false where the system does not tell.
func ReadMachineTime() (MachineTime, bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return MachineTime{}, false
	}
	t, err := parseMachine(string(text))
	return t, err == nil
}

// parseMachine reads the first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
func parseMachine(text string) (MachineTime, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return MachineTime{}, errors.New("no processor line in /proc/stat")
	}
	var times [8]time.Duration
	for i := range times {
		ticks, err := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil {
			return MachineTime{}, fmt.Errorf("processor line of /proc/stat: %w", err)
		}
		times[i] = time.Duration(ticks) * (time.Second / clockTicks)
	}
	return MachineTime{
		Busy:   times[0] + times[1] + times[2] + times[5] + times[6],
		Idle:   times[3] + times[4],
		Stolen: times[7],
	}, nil
}
