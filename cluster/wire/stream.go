package wire

import (
	"bufio"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// stream moves frames over one connection, the same way at both ends: one goroutine reads, one writes. What the frames
// mean is the business of client and server. It notices a dead link: each end pings when it has heard nothing for a
// while, and gives the connection up when nothing at all has come for deadAfter (pulse), or nothing could be written.
type stream struct {
	conn      net.Conn // after TLS and hellos
	raw       net.Conn // below TLS. Closed instead of conn, whose Close may wait for a peer that does not read
	deadAfter time.Duration
	queue     chan outgoing
	draining  chan struct{} // closed by drain
	done      chan struct{} // closed by end
	drainOnce sync.Once
	endOnce   sync.Once
	err       error // why it ended; set before done is closed

	heard    atomic.Uint64 // bytes that have come
	stopRead atomic.Bool
	traffic  *counters

	tick      func()          // called by the writer from time to time; may be nil
	onCluster func(id string) // the peer has learned its cluster id
}

// outgoing is one encoded frame in the writer's queue.
type outgoing struct {
	bytes []byte
	call  *call // of a request: it is written only if the call still waits. nil for other frames
}

func newStream(conn, raw net.Conn, deadAfter time.Duration, traffic *counters) *stream {
	return &stream{
		conn:      conn,
		raw:       raw,
		deadAfter: deadAfter,
		queue:     make(chan outgoing, queueFrames),
		draining:  make(chan struct{}),
		done:      make(chan struct{}),
		traffic:   traffic,
	}
}

// push queues a frame and refuses when the queue is full. What is queued on a stream that has ended is dropped.
func (s *stream) push(out outgoing) bool {
	select {
	case s.queue <- out:
		return true
	default:
		return false
	}
}

// pushWait queues a frame as soon as there is room, and drops it when the stream ends before. For handlers, who occupy
// one of a bounded number of places meanwhile.
func (s *stream) pushWait(out outgoing) {
	select {
	case s.queue <- out:
	case <-s.done:
	}
}

// end closes the connection; the first reason stays.
func (s *stream) end(why error) {
	s.endOnce.Do(func() {
		s.err = why
		close(s.done)
		_ = s.raw.Close() // nobody can use an error of it
	})
}

// stop makes read return errClosed, while what is queued can still be written.
func (s *stream) stop() {
	s.stopRead.Store(true)
	if err := s.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		s.end(err)
	}
}

// drain lets the writer send what is queued and then end the stream.
func (s *stream) drain() { s.drainOnce.Do(func() { close(s.draining) }) }

// read gives each frame to handle, until the connection fails or handle returns an error, and returns why.
func (s *stream) read(handle func(frame) error) error {
	r := bufio.NewReaderSize(countedReader{s}, ioBuffer)
	for {
		block, err := readBlock(r, MaxFrame)
		if err != nil {
			return s.readError(err)
		}
		f, err := decodeFrame(block)
		if err != nil {
			return err
		}
		switch f.typ {
		case framePing:
			// If there is no room, frames are on their way to the peer that do as well.
			s.push(outgoing{bytes: (&frame{typ: framePong}).encode()})
		case framePong:
		case frameCluster:
			s.onCluster(f.text)
		default:
			if err := handle(f); err != nil {
				return err
			}
		}
	}
}

// readError prefers the reason that this end had for closing to what the closed connection says.
func (s *stream) readError(err error) error {
	select {
	case <-s.done:
		return s.err
	default:
	}
	if s.stopRead.Load() {
		return errClosed
	}
	return fmt.Errorf("read: %w", err)
}

// write sends what is queued until the stream ends.
func (s *stream) write() {
	w := bufio.NewWriterSize(timedWriter{s}, ioBuffer)
	beat := s.deadAfter / ticksPerDeadline
	tick := time.NewTimer(untilBeat(beat))
	defer tick.Stop()
	alive := pulse{heard: math.MaxUint64} // the time to the first tick is not a whole one
	for {
		var err error
		select {
		case <-s.done:
			return
		case out := <-s.queue:
			err = s.writeQueue(w, out)
		case <-tick.C:
			err = s.keepAlive(w, &alive)
			tick.Reset(untilBeat(beat))
		case <-s.draining:
			s.end(s.writeRest(w))
			return
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// writeQueue writes a frame and all that are queued behind it, and flushes when there is none left. A steady stream of
// frames can't hold the first one back: the buffer is flushed each time it is full.
func (s *stream) writeQueue(w *bufio.Writer, out outgoing) error {
	for more := true; more; {
		// From the claim on a lost connection means that the request may have been carried out.
		if out.call == nil || out.call.claim() {
			if _, err := w.Write(out.bytes); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		if out, more = s.queued(); !more {
			// Those who are about to queue a frame go first, so that more frames share a record. With 64 callers on two
			// cores this made calls about twice as quick; for a caller alone the difference was within the scatter.
			runtime.Gosched()
			out, more = s.queued()
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// queued takes a frame out of the queue if there is one.
func (s *stream) queued() (out outgoing, ok bool) {
	select {
	case out = <-s.queue:
		return out, true
	default:
		return outgoing{}, false
	}
}

// untilBeat returns the time to a multiple of a period: all streams tick at once, and wake a node at rest once. It goes by
// the wall clock, which may be a little ahead or behind of the timer or be set meanwhile: so it is half a period at least,
// and one and a half at most.
func untilBeat(period time.Duration) time.Duration {
	half := period / 2
	return period + half - (time.Duration(time.Now().UnixNano())+half)%period
}

// keepAlive asks a silent peer for a sign of life, and gives it up when there is none.
func (s *stream) keepAlive(w *bufio.Writer, alive *pulse) error {
	if s.tick != nil {
		s.tick()
	}
	switch silent := alive.tick(s.heard.Load()); {
	case silent < pingAfter:
		return nil
	case silent == ticksPerDeadline:
		return fmt.Errorf("%w for %v", errSilent, s.deadAfter)
	}
	return s.writeQueue(w, outgoing{bytes: (&frame{typ: framePing}).encode()})
}

// pulse counts for how many ticks in a row nothing was heard. It counts ticks and sets no time limit on reads, because
// a process that was held up for long finds every limit passed before it can read what has come meanwhile, and would
// give up its good connections. However long that was, it is one tick.
type pulse struct {
	heard  uint64
	silent int
}

func (p *pulse) tick(heard uint64) (silent int) {
	if heard != p.heard {
		p.heard, p.silent = heard, 0
	} else {
		p.silent++
	}
	return p.silent
}

// writeRest writes what is queued and returns why the stream has ended.
func (s *stream) writeRest(w *bufio.Writer) error {
	if out, ok := s.queued(); ok {
		if err := s.writeQueue(w, out); err != nil {
			return err
		}
	}
	return errClosed
}

// countedReader notes that something has come.
type countedReader struct{ s *stream }

func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.s.conn.Read(p)
	r.s.heard.Add(uint64(n))
	r.s.traffic.received.Add(uint64(n))
	return n, err
}

// timedWriter gives each write deadAfter to be taken. A process that is held up between the two calls below loses the
// connection, unlike in a read; that is some microseconds for each write, and ErrLost is what it leads to.
type timedWriter struct{ s *stream }

func (w timedWriter) Write(p []byte) (int, error) {
	if err := w.s.conn.SetWriteDeadline(time.Now().Add(w.s.deadAfter)); err != nil {
		return 0, err
	}
	n, err := w.s.conn.Write(p)
	w.s.traffic.sent.Add(uint64(n))
	return n, err
}
