package gossip

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// rejoin looks for the seeds until the node leaves: again and again, because members that have lost each other for
// longer than gossipToTheDead never try again by themselves.
func (g *Gossip) rejoin(ctx context.Context) {
	found, wait := false, firstRetry // later the wait is aloneRetry, and most rounds find that nothing is due
	var last, warned time.Time
	for ctx.Err() == nil {
		alone, contested := g.list.NumMembers() == 1, g.delegate.contested.Swap(false)
		if alone || contested || time.Since(last) >= rejoinEvery {
			last = time.Now()
			tried, answered := g.contact(ctx, contested)
			switch {
			case answered > 0 && !found:
				found = true
				g.logger.Info("found other nodes", "answered", answered, "tried", tried)
			case answered == 0 && tried > 0 && ctx.Err() == nil && time.Since(warned) >= rejoinEvery:
				warned = last
				g.logger.Warn("no seed answers", "tried", tried)
			}
		}
		timer := time.NewTimer(wait)
		wait = min(wait*3/2, aloneRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// contact joins all seeds and the failed members at once, or with all members. A round takes two stream timeouts and
// a lookup at most.
func (g *Gossip) contact(ctx context.Context, all bool) (tried, answered int) {
	addrs, nameless := g.addresses(ctx, all)
	var group sync.WaitGroup
	var good atomic.Int64
	for addr := range addrs {
		group.Go(func() {
			// The reason is in memberlist's log, at debug level; most seeds that fail are simply not up.
			if n, _ := g.list.Join([]string{addr}); n > 0 {
				good.Add(1)
			}
		})
	}
	group.Wait()
	tried, answered = len(addrs)+nameless, int(good.Load())
	g.table.count(func(s *Stats) {
		s.JoinAttempts += uint64(tried)
		s.JoinFailures += uint64(tried - answered)
	})
	return tried, answered
}

// addresses resolves the seeds anew each time, because names move, and adds failed members, because seeds age. While
// an old address of ours is believed, it adds the others too: each of them gives it up at its own time. It also counts
// the seeds that have no address.
func (g *Gossip) addresses(ctx context.Context, all bool) (addrs map[string]struct{}, nameless int) {
	addrs = map[string]struct{}{}
	add := func(addr string) {
		if addr != g.addr && len(addrs) < maxAddrs {
			addrs[addr] = struct{}{}
		}
	}
	for _, seed := range g.seeds {
		host, port, err := splitAddr(seed)
		if err != nil {
			panic("BUG: seed was not validated: " + err.Error())
		}
		ips, err := lookup(ctx, g.resolver, host)
		if err != nil {
			g.logger.Debug("seed has no address", "seed", seed, "error", err)
			nameless++
			continue
		}
		for _, ip := range ips[:min(len(ips), maxPerSeed)] {
			add(netip.AddrPortFrom(ip, port).String())
		}
	}
	for _, m := range g.Members() {
		if all || m.State == StateFailed {
			add(m.GossipAddr)
		}
	}
	return addrs, nameless
}
