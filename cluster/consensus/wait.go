package consensus

import "sync"

// broadcast wakes everybody who holds its channel.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *broadcast) init() { b.ch = make(chan struct{}) }

func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ch)
	b.ch = make(chan struct{})
}

// gate counts what is in flight, up to MaxPending, and says when nothing is any more.
type gate struct {
	mu     sync.Mutex
	count  int
	closed bool
	empty  chan struct{} // closed when the gate is closed and the count is zero
}

func (g *gate) init() { g.empty = make(chan struct{}) }

// enter admits one, or says why not: ErrShutdown or ErrBusy.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return ErrShutdown
	case g.count == MaxPending:
		return ErrBusy
	}
	g.count++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.closed && g.count == 0 {
		close(g.empty)
	}
}

// shut admits nobody any more and returns a channel that is closed when all have left. It is called once.
func (g *gate) shut() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.count == 0 {
		close(g.empty)
	}
	return g.empty
}

func (g *gate) pending() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}
