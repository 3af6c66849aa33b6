// Package watermark owns one number that only grows, and those who wait for it to reach theirs. It does not know what the
// number counts.
package watermark

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrHalted says that what the number counts has come to its end: the number waited for may never be reached.
var ErrHalted = errors.New("halted")

// Mark is the number. Its zero value is ready for use, and it must not be copied. Its methods may be called at any time
// from any goroutine.
type Mark struct {
	value atomic.Uint64

	mu      sync.Mutex
	waiting waiters // guarded by mu
}

// Load returns the number. Whatever happened before Raise is visible to who has loaded the number that it raised to.
func (m *Mark) Load() uint64 { return m.value.Load() }

// Raise makes the number n unless it is that or higher, and wakes those who wait for n or less.
func (m *Mark) Raise(n uint64) {
	for {
		value := m.value.Load()
		if value >= n {
			return
		}
		if m.value.CompareAndSwap(value, n) {
			break
		}
	}
	// Who has not seen the number yet is in the heap by now, or looks again as soon as the lock is free.
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waiting) > 0 && m.waiting[0].until <= n {
		close(heap.Pop(&m.waiting).(*waiter).reached)
	}
}

// Wait returns nil when the number has reached n, though ctx may be done by then, and else the error of ctx, or ErrHalted
// when halted is closed. Halted may be nil. Each is woken once, at its own number, the lowest first.
func (m *Mark) Wait(ctx context.Context, halted <-chan struct{}, n uint64) error {
	if m.Load() >= n {
		return nil
	}
	m.mu.Lock()
	if m.Load() >= n {
		m.mu.Unlock()
		return nil
	}
	me := &waiter{until: n, reached: make(chan struct{})}
	heap.Push(&m.waiting, me)
	m.mu.Unlock()
	var err error
	select {
	case <-me.reached:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-halted:
		err = ErrHalted
	}
	m.leave(me)
	if m.Load() >= n {
		return nil // both at the same moment
	}
	return err
}

func (m *Mark) leave(me *waiter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if me.place >= 0 {
		heap.Remove(&m.waiting, me.place)
	}
}

type waiter struct {
	until   uint64
	reached chan struct{}
	place   int // in the heap, -1: no longer in it
}

// waiters is a heap that has the lowest number first.
type waiters []*waiter

var _ heap.Interface = (*waiters)(nil)

func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return h[i].until < h[j].until }

func (h waiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push adds a waiter; it is for container/heap.
func (h *waiters) Push(x any) {
	w := x.(*waiter)
	w.place = len(*h)
	*h = append(*h, w)
}

// Pop takes the last one off; it is for container/heap.
func (h *waiters) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.place = -1
	return w
}
