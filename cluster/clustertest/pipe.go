package clustertest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipe is one direction of a connection: a writer, bytes under way, bytes that have arrived, a reader.
type pipe struct {
	mu      sync.Mutex
	cond    *sync.Cond // any change below
	delay   time.Duration
	cut     bool
	flying  []segment // in order of sending
	waiting int       // bytes in flying
	arrived bytes.Buffer
	ended   bool // the writer's end has arrived

	writeClosed, readClosed, broken bool
	readLimit, writeLimit           deadline
}

// segment is what one write sent, or the end of the stream.
type segment struct {
	data []byte
	end  bool
	at   time.Time // of arrival
}

func newPipe() *pipe {
	p := &pipe{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// tune sets the state of the way. What has arrived by now has arrived, even if the way is cut from now on.
func (p *pipe) tune(delay time.Duration, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.landLocked()
	p.delay, p.cut = delay, cut
	p.landLocked()
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.readClosed:
			return 0, net.ErrClosed
		case p.readLimit.passed:
			return 0, os.ErrDeadlineExceeded
		case p.broken:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case len(b) == 0:
			return 0, nil
		case p.arrived.Len() > 0:
			n, err := p.arrived.Read(b)
			p.cond.Broadcast() // a writer may wait for room
			return n, err
		case p.ended:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for sent := 0; ; {
		switch {
		case p.writeClosed:
			return sent, net.ErrClosed
		case p.writeLimit.passed:
			return sent, os.ErrDeadlineExceeded
		case p.broken:
			return sent, os.NewSyscallError("write", syscall.ECONNRESET)
		case p.readClosed && !p.cut:
			return sent, os.NewSyscallError("write", syscall.EPIPE)
		case sent == len(b):
			return sent, nil
		}
		room := maxBuffered - p.waiting - p.arrived.Len()
		if room <= 0 {
			p.cond.Wait()
			continue
		}
		part := b[sent:min(len(b), sent+room)]
		p.sendLocked(segment{data: bytes.Clone(part)})
		sent += len(part)
		if sent == len(b) {
			return sent, nil
		}
	}
}

// closeWrite sends the end of the stream. It reports whether it was the first.
func (p *pipe) closeWrite() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writeClosed {
		return false
	}
	p.writeClosed = true
	p.writeLimit.stop()
	p.sendLocked(segment{end: true})
	p.cond.Broadcast()
	return true
}

// closeRead drops what has arrived and will arrive.
func (p *pipe) closeRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readClosed = true
	p.readLimit.stop()
	p.arrived = bytes.Buffer{}
	p.cond.Broadcast()
}

func (p *pipe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.flying, p.waiting, p.arrived = nil, 0, bytes.Buffer{}
	p.cond.Broadcast()
}

// finished says that neither end will use the pipe again.
func (p *pipe) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readClosed && p.writeClosed
}

func (p *pipe) setReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readClosed {
		return net.ErrClosed
	}
	p.readLimit.set(p, t)
	return nil
}

func (p *pipe) setWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writeClosed {
		return net.ErrClosed
	}
	p.writeLimit.set(p, t)
	return nil
}

// sendLocked puts a segment under way. If the delay has shrunk, it waits behind earlier ones all the same.
func (p *pipe) sendLocked(s segment) {
	now := time.Now()
	s.at = now.Add(p.delay)
	p.flying = append(p.flying, s)
	p.waiting += len(s.data)
	if wait := s.at.Sub(now); wait > 0 {
		time.AfterFunc(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.landLocked()
		})
		return
	}
	p.landLocked()
}

// landLocked hands over the segments whose time has come, unless the way is cut: then they wait for its end, as
// what a transmission repeats does.
func (p *pipe) landLocked() {
	now, k := time.Now(), 0
	for ; !p.cut && k < len(p.flying) && !p.flying[k].at.After(now); k++ {
		s := p.flying[k]
		p.waiting -= len(s.data)
		p.ended = p.ended || s.end
		if !p.readClosed {
			p.arrived.Write(s.data)
		}
	}
	if k == 0 {
		return
	}
	p.flying = append(p.flying[:0], p.flying[k:]...)
	p.cond.Broadcast()
}

// deadline is a time limit of one direction. Its fields are guarded by the pipe's lock.
type deadline struct {
	timer  *time.Timer
	turn   uint64 // a timer of an earlier turn has no say
	passed bool
}

func (d *deadline) set(p *pipe, t time.Time) {
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		p.cond.Broadcast()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if d.turn == turn {
			d.passed = true
			p.cond.Broadcast()
		}
	})
}

func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
	}
}
