package propose

import (
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

// paced is a leader whose entries take a time, and the answers that are to come.
type paced struct {
	*pair
	t       *testing.T
	answers []<-chan answered
}

func pacing(t *testing.T, fn func(t *testing.T, p *paced)) {
	t.Helper()
	clustertest.Bubble(t, func(t *testing.T) { fn(t, &paced{pair: newPair(t), t: t}) })
}

// takes has entries proposed from now on be applied after a time.
func (p *paced) takes(long time.Duration) {
	hold := make(chan struct{})
	p.log.set(func() { p.log.hold = hold })
	time.AfterFunc(long, func() { close(hold) })
}

// ask has commands come at once.
func (p *paced) ask(commands int) {
	for range commands {
		p.answers = append(p.answers, ask(p.t, p.leader))
	}
	synctest.Wait()
}

// fill has so many entries on their way that the next waits; they wait for nothing.
func (p *paced) fill() {
	for range FreeEntries {
		p.ask(1)
	}
	p.want(1, 1, 1, 1)
}

func (p *paced) answered() {
	p.t.Helper()
	for _, a := range p.answers {
		if got := <-a; got.err != nil {
			p.t.Error(got.err)
		}
	}
	p.answers = nil
}

// entries returns how many commands each entry has.
func (p *paced) entries() (sizes []int) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	for _, e := range p.log.entries {
		sizes = append(sizes, len(e))
	}
	return sizes
}

func (p *paced) want(sizes ...int) {
	p.t.Helper()
	synctest.Wait()
	got := p.entries()
	if len(got) != len(sizes) {
		p.t.Fatalf("entries of %v commands, want %v", got, sizes)
	}
	for i := range got {
		if got[i] != sizes[i] {
			p.t.Fatalf("entries of %v commands, want %v", got, sizes)
		}
	}
}

// A command that is alone is proposed at once, whatever was before.
func TestLoneCommandWaitsForNothing(t *testing.T) {
	pacing(t, func(t *testing.T, p *paced) {
		p.takes(4 * time.Millisecond)
		p.fill()
		p.ask(Crowd - 1) // no crowd yet
		p.answered()
		p.want(1, 1, 1, 1, Crowd-1)
		p.log.set(func() { p.log.hold = nil })
		p.ask(1)
		p.want(1, 1, 1, 1, Crowd-1, 1)
		p.answered()
		p.takes(4 * time.Millisecond)
		p.ask(4 * Crowd)
		p.answered()
		time.Sleep(time.Second)
		before := len(p.entries())
		p.ask(1)
		if got := p.entries(); len(got) != before+1 {
			t.Errorf("a lone command after a crowd waits: %v", got)
		}
		p.answered()
	})
}

// What comes while several entries are on their way, or one of some commands, shares the next: that follows at once, or after
// MaxHold if that takes longer.
func TestHeldWhileEntriesAreOnTheirWay(t *testing.T) {
	pacing(t, func(t *testing.T, p *paced) {
		p.takes(3 * MaxHold)
		p.fill()
		for range 5 {
			p.ask(2)
			time.Sleep(MaxHold / 10)
		}
		p.want(1, 1, 1, 1)
		time.Sleep(MaxHold/2 - time.Microsecond)
		p.want(1, 1, 1, 1)
		time.Sleep(2 * time.Microsecond)
		p.want(1, 1, 1, 1, 10)
		p.ask(3)
		time.Sleep(MaxHold / 2)
		p.want(1, 1, 1, 1, 10)
		p.answered()
		p.want(1, 1, 1, 1, 10, 3)
	})
	pacing(t, func(t *testing.T, p *paced) {
		p.takes(MaxHold / 2)
		p.fill()
		p.ask(Few)
		time.Sleep(MaxHold/2 - time.Microsecond)
		p.want(1, 1, 1, 1)
		p.takes(MaxHold / 2)
		time.Sleep(time.Microsecond)
		p.want(1, 1, 1, 1, Few)
		p.ask(1)
		p.want(1, 1, 1, 1, Few) // though it is one entry
		p.answered()
		p.want(1, 1, 1, 1, Few, 1)
	})
}

// A full entry waits for nothing but a slot.
func TestFullEntryGoesAtOnce(t *testing.T) {
	pacing(t, func(t *testing.T, p *paced) {
		p.takes(time.Hour)
		p.fill()
		for i := range MaxEntriesInFlight - FreeEntries {
			p.ask(MaxEntryCommands)
			if got := p.entries(); len(got) != FreeEntries+i+1 || got[FreeEntries+i] != MaxEntryCommands {
				t.Fatalf("entries of %v commands", got)
			}
		}
		p.ask(MaxEntryCommands)
		time.Sleep(time.Second)
		if got := p.entries(); len(got) != MaxEntriesInFlight {
			t.Fatalf("%d entries in flight: %v", len(got), got)
		}
	})
}

// Of a crowd, an entry waits for those who were answered last, as long as an entry takes; what asks for more in vain does
// not ask again for a while.
func TestCrowdIsWaitedFor(t *testing.T) {
	const crowd = 2 * Crowd
	const round = 4 * time.Millisecond
	pacing(t, func(t *testing.T, p *paced) {
		p.leader.merger.pace.round = round
		p.leader.merger.pace.wanted = crowd
		p.leader.merger.pace.calm = 1
		p.leader.merger.pace.done = time.Now()
		p.ask(crowd / 2)
		time.Sleep(round / 2)
		p.want()
		p.takes(round)
		p.ask(crowd / 2) // those that were waited for
		p.want(crowd)
		p.answered()

		p.takes(2*round - time.Microsecond)
		p.ask(crowd) // more are waited for now, in vain
		time.Sleep(round - 2*time.Microsecond)
		p.want(crowd)
		time.Sleep(2 * time.Microsecond)
		p.want(crowd, crowd)
		p.answered()

		p.takes(round)
		p.ask(crowd - 1)
		p.want(crowd, crowd)
		p.ask(1) // nor a moment longer
		p.want(crowd, crowd, crowd)
		p.answered()

		time.Sleep(time.Second)
		p.ask(1)
		p.want(crowd, crowd, crowd, 1)
		p.answered()
	})
}
