package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/gossip"
	"cloakroom/cluster/wire"
)

// Strangers speak to every port of a node of three: noise, other protocols, beginnings of handshakes, certificates and
// gossip under another key, and connections by the hundred that say nothing. The node answers its clients all the while,
// nobody is elected and nobody taken for dead, and when they have gone nothing of them is left.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	s := newSuite(t, calmHeartbeat...)
	s.startAll()
	n := s.nodes[0]
	ports := make(map[string]string) // by flag
	for _, flag := range []string{"--http", "--operator", "--peer", "--gossip"} {
		ports[flag] = n.flags[slices.Index(n.flags, flag)+1]
	}
	cookie := s.cookie(n)
	calm, stood := s.gauges(ports["--operator"]), s.standstill()
	lines := len(s.lines(n))
	begin := time.Now()

	client := s.client() // one, so that its own connections are not taken for the strangers'
	client.Transport.(*http.Transport).DisableKeepAlives = true
	served := func() {
		t.Helper()
		if a := s.do(client, http.MethodGet, s.url(n)+"/api/session", "", "Cookie", cookie); a.StatusCode != http.StatusOK {
			t.Fatalf("lookup: %d %s", a.StatusCode, a.text)
		}
	}

	inputs := 0
	for _, addr := range ports {
		for name, said := range hostileBytes(t) {
			inputs++
			if err := speakTo(addr, said); err != nil {
				t.Errorf("%s to %s: %v", name, addr, err)
			}
			served()
		}
	}
	inputs += s.hostilePackets(ports["--gossip"])
	inputs += s.otherKey(n, ports)
	served()

	var held []net.Conn
	for range 150 {
		for flag, addr := range ports {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatalf("%s: %v", flag, err)
			}
			if flag == "--peer" {
				_, _ = c.Write([]byte("\x16\x03\x01\x02\x00\x01")) // half a record; it may be closed already
			}
			held = append(held, c)
			inputs++
		}
	}
	for range 20 {
		served()
	}
	busy := s.gauges(ports["--operator"])
	t.Logf("%d inputs; descriptors %v, then %v; goroutines %v, then %v", inputs, calm["process_open_fds"], busy["process_open_fds"], calm["go_goroutines"], busy["go_goroutines"])
	// What the peer port and gossip keep of strangers from one address; the two others keep what they like, which is for
	// them to bound.
	if more := busy["process_open_fds"] - calm["process_open_fds"]; more > float64(2*150+wire.MaxHandshakesPerHost+16+20) {
		t.Errorf("%v descriptors more", more)
	}
	for _, c := range held {
		_ = c.Close()
	}
	s.until("nothing is left of them", func() bool {
		now := s.gauges(ports["--operator"])
		return now["process_open_fds"] <= calm["process_open_fds"]+6 && now["go_goroutines"] <= calm["go_goroutines"]+20
	})

	for _, other := range s.nodes {
		s.accepted(other, cookie)
		for _, m := range s.members(other) {
			if m.State != "alive" {
				t.Errorf("%s takes %s for %s", other.name, m.Name, m.State)
			}
		}
		if len(s.members(other)) != 3 {
			t.Errorf("%s knows of %d members", other.name, len(s.members(other)))
		}
	}
	now := s.gauges(ports["--operator"])
	if now["cloakroom_http_panics_total"] != 0 {
		t.Errorf("%v panics", now["cloakroom_http_panics_total"])
	}
	if elected := now["cloakroom_raft_term"] != calm["cloakroom_raft_term"]; elected && stood() < MaxHeartbeat/2 {
		t.Errorf("term %v, then %v", calm["cloakroom_raft_term"], now["cloakroom_raft_term"])
	} else if elected {
		t.Logf("there was an election, for which nobody is to blame: the machine stood still for %v", stood())
	}
	// A handful of sorts of lines, each every ten seconds.
	if more, most := len(s.lines(n))-lines, 10+5*int(time.Since(begin)/(10*time.Second)+1); more > most {
		t.Errorf("%d lines in the log, %d are enough", more, most)
	}
	if info, err := os.Stat(filepath.Join(s.dataDir(n), "control.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket: %v, %v", info, err)
	}
}

// gauges returns the metrics without labels.
func (s *suite) gauges(operator string) map[string]float64 {
	s.t.Helper()
	client := s.client()
	client.Transport.(*http.Transport).DisableKeepAlives = true
	resp, err := client.Get("http://" + operator + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	values := make(map[string]float64)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); ok && err == nil {
			values[name] = value
		}
	}
	return values
}

// hostileBytes is what a stranger says to a port whose protocol he does not know, or knows too well.
func hostileBytes(t testing.TB) map[string][]byte {
	t.Helper()
	noise := make([]byte, 8192)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	label := append([]byte{244, 18}, "cloakroom/gossip/1"...)
	return map[string][]byte{
		"nothing":                     {},
		"noise":                       noise,
		"zeros":                       make([]byte, 1<<20),
		"a request of HTTP":           []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"half a request":              []byte("POST /api/session HTTP/1.1\r\nContent-Le"),
		"a TLS 1.0 hello":             []byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"),
		"a record that is too long":   []byte("\x16\x03\x03\xff\xff\x01"),
		"half a record":               []byte("\x16\x03\x01\x02\x00\x01\x00\x01"),
		"SSH":                         []byte("SSH-2.0-OpenSSH_9.9\r\n"),
		"raft without TLS":            []byte("R\x00\x00\x00\x09\x01\x95\x01\xa1a\x01\x01\xa0"),
		"gossip in clear":             append(label, 6, 0x83, 0xa5, 'N', 'o', 'd', 'e', 's', 0),
		"gossip, 4 GiB announced":     append(label, 10, 0xff, 0xff, 0xff, 0xff, 1),
		"gossip, noise":               append(append(label, 10, 0, 0, 4, 0, 1), noise[:1023]...),
		"the PROXY protocol":          []byte("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"),
		"the PROXY protocol, version": []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"),
	}
}

// speakTo says it on a new connection and waits until the port has closed, or for a second.
func speakTo(addr string, said []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	_, _ = c.Write(said)            // the port may close before it has read all
	_, _ = c.Read(make([]byte, 64)) // an answer is as good as none
	return nil
}

// hostilePackets sends packets to gossip's port.
func (s *suite) hostilePackets(addr string) int {
	s.t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	sent := 0
	for _, said := range hostileBytes(s.t) {
		for _, size := range []int{0, 1, 20, 100, 1400, 60000} {
			_, _ = c.Write(said[:min(size, len(said))]) // refused ones come back as errors of the next
			sent++
		}
	}
	return sent
}

// otherKey speaks as nodes of another cluster do: rightly, with another key.
func (s *suite) otherKey(n *suiteNode, ports map[string]string) int {
	s.t.Helper()
	key, err := wire.NewClusterKey()
	if err != nil {
		s.t.Fatal(err)
	}
	ring, err := wire.NewKeyRing(key)
	if err != nil {
		s.t.Fatal(err)
	}
	peer, err := wire.Open(wire.Config{NodeID: "stranger", Bind: "127.0.0.1:0", Keys: ring})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for kind := range 3 {
		if answer, err := peer.Call(ctx, wire.Node{Addr: ports["--peer"]}, wire.Kind(kind), []byte("x")); err == nil {
			s.t.Errorf("answered with %q", answer)
		}
	}
	if _, err := peer.DialRaft(wire.Node{Addr: ports["--peer"]}, time.Second); err == nil {
		s.t.Error("raft is open to a stranger")
	}
	for name, config := range map[string]*tls.Config{
		"no certificate": {InsecureSkipVerify: true, ServerName: "peer.cloakroom", NextProtos: []string{"cloakroom/1"}},
		"TLS 1.2":        {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12, NextProtos: []string{"cloakroom/1"}},
		"no protocol":    {InsecureSkipVerify: true, ServerName: "peer.cloakroom"},
	} {
		c, err := tls.Dial("tcp", ports["--peer"], config)
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte("S\x00\x00\x00\x09\x01\x95\x01\xa1a\x01\x01\xa0")) // the node may have closed
		if read, err := c.Read(make([]byte, 1)); err == nil {
			s.t.Errorf("%s: %d bytes were answered", name, read)
		}
		_ = c.Close()
	}
	g, err := gossip.Open(gossip.Config{
		NodeID: "stranger", Bind: "127.0.0.1:0", Keys: ring, Meta: gossip.Meta{ID: "stranger", Name: "stranger", MinVersion: 1, MaxVersion: 1},
		Seeds: []string{ports["--gossip"]}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	s.until("gossip with another key is refused", func() bool { return g.Stats().JoinFailures > 0 })
	if members := g.Members(); len(members) != 1 {
		s.t.Errorf("a stranger knows of %s", fmt.Sprint(members))
	}
	return 8
}
