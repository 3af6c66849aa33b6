package wire

import (
	"net"
	"slices"
	"sync"
)

// table knows all connections of this node, authenticated or not, and the cluster id. It bounds their number, and
// closes those that turn out to lead to another cluster.
type table struct {
	mu      sync.Mutex
	closed  bool
	cluster string  // "": not known yet
	keys    []KeyID // that peers' certificates may be under

	shaking   map[net.Conn]shaking // below TLS, not through the handshake
	shakingIn int                  // inbound ones of these
	perHost   map[string]int       // inbound ones of these
	open      map[*entry]struct{}  // authenticated
	inbound   int                  // inbound ones of these
	count     uint64               // of connections, ever; orders them by age
}

// shaking is a connection that is not through its handshake.
type shaking struct {
	host   string // "" for one that this node dialed
	number uint64
}

// entry is one authenticated connection.
type entry struct {
	raw     net.Conn
	kind    byte
	inbound bool
	peer    string  // node id
	ownKey  KeyID   // that this node's certificate is under
	peerKey KeyID   // that the peer's certificate is under
	stream  *stream // nil for raft

	// Guarded by table.mu.
	cluster   string // of the peer, as far as it has told us
	announced string // our own, as far as we have told the peer
	number    uint64
}

// newTable makes a table that admits nobody: setKeys is to follow.
func newTable() *table {
	return &table{
		shaking: make(map[net.Conn]shaking),
		perHost: make(map[string]int),
		open:    make(map[*entry]struct{}),
	}
}

// end closes the connection.
func (e *entry) end(why error) {
	if e.stream != nil {
		e.stream.end(why)
		return
	}
	_ = e.raw.Close() // nobody can use an error of it
}

// begin takes a connection into the handshake. host is "" for one that this node dialed: strangers must not keep it
// from that. Inbound ones beyond the limits turn the oldest out, which is returned: its handshake fails.
func (t *table) begin(raw net.Conn, host string) (crowded bool, err error) {
	oldest, err := t.enter(raw, host)
	if oldest != nil {
		_ = oldest.Close() // it is a stranger's
	}
	return oldest != nil, err
}

func (t *table) enter(raw net.Conn, host string) (oldest net.Conn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	switch {
	case host == "":
	case t.perHost[host] >= MaxHandshakesPerHost:
		oldest = t.oldestLocked(host)
	case t.shakingIn >= MaxHandshakes:
		oldest = t.oldestLocked("")
	}
	t.leaveLocked(oldest)
	t.count++
	t.shaking[raw] = shaking{host, t.count}
	if host != "" {
		t.shakingIn++
		t.perHost[host]++
	}
	return oldest, nil
}

// oldestLocked returns the inbound connection from the host, or from any, that is longest in its handshake.
func (t *table) oldestLocked(host string) net.Conn {
	var oldest net.Conn
	for raw, s := range t.shaking {
		if s.host != "" && (host == "" || s.host == host) && (oldest == nil || s.number < t.shaking[oldest].number) {
			oldest = raw
		}
	}
	return oldest
}

// finish takes a connection out of the handshake, whatever came of it.
func (t *table) finish(raw net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveLocked(raw)
}

func (t *table) leaveLocked(raw net.Conn) {
	s, ok := t.shaking[raw]
	if !ok {
		return
	}
	delete(t.shaking, raw)
	if s.host == "" {
		return
	}
	t.shakingIn--
	if t.perHost[s.host]--; t.perHost[s.host] == 0 {
		delete(t.perHost, s.host)
	}
}

// admit takes in a connection whose peer has shown who it is. For an inbound one it returns the cluster id that the
// peer is to be told; a dialer has told its own before, and the peer is told here if that has changed.
func (t *table) admit(e *entry) (cluster string, err error) {
	old, cluster, err := t.insert(e)
	if old != nil {
		old.end(errReplaced)
	}
	return cluster, err
}

func (t *table) insert(e *entry) (replaced *entry, cluster string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, "", errClosed
	case foreign(t.cluster, e.cluster):
		return nil, "", ErrOtherCluster
	case !slices.Contains(t.keys, e.peerKey): // taken out while the handshake went on
		return nil, "", ErrOtherKey
	case e.inbound && t.inbound >= MaxInbound:
		return nil, "", ErrOverloaded
	}
	if e.inbound {
		e.announced = t.cluster
		t.inbound++
		replaced = t.surplus(e)
	}
	if !t.announce(e) {
		return nil, "", errEnded
	}
	t.leaveLocked(e.raw) // it is no stranger's, and must not be turned out for one
	t.count++
	e.number = t.count
	t.open[e] = struct{}{}
	return replaced, t.cluster, nil
}

// surplus is the oldest inbound stream of e's peer, if it has too many with e.
func (t *table) surplus(e *entry) *entry {
	if e.stream == nil {
		return nil
	}
	var oldest *entry
	n := 1
	for o := range t.open {
		if o.inbound && o.stream != nil && o.peer == e.peer {
			n++
			if oldest == nil || o.number < oldest.number {
				oldest = o
			}
		}
	}
	if n <= MaxStreamsPerPeer {
		return nil
	}
	return oldest
}

// announce tells the peer of e our cluster id if it does not know it. False: it can't be told, and the connection must
// go. So it is with raft's, which carry raft's bytes only; raft dials again, with the new id in the hello.
func (t *table) announce(e *entry) bool {
	if e.announced == t.cluster {
		return true
	}
	if e.stream == nil {
		return false
	}
	e.announced = t.cluster
	return e.stream.push(outgoing{bytes: (&frame{typ: frameCluster, text: t.cluster}).encode()})
}

// remove forgets a connection that has ended.
func (t *table) remove(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[e]; !ok {
		return
	}
	delete(t.open, e)
	if e.inbound {
		t.inbound--
	}
}

// setCluster sets this node's cluster id, tells it to the peers, and closes the connections to foreign ones.
func (t *table) setCluster(id string) {
	var foreigners, untold []*entry
	t.mu.Lock()
	t.cluster = id
	for e := range t.open {
		switch {
		case foreign(id, e.cluster):
			foreigners = append(foreigners, e)
		case !t.announce(e):
			untold = append(untold, e)
		}
	}
	t.mu.Unlock()
	for _, e := range foreigners {
		e.end(ErrOtherCluster)
	}
	for _, e := range untold {
		e.end(errEnded)
	}
}

// setKeys sets the keys that peers' certificates may be under, and closes the connections of the others.
func (t *table) setKeys(keys []KeyID) {
	var gone []*entry
	t.mu.Lock()
	t.keys = keys
	for e := range t.open {
		if !slices.Contains(keys, e.peerKey) {
			gone = append(gone, e)
		}
	}
	t.mu.Unlock()
	for _, e := range gone {
		e.end(errOldKey)
	}
}

// peerCluster notes what the peer of e has told of its cluster.
func (t *table) peerCluster(e *entry, id string) {
	t.mu.Lock()
	e.cluster = id
	bad := foreign(t.cluster, id)
	t.mu.Unlock()
	if bad {
		e.end(ErrOtherCluster)
	}
}

func (t *table) ownCluster() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cluster
}

// endRaft closes raft's connections.
func (t *table) endRaft() {
	for _, e := range t.entries() {
		if e.stream == nil {
			e.end(errClosed)
		}
	}
}

// close refuses all further connections, and ends those that there are: inbound streams when their handlers have
// answered, the others at once. It reports false if that was done before.
func (t *table) close() bool {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return false
	}
	t.closed = true
	for raw := range t.shaking {
		_ = raw.Close() // nobody can use an error of it
	}
	t.mu.Unlock()
	for _, e := range t.entries() {
		if e.inbound && e.stream != nil {
			e.stream.stop()
		} else {
			e.end(errClosed)
		}
	}
	return true
}

func (t *table) entries() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*entry, 0, len(t.open))
	for e := range t.open {
		list = append(list, e)
	}
	return list
}
