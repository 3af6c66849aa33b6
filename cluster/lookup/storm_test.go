package lookup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Whatever happens to nodes, links, offices and clocks, nobody is told less than somebody was told before.
func TestStorm(t *testing.T) {
	var answered Outcomes
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				stormFor(t, w, seed, 10*time.Second)
				for _, n := range w.nodes {
					s := n.reader.Stats()
					answered.Own += s.ByLease.Own
					answered.Waited += s.ByLease.Waited
					answered.Asked += s.ByLease.Asked + s.ByQuorum.Asked
					answered.Refused += s.ByLease.Refused
				}
			})
		})
	}
	t.Logf("%+v", answered)
	if answered.Own < 10*answered.Refused || answered.Waited == 0 || answered.Asked == 0 || answered.Refused == 0 {
		t.Error("the storm does not do what it should")
	}
}

func stormFor(t *testing.T, w *world, seed uint64, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var clients sync.WaitGroup
	for i, id := range append(w.ids, w.ids...) {
		random := rand.New(rand.NewPCG(seed, uint64(i+1)))
		clients.Go(func() { w.client(ctx, random, w.nodes[id]) })
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for pause(ctx, time.Duration(random.IntN(400))*time.Millisecond) {
		w.trouble(random)
	}
	clients.Wait()
}

// client looks keys up, and writes them now and then.
func (w *world) client(ctx context.Context, random *rand.Rand, n *node) {
	for pause(ctx, time.Duration(random.IntN(10))*time.Millisecond) {
		key := string(rune('k' + random.IntN(3)))
		patience, cancel := context.WithTimeout(ctx, time.Second)
		// What is refused is not told to anybody.
		switch random.IntN(12) {
		case 0, 1:
			_ = n.write(patience, key)
		case 2:
			_, _ = n.lookup(patience, Quorum, key)
		default:
			_, _ = n.lookup(patience, Lease, key)
		}
		cancel()
	}
}

// trouble does something to a node.
func (w *world) trouble(random *rand.Rand) {
	n := w.nodes[w.ids[random.IntN(len(w.ids))]]
	length := time.Duration(random.IntN(1500)) * time.Millisecond
	switch random.IntN(9) {
	case 0:
		w.isolate(n.id, true)
		time.AfterFunc(length, func() { w.isolate(n.id, false) })
	case 1:
		w.stall(n.id, true)
		time.AfterFunc(length/3, func() { w.stall(n.id, false) })
	case 2:
		n.locked(func() { n.wallBy += length })
	case 3:
		n.reader.Want(random.IntN(4) > 0)
	case 4:
		n.reader.GiveBack("storm")
	case 5:
		_ = n.reader.HandOver(w.ctx)
		time.Sleep(10 * hop)
		if !w.tryElect(w.ids[random.IntN(len(w.ids))]) {
			n.reader.Resume()
		}
	case 6:
		n.locked(func() { n.lost[KindStable] = !n.lost[KindStable] })
	default:
		w.tryElect(n.id) // else it can't be
	}
}
