package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloakroom/cluster/backup"
	"cloakroom/httpapi/realm"
)

// stock is what clients of a cluster were told: sessions with what was put into them, and sessions that have ended.
type stock struct {
	s     *suite
	live  map[string]string // cookie to the value that was put
	ended []string
}

// cheapHashes are options of serve: these tests are about what comes after a login.
var cheapHashes = []string{"--argon2-memory", strconv.Itoa(realm.MinMemory), "--argon2-iterations", "1"}

// fill makes sessions through all nodes.
func fill(s *suite, count int) *stock {
	s.t.Helper()
	k := &stock{s: s, live: make(map[string]string)}
	for i := range count {
		n := s.nodes[i%len(s.nodes)]
		cookie := s.cookie(n)
		if i%4 == 3 {
			k.ended = append(k.ended, cookie)
			if a := s.do(s.client(), http.MethodDelete, s.url(n)+"/api/session", "", "Cookie", cookie); a.StatusCode != http.StatusNoContent {
				s.t.Fatalf("logout: %d %s", a.StatusCode, a.text)
			}
			continue
		}
		k.live[cookie] = "value" + strconv.Itoa(i)
		s.put(n, cookie, "k", k.live[cookie])
	}
	return k
}

// check wants a node to have all of it.
func (k *stock) check(n *suiteNode) {
	k.s.t.Helper()
	for cookie, want := range k.live {
		if got := k.s.attribute(n, cookie, "k"); got != want {
			k.s.t.Errorf("%s: %q is there, not %q", n.name, got, want)
		}
	}
	for _, cookie := range k.ended {
		if a := k.s.do(k.s.client(), http.MethodGet, k.s.url(n)+"/api/session", "", "Cookie", cookie); a.StatusCode != http.StatusUnauthorized {
			k.s.t.Errorf("%s: a session that was ended: %d %s", n.name, a.StatusCode, a.text)
		}
	}
}

// run runs a command of the program and returns its exit code and what it printed.
func (s *suite) run(args ...string) (code int, out string) {
	s.t.Helper()
	text, err := exec.CommandContext(s.t.Context(), s.binary, args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(text)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return 0, string(text)
}

// must is run for what has to succeed.
func (s *suite) must(args ...string) string {
	s.t.Helper()
	code, out := s.run(args...)
	if code != 0 {
		s.t.Fatalf("cloakroom %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (s *suite) wipe(n *suiteNode) {
	s.t.Helper()
	if err := os.RemoveAll(s.dataDir(n)); err != nil {
		s.t.Fatal(err)
	}
}

// votersAre waits until so many nodes have a vote.
func (s *suite) votersAre(n *suiteNode, want int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d voters", want), func() bool {
		voters := 0
		for _, m := range s.members(n) {
			if m.Role == "voter" && m.State == "alive" {
				voters++
			}
		}
		return voters == want
	})
}

// Two of three nodes are lost with their disks. The third is recovered, two empty ones join it, and all that it had is on
// all of them. A lost node that comes back after all, on its old data, is not let in and is not listened to.
func TestQuorumIsLost(t *testing.T) {
	t.Parallel()
	s := newSuite(t, cheapHashes...)
	s.startAll()
	k := fill(s, 12)
	lost, survivor := s.nodes[:2], s.nodes[2]
	k.check(survivor) // at level lease: so it has them
	ghost := filepath.Join(s.dir, "ghost")
	for _, n := range lost {
		s.kill(n)
	}
	if err := os.Rename(s.dataDir(lost[0]), ghost); err != nil {
		t.Fatal(err)
	}
	s.wipe(lost[1])

	key := filepath.Join(s.dir, "key")
	dir := s.dataDir(survivor)
	if code, out := s.run("recover", "--yes", "--data-dir", dir, "--cluster-key-file", key); code != exitWrong || !strings.Contains(out, "in use by another node") {
		t.Errorf("beside the running node: %d %s", code, out)
	}
	s.kill(survivor)
	var found struct{ Sessions int }
	code, out := s.run("recover", "--json", "--data-dir", dir, "--cluster-key-file", key)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&found); code != exitWrong || err != nil || found.Sessions < len(k.live) {
		t.Errorf("without --yes: %d %v\n%s", code, err, out)
	}
	out = s.must("recover", "--yes", "--keep-sessions", "--data-dir", dir, "--cluster-key-file", key)
	t.Log(out)
	s.start(survivor)
	s.awaitReady(survivor)
	k.check(survivor)
	former := s.cluster(survivor).ClusterID

	// The lost node comes back as it was.
	if err := os.Rename(ghost, s.dataDir(lost[0])); err != nil {
		t.Fatal(err)
	}
	s.start(lost[0])
	s.until("the others are told apart", func() bool {
		log, err := os.ReadFile(lost[0].log)
		return err == nil && bytes.Contains(log, []byte("cluster has another id"))
	})
	if a, err := s.try(t.Context(), s.client(), http.MethodGet, s.url(lost[0])+"/readyz", ""); err != nil || a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the lost node: %d %s, %v", a.StatusCode, a.text, err)
	}
	s.kill(lost[0])
	s.wipe(lost[0])

	for _, n := range lost {
		s.start(n)
	}
	for _, n := range lost {
		s.awaitReady(n)
		k.check(n)
	}
	s.votersAre(survivor, 3)
	s.votersAre(lost[0], 3) // it hears of them later than the leader
	if id := s.cluster(lost[0]).ClusterID; id != former || len(s.members(lost[0])) != 3 {
		t.Errorf("cluster %s, members %+v", id, s.members(lost[0]))
	}
	s.kill(survivor) // it is one of three again
	s.awaitReady(lost[0])
	fill(&suite{t: t, nodes: lost}, 2)
	k.check(lost[1])
}

// While it serves, backups are taken from all nodes of a cluster, and what was acknowledged before is in each. One of them
// is restored into a new cluster of three.
func TestBackupIsRestored(t *testing.T) {
	t.Parallel()
	s := newSuite(t, slices.Concat(cheapHashes, calmHeartbeat)...)
	s.startAll()
	k := fill(s, 8)
	cookie := s.cookie(s.nodes[0])
	writer := s.counting(cookie)
	defer writer.stop()

	var files []string
	var atLeast []int64
	for _, n := range s.nodes {
		s.until("some more writes", writer.more())
		file := filepath.Join(s.dir, n.name+".backup")
		atLeast = append(atLeast, writer.acked.Load())
		out := s.must("backup", "--data-dir", s.dataDir(n), "--output", file)
		if !strings.Contains(out, "NOT encrypted") {
			t.Errorf("%s: %s", n.name, out)
		}
		files = append(files, file)
	}
	writer.stop()
	late := s.cookie(s.nodes[0])
	for i, file := range files {
		s.noToken(file, append([]string{cookie}, k.ended...))
		if out := s.must("inspect", file); !strings.Contains(out, s.cluster(s.nodes[0]).ClusterID) || !strings.Contains(out, "by "+s.nodes[i].name) {
			t.Errorf("%s: %s", file, out)
		}
	}
	for _, n := range s.nodes {
		s.kill(n)
	}
	last := len(files) - 1
	for i := range files {
		into := filepath.Join(s.dir, "restored"+strconv.Itoa(i))
		if i == last {
			for _, n := range s.nodes {
				s.wipe(n)
			}
			into = s.dataDir(s.nodes[0])
		}
		s.must("restore", files[i], "--keep-sessions", "--data-dir", into, "--cluster-key-file", filepath.Join(s.dir, "key"))
	}
	for _, n := range s.nodes {
		s.start(n)
	}
	for _, n := range s.nodes {
		s.awaitReady(n)
		k.check(n)
		if a := s.do(s.client(), http.MethodGet, s.url(n)+"/api/session", "", "Cookie", late); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a session from after the backup: %d %s", n.name, a.StatusCode, a.text)
		}
		got, err := strconv.ParseInt(s.attribute(n, cookie, "count"), 10, 64)
		if err != nil || got < atLeast[last] || got > writer.sent.Load() {
			t.Errorf("%s: count %d, acknowledged before the backup %d, sent %d, %v", n.name, got, atLeast[last], writer.sent.Load(), err)
		}
	}
	s.votersAre(s.nodes[0], 3)
	fill(s, 3)
}

// A file is replaced, at the end of a link, too; anything else is not.
func TestWriteWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.Mkdir(at("disk"), 0o700), os.WriteFile(at("disk/file"), []byte("before"), 0o644), os.Symlink("disk/file", at("link")),
		syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("pipe", at("stdout")),
	)
	if err != nil {
		t.Fatal(err)
	}
	write := func(w io.Writer) error {
		_, err := io.WriteString(w, "after")
		return err
	}
	for name, taken := range map[string]bool{"new": true, "link": true, "disk": false, "pipe": false, "stdout": false} {
		before, _ := os.Lstat(at(name)) // nil: not there
		if err := writeWhole(at(name), write); (err == nil) != taken {
			t.Errorf("%s: %v", name, err)
		}
		after, err := os.Lstat(at(name))
		if err != nil || before != nil && after.Mode() != before.Mode() {
			t.Errorf("%s is now %v, %v", name, after, err)
		}
	}
	for _, name := range []string{"new", "disk/file"} {
		text, err := os.ReadFile(at(name))
		info, err2 := os.Stat(at(name))
		if err := errors.Join(err, err2); err != nil || string(text) != "after" || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %q, %v, %v", name, text, info, err)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 5 {
		t.Errorf("there are %v, %v", names, err)
	}
}

// A backup that is broken off leaves nothing: neither the file nor what there was of it, which has as much in it.
func TestBackupIsBrokenOff(t *testing.T) {
	t.Parallel()
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "CLOAKROOM BACKUP\r\n\x1a\n\x01")
		_ = http.NewResponseController(w).Flush() // a client that is gone shows below
		sent <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(node.Close)
	dir := t.TempDir()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.Command(binary, "backup", "--url", node.URL, "--output", filepath.Join(dir, "c.backup"))
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-sent
		for deadline := time.Now().Add(patience); ; { // until it has begun with the file
			if names, err := os.ReadDir(dir); err != nil || len(names) > 0 || time.Now().After(deadline) {
				if len(names) != 1 {
					t.Errorf("while it runs there are %v, %v", names, err)
				}
				break
			}
			<-time.After(time.Millisecond)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // its exit code is looked at
		if names, err := os.ReadDir(dir); err != nil || len(names) > 0 || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("after %v there are %v, %v: %v %s", sig, names, err, cmd.ProcessState, said.String())
		}
	}
}

// noToken looks for tokens in the state of a backup.
func (s *suite) noToken(path string, cookies []string) {
	s.t.Helper()
	file, err := os.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	_, machine, err := backup.Read(file, nil)
	if err := errors.Join(err, file.Close()); err != nil {
		s.t.Fatal(err)
	}
	var state bytes.Buffer
	if _, err := machine.Snapshot(nil).WriteTo(&state); err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Contains(state.Bytes(), []byte("admin")) {
		s.t.Error("the state can't be searched")
	}
	for _, cookie := range cookies {
		token := strings.TrimPrefix(cookie, "id=")
		for _, text := range []string{token, strings.ReplaceAll(token, "-", "")} {
			if bytes.Contains(state.Bytes(), []byte(text)) {
				s.t.Errorf("a token is in %s", path)
			}
		}
	}
}

// counter puts growing numbers into a session.
type counter struct {
	sent, acked atomic.Int64
	done        chan struct{}
	once        sync.Once
	group       sync.WaitGroup
}

func (s *suite) counting(cookie string) *counter {
	c := &counter{done: make(chan struct{})}
	client := s.client()
	c.group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-c.done:
				return
			default:
			}
			body := "count=" + strconv.FormatInt(c.sent.Add(1), 10)
			a, err := s.try(s.t.Context(), client, http.MethodPost, s.url(s.nodes[i%len(s.nodes)])+"/api/2/session/put", body,
				"Cookie", cookie, "Content-Type", formType)
			if err != nil || a.StatusCode != http.StatusOK {
				s.t.Errorf("put: %d %s, %v", a.StatusCode, a.text, err)
				return
			}
			c.acked.Store(c.sent.Load())
		}
	})
	return c
}

func (c *counter) stop() {
	c.once.Do(func() { close(c.done) })
	c.group.Wait()
}

// more is true when some more were acknowledged.
func (c *counter) more() func() bool {
	before := c.acked.Load()
	return func() bool { return c.acked.Load() > before+20 }
}
