// Package clustertest owns an in-memory network for tests of several nodes in one process: hosts, connections,
// packets, delay, loss, cuts and power failures. It does not know what is sent over it, and starts no node.
//
// Everything that waits here waits on a channel, a sync.Cond or a timer, so it is durably blocked in the sense of
// testing/synctest: a whole cluster runs in fake time. Make the network inside the bubble, best by Run. Its only
// random source is the seed; the order in which goroutines run stays the scheduler's.
package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Network joins hosts. All its methods may be called at any time, from any goroutine of its bubble.
//
// Lock order: Network.mu, then pipe.mu. Neither is held while anything waits.
type Network struct {
	mu       sync.Mutex
	random   *rand.Rand
	hosts    map[string]*Host
	services map[string][]*net.SRV
	order    []*Host // in order of making: the index decides the IP address
	conns    map[*conn]struct{}
	cuts     map[[2]string]bool
	groups   map[string]int // nil: no partition. Hosts without an entry are group 0
	delay    time.Duration
	lag      map[[2]string]time.Duration
	loss     float64
	lost     int // packets
	closed   bool
	changed  chan struct{} // closed and replaced whenever who reaches whom may have changed
}

// NewNetwork makes a network without delay, loss or cuts. The seed decides which packets are lost.
func NewNetwork(seed int64) *Network {
	return &Network{
		random:   rand.New(rand.NewPCG(uint64(seed), 0)),
		hosts:    map[string]*Host{},
		services: map[string][]*net.SRV{},
		conns:    map[*conn]struct{}{},
		cuts:     map[[2]string]bool{},
		lag:      map[[2]string]time.Duration{},
		changed:  make(chan struct{}),
	}
}

// Host returns the host of that name and makes it if there is none. The name is its address ("n1:7000" is port 7000
// of host n1); it also has an IP address, in order of making, for those that cannot do with names.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h, ok := n.hosts[name]; ok {
		return h
	}
	i := len(n.order) + 1
	h := &Host{
		net:       n,
		name:      name,
		ip:        netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}),
		nextPort:  firstDialled,
		listeners: map[uint16]*listener{},
		gossips:   map[uint16]*transport{},
	}
	n.hosts[name] = h
	n.order = append(n.order, h)
	return h
}

// Partition lets hosts reach each other only within a group. Hosts that are named in no group are one more group.
// It replaces an earlier partition and leaves single cuts as they are.
func (n *Network) Partition(groups ...[]string) {
	n.change(func() {
		n.groups = map[string]int{}
		for i, g := range groups {
			for _, name := range g {
				n.groups[name] = i + 1
			}
		}
	})
}

// Cut stops everything on the way from one host to the other; the way back stays open. Connections stall: what is
// written stays in the buffer until Heal, and the reader waits for it until its deadline. What has arrived before
// the cut can still be read.
func (n *Network) Cut(from, to string) {
	n.change(func() { n.cuts[[2]string{from, to}] = true })
}

// Heal ends all cuts and partitions. Stalled bytes arrive now; packets were lost.
func (n *Network) Heal() {
	n.change(func() {
		clear(n.cuts)
		n.groups = nil
	})
}

// SetDelay sets the one-way time of packets and bytes between different hosts. What is under way keeps its time.
func (n *Network) SetDelay(d time.Duration) {
	n.change(func() { n.delay = d })
}

// SetLag adds to the time of what one host sends to the other; the way back stays as it is. Zero ends that.
func (n *Network) SetLag(from, to string, d time.Duration) {
	n.change(func() { n.lag[[2]string{from, to}] = d })
}

// SetLoss sets the share of packets (0 to 1) that are lost between different hosts. Connections lose nothing.
func (n *Network) SetLoss(p float64) {
	n.change(func() { n.loss = p })
}

// Lost returns how many packets were lost by chance, those to hosts that can't be reached left out.
func (n *Network) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// Close resets all connections, closes all listeners and transports and ends all dialling, so that whatever still
// waits on the network goes on.
func (n *Network) Close() {
	n.change(func() { n.closed = true })
	n.mu.Lock()
	hosts := n.order
	n.mu.Unlock()
	for _, h := range hosts {
		h.Down()
	}
}

// change runs f under the lock, then tells the connections and those who wait.
func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	for c := range n.conns {
		n.tuneLocked(c)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// tuneLocked gives what one end sends the state of its way; the other end is in conns as well.
func (n *Network) tuneLocked(c *conn) {
	c.out.tune(n.delayLocked(c.host, c.peer), !n.reachesLocked(c.host, c.peer))
}

func (n *Network) delayLocked(from, to *Host) time.Duration {
	if from == to {
		return 0
	}
	return n.delay + n.lag[[2]string{from.name, to.name}]
}

// reachesLocked says whether anything sent by the one arrives at the other.
func (n *Network) reachesLocked(from, to *Host) bool {
	if from.down || to.down {
		return false
	}
	if from == to {
		return true
	}
	return !n.cuts[[2]string{from.name, to.name}] && n.groups[from.name] == n.groups[to.name]
}

// resolve finds the host and port that an address names, seen from a host: an empty host, localhost and the loopback
// and unspecified addresses mean that host itself.
func (n *Network) resolve(from *Host, addr string) (h *Host, port uint16, loopback bool, err error) {
	name, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, 0, false, err
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, 0, false, fmt.Errorf("port of %q: %w", addr, err)
	}
	ip, ipErr := netip.ParseAddr(name)
	loopback = name == "localhost" || ipErr == nil && ip.IsLoopback()
	if name == "" || loopback || ipErr == nil && ip.IsUnspecified() {
		return from, uint16(p), loopback, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h, ok := n.hosts[name]; ok {
		return h, uint16(p), false, nil
	}
	for _, h := range n.order {
		if ipErr == nil && h.ip == ip.Unmap() {
			return h, uint16(p), false, nil
		}
	}
	return nil, 0, false, unknownHost(name)
}

// SetService makes targets, each a host with a port, the SRV records of a name; none of them takes the name away.
func (n *Network) SetService(name string, targets ...string) {
	var records []*net.SRV
	for _, target := range targets {
		host, text, err := net.SplitHostPort(target)
		if err != nil {
			panic("BUG: clustertest: target of " + name + ": " + err.Error())
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			panic("BUG: clustertest: target of " + name + ": " + err.Error())
		}
		records = append(records, &net.SRV{Target: host + ".", Port: uint16(port)})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.services[name] = records
}

// LookupSRV answers with the records of SetService, as net.Resolver does where only a name is given.
func (n *Network) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if records := n.services[strings.TrimSuffix(name, ".")]; len(records) > 0 {
		return name, records, nil
	}
	return "", nil, unknownHost(name)
}

// LookupNetIP resolves a host's name, as net.Resolver does.
func (n *Network) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	host = strings.TrimSuffix(host, ".")
	if h, ok := n.hosts[host]; ok {
		return []netip.Addr{h.ip}, nil
	}
	return nil, unknownHost(host)
}

func unknownHost(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}
