package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestUnitStartsAgain: the unit of deploy starts a node again that has broken down, or whose address is not free yet, and does
// not where its settings are wrong.
func TestUnitStartsAgain(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deploy/systemd/cloakroom.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindSubmatch(text)
	if line == nil {
		t.Fatal("the unit has no RestartPreventExitStatus")
	}
	again := func(code int) bool { return !slices.Contains(strings.Fields(string(line[1])), strconv.Itoa(code)) }

	s := newSuiteOf(t, 1, cheapHashes...)
	n := s.nodes[0]
	s.start(n)
	s.awaitReady(n)
	// This ends a program of Go as a panic does.
	if err := n.process.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-n.ended
	if code := n.process.ProcessState.ExitCode(); code != 2 || !again(code) {
		t.Errorf("after a panic: exit code %d", code)
	}
	n.process = nil

	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() }) // it has served
	for flag, addr := range map[string]string{
		"--http": held.Addr().String(), "--operator": held.Addr().String(), "--peer": held.Addr().String(), "--gossip": held.Addr().String(),
		"--http ": "192.0.2.1:8080", "--peer ": "192.0.2.1:8082", "--gossip ": "192.0.2.1:8083", // not this machine's: RFC 5737
	} {
		args := slices.Concat(n.flags, []string{strings.TrimSpace(flag), addr, "--data-dir", filepath.Join(s.dir, "other")})
		if code, out := s.run(args...); code != exitFailed || !again(code) {
			t.Errorf("%s %s: exit code %d\n%s", flag, addr, code, out)
		}
	}
	if code, out := s.run("serve", "--idle-timeout", "soon"); code != exitWrong || again(code) {
		t.Errorf("wrong use: exit code %d\n%s", code, out)
	}
}
