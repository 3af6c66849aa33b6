package propose

import "sync"

// pool is what waits at the leader for its entry, from all nodes, in the order in which it came. Whoever adds a command
// does not wake the merger for each, but when as much waits as the merger has said that it wants.
type pool struct {
	wake chan struct{} // capacity 1: what is wanted is there

	mu     sync.Mutex
	calls  []*call
	bytes  int
	own    int // of calls, those of this node's callers
	wanted int // wake when so many wait, or as many bytes as an entry may have; 0: nobody waits
	closed bool
}

func newPool() *pool { return &pool{wake: make(chan struct{}, 1)} }

// addOwn takes a command of this node's callers: queued, or the verdict why not.
func (p *pool) addOwn(c *call) verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return notAppended
	case p.own >= MaxQueue || len(p.calls) >= MaxMergeQueue:
		return overloaded
	}
	c.own = true
	p.own++
	p.addLocked(c)
	return queued
}

// add takes commands of another node, as many as there is room for, and returns how many. What it did not take is
// certainly not proposed.
func (p *pool) add(calls []*call) (taken int, left verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, notAppended
	}
	taken = min(len(calls), MaxMergeQueue-len(p.calls))
	for _, c := range calls[:taken] {
		p.addLocked(c)
	}
	return taken, overloaded
}

func (p *pool) addLocked(c *call) {
	p.calls = append(p.calls, c)
	p.bytes += c.size
	if p.wanted > 0 && p.enoughLocked(p.wanted) {
		p.wanted = 0
		signal(p.wake)
	}
}

func (p *pool) enoughLocked(n int) bool { return len(p.calls) >= n || p.bytes >= MaxEntryBytes }

// enough reports whether so many commands wait, or an entry full of bytes. If not, wake tells when they do.
func (p *pool) enough(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.enoughLocked(n) {
		p.wanted = 0
		return true
	}
	p.wanted = n
	return false
}

// take takes what fits into one entry, and drops what was given up.
func (p *pool) take() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	size, n := 0, 0
	for n < len(p.calls) && n < MaxEntryCommands && (n == 0 || size+p.calls[n].size <= MaxEntryBytes) {
		size += p.calls[n].size
		if p.calls[n].own {
			p.own--
		}
		n++
	}
	batch := make([]*call, 0, n)
	for _, c := range p.calls[:n] {
		if c.send() {
			batch = append(batch, c)
		}
	}
	rest := copy(p.calls, p.calls[n:])
	clear(p.calls[rest:])
	p.calls, p.bytes = p.calls[:rest], p.bytes-size
	return batch
}

// close takes nothing any more and returns what is left.
func (p *pool) close() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.calls
	p.calls, p.bytes, p.own, p.closed = nil, 0, 0, true
	return left
}

// waiting returns how many commands of this node's callers wait.
func (p *pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own
}

// signal wakes whoever reads the channel, which has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
