package gossip

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/seed"
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
			tried, answered, why := g.contact(ctx, contested)
			switch {
			case answered > 0 && !found:
				found = true
				g.logger.Info("found other nodes", "answered", answered, "tried", tried)
			case answered == 0 && tried > 0 && ctx.Err() == nil && time.Since(warned) >= rejoinEvery:
				warned = last
				about := []any{"tried", tried}
				if why != nil {
					about = append(about, "error", why)
				}
				g.logger.Warn("no seed answers", about...)
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
// two lookups at most. why is the first reason of a seed without an address.
func (g *Gossip) contact(ctx context.Context, all bool) (tried, answered int, why error) {
	addrs, nameless, why := g.addresses(ctx, all)
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
	return tried, answered, why
}

// addresses resolves the seeds anew each time, because names move, and adds failed members, because seeds age. While
// an old address of ours is believed, it adds the others too: each of them gives it up at its own time. It also counts
// the seeds that have no address.
func (g *Gossip) addresses(ctx context.Context, all bool) (addrs map[string]struct{}, nameless int, why error) {
	addrs = map[string]struct{}{}
	add := func(addr string) {
		if addr != g.addr && len(addrs) < maxAddrs {
			addrs[addr] = struct{}{}
		}
	}
	found, errs := g.lookup(ctx)
	for i, s := range g.seeds {
		if errs[i] != nil {
			g.logger.Debug("a seed's name has no address", "seed", s, "error", errs[i])
		}
		if len(found[i]) == 0 {
			nameless++
		}
		for _, addr := range found[i] {
			add(addr.String())
		}
	}
	for _, m := range g.Members() {
		if all || m.State == StateFailed {
			add(m.GossipAddr)
		}
	}
	return addrs, nameless, seed.First(errs)
}

// lookup asks for the addresses of all seeds at once, so that one whose name server is silent does not hold up the others.
func (g *Gossip) lookup(ctx context.Context) (found [][]netip.AddrPort, errs []error) {
	found, errs = make([][]netip.AddrPort, len(g.seeds)), make([]error, len(g.seeds))
	var group sync.WaitGroup
	for i, s := range g.seeds {
		group.Go(func() { found[i], errs[i] = s.Addresses(ctx, g.resolver) })
	}
	group.Wait()
	return found, errs
}
