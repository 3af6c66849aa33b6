package cluster_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

const (
	clients     = 6
	thinkTime   = 70 * time.Millisecond // at most, between two operations of a client
	crowdUsers  = 4                     // at a time
	callTimeout = 5 * time.Second
	heavyValue  = 2000 // bytes
)

// crowd is the clients of a stage. They come for a scene, with new users each time: a user's history stays short.
type crowd struct {
	s        *stage
	realmRev uint64
	count    atomic.Int64 // operations that have ended
	slowest  atomic.Int64 // of them, since the last reset
	stop     atomic.Bool
	heavy    atomic.Bool // values are long
	group    sync.WaitGroup

	mu     sync.Mutex // never held while anything waits
	random *rand.Rand
	nodes  map[string]*cluster.Cluster // who can be asked
	scene  int
	serial int
	users  []*guest
}

// guest is a user and the sessions that the clients know of.
type guest struct {
	name     string
	sessions []*ticket
}

// ticket is a session as its clients know it.
type ticket struct {
	user string
	key  session.Key
	rev  uint64 // last seen
	idle time.Duration
}

func newCrowd(s *stage) *crowd {
	c := &crowd{s: s, random: rand.New(rand.NewPCG(s.random.Uint64(), 1)), nodes: maps.Clone(s.h.nodes)}
	s.h.until("the realm", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), callTimeout)
		defer cancel()
		return s.h.nodes["n1"].Read(ctx, cluster.Quorum, func(m *session.Machine) {
			realm, _ := m.RealmByName(session.NativeRealm)
			c.realmRev = realm.Rev
		}) == nil
	})
	return c
}

// enter begins a scene.
func (c *crowd) enter() {
	c.mu.Lock()
	c.scene++
	c.users = nil
	for i := range crowdUsers {
		c.users = append(c.users, &guest{name: fmt.Sprintf("u%d.%d", c.scene, i)})
	}
	c.mu.Unlock()
	c.stop.Store(false)
	for i := range clients {
		c.group.Go(func() { c.client(i) })
	}
}

// leave ends it: it returns when the last operation has.
func (c *crowd) leave() {
	c.stop.Store(true)
	c.group.Wait()
}

func (c *crowd) operations() int { return int(c.count.Load()) }

func (c *crowd) add(name string, node *cluster.Cluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[name] = node
}

// remove takes a node from those that are asked.
func (c *crowd) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, name)
}

func (c *crowd) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.nodes))
}

func (c *crowd) intn(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// pick returns a node: mostly the client's own, so that one that does not answer does not stop them all.
func (c *crowd) pick(id int) (string, *cluster.Cluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := slices.Sorted(maps.Keys(c.nodes))
	if len(names) == 0 {
		return "", nil
	}
	name := names[id%len(names)]
	if id >= clients || c.random.IntN(8) == 0 {
		name = names[c.random.IntN(len(names))]
	}
	return name, c.nodes[name]
}

// ticket returns a session of some user; nil: there is none.
func (c *crowd) ticket() (*guest, *ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[c.random.IntN(len(c.users))]
	if len(u.sessions) == 0 {
		return u, nil
	}
	// Mostly the latest: they live, or have just ended.
	n := len(u.sessions)
	return u, u.sessions[max(n-1-c.random.IntN(4), c.random.IntN(n))]
}

// client works until the scene is over.
func (c *crowd) client(id int) {
	for !c.stop.Load() {
		c.operation(id)
		time.Sleep(time.Duration(c.intn(int(thinkTime/time.Millisecond))) * time.Millisecond)
	}
}

// operation is one step of one client. After a logout that was acknowledged it looks at once, elsewhere.
func (c *crowd) operation(id int) {
	u, tk := c.ticket()
	dice := c.intn(1000)
	if tk == nil || dice < 70 {
		c.create(id, u.name, 0)
		return
	}
	switch {
	case dice < 200:
		c.put(id, tk, false)
	case dice < 320:
		c.put(id, tk, true)
	case dice < 340:
		c.delete(id, tk)
	case dice < 800:
		c.get(id, tk, true)
	case dice < 950:
		c.verify(id, tk)
	case dice < 955:
		c.again(id, tk)
	case dice < 996:
		if c.invalidate(id, tk) {
			c.get(id, tk, true)
			c.verify(id, tk)
		}
	default:
		if c.endAll(id, u.name) {
			c.get(id, tk, true)
			c.create(id, u.name, 0)
		}
	}
}

// look gets every session of the scene on every node, when all is well again.
func (c *crowd) look() {
	for _, u := range c.users {
		for _, tk := range u.sessions {
			for _, name := range c.names() {
				c.mu.Lock()
				node := c.nodes[name]
				c.mu.Unlock()
				c.getAt(clients, tk, name, node, false)
			}
		}
	}
}

func (c *crowd) value() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial++
	value := strconv.Itoa(c.serial)
	if c.heavy.Load() {
		value += strings.Repeat(".", heavyValue)
	}
	return value
}
