package simulation

// network carries messages between nodes: late, out of order, twice or not at all. A message finds a node that has been
// started again as well.
type network struct {
	w    *world
	cuts [maxNodes]members // for each sender, whom it doesn't reach
}

func (nw *network) delay() micros {
	p := &nw.w.p
	d := p.delay/4 + nw.w.about(p.delay)
	if nw.w.chance(p.late) {
		d += nw.w.upTo(p.tail)
	}
	return d
}

// send brings about an arrival at a node. It may happen twice and must not change what it has captured.
func (nw *network) send(from, to int, arrive func(*node)) { nw.carry(from, to, true, arrive) }

// answer is send for what happens at most once.
func (nw *network) answer(from, to int, arrive func(*node)) { nw.carry(from, to, false, arrive) }

func (nw *network) carry(from, to int, twice bool, arrive func(*node)) {
	w := nw.w
	n := w.nodes[to]
	do := func() { arrive(n) }
	if from == to {
		w.timeline.add(occurrence{at: w.now, node: n, do: do})
		return
	}
	w.counts.Messages++
	if nw.cuts[from].has(to) || w.chance(w.p.loss) {
		w.counts.Lost++
		return
	}
	w.timeline.add(occurrence{at: w.now + nw.delay(), node: n, do: do})
	if twice && w.chance(w.p.doubled) {
		w.counts.Doubled++
		w.timeline.add(occurrence{at: w.now + nw.delay() + w.upTo(w.p.tail), node: n, do: do})
	}
}

// direction says which messages a cut stops.
type direction int

const (
	bothWays direction = iota
	outwards
	inwards
	directions
)

// cut parts some nodes from the others until all cuts are healed.
func (nw *network) cut(some members, d direction) {
	for from := range maxNodes {
		for to := range maxNodes {
			out, in := some.has(from) && !some.has(to), !some.has(from) && some.has(to)
			if out && d != inwards || in && d != outwards {
				nw.cuts[from].add(to)
			}
		}
	}
}

func (nw *network) heal() { nw.cuts = [maxNodes]members{} }
