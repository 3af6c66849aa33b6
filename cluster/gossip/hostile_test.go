package gossip

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

// lockedBuffer is a destination of log lines that may be read at any time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func warningsTo(b *lockedBuffer) func(*Config) {
	return func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(b, nil)) }
}

// Packets that no member sends are refused one and all, counted, and logged once in a while. The members go on.
func TestHostilePackets(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		var log lockedBuffer
		n1, n2, n3 := trio(t, n, warningsTo(&log))
		stranger := n.Host("stranger").Memberlist(":7946")
		defer func() { _ = stranger.Shutdown() }()
		time.Sleep(time.Second)
		before := strings.Count(log.String(), "\n")
		packets := hostilePackets()
		for name, b := range packets {
			was := n1.Stats().RefusedPackets
			if _, err := stranger.WriteTo(b, n1.Addr()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			if n1.Stats().RefusedPackets != was+1 {
				t.Errorf("%s: not refused", name)
			}
		}
		whole := packetOf(packMap(pingMsg, map[string]any{"SeqNo": 1, "Node": "n1"}))
		for i := range whole {
			if _, err := stranger.WriteTo(whole[:i], n1.Addr()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if got := n1.Stats().RefusedPackets; got != uint64(len(packets)+len(whole)) {
			t.Errorf("%d of %d refused", got, len(packets)+len(whole))
		}
		if lines := strings.Count(log.String(), "\n") - before; lines > 2 {
			t.Errorf("%d lines in the log:\n%s", lines, log.String())
		}
		time.Sleep(time.Minute)
		awaitStates(t, 0, allAlive, n1, n2, n3)
		if s := n1.Stats(); s.Failures != 0 {
			t.Errorf("%+v", s)
		}
		t.Logf("%d packets", len(packets)+len(whole))
	})
}

// So are streams, in whatever way they are cut off; and what comes back to a node that asks is looked at as well.
func TestHostileStreams(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		var log lockedBuffer
		n1, n2, n3 := trio(t, n, warningsTo(&log))
		stranger := n.Host("stranger")
		time.Sleep(time.Second)
		before := strings.Count(log.String(), "\n")
		streams := hostileStreams()
		for name, b := range streams {
			was := n1.Stats().RefusedStreams
			if said := speak(t, stranger, n1.Addr(), b, true); said > 0 {
				t.Errorf("%s: %d bytes were answered", name, said)
			}
			time.Sleep(10 * time.Millisecond)
			if n1.Stats().RefusedStreams != was+1 {
				t.Errorf("%s: not refused", name)
			}
		}
		for _, name := range []string{"a length of 4 GiB", "a length above the limit", "a length of nothing", "HTTP", "in clear"} {
			begin := time.Now()
			speak(t, stranger, n1.Addr(), streams[name][:2+len(label)+streamHead], false)
			if d := time.Since(begin); d > 100*time.Millisecond {
				t.Errorf("%s: the connection was kept for %v although nothing good could follow", name, d)
			}
		}
		was := n1.Stats().RefusedStreams
		whole := streamOf(packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 0, "Join": true}))
		for i := range whole {
			if said := speak(t, stranger, n1.Addr(), whole[:i], i%2 == 0); said > 0 {
				t.Errorf("cut after %d: %d bytes were answered", i, said)
			}
		}
		time.Sleep(10 * time.Millisecond)
		if got := n1.Stats().RefusedStreams; got != was+uint64(len(whole)) {
			t.Errorf("%d of %d refused", got-was, len(whole))
		}
		if said := speak(t, stranger, n1.Addr(), whole, false); said == 0 {
			t.Error("the whole, rightly made, is not answered either")
		}
		if said := speak(t, stranger, n1.Addr(), whole, false); said != 0 || n1.Stats().Replayed != 1 {
			t.Errorf("the same again: %d bytes were answered; %+v", said, n1.Stats())
		}
		seconds := len(whole)/2*3 + 10
		if lines := strings.Count(log.String(), "\n") - before; lines > seconds/10+3 {
			t.Errorf("%d lines in the log in %d s:\n%s", lines, seconds, log.String())
		}
		awaitStates(t, 0, allAlive, n1, n2, n3)
		t.Logf("%d streams", len(streams)+len(whole)+1)
	})
}

// speak sends bytes on a new connection and returns how many came back. end closes the sending side, else it stays silent
// until the node has lost its patience.
func speak(t *testing.T, host *clustertest.Host, addr string, b []byte, end bool) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := host.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, _ = c.Write(b) // the node may close before it has read all
	if end {
		time.Sleep(10 * time.Millisecond)
		_ = c.Close()
		return 0
	}
	answer, _ := io.ReadAll(c) // reset or closed
	if d := time.Since(begin); d > streamTimeout+100*time.Millisecond {
		t.Errorf("the connection was kept for %v", d)
	}
	_ = c.Close()
	return len(answer)
}

// A stranger sits where a node looks for a seed, and answers.
func TestHostileSeed(t *testing.T) {
	answers := map[string][]byte{
		"noise":               bytes.Repeat([]byte{0xa5}, 4096),
		"in clear":            packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 0}),
		"an error in clear":   packMap(errorMsg, map[string]any{"Error": "go away"}),
		"a length of 4 GiB":   append(binary.BigEndian.AppendUint32([]byte{encryptMsg}, 1<<32-1), 1, 2, 3),
		"another key":         messageOf(wrongKey, packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 0})),
		"nothing":             {},
		"a bomb of a member":  messageOf(goodKey, bomb(30<<20)),
		"a member's request":  messageOf(goodKey, packMap(pingMsg, map[string]any{"SeqNo": 1})),
		"a member's 1M nodes": messageOf(goodKey, packMap(pushPullMsg, map[string]any{"Nodes": 1 << 20, "UserStateLen": 0})),
	}
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		listener, err := n.Host("trap").Listen("trap:7946")
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		var mu sync.Mutex
		var answer []byte
		group.Go(func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				_, _ = c.Write(answer)
				mu.Unlock()
				group.Go(func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() })
			}
		})
		defer group.Wait()
		defer func() { _ = listener.Close() }()
		n1 := start(t, n, "n1", func(c *Config) { c.Seeds = []string{"trap:7946"} })
		for name, b := range answers {
			mu.Lock()
			answer = b
			mu.Unlock()
			was := n1.Stats()
			time.Sleep(2 * aloneRetry)
			if s := n1.Stats(); s.RefusedStreams == was.RefusedStreams || s.JoinFailures == was.JoinFailures || s.Alive != 1 {
				t.Errorf("%s: %+v", name, s)
			}
		}
	})
}

// Strangers that connect and say nothing are bounded, keep no member out, and leave nothing behind.
func TestSilentStreamsAreBounded(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		n.SetDelay(0) // no stream of a member is under way while the strangers are counted
		synctest.Wait()
		goroutines := runtime.NumGoroutine()
		var held []net.Conn
		for i := range 4 * maxStreams {
			c, err := n.Host(fmt.Sprintf("s%d", i%5)).Dial(t.Context(), n1.Addr())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
		}
		synctest.Wait()
		n1.gate.mu.Lock()
		reading, hosts := len(n1.gate.inbound), len(n1.gate.perHost)
		n1.gate.mu.Unlock()
		if s := n1.Stats(); reading != maxStreams || hosts > 5 || s.Crowded != 3*maxStreams || s.RefusedStreams != 3*maxStreams {
			t.Errorf("%d are read, from %d hosts; %+v", reading, hosts, s)
		}
		if more := runtime.NumGoroutine() - goroutines; more > maxStreams+8 {
			t.Errorf("%d goroutines more", more)
		}
		n4 := start(t, n, "n4") // it joins over the full port
		awaitStates(t, 5*time.Second, "n1=alive n2=alive n3=alive n4=alive", n1, n2, n3, n4)
		time.Sleep(streamTimeout)
		synctest.Wait()
		n1.gate.mu.Lock()
		reading, hosts = len(n1.gate.inbound), len(n1.gate.perHost)
		passed := n1.gate.passed
		n1.gate.mu.Unlock()
		if reading != 0 || hosts != 0 || passed != 0 {
			t.Errorf("left: %d, from %d hosts, and %d that passed", reading, hosts, passed)
		}
		for _, c := range held {
			_ = c.Close()
		}
		awaitStates(t, 0, "n1=alive n2=alive n3=alive n4=alive", n1, n2, n3)
	})
}

// One address gets no more than its share.
func TestSilentStreamsOfOneHost(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1 := start(t, n, "n1")
		for range 3 * maxStreamsPerHost {
			if _, err := n.Host("s").Dial(t.Context(), n1.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		n1.gate.mu.Lock()
		defer n1.gate.mu.Unlock()
		if len(n1.gate.inbound) != maxStreamsPerHost {
			t.Errorf("%d are read", len(n1.gate.inbound))
		}
	})
}

// On a real network the same: a flood of connections and packets leaves a node that others can join.
func TestFloodOverTheNetwork(t *testing.T) {
	var log lockedBuffer
	cfg := realConfig(t, "a")
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	a, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	before, begin := runtime.NumGoroutine(), time.Now()
	udp, err := net.Dial("udp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	var held []net.Conn
	packets := hostilePackets()
	for range 200 {
		c, err := net.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		for _, b := range packets {
			_, _ = udp.Write(b) // a full buffer loses it
		}
	}
	goroutines(t, before+maxStreamsPerHost+10)
	cfg = realConfig(t, "b")
	cfg.Seeds = []string{a.Addr()}
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, a, "b has joined", func() bool { return states(&node{a, "a"}) == "a=alive b=alive" })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range held {
		_ = c.Close()
	}
	goroutines(t, before+2) // a probe of memberlist may be under way
	s := a.Stats()
	t.Logf("%d packets and %d streams refused", s.RefusedPackets, s.RefusedStreams)
	if s.RefusedPackets == 0 || s.Crowded == 0 {
		t.Errorf("%+v", s)
	}
	if lines := strings.Count(log.String(), "\n"); lines > 25*(1+int(time.Since(begin)/logWindow)) {
		t.Errorf("%d lines in the log:\n%s", lines, log.String())
	}
}

// goroutines waits until there are no more than that: those of connections that were turned out need a moment to end.
func goroutines(t *testing.T, most int) {
	t.Helper()
	limit := time.After(time.Minute)
	for runtime.NumGoroutine() > most {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit:
			t.Fatalf("%d goroutines, and no more than %d are to be left", runtime.NumGoroutine(), most)
		}
	}
}
