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
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// grpcConn makes unary gRPC calls over one HTTP/2 connection: just enough of the protocol to ask etcd the way that its
// own client does, at less cost to the machine that client and server share. Many callers use it at a time.
type grpcConn struct {
	conn    net.Conn
	flush   chan struct{} // has something been written?
	stop    chan struct{} // closed by fail
	stopped sync.WaitGroup

	frames  frameReader    // the read loop's alone
	decoder *hpack.Decoder // the read loop's alone

	writing sync.Mutex // guards what follows; taken before mu
	out     *bufio.Writer
	scratch []byte // frames on their way to out
	encoder *hpack.Encoder
	headers bytes.Buffer // written to by encoder
	next    uint32       // id of the next stream

	mu      sync.Mutex // guards what follows
	moved   *sync.Cond // window has grown, or err is set
	window  int64      // bytes that the server takes on this connection
	waiting map[uint32]*grpcCall
	err     error // why the connection is over
}

// grpcCall is one call under way. The read loop fills it and then signals done.
type grpcCall struct {
	body []byte // the answer with its 5 bytes of prefix
	err  error
	done chan struct{} // buffer of one
}

const (
	grpcPrefix     = 5       // bytes before a message: compressed or not, length
	initialWindow  = 65535   // RFC 9113 section 6.9.2
	receiveWindow  = 1 << 30 // given to the server for all streams together
	receiveRefresh = 1 << 29 // given again when so much has arrived
)

// dialGRPC connects to a server that speaks gRPC without TLS.
func dialGRPC(ctx context.Context, addr string) (*grpcConn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &grpcConn{
		conn: conn, flush: make(chan struct{}, 1), stop: make(chan struct{}),
		frames: frameReader{r: bufio.NewReaderSize(conn, 64<<10)}, decoder: hpack.NewDecoder(4096, nil),
		out: bufio.NewWriterSize(conn, 64<<10), next: 1, window: initialWindow, waiting: make(map[uint32]*grpcCall),
	}
	c.moved = sync.NewCond(&c.mu)
	c.encoder = hpack.NewEncoder(&c.headers)
	if err := c.greet(); err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), conn.Close())
	}
	c.stopped.Go(c.readLoop)
	c.stopped.Go(c.flushLoop)
	return c, nil
}

func (c *grpcConn) greet() error {
	b := appendSetting([]byte(http2Preface), settingInitialWindow, maxAnswer)
	b = appendWindow(b, 0, receiveWindow-initialWindow)
	_, err := c.conn.Write(b)
	return err
}

// Close ends the calls under way and waits for the connection's goroutines.
func (c *grpcConn) Close() error {
	c.fail(net.ErrClosed)
	c.stopped.Wait()
	return nil
}

// Call sends message to method, such as "etcdserverpb.KV/Range", and returns the answer's message.
func (c *grpcConn) Call(ctx context.Context, method string, message []byte) ([]byte, error) {
	call := &grpcCall{done: make(chan struct{}, 1)}
	id, err := c.send(call, method, message)
	if err != nil {
		return nil, err
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		if c.abandon(id) {
			return nil, ctx.Err()
		}
		<-call.done
	}
	if call.err != nil {
		return nil, call.err
	}
	if len(call.body) < grpcPrefix || call.body[0] != 0 || int(binary.BigEndian.Uint32(call.body[1:])) != len(call.body)-grpcPrefix {
		return nil, errors.New("grpc: answer is not one uncompressed message")
	}
	return call.body[grpcPrefix:], nil
}

// send writes the frames of a call. Stream ids must appear in order, so taking one and writing is one step.
func (c *grpcConn) send(call *grpcCall, method string, message []byte) (uint32, error) {
	if err := c.reserve(int64(grpcPrefix + len(message))); err != nil {
		return 0, err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	id := c.next
	c.next += 2
	if err := c.register(id, call); err != nil {
		return 0, err
	}
	c.headers.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/" + method},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	} {
		if err := c.encoder.WriteField(f); err != nil {
			return 0, c.broken(fmt.Errorf("encode headers: %w", err))
		}
	}
	c.scratch = appendFrame(c.scratch[:0], frameHeaders, flagEndHeaders, id, c.headers.Bytes()...)
	c.scratch = appendMessage(c.scratch, id, message)
	if _, err := c.out.Write(c.scratch); err != nil {
		return 0, c.broken(fmt.Errorf("send: %w", err))
	}
	c.wantFlush()
	return id, nil
}

// appendMessage appends a message with its prefix, in as many frames as it takes; the last one ends the stream.
func appendMessage(dst []byte, id uint32, message []byte) []byte {
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...) // bounded by reserve
	for len(body) > maxFrame {
		dst = appendFrame(dst, frameData, 0, id, body[:maxFrame]...)
		body = body[maxFrame:]
	}
	return appendFrame(dst, frameData, flagEndStream, id, body...)
}

// reserve waits until the server takes size bytes more. It must not be called with writing held: what makes room is
// the flush of what was written before.
func (c *grpcConn) reserve(size int64) error {
	if size > initialWindow {
		return fmt.Errorf("grpc: message of %d bytes does not fit a stream's window", size)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.window < size && c.err == nil {
		c.moved.Wait()
	}
	if c.err != nil {
		return c.err
	}
	c.window -= size
	return nil
}

// register makes the call known to the read loop.
func (c *grpcConn) register(id uint32, call *grpcCall) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.waiting[id] = call
	return nil
}

// abandon forgets a call, and says whether it was still under way.
func (c *grpcConn) abandon(id uint32) bool {
	c.mu.Lock()
	_, known := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	if !known {
		return false
	}
	if err := c.write(appendFrame(nil, frameReset, 0, id, 0, 0, 0, resetCancel)); err != nil {
		c.fail(err)
	}
	return true
}

func (c *grpcConn) wantFlush() {
	select {
	case c.flush <- struct{}{}:
	default: // a flush that has not begun yet covers this too
	}
}

// flushLoop sends what many callers have written by one system call.
func (c *grpcConn) flushLoop() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.flush:
		}
		c.writing.Lock()
		err := c.out.Flush()
		c.writing.Unlock()
		if err != nil {
			c.fail(fmt.Errorf("send: %w", err))
			return
		}
	}
}

func (c *grpcConn) readLoop() {
	received := 0 // bytes since the window was last refreshed
	for {
		f, err := c.frames.next()
		if err == nil {
			err = c.take(f)
		}
		if err == nil && f.kind == frameData {
			received += len(f.payload)
		}
		if err == nil && received > receiveRefresh {
			err = c.write(appendWindow(nil, 0, uint32(received))) // at most a frame more than receiveRefresh
			received = 0
		}
		if err != nil {
			c.fail(fmt.Errorf("receive: %w", err))
			return
		}
	}
}

// take does what a frame asks for. An error ends the connection.
func (c *grpcConn) take(f *frame) error {
	switch f.kind {
	case frameHeaders:
		return c.onHeaders(f)
	case frameData:
		c.onData(f)
	case frameReset:
		code, err := f.number()
		c.finish(f.stream, fmt.Errorf("grpc: stream was reset: code %d", code))
		return err
	case frameWindow:
		return c.onWindow(f)
	case frameGoAway:
		return errors.New("grpc: server goes away")
	case framePing:
		if !f.has(flagAck) {
			return c.write(appendFrame(nil, framePing, flagAck, 0, f.payload...))
		}
	case frameSettings:
		if f.has(flagAck) {
			return nil
		}
		if size, set := f.setting(settingInitialWindow); set && size < initialWindow {
			return fmt.Errorf("grpc: server's window of %d bytes a stream is too small", size)
		}
		return c.write(appendFrame(nil, frameSettings, flagAck, 0))
	}
	return nil
}

func (c *grpcConn) write(frame []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.out.Write(frame); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	c.wantFlush()
	return nil
}

// onHeaders takes the headers, of which nothing is needed, and the trailers, which end a call. All must be decoded: the
// decoder's table depends on each.
func (c *grpcConn) onHeaders(f *frame) error {
	fields, err := c.decoder.DecodeFull(f.payload)
	if err != nil {
		return fmt.Errorf("decode headers: %w", err)
	}
	if !f.has(flagEndStream) {
		return nil
	}
	status, message := "", ""
	for _, field := range fields {
		switch field.Name {
		case "grpc-status":
			status = field.Value
		case "grpc-message":
			message = field.Value
		}
	}
	if status == "0" {
		c.finish(f.stream, nil)
	} else {
		c.finish(f.stream, &grpcError{status: status, message: message})
	}
	return nil
}

func (c *grpcConn) onData(f *frame) {
	c.mu.Lock()
	call := c.waiting[f.stream]
	c.mu.Unlock()
	if call == nil {
		return // abandoned
	}
	// Only this goroutine touches the body until done is signalled.
	call.body = append(call.body, f.payload...)
	if f.has(flagEndStream) {
		c.finish(f.stream, fmt.Errorf("grpc: %w before the status", io.ErrUnexpectedEOF))
	}
}

func (c *grpcConn) onWindow(f *frame) error {
	increment, err := f.number()
	if err != nil || f.stream != 0 { // a request fits into the window that its stream begins with
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window += int64(increment)
	c.moved.Broadcast()
	return nil
}

func (c *grpcConn) finish(id uint32, err error) {
	c.mu.Lock()
	call := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	if call == nil {
		return // abandoned
	}
	call.err = err
	call.done <- struct{}{}
}

// broken ends the connection and returns why.
func (c *grpcConn) broken(err error) error {
	c.fail(err)
	return err
}

// fail ends the connection and all calls on it. The first reason stays.
func (c *grpcConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.stop)
	c.moved.Broadcast()
	for id, call := range c.waiting {
		call.err = err
		call.done <- struct{}{}
		delete(c.waiting, id)
	}
	c.conn.Close() // err is the reason that counts
}

// grpcError is a status other than OK.
type grpcError struct{ status, message string }

func (e *grpcError) Error() string { return "grpc status " + e.status + ": " + e.message }

// Label is the status, under which it is counted.
func (e *grpcError) Label() string { return "grpc-" + e.status }

// callTimeout calls with a bound of its own.
func (c *grpcConn) callTimeout(ctx context.Context, method string, message []byte, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.Call(ctx, method, message)
}
