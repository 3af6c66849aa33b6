package transport

import (
	"io"
	"sync"
)

// Listeners knows every listener and connection of a server, so that Close can end those that would not end by
// themselves: fasthttp's shutdown waits for them.
type Listeners struct {
	mu     sync.Mutex
	closed bool
	open   map[io.Closer]struct{}
}

// Add takes charge of a listener or connection. It reports false after closeAll: the caller must close it itself.
func (l *Listeners) Add(c io.Closer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.open == nil {
		l.open = map[io.Closer]struct{}{}
	}
	l.open[c] = struct{}{}
	return true
}

func (l *Listeners) remove(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// Held returns how many there are.
func (l *Listeners) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// CloseAll closes what there is, and keeps anything from being added.
func (l *Listeners) CloseAll() {
	l.mu.Lock()
	l.closed = true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		if own, ok := c.(*Conn); ok {
			own.linger.Store(false)
		}
		_ = c.Close() // it is to be gone, whatever it says
	}
}
