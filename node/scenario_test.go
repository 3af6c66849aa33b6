package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These are what befalls a cluster in its first years, on real processes. Each says by t.Log what the operator sees at
// each step, as `cloakroom members` and the nodes' logs show it.

// stopped is how long a node is frozen: longer than it takes to be found dead and replaced as leader. With
// CLOAKROOM_TEST_LONG=1 it is the minute of a machine that swaps, or of a careless debugger.
func stopped() time.Duration {
	if os.Getenv("CLOAKROOM_TEST_LONG") != "" {
		return time.Minute
	}
	return 12 * time.Second
}

// A node whose disk was replaced joins anew in place of its former self, with all sessions.
func TestWipedNodeComesBack(t *testing.T) {
	t.Parallel()
	s := newSuite(t)
	s.startAll()
	cookie := s.cookie(s.nodes[0])
	before := s.member(s.nodes[0], "n3")
	s.see(s.nodes[0], "before")

	n3 := s.nodes[2]
	s.kill(n3)
	if err := os.RemoveAll(s.dataDir(n3)); err != nil {
		t.Fatal(err)
	}
	s.untilMember(s.nodes[0], "n3", "failed", func(m memberView) bool { return m.State == "failed" })
	s.see(s.nodes[0], "n3 is gone, and so is its disk")

	s.start(n3)
	s.awaitReady(n3)
	s.untilMember(s.nodes[0], "n3", "a voter under a new id", func(m memberView) bool {
		return m.Role == "voter" && m.State == "alive" && m.ID != before.ID
	})
	s.see(s.nodes[0], "n3 was started again on an empty disk")
	s.quote(n3, "member of the cluster", "joins", "replaces")
	s.quote(s.nodes[0], "replaces", "voter")
	s.quote(s.nodes[1], "replaces", "voter")
	s.accepted(n3, cookie)
	if members := s.members(s.nodes[0]); len(members) != 3 {
		t.Fatalf("%d members, want 3: %+v", len(members), members)
	}
}

// A node whose disk is nearly full is led by another; when the disk is full it stops with a word, the others go on, and
// with room it catches up.
func TestFullDisk(t *testing.T) {
	s := newSuite(t, "--disk-reserve", "24MiB", "--heartbeat", "1s")
	n := s.nodes[2]
	s.mountSmall(n, "96m")
	s.startAll()
	cookie := s.cookie(s.nodes[0])
	s.lead(n)
	s.see(n, "n3 leads, on a disk of 96 MiB")

	ballast := filepath.Join(s.dataDir(n), "ballast")
	s.fill(ballast, n, 12<<20)
	s.untilMember(s.nodes[0], "n3", "leader no more", func(m memberView) bool { return m.DiskLow && s.leaderName(s.nodes[0]) != "n3" })
	s.put(s.nodes[0], cookie, "after", "the hand-over")
	s.see(s.nodes[0], "n3 has less than its reserve: it handed the leadership over, and writes go on")
	s.quote(n, "disk", "hand")
	s.accepted(n, cookie)

	s.fill(ballast, n, 0)
	s.until("n3 has stopped", func() bool {
		for range 20 {
			s.put(s.nodes[0], cookie, "ballast", strings.Repeat("x", 4000))
		}
		select {
		case <-n.ended:
			return true
		default:
			return false
		}
	})
	n.process = nil
	s.put(s.nodes[0], cookie, "without", "n3")
	s.see(s.nodes[0], "the disk of n3 is full")
	s.quote(n, "can't go on", "cloakroom:")
	if code := s.lastLine(n); !strings.Contains(code, "disk") {
		t.Errorf("the last word of n3 does not speak of its disk: %s", code)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.start(n)
	s.awaitReady(n)
	s.see(s.nodes[0], "there is room again, and n3 was started")
	s.accepted(n, cookie)
	if got := s.attribute(n, cookie, "without"); got != "n3" {
		t.Fatalf("n3 has missed a write: %q", got)
	}
}

// One node alone on a full disk refuses what would store more, with a code of its own, and goes on looking up.
func TestFullDiskOfTheOnlyNode(t *testing.T) {
	s := newSuiteOf(t, 1, "--disk-reserve", "24MiB")
	n := s.nodes[0]
	n.flags = without(n.flags, "--join")
	s.mountSmall(n, "96m")
	s.startAll()
	cookie := s.cookie(n)
	s.fill(filepath.Join(s.dataDir(n), "ballast"), n, 12<<20)
	var refused answer
	s.until("disk-low", func() bool {
		refused = s.do(s.client(), http.MethodPost, s.url(n)+"/api/2/session/put?a=b", "", "Cookie", cookie)
		return refused.StatusCode != http.StatusOK
	})
	if refused.StatusCode != http.StatusServiceUnavailable || code(refused.text) != "disk-low" || refused.Header.Get("Retry-After") == "" {
		t.Fatalf("a put on a full disk: %d %s", refused.StatusCode, refused.text)
	}
	t.Logf("a put is answered: %d %s", refused.StatusCode, refused.text)
	if a := s.login(s.client(), n, "admin", suitePassword); code(a.text) != "disk-low" {
		t.Fatalf("a login on a full disk: %d %s", a.StatusCode, a.text)
	}
	if out, err := s.command(n, "members"); err != nil || !regexp.MustCompile(`(?m)^n1 .* leader +disk-low `).MatchString(out) {
		t.Errorf("the members show no full disk: %v\n%s", err, out)
	}
	s.accepted(n, cookie)
	if a := s.do(s.client(), http.MethodDelete, s.url(n)+"/api/session", "", "Cookie", cookie); a.StatusCode != http.StatusNoContent {
		t.Fatalf("a logout on a full disk: %d %s", a.StatusCode, a.text)
	}
	if err := os.Remove(filepath.Join(s.dataDir(n), "ballast")); err != nil {
		t.Fatal(err)
	}
	s.until("logins again", func() bool {
		return s.login(s.client(), n, "admin", suitePassword).StatusCode == http.StatusCreated
	})
	log := strings.Join(s.lines(n), "\n")
	for _, line := range []string{`level=WARN msg="nothing new is stored .* room=disks without=n1 silent=""`, `level=INFO msg="there is room again, .* room=disks`} {
		if !regexp.MustCompile(line).MatchString(log) {
			t.Errorf("the leader's log has no line %s", line)
		}
	}
	s.quote(n, "disk")
}

// A leader that is frozen for a while is replaced, and when it goes on it shows nothing that is over.
func TestFrozenLeader(t *testing.T) {
	t.Parallel()
	s := newSuite(t)
	s.startAll()
	frozen := s.node(s.leaderName(s.nodes[0]))
	others := s.others(frozen)
	cookie, gone := s.cookie(frozen), s.cookie(frozen)
	s.see(others[0], "before")

	if err := frozen.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.until("another leader", func() bool {
		name := s.leaderName(others[0])
		return name != "" && name != frozen.name
	})
	t.Logf("another node leads after %v", time.Since(begun).Round(10*time.Millisecond))
	s.put(others[0], cookie, "meanwhile", "yes")
	if a := s.do(s.client(), http.MethodDelete, s.url(others[1])+"/api/session", "", "Cookie", gone); a.StatusCode != http.StatusNoContent {
		t.Fatalf("logout without the frozen node: %d %s", a.StatusCode, a.text)
	}
	s.untilMember(others[0], frozen.name, "failed", func(m memberView) bool { return m.State == "failed" })
	s.see(others[0], frozen.name+" does not answer")
	<-time.After(stopped() - time.Since(begun)) // what is tested is that it lasts
	if err := frozen.process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// The very first answers count: what it knew when it was frozen is over.
	for range 50 {
		a, err := s.try(t.Context(), s.client(), http.MethodGet, s.url(frozen)+"/api/session", "", "Cookie", gone)
		if err == nil && a.StatusCode == http.StatusOK {
			t.Fatalf("a session that was ended while %s was frozen is accepted by it", frozen.name)
		}
	}
	s.awaitReady(frozen)
	s.accepted(frozen, cookie)
	if got := s.attribute(frozen, cookie, "meanwhile"); got != "yes" {
		t.Fatalf("%s has missed a write: %q", frozen.name, got)
	}
	s.untilMember(others[0], frozen.name, "alive", func(m memberView) bool { return m.State == "alive" && m.Role == "voter" })
	s.see(others[0], frozen.name+" goes on, after "+stopped().String())
	s.quote(frozen, "lead", "stood still", "jump")
}

// Five nodes lose two for good: the two are removed after the delay, so that a third loss is survived as well; and when
// one of the lost comes back after all, it joins as a new node.
func TestFiveNodesLoseTwo(t *testing.T) {
	t.Parallel()
	s := newSuiteOf(t, 5, "--remove-dead-after", "8s")
	s.startAll()
	cookie := s.cookie(s.nodes[0])
	s.see(s.nodes[0], "before")
	lost := s.nodes[3:]
	id := s.member(s.nodes[0], lost[0].name).ID
	for _, n := range lost {
		s.kill(n)
	}
	s.untilMember(s.nodes[0], lost[1].name, "failed", func(m memberView) bool { return m.State == "failed" })
	s.put(s.nodes[0], cookie, "with", "three")
	s.see(s.nodes[0], "two nodes are lost")
	s.until("both removed", func() bool { return len(s.members(s.nodes[0])) == 3 })
	s.see(s.nodes[0], "after --remove-dead-after 8s")
	for _, n := range s.nodes[:3] {
		s.quote(n, "dead", "removed")
	}
	s.kill(s.nodes[2]) // of five voters, three lost would be too many
	s.put(s.nodes[1], cookie, "with", "two")
	s.see(s.nodes[1], "a third one is lost: two of three are left")
	s.start(s.nodes[2])
	s.awaitReady(s.nodes[2])

	s.start(lost[0])
	s.awaitReady(lost[0])
	s.untilMember(s.nodes[0], lost[0].name, "a voter under a new id", func(m memberView) bool { return m.Role == "voter" && m.ID != id })
	s.accepted(lost[0], cookie)
	s.see(s.nodes[0], lost[0].name+" came back with its old data")
	s.quote(lost[0], "opened again", "member of the cluster")
}

// cookie logs in and returns the header that names the session.
func (s *suite) cookie(n *suiteNode) string {
	s.t.Helper()
	a := s.login(s.client(), n, "admin", suitePassword)
	if a.StatusCode != http.StatusCreated {
		s.t.Fatalf("login: %d %s", a.StatusCode, a.text)
	}
	return "id=" + a.cookie("id")
}

func (s *suite) accepted(n *suiteNode, cookie string) {
	s.t.Helper()
	if a := s.do(s.client(), http.MethodGet, s.url(n)+"/api/session", "", "Cookie", cookie); a.StatusCode != http.StatusOK {
		s.t.Fatalf("lookup on %s: %d %s", n.name, a.StatusCode, a.text)
	}
}

// put sets an attribute; what a change of leaders refuses is tried again.
func (s *suite) put(n *suiteNode, cookie, key, value string) {
	s.t.Helper()
	var last answer
	s.until("put on "+n.name, func() bool {
		last = s.do(s.client(), http.MethodPost, s.url(n)+"/api/2/session/put", key+"="+value,
			"Cookie", cookie, "Content-Type", "application/x-www-form-urlencoded")
		if last.StatusCode != http.StatusOK && last.StatusCode != http.StatusServiceUnavailable {
			s.t.Fatalf("put: %d %s", last.StatusCode, last.text)
		}
		return last.StatusCode == http.StatusOK
	})
}

func (s *suite) attribute(n *suiteNode, cookie, key string) string {
	s.t.Helper()
	a := s.do(s.client(), http.MethodGet, s.url(n)+"/api/2/session/get?key="+key, "", "Cookie", cookie)
	var attrs map[string]string
	if err := json.Unmarshal([]byte(a.text), &attrs); err != nil {
		s.t.Fatalf("get: %d %s", a.StatusCode, a.text)
	}
	return attrs[key]
}

func code(text string) string {
	var e struct{ Code string }
	_ = json.Unmarshal([]byte(text), &e) // what is not JSON has no code
	return e.Code
}

func (s *suite) dataDir(n *suiteNode) string { return filepath.Join(s.dir, n.name) }

// command runs the program as an operator would on the machine of a node.
func (s *suite) command(n *suiteNode, args ...string) (string, error) {
	out, err := exec.Command(s.binary, append(args, "--data-dir", s.dataDir(n))...).CombinedOutput()
	return string(out), err
}

func (s *suite) cluster(n *suiteNode) clusterView {
	s.t.Helper()
	var view clusterView
	s.until("members of "+n.name, func() bool {
		out, err := s.command(n, "members", "--json")
		return err == nil && json.Unmarshal([]byte(out), &view) == nil
	})
	return view
}

func (s *suite) members(n *suiteNode) []memberView { return s.cluster(n).Members }
func (s *suite) leaderName(n *suiteNode) string    { return s.cluster(n).Leader }
func (s *suite) member(n *suiteNode, name string) memberView {
	for _, m := range s.members(n) {
		if m.Name == name {
			return m
		}
	}
	return memberView{}
}

func (s *suite) untilMember(n *suiteNode, name, what string, cond func(memberView) bool) {
	s.t.Helper()
	s.until(name+" "+what, func() bool { return cond(s.member(n, name)) })
}

func (s *suite) node(name string) *suiteNode {
	for _, n := range s.nodes {
		if n.name == name {
			return n
		}
	}
	s.t.Fatalf("no node %q", name)
	return nil
}

func (s *suite) others(not *suiteNode) []*suiteNode {
	var others []*suiteNode
	for _, n := range s.nodes {
		if n != not {
			others = append(others, n)
		}
	}
	return others
}

// lead makes a node the leader, as an operator would.
func (s *suite) lead(n *suiteNode) {
	s.t.Helper()
	s.until(n.name+" leads", func() bool {
		if s.leaderName(n) == n.name {
			return true
		}
		if out, err := s.command(s.nodes[0], "transfer-leadership", n.name); err != nil {
			s.t.Logf("transfer: %s", out)
		}
		return s.leaderName(n) == n.name
	})
}

var uuids = regexp.MustCompile(`([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// see logs what `members` shows.
func (s *suite) see(n *suiteNode, when string) {
	s.t.Helper()
	out, err := s.command(n, "members")
	if err != nil {
		s.t.Fatalf("members: %s", out)
	}
	s.t.Logf("%s:\n%s", when, uuids.ReplaceAllString(out, "$1…"))
}

// quote logs the lines of a node's log that hold one of the words, without the debug ones.
func (s *suite) quote(n *suiteNode, words ...string) {
	s.t.Helper()
	var lines []string
	for _, line := range s.lines(n) {
		for _, word := range words {
			if strings.Contains(line, word) && !strings.Contains(line, "level=DEBUG") {
				lines = append(lines, uuids.ReplaceAllString(line, "$1…"))
				break
			}
		}
	}
	s.t.Logf("the log of %s:\n%s", n.name, strings.Join(lines[max(0, len(lines)-12):], "\n"))
}

func (s *suite) lines(n *suiteNode) []string {
	s.t.Helper()
	log, err := os.ReadFile(n.log)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(log)), "\n")
}

func (s *suite) lastLine(n *suiteNode) string {
	lines := s.lines(n)
	return lines[len(lines)-1]
}

// mountSmall puts a small file system of its own under a node's data directory.
func (s *suite) mountSmall(n *suiteNode, size string) {
	s.t.Helper()
	mount := need(s.t, "mount")
	if err := os.MkdirAll(s.dataDir(n), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command(mount, "-t", "tmpfs", "-o", "mode=0700,size="+size, "cloakroom-test", s.dataDir(n)).CombinedOutput(); err != nil {
		s.t.Skipf("a file system can't be mounted here, which takes the rights of root: %v: %s", err, out)
	}
	s.t.Cleanup(func() {
		if n.process != nil {
			s.kill(n)
		}
		if err := syscall.Unmount(s.dataDir(n), syscall.MNT_DETACH); err != nil {
			s.t.Errorf("unmount: %v", err)
		}
	})
}

// fill writes a file until no more than so many bytes are free for the node.
func (s *suite) fill(path string, n *suiteNode, leave uint64) {
	s.t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // a full disk is what it is for
	block := make([]byte, 64<<10)
	for {
		var stat syscall.Statfs_t
		if err := syscall.Statfs(s.dataDir(n), &stat); err != nil {
			s.t.Fatal(err)
		}
		free := stat.Bavail * uint64(stat.Bsize)
		if free <= leave {
			return
		}
		_, err := file.Write(block[:min(uint64(len(block)), free-leave)])
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// without returns flags that lack one, and its value.
func without(flags []string, name string) []string {
	var kept []string
	for i := 0; i < len(flags); i++ {
		if flags[i] == name {
			i++
			continue
		}
		kept = append(kept, flags[i])
	}
	return kept
}
