package simulation

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"cloakroom/cluster/lease"
)

// Options says how a history is played.
type Options struct {
	Breaks Breaks
	Calm   bool      // no faults: progress alone
	Trace  io.Writer // nil: none
}

// Outcome is what came of a history.
type Outcome struct {
	Seed   uint64
	Counts Counts
	// What is wrong, each "" if nothing is. A history that breaks the invariant may still look right to its clients.
	Order, Versions, Uses, Invariant string
}

// Visible reports whether clients could see something wrong.
func (o Outcome) Visible() bool { return o.Order != "" || o.Versions != "" || o.Uses != "" }

// Wrong reports whether anything was wrong.
func (o Outcome) Wrong() bool { return o.Visible() || o.Invariant != "" }

func (o Outcome) String() string {
	parts := []string{fmt.Sprintf("seed %d", o.Seed)}
	for _, s := range []string{o.Order, o.Versions, o.Uses, o.Invariant} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "; ")
}

// Run plays the history of a seed and judges it.
func Run(seed uint64, o Options) Outcome {
	w := newWorld(seed, o)
	w.play()
	return w.judge.verdict()
}

// world is a history while it is played.
type world struct {
	seed     uint64
	p        parameters
	breaks   Breaks
	random   *rand.Rand
	now      micros
	timeline timeline
	network  network
	nodes    [maxNodes]*node
	clients  clients
	faults   faults
	judge    judge
	uses     uses
	counts   Counts
	trace    io.Writer
}

func newWorld(seed uint64, o Options) *world {
	w := &world{seed: seed, breaks: o.Breaks, trace: o.Trace}
	w.random = rand.New(rand.NewPCG(seed, 0xc10a))
	w.p = chooseParameters(w.random)
	if o.Calm {
		w.p.calm()
	}
	w.counts.Histories = 1
	w.network.w = w
	w.clients.w = w
	w.faults.w = w
	w.judge.w = w
	w.uses = uses{w: w, random: rand.New(rand.NewPCG(seed, 0x1d1e))}
	if w.trace != nil {
		w.tell("parameters %+v", w.p)
	}
	for i := range w.nodes {
		w.nodes[i] = newNode(w, i)
	}
	for _, n := range w.nodes {
		n.start()
	}
	first := w.nodes[w.random.IntN(3)]
	w.later(1, first.raft.campaign)
	w.clients.open()
	w.uses.open()
	if !o.Calm {
		w.later(w.p.duration/3, w.faults.open)
	}
	return w
}

// play lets happen what is scheduled until the history is over.
func (w *world) play() {
	for {
		o, ok := w.timeline.next()
		if !ok || o.at > w.p.length {
			break
		}
		w.now = o.at
		if n := o.node; n != nil {
			if !n.up || o.life != 0 && o.life != n.life {
				continue
			}
			if n.pausedUntil > w.now {
				o.at = n.pausedUntil + w.upTo(100)
				w.timeline.add(o)
				continue
			}
		}
		o.do()
	}
	w.now = w.p.length
}

// later lets something happen in the world.
func (w *world) later(d micros, do func()) { w.timeline.add(occurrence{at: w.now + d, do: do}) }

func (w *world) upTo(d micros) micros {
	if d <= 0 {
		return 0
	}
	return micros(w.random.Int64N(int64(d)))
}

// about returns a time with that mean.
func (w *world) about(mean micros) micros { return micros(w.random.ExpFloat64() * float64(mean)) }

func (w *world) chance(p float64) bool { return p > 0 && w.random.Float64() < p }

// clockRate returns a rate that differs from any other by less than ε.
func (w *world) clockRate() float64 {
	widest := float64(w.p.rate) / 1000 * 0.995
	return 1 + widest*choose(w.random, 0, 1, w.random.Float64())
}

// leader returns the node that leads the highest term, or nil.
func (w *world) leader() *node {
	var best *node
	for _, n := range w.nodes {
		if n.up && n.raft.role == leader && (best == nil || n.raft.term > best.raft.term) {
			best = n
		}
	}
	return best
}

// index returns which node has that id.
func (w *world) index(id string) (int, bool) {
	for i, n := range w.nodes {
		if n.id == id {
			return i, true
		}
	}
	return 0, false
}

// tell writes a line of the trace.
func (w *world) tell(format string, args ...any) {
	if w.trace == nil {
		return
	}
	_, _ = fmt.Fprintf(w.trace, "%9.3f ms  %s\n", float64(w.now)/1000, fmt.Sprintf(format, args...)) // a trace is for people: they see what is missing
}

func (w *world) leaseConfig(id string) lease.Config {
	return lease.Config{
		Self:     id,
		Duration: w.p.duration.real(),
		Rate:     w.p.rate,
		Margin:   w.p.margin.real(),
		MaxLag:   w.p.maxLag,
	}
}
