package roster

import "sync"

// Book knows where each node is reached: node id to the address of its peer port.
type Book struct {
	mu    sync.RWMutex
	addrs map[string]string
}

// NewBook makes an empty book.
func NewBook() *Book { return &Book{addrs: make(map[string]string)} }

// Lookup returns the address of a node, "" if it is not known.
func (b *Book) Lookup(id string) string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.addrs[id]
}

// Set notes where a node is reached.
func (b *Book) Set(id, addr string) {
	if id == "" || addr == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs[id] = addr
}

// SetNew notes where a node is reached if nothing is known of it: from older knowledge than gossip's.
func (b *Book) SetNew(id, addr string) {
	if b.Lookup(id) == "" {
		b.Set(id, addr)
	}
}
