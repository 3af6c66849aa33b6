package lookup

import (
	"context"
	"runtime"
	"sync"

	"cloakroom/cluster/wire"
)

// shared runs rounds one after another, each for all callers that came before it began.
type shared struct {
	do func(ctx context.Context) (uint64, error)

	mu   sync.Mutex
	next *round // the round that has not begun; nil: nobody waits

	wake   chan struct{} // capacity 1
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

func newShared(do func(ctx context.Context) (uint64, error)) *shared {
	s := &shared{do: do, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *shared) open() { s.group.Go(s.run) }

func (s *shared) close() {
	s.cancel()
	s.group.Wait()
}

// get waits for a round that begins after the call.
func (s *shared) get(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	r := s.next
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, wire.ErrTimeout
	case <-s.ctx.Done():
		return 0, wire.ErrNoLeader
	}
}

func (s *shared) run() {
	for {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		// Who has come by now, but has not been let run yet, is to share this round and not the next one: where many ask, a
		// round costs more than a turn of the scheduler, and where few do, there is nobody to wait for.
		runtime.Gosched()
		s.mu.Lock()
		r := s.next
		s.next = nil
		s.mu.Unlock()
		r.index, r.err = s.do(s.ctx)
		close(r.done)
	}
}
