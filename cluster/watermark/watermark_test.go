package watermark

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

func left(m *Mark) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting)
}

// Each is woken when his own number is reached, and nobody before.
func TestWakesInOrder(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var m Mark
		woken := make(chan uint64, 20)
		for n := uint64(20); n > 0; n-- {
			go func() {
				if err := m.Wait(t.Context(), nil, n); err != nil {
					t.Error(err)
				}
				woken <- n
			}()
		}
		synctest.Wait()
		for n := uint64(1); n <= 18; n++ {
			m.Raise(n)
			synctest.Wait()
			if len(woken) != 1 {
				t.Fatalf("at %d: %d were woken", n, len(woken))
			}
			if got := <-woken; got != n {
				t.Fatalf("%d woke the wait for %d", n, got)
			}
		}
		m.Raise(30) // several at once
		synctest.Wait()
		if len(woken) != 2 || left(&m) != 0 {
			t.Errorf("%d were woken, %d are left", len(woken), left(&m))
		}
	})
}

// Who has given up is out of the way of the others, wherever in the heap it was.
func TestGivingUp(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var m Mark
		halted := make(chan struct{})
		errs := make(chan error, 100)
		for n := range uint64(100) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n*37%50)*time.Second)
				defer cancel()
				errs <- m.Wait(ctx, halted, 1+n)
			}()
		}
		synctest.Wait()
		time.Sleep(25*time.Second + time.Millisecond)
		synctest.Wait()
		if len(errs) != 50 || left(&m) != 50 {
			t.Fatalf("%d have given up, %d are left", len(errs), left(&m))
		}
		for range 50 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		}
		m.Raise(50)
		synctest.Wait()
		woken := len(errs)
		for range woken {
			if err := <-errs; err != nil {
				t.Errorf("error %v", err)
			}
		}
		for _, w := range m.waiting {
			if w.until <= 50 {
				t.Errorf("the wait for %d is left", w.until)
			}
		}
		close(halted)
		for range 50 - woken {
			if err := <-errs; !errors.Is(err, ErrHalted) {
				t.Errorf("error %v", err)
			}
		}
		if left(&m) != 0 {
			t.Errorf("%d are left", left(&m))
		}
	})
}

// The number never falls, and a number that is reached is an answer though the context is done and all is halted.
func TestReached(t *testing.T) {
	var m Mark
	m.Raise(10)
	m.Raise(9)
	if m.Load() != 10 {
		t.Errorf("it fell to %d", m.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	halted := make(chan struct{})
	close(halted)
	if err := m.Wait(ctx, halted, 10); err != nil {
		t.Errorf("error %v", err)
	}
	if err := m.Wait(t.Context(), halted, 11); !errors.Is(err, ErrHalted) {
		t.Errorf("error %v, want %v", err, ErrHalted)
	}
	if err := m.Wait(ctx, nil, 11); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// Nobody sleeps through a Raise, from however many goroutines they come. (A lost wake-up ends with the test's time.)
func TestManyRaise(t *testing.T) {
	var m Mark
	const numbers, raisers = 2000, 4
	var group sync.WaitGroup
	for n := uint64(1); n <= numbers; n++ {
		group.Go(func() {
			if err := m.Wait(context.Background(), nil, n); err != nil || m.Load() < n {
				t.Errorf("wait for %d at %d: %v", n, m.Load(), err)
			}
		})
	}
	for r := range raisers {
		group.Go(func() {
			for n := uint64(r); n <= numbers+raisers; n += raisers {
				m.Raise(n)
			}
		})
	}
	group.Wait()
	if left(&m) != 0 {
		t.Errorf("%d are left", left(&m))
	}
}

// Raise is called for each entry of the log, and Wait for each command: without anybody waiting they cost no memory.
func TestNoAllocations(t *testing.T) {
	var m Mark
	n := uint64(0)
	if got := testing.AllocsPerRun(100, func() {
		n++
		m.Raise(n)
		if err := m.Wait(t.Context(), nil, n); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
