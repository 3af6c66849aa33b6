package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// taped is a stream layer whose connections lead to nobody: it keeps what raft sends.
type taped struct {
	net.Listener
	tape *bytes.Buffer
}

func (l taped) Accept() (net.Conn, error) { select {} }
func (l taped) Close() error              { return nil }
func (l taped) Addr() net.Addr            { return address("n1") }

func (l taped) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return &tapedConn{fixedConn{Reader: strings.NewReader("")}, l.tape}, nil
}

// tapedConn ends where an answer is waited for: by then all has been sent.
type tapedConn struct {
	fixedConn
	tape *bytes.Buffer
}

func (c *tapedConn) Write(p []byte) (int, error) { return c.tape.Write(p) }
func (c *tapedConn) Close() error                { return nil }

// raftRequests returns each kind of request as the library sends it.
func raftRequests(t testing.TB) map[string][]byte {
	t.Helper()
	header := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("n1:7000")}
	entry := func(size int) *raft.Log {
		return &raft.Log{Index: 9, Term: 4, Type: raft.LogCommand, Data: make([]byte, size), Extensions: []byte("x"), AppendedAt: time.Now()}
	}
	requests := make(map[string][]byte)
	for name, send := range map[string]func(*raft.NetworkTransport) error{
		"heartbeat": func(n *raft.NetworkTransport) error {
			return n.AppendEntries("b", "b", &raft.AppendEntriesRequest{RPCHeader: header, Term: 7}, &raft.AppendEntriesResponse{})
		},
		"entries": func(n *raft.NetworkTransport) error {
			return n.AppendEntries("b", "b", &raft.AppendEntriesRequest{
				RPCHeader: header, Term: 7, PrevLogEntry: 8, PrevLogTerm: 3, LeaderCommitIndex: 1 << 40,
				Entries: []*raft.Log{entry(0), entry(31), entry(300), entry(70_000), entry(512 << 10)},
			}, &raft.AppendEntriesResponse{})
		},
		"vote": func(n *raft.NetworkTransport) error {
			return n.RequestVote("b", "b", &raft.RequestVoteRequest{RPCHeader: header, Term: 7, LeadershipTransfer: true}, &raft.RequestVoteResponse{})
		},
		"pre-vote": func(n *raft.NetworkTransport) error {
			return n.RequestPreVote("b", "b", &raft.RequestPreVoteRequest{RPCHeader: header, Term: 7}, &raft.RequestPreVoteResponse{})
		},
		"timeout": func(n *raft.NetworkTransport) error {
			return n.TimeoutNow("b", "b", &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{})
		},
		"snapshot": func(n *raft.NetworkTransport) error {
			return n.InstallSnapshot("b", "b", &raft.InstallSnapshotRequest{
				RPCHeader: header, Term: 7, Configuration: make([]byte, 900), Peers: []byte{1}, Size: 3 << 20,
			}, &raft.InstallSnapshotResponse{}, bytes.NewReader(bytes.Repeat([]byte{0xc1}, 3<<20)))
		},
		"empty snapshot": func(n *raft.NetworkTransport) error {
			return n.InstallSnapshot("b", "b", &raft.InstallSnapshotRequest{RPCHeader: header}, &raft.InstallSnapshotResponse{}, strings.NewReader(""))
		},
	} {
		var tape bytes.Buffer
		n := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: taped{tape: &tape}, MaxPool: 1, Timeout: time.Minute, Logger: hclog.NewNullLogger()})
		if err := send(n); err == nil {
			t.Fatalf("%s: nobody has answered", name)
		}
		requests[name] = tape.Bytes()
	}
	return requests
}

// scanAll gives b to the scanner in pieces of so many bytes and returns after how many it refused.
func scanAll(s *scanner, b []byte, piece int) (int, error) {
	for at := 0; at < len(b); at += piece {
		if err := s.scan(b[at:min(at+piece, len(b))]); err != nil {
			return at, err
		}
	}
	return len(b), nil
}

// What raft sends passes, in whatever pieces it comes, and the scanner knows where each message ends.
func TestScannerPassesRaft(t *testing.T) {
	requests := raftRequests(t)
	var all []byte
	for name, b := range requests {
		if len(b) == 0 {
			t.Fatalf("%s: nothing was sent", name)
		}
		for _, piece := range []int{1, 7, 4096, len(b)} {
			s := newScanner(true)
			if at, err := scanAll(s, b, piece); err != nil || s.state != scanKind || s.size != 0 {
				t.Errorf("%s in pieces of %d: after %d bytes %v, state %d", name, piece, at, err, s.state)
			}
		}
		all = append(all, b...)
	}
	s := newScanner(true)
	if _, err := scanAll(s, append(all, all...), 1000); err != nil || s.state != scanKind {
		t.Errorf("one after the other: %v", err)
	}
}

// pack32 is the long head of a msgpack value.
func pack32(lead byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{lead}, n) }

func member(name string, value ...byte) []byte {
	return append(append([]byte{0xa0 | byte(len(name))}, name...), value...)
}

func request(kind byte, members ...[]byte) []byte {
	return append([]byte{kind, 0x80 | byte(len(members))}, bytes.Join(members, nil)...)
}

// hostileRaft is what must not reach raft. Some of it ends a process that decodes it.
func hostileRaft() map[string][]byte {
	return map[string][]byte{
		"deep arrays":             request(0, append(member("Leader"), bytes.Repeat([]byte{0x91}, 5000)...)),
		"deep maps":               request(0, append(member("Leader"), bytes.Repeat([]byte{0x81, 0xa1, 'x'}, 5000)...)),
		"deep in an unknown name": request(0, append(member("zzz"), bytes.Repeat([]byte{0xdc, 0, 1}, 5000)...)),
		"4 Gi entries":            request(0, member("Entries", pack32(0xdd, 1<<32-1)...)),
		"many entries":            request(0, member("Entries", pack32(0xdd, MaxRaftElements+1)...)),
		"4 Gi members":            request(0, member("Leader", pack32(0xdf, 1<<32-1)...)),
		"half the numbers":        request(0, member("Leader", pack32(0xdf, 1<<31)...)),
		"many members":            append([]byte{0}, append([]byte{0xde, 0, maxRaftFields + 1}, make([]byte, 400)...)...),
		"4 GiB of bytes":          request(0, member("Leader", pack32(0xc6, 1<<32-1)...)),
		"4 GiB of text":           request(0, member("Leader", pack32(0xdb, 1<<32-1)...)),
		"4 GiB of extension":      request(0, member("Leader", pack32(0xc9, 1<<32-1)...)),
		"an entry too long":       request(0, member("Leader", pack32(0xc6, MaxRaftBytes+1)...)),
		"an entry that is none":   request(0, member("Entries", 0x91, 0xc0)),
		"two, one of them none":   request(0, member("Entries", 0x92, 0x80, 0xc0)),
		"an unused byte":          request(0, member("Leader", 0xc1)),
		"an array for a request":  {0, 0x93, 1, 2, 3},
		"nothing for a request":   {1, 0xc0},
		"a text for a request":    {1, 0xa3, 'a', 'b', 'c'},
		"a number for a name":     {0, 0x81, 5, 5},
		"a long name":             append([]byte{0, 0x81, 0xd9, 4}, "Size"...),
		"bytes for a name":        append([]byte{installSnapshot, 0x81, 0xc4, 4}, "Size"...),
		"a negative size":         request(installSnapshot, member("Size", 0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
		"a small negative size":   request(installSnapshot, member("Size", 0xff)),
		"a size above all":        request(installSnapshot, member("Size", 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0)),
		"a size of a half":        request(installSnapshot, member("Size", 0xca, 0x3f, 0, 0, 0)),
		"no size":                 request(installSnapshot, member("Size", 0xc0)),
	}
}

func TestScannerRefuses(t *testing.T) {
	for name, b := range hostileRaft() {
		for _, piece := range []int{1, 3, len(b)} {
			if at, err := scanAll(newScanner(true), b, piece); !errors.Is(err, errRaft) {
				t.Errorf("%s, in pieces of %d: %d bytes passed, %v", name, piece, at, err)
			} else if at > 64 && piece == 1 && !strings.Contains(name, "members") {
				t.Errorf("%s: refused after %d bytes only", name, at)
			}
		}
	}
	long := request(0, member("Leader", pack32(0xdd, MaxRaftElements)...))
	long = append(long, bytes.Repeat(append(pack32(0xc6, MaxRaftBytes), make([]byte, MaxRaftBytes)...), 1)...)
	s := newScanner(true)
	if err := s.scan(long); err != nil {
		t.Fatal(err)
	}
	next := append(pack32(0xc6, MaxRaftBytes), make([]byte, MaxRaftBytes)...)
	passed := 1
	for ; passed < 1000; passed++ {
		if err := s.scan(next); err != nil {
			break
		}
	}
	if passed != MaxRaftMessage/len(next) {
		t.Errorf("a message of %d MiB passed", passed)
	}
	if _, err := scanAll(newScanner(false), append([]byte{0xa0, 0x81, 0xa1, 'x'}, bytes.Repeat([]byte{0x91}, 100)...), 7); !errors.Is(err, errRaft) {
		t.Errorf("an answer: %v", err)
	}
	if _, err := scanAll(newScanner(false), []byte{0xa1, 'e', 0x82, 0xa4, 'T', 'e', 'r', 'm', 7, 0xa1, 's', 0xc3, 0xa0, 0x80}, 3); err != nil {
		t.Errorf("two answers: %v", err)
	}
}

// A peer with the key that sends such things to raft loses its connection before raft has seen them, is counted, and makes
// one line in the log. The others work on.
func TestBrokenRaft(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		var log logBuffer
		begin := time.Now()
		a, b := l.open("a"), l.open("b", logTo(&log))
		n := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: b.Raft(), MaxPool: 2, MaxRPCsInFlight: 1, Timeout: testLimit, Logger: hclog.NewNullLogger(),
		})
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		hostile := hostileRaft()
		for name, bytes := range hostile {
			p := l.puppet("n9", b.Addr())
			block, err := p.greet(kindRaft, hello{nodeID: "n9", min: 1, max: 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, refusal, err := decodeHello(block); err != nil || refusal != nil {
				t.Fatal(err, refusal)
			}
			_, _ = p.Write(bytes) // the node may close before it has read all
			mustEnd(t, p)
			select {
			case rpc := <-n.Consumer():
				t.Errorf("%s: raft was given %+v", name, rpc.Command)
			default:
			}
		}
		l.eventually("all are counted", func() bool { return b.Stats().Malformed == uint64(len(hostile)) && b.Stats().Raft == 0 })
		l.logsOnce(&log, "raft connection is closed", begin)
		l.mustEcho(a, b.Addr())
	})
}

// FuzzScanner: whatever comes, the pieces in which it comes make no difference, and raft's own decoder survives what passes.
func FuzzScanner(f *testing.F) {
	for _, b := range raftRequests(f) {
		f.Add(b[:min(len(b), 2000)], true)
	}
	for _, b := range hostileRaft() {
		f.Add(b[:min(len(b), 200)], true)
		f.Add(b[1:min(len(b), 200)], false)
	}
	f.Fuzz(func(t *testing.T, b []byte, requests bool) {
		_, whole := scanAll(newScanner(requests), b, max(1, len(b)))
		at, single := scanAll(newScanner(requests), b, 1)
		if (whole == nil) != (single == nil) || whole != nil && whole.Error() != single.Error() {
			t.Fatalf("at once %v, byte by byte %v", whole, single)
		}
		if requests {
			decode(b[:at])
		}
	})
}

// decode gives bytes to raft's transport, which answers nonsense with an error and ends the connection.
func decode(b []byte) {
	done := make(chan struct{})
	layer := &once{conn: &fixedConn{Reader: bytes.NewReader(b), closed: make(chan struct{})}, over: done}
	n := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: layer, Timeout: time.Second, Logger: hclog.NewNullLogger()})
	for {
		select {
		case rpc := <-n.Consumer():
			if rpc.Reader != nil {
				_, _ = io.Copy(io.Discard, rpc.Reader)
			}
			rpc.Respond(&raft.TimeoutNowResponse{}, nil)
			continue
		case <-layer.conn.closed:
		}
		break
	}
	close(done)
	_ = n.Close()
}

// once is a stream layer with one connection.
type once struct {
	conn *fixedConn
	gave bool
	over chan struct{}
}

func (l *once) Accept() (net.Conn, error) {
	if l.gave {
		<-l.over
		return nil, net.ErrClosed
	}
	l.gave = true
	return l.conn, nil
}
func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return address("n1") }
func (l *once) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return nil, net.ErrClosed
}

// fixedConn is a connection on which the same always comes.
type fixedConn struct {
	io.Reader
	closed chan struct{}
}

func (c *fixedConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *fixedConn) Close() error                     { close(c.closed); return nil }
func (c *fixedConn) LocalAddr() net.Addr              { return address("n1") }
func (c *fixedConn) RemoteAddr() net.Addr             { return address("n2") }
func (c *fixedConn) SetDeadline(time.Time) error      { return nil }
func (c *fixedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fixedConn) SetWriteDeadline(time.Time) error { return nil }
