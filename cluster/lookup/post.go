package lookup

import (
	"context"
	"sync"
	"time"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/wire"
)

// post brings messages of the lease protocol to other nodes. Of reports and of stable indexes only the newest is worth
// sending: one that comes while others are under way takes the place of the one that waits. It tries nothing again: the
// protocol does.
//
// A node has goroutines here only while there is something to say to it.
type post struct {
	peers   Peers
	timeout time.Duration     // for one message
	granted func(lease.Grant) // takes the answer to a report

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup // added to with mu held and closed unset

	mu     sync.Mutex
	closed bool
	boxes  map[string]*box
}

// box is what one node is to be told.
type box struct {
	report    lease.Report
	reports   bool // report waits
	reporting int  // reports under way

	words    []letter // over and recall, in order
	stable   uint64   // waits, 0: none
	speaking bool     // one of these two is under way
}

// letter is a message to be sent as it is.
type letter struct {
	kind wire.Kind
	body []byte
}

func newPost(peers Peers, timeout time.Duration, granted func(lease.Grant)) *post {
	p := &post{peers: peers, timeout: timeout, granted: granted, boxes: map[string]*box{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// close drops what is merely news, waits for the rest as long as it is given, and stops.
func (p *post) close(farewell time.Duration) {
	p.mu.Lock()
	p.closed = true
	for _, b := range p.boxes {
		b.reports, b.stable = false, 0
	}
	p.mu.Unlock()
	patience := time.AfterFunc(farewell, p.cancel)
	p.group.Wait()
	patience.Stop()
	p.cancel()
}

// send takes a message; it does not wait.
func (p *post) send(to string, message lease.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	b := p.boxes[to]
	if b == nil {
		b = &box{}
		p.boxes[to] = b
	}
	switch m := message.(type) {
	case lease.Report:
		b.report, b.reports = m, true
		if b.reporting < MaxReports {
			b.reporting++
			p.group.Go(func() { p.report(to, b) })
		}
		return
	case lease.Stable:
		b.stable = max(b.stable, m.Index)
	case lease.Over:
		b.add(letter{KindOver, encodeBoot(m.Boot)})
	case lease.Recall:
		b.add(letter{KindRecall, encodeBoot(m.Boot)})
	default:
		panic("BUG: a message that can't be sent by itself")
	}
	if !b.speaking {
		b.speaking = true
		p.group.Go(func() { p.speak(to, b) })
	}
}

func (b *box) add(l letter) {
	if len(b.words) == MaxWords {
		b.words = b.words[1:]
	}
	b.words = append(b.words, l)
}

// report sends reports until none waits.
func (p *post) report(to string, b *box) {
	for {
		p.mu.Lock()
		if !b.reports {
			b.reporting--
			p.tidyLocked(to, b)
			p.mu.Unlock()
			return
		}
		m := b.report
		b.reports = false
		p.mu.Unlock()
		answer, err := p.call(to, letter{KindReport, encodeReport(m)})
		if err != nil {
			continue // it is not reached, does not lead, or does not grant: the next report comes in time
		}
		grant, err := decodeGrant(answer)
		if err != nil {
			continue // of another version; without a grant there is no lease
		}
		grant.From = to
		p.granted(grant)
	}
}

// speak sends all but reports, until nothing waits. Words come first: others may wait for a lease to end.
func (p *post) speak(to string, b *box) {
	for {
		p.mu.Lock()
		var l letter
		switch {
		case len(b.words) > 0:
			l, b.words = b.words[0], b.words[1:]
		case b.stable > 0:
			l, b.stable = letter{KindStable, encodeStable(b.stable)}, 0
		default:
			b.speaking = false
			p.tidyLocked(to, b)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		// It may get lost: leases run out, reports bring the stable index too.
		_, _ = p.call(to, l)
	}
}

// tidyLocked forgets a node to which nothing is to be said.
func (p *post) tidyLocked(to string, b *box) {
	if b.reporting == 0 && !b.speaking {
		delete(p.boxes, to)
	}
}

func (p *post) call(to string, l letter) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
	defer cancel()
	return p.peers.Call(ctx, to, l.kind, l.body)
}
