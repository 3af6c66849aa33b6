package consensus

import (
	"container/heap"
	"context"
	"sync"
)

// waiters are those who wait for an index to be applied. Each is woken once, when its own index is reached.
type waiters struct {
	mu   sync.Mutex
	heap waiterHeap
}

type waiter struct {
	index   uint64
	reached chan struct{}
	place   int // in the heap, -1: no longer in it
}

// wait returns when applied() has reached index. The caller of reached stores its index before it calls.
func (w *waiters) wait(ctx context.Context, halted <-chan struct{}, index uint64, applied func() uint64) error {
	w.mu.Lock()
	if applied() >= index {
		w.mu.Unlock()
		return nil
	}
	me := &waiter{index: index, reached: make(chan struct{})}
	heap.Push(&w.heap, me)
	w.mu.Unlock()
	select {
	case <-me.reached:
		return nil
	case <-ctx.Done():
		w.leave(me)
		return ctx.Err()
	case <-halted:
		w.leave(me)
		return ErrShutdown
	}
}

func (w *waiters) leave(me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.place >= 0 {
		heap.Remove(&w.heap, me.place)
	}
}

// reached wakes those who wait for index or less.
func (w *waiters) reached(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.heap) > 0 && w.heap[0].index <= index {
		close(heap.Pop(&w.heap).(*waiter).reached)
	}
}

// waiterHeap has the lowest index first.
type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }

func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.place = -1
	return w
}

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
