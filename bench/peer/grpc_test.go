package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// startGRPC serves gRPC by the standard library's HTTP/2: an implementation that is not ours.
func startGRPC(t *testing.T, serve func(method string, message []byte) (answer []byte, status string)) (addr string, stop func()) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	// As little room as a server may give: senders must wait for more.
	window := &http.HTTP2Config{MaxReceiveBufferPerConnection: 1 << 16, MaxReceiveBufferPerStream: 1 << 16}
	server := &http.Server{Protocols: protocols, HTTP2: window, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) < grpcPrefix || int(binary.BigEndian.Uint32(body[1:])) != len(body)-grpcPrefix ||
			r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" {
			t.Errorf("request of %d bytes, %v, %v", len(body), r.Header, err)
			return
		}
		answer, status := serve(strings.TrimPrefix(r.URL.Path, "/"), body[grpcPrefix:])
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.Header().Set("Content-Type", "application/grpc")
		if status == "0" {
			w.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(answer)))) //nolint:errcheck // the client will notice
			w.Write(answer)                                                        //nolint:errcheck // the client will notice
		}
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", "as ordered")
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	stop = sync.OnceFunc(func() {
		server.Close() //nolint:errcheck // connections are meant to break
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dialTest(t *testing.T, addr string) *grpcConn {
	t.Helper()
	c, err := dialGRPC(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Many callers share a connection, and send more than its first window in both directions: each gets its own answer.
func TestGRPCAnswersEachCaller(t *testing.T) {
	addr, _ := startGRPC(t, func(method string, message []byte) ([]byte, string) {
		return append([]byte(method+":"), message...), "0"
	})
	c := dialTest(t, addr)
	var wg sync.WaitGroup
	for caller := range 16 {
		wg.Go(func() {
			for i := range 15 {
				message := bytes.Repeat([]byte{byte(caller), byte(i)}, 1+(caller*i*997)%30_000)
				got, err := c.Call(t.Context(), "test.Echo/Echo", message)
				if err != nil {
					t.Errorf("caller %d, call %d: %v", caller, i, err)
					return
				}
				if want := append([]byte("test.Echo/Echo:"), message...); !bytes.Equal(got, want) {
					t.Errorf("caller %d, call %d: %d bytes, want its own %d", caller, i, len(got), len(want))
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestGRPCStatusIsAnError(t *testing.T) {
	addr, _ := startGRPC(t, func(string, []byte) ([]byte, string) { return nil, "14" })
	var failed *grpcError
	if _, err := dialTest(t, addr).Call(t.Context(), "a.B/C", nil); !errors.As(err, &failed) || failed.Label() != "grpc-14" {
		t.Errorf("%v, want status 14", err)
	}
}

func TestGRPCCallEndsWithItsContext(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	addr, _ := startGRPC(t, func(method string, _ []byte) ([]byte, string) {
		if method == "a.B/Slow" {
			close(asked)
			<-release
		}
		return []byte("done"), "0"
	})
	c := dialTest(t, addr)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := c.Call(ctx, "a.B/Slow", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	close(release)
	if got, err := c.Call(t.Context(), "a.B/Quick", nil); err != nil || string(got) != "done" {
		t.Errorf("after an abandoned call: %q, %v", got, err)
	}
}

func TestGRPCCallsEndWithTheirConnection(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	addr, stop := startGRPC(t, func(string, []byte) ([]byte, string) {
		close(asked)
		<-release
		return nil, "0"
	})
	c := dialTest(t, addr)
	go func() {
		<-asked
		stop()
	}()
	if _, err := c.Call(t.Context(), "a.B/C", nil); err == nil {
		t.Error("a call over a broken connection was answered")
	}
	if _, err := c.Call(t.Context(), "a.B/C", nil); err == nil {
		t.Error("a broken connection takes calls")
	}
	close(release)
}

func TestGRPCRefusesWhatCannotFit(t *testing.T) {
	addr, _ := startGRPC(t, func(string, []byte) ([]byte, string) { return nil, "0" })
	if _, err := dialTest(t, addr).Call(t.Context(), "a.B/C", make([]byte, initialWindow)); err == nil {
		t.Error("a message larger than a stream's window was sent")
	}
}

func TestHeaderBlocksAreJoined(t *testing.T) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range 20 {
		if err := enc.WriteField(hpack.HeaderField{Name: fmt.Sprintf("name-%d", i), Value: "value"}); err != nil {
			t.Fatal(err)
		}
	}
	b := block.Bytes()
	stream := appendFrame(nil, frameHeaders, flagEndStream, 5, b[:10]...)
	stream = appendFrame(stream, frameContinuation, 0, 5, b[10:50]...)
	stream = appendFrame(stream, frameContinuation, flagEndHeaders, 5, b[50:]...)
	stream = appendFrame(stream, frameData, flagEndStream, 7, 'x')
	r := &frameReader{r: bufio.NewReader(bytes.NewReader(stream))}
	f, err := r.next()
	if err != nil {
		t.Fatal(err)
	}
	if f.kind != frameHeaders || f.stream != 5 || !f.has(flagEndStream) || !bytes.Equal(f.payload, b) {
		t.Errorf("%v of stream %d, %d bytes; want the whole block", f.kind, f.stream, len(f.payload))
	}
	if f, err = r.next(); err != nil || f.kind != frameData || string(f.payload) != "x" {
		t.Errorf("then %v, %v", f, err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendSetting(nil, settingInitialWindow, 1<<20))
	f.Add(appendWindow(appendFrame(nil, frameHeaders, flagEndHeaders, 1, 0x88), 0, 5))
	f.Add(appendFrame(appendFrame(nil, frameHeaders, 0, 1, 1), frameContinuation, flagEndHeaders, 1, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &frameReader{r: bufio.NewReader(bytes.NewReader(data))}
		for {
			fr, err := r.next()
			if err != nil {
				return
			}
			if len(fr.payload) > len(data) {
				t.Fatalf("%d bytes of payload out of %d", len(fr.payload), len(data))
			}
			fr.setting(settingInitialWindow)
			fr.number() //nolint:errcheck // must not panic, whatever it says
		}
	})
}

func TestProtobuf(t *testing.T) {
	kv := appendBytes(appendBytes(nil, 1, []byte("key")), 5, []byte("value"))
	response := appendBytes(appendBytes(nil, 1, []byte{2 << 3, 9}), 2, kv)
	if got, err := rangeValue(response); err != nil || string(got) != "value" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := rangeValue(appendBytes(nil, 1, nil)); err != nil || got != nil {
		t.Errorf("no such key: %q, %v", got, err)
	}
	header := appendBytes(nil, 1, []byte{2 << 3, 9})
	for leader, want := range map[byte][2]bool{9: {true, true}, 8: {false, true}, 0: {false, false}} {
		self, known, err := statusLeader(append(bytes.Clone(header), 4<<3, leader))
		if err != nil || self != want[0] || known != want[1] {
			t.Errorf("leader %d asked of 9: %v, %v, %v", leader, self, known, err)
		}
	}
	if _, err := rangeValue([]byte{2<<3 | 2, 200}); err == nil {
		t.Error("a cut message was read")
	}
}

func FuzzProtobuf(f *testing.F) {
	f.Add(appendTxnPut(nil, []byte("key"), []byte("value")))
	f.Add([]byte{2 << 3, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		seen := 0
		err := eachField(data, func(_, _ uint64, b []byte) { seen += len(b) })
		if err == nil && seen > len(data) {
			t.Fatalf("%d bytes in the fields of %d", seen, len(data))
		}
	})
}
