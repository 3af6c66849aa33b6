package peer

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestProcessStops(t *testing.T) {
	p, err := startProcess(t.TempDir(), "server", nil, standIn("wait")...)
	if err != nil {
		t.Fatal(err)
	}
	waiting := func(context.Context) error {
		if !strings.Contains(p.logTail(), "waiting") {
			return errors.New("not there yet")
		}
		return nil
	}
	if err := p.waitReady(t.Context(), waiting); err != nil {
		t.Fatal(err)
	}
	if pids := pidsOf([]*process{nil, p}); len(pids) != 1 || pids[0] != p.pid() {
		t.Errorf("pids %v", pids)
	}
	if err := stopAll([]*process{nil, p}); err != nil {
		t.Error(err)
	}
	if !p.ended() || p.err != nil {
		t.Errorf("ended %v, %v: SIGTERM should have ended it in order", p.ended(), p.err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
}

func TestProcessIsKilled(t *testing.T) {
	p, err := startProcess(t.TempDir(), "server", nil, standIn("wait")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if !p.ended() || p.err == nil {
		t.Errorf("ended %v, %v: want a death by signal", p.ended(), p.err)
	}
}

func TestWaitingForADeadProcessShowsItsLog(t *testing.T) {
	p, err := startProcess(t.TempDir(), "server", nil, standIn("fail")...)
	if err != nil {
		t.Fatal(err)
	}
	err = p.waitReady(t.Context(), func(context.Context) error { return errors.New("no answer") })
	if err == nil || !strings.Contains(err.Error(), "there is no such flag") {
		t.Errorf("%v, want what the program printed", err)
	}
}

func TestParseStat(t *testing.T) {
	line := "4242 (a b) c) S 1 4242 4242 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 8 0 1000 1000 10 18446744073709551615"
	if got, err := parseStat(line); err != nil || got != 168 {
		t.Errorf("%d, %v; want 123 + 45", got, err)
	}
	for _, bad := range []string{"", "4242 (a", "4242 (a) S 1", strings.Replace(line, "123", "x", 1), strings.Replace(line, " 45 ", " x ", 1)} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q: %d, want an error", bad, got)
		}
	}
}

func TestCPUTimeNeedsAllProcesses(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	if _, known := CPUTime([]int{os.Getpid()}); !known {
		t.Error("CPU time of this process is not known")
	}
	for _, pids := range [][]int{nil, {os.Getpid(), 1 << 30}} {
		if used, known := CPUTime(pids); known {
			t.Errorf("%v: %v, want not known", pids, used)
		}
	}
}

func TestParseResident(t *testing.T) {
	if got, err := parseResident("Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 5 kB\n"); err != nil || got != 1234<<10 {
		t.Errorf("%d, %v; want 1234 KiB", got, err)
	}
	for _, bad := range []string{"", "VmHWM:\t 99 kB\n", "VmRSS:\tmuch kB\n"} {
		if got, err := parseResident(bad); err == nil {
			t.Errorf("%q: %d, want an error", bad, got)
		}
	}
}
