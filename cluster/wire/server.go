package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloakroom/cluster/session"
)

// server is the accepting end of a stream: it runs a handler for each request, many at a time, and sends what they
// return.
type server struct {
	stream   *stream
	from     Peer
	handler  func(Kind) Handler
	report   func(kind Kind, from Peer, err error) // of a handler's error without a code
	traffic  *counters
	ctx      context.Context // of all handlers
	cancel   context.CancelFunc
	handlers sync.WaitGroup

	mu      sync.Mutex
	running map[uint64]context.CancelFunc
	bytes   int // of the bodies of the running
}

// run serves the connection until it ends. If this node stops, what the handlers return is still sent.
func (s *server) run() {
	var writer sync.WaitGroup
	writer.Go(s.stream.write)
	if err := s.stream.read(s.frame); !errors.Is(err, errClosed) {
		s.stream.end(err)
	}
	s.cancel()
	s.handlers.Wait()
	s.stream.drain()
	writer.Wait()
}

func (s *server) frame(f frame) error {
	switch f.typ {
	case frameRequest:
		return s.request(f)
	case frameCancel:
		s.mu.Lock()
		cancel := s.running[f.id]
		s.mu.Unlock()
		if cancel != nil { // else it is answered already
			cancel()
		}
		return nil
	}
	return errFrame
}

// request starts the handler, or refuses.
func (s *server) request(f frame) error {
	handle := s.handler(f.kind)
	if handle == nil {
		return s.refuse(f.id, ErrUnknownRequest)
	}
	ctx, err := s.enter(f)
	switch {
	case errors.Is(err, ErrOverloaded):
		s.traffic.overloaded.Add(1)
		return s.refuse(f.id, ErrOverloaded)
	case err != nil:
		return err
	}
	s.traffic.served.Add(1)
	s.handlers.Go(func() {
		answer := s.answer(ctx, handle, f)
		// In its place until the answer is queued: a peer that reads no answers gets no more places.
		s.stream.pushWait(outgoing{bytes: answer.encode()})
		s.leave(f)
	})
	return nil
}

// enter takes a place for a request.
func (s *server) enter(f frame) (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.running[f.id]; twice {
		return nil, fmt.Errorf("%w: request %d twice", errFrame, f.id)
	}
	if len(s.running) >= MaxHandlers || s.bytes+len(f.body) > MaxHandlerBytes {
		return nil, ErrOverloaded
	}
	ctx, cancel := patience(s.ctx, f.timeout)
	s.running[f.id] = cancel
	s.bytes += len(f.body)
	return ctx, nil
}

// patience is the context of a handler whose caller waits that long; 0 is without limit.
func patience(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func (s *server) leave(f frame) {
	s.mu.Lock()
	cancel := s.running[f.id]
	delete(s.running, f.id)
	s.bytes -= len(f.body)
	s.mu.Unlock()
	cancel()
}

// answer calls the handler.
func (s *server) answer(ctx context.Context, handle Handler, f frame) *frame {
	body, err := handle(ctx, s.from, f.body)
	if err == nil && len(body) > MaxBody {
		err = ErrTooLarge
	}
	if err == nil {
		return &frame{typ: frameAnswer, id: f.id, body: body}
	}
	e, known := coded(err)
	if !known {
		s.report(f.kind, s.from, err)
	}
	return failure(f.id, e)
}

// refuse answers without a handler. A peer that asks on and reads no answers loses the connection.
func (s *server) refuse(id uint64, e *session.Error) error {
	if !s.stream.push(outgoing{bytes: failure(id, e).encode()}) {
		return fmt.Errorf("answers pile up: %w", ErrOverloaded)
	}
	return nil
}

func failure(id uint64, e *session.Error) *frame {
	return &frame{typ: frameFailure, id: id, code: e.Code, text: e.Message}
}

// rebuild is failure's inverse: errors.Is finds the sentinel of that code again.
func rebuild(f frame) error { return &session.Error{Code: f.code, Message: f.text} }
