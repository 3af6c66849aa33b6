package guard

import (
	"sync"
	"time"
)

// watch calls a function every CheckInterval until it is closed.
type watch struct {
	stop  chan struct{}
	group sync.WaitGroup
}

func newWatch() *watch { return &watch{stop: make(chan struct{})} }

func (w *watch) start(look func()) {
	w.group.Go(func() {
		ticker := time.NewTicker(CheckInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				look()
			case <-w.stop:
				return
			}
		}
	})
}

// close stops and waits. It is called once.
func (w *watch) close() {
	close(w.stop)
	w.group.Wait()
}
