package lookup

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/wire"
)

// slowPeers answers when it is let, and notes what it was asked.
type slowPeers struct {
	answer chan struct{} // closed: at once

	mu   sync.Mutex
	seen []string
}

func (p *slowPeers) Handle(wire.Kind, wire.Handler) {}

func (p *slowPeers) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	var word string
	switch kind {
	case KindReport:
		m, err := decodeReport(body)
		word = fmt.Sprint("report ", m.Applied, err)
	case KindStable:
		index, err := decodeStable(body)
		word = fmt.Sprint("stable ", index, err)
	default:
		boot, err := decodeBoot(body)
		word = fmt.Sprint(map[wire.Kind]string{KindOver: "over ", KindRecall: "recall "}[kind], boot.Serial, err)
	}
	p.mu.Lock()
	p.seen = append(p.seen, id+" "+word)
	p.mu.Unlock()
	select {
	case <-p.answer:
		return encodeGrant(lease.Grant{Term: 1}), nil
	case <-ctx.Done():
		return nil, wire.ErrLost
	}
}

// What is newer takes the place of what waits; words are kept, and come first.
func TestPost(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		peers := &slowPeers{answer: make(chan struct{})}
		var grants []lease.Grant
		var mu sync.Mutex
		p := newPost(peers, time.Minute, func(g lease.Grant) {
			mu.Lock()
			defer mu.Unlock()
			grants = append(grants, g)
		})
		for i := range uint64(5) {
			p.send("a", lease.Report{Applied: i})
			p.send("b", lease.Stable{Index: 10 - i})
			p.send("b", lease.Recall{Boot: lease.Boot{Serial: i}})
			synctest.Wait()
		}
		p.send("b", lease.Over{Boot: lease.Boot{Serial: 9}})
		p.send("b", lease.Stable{Index: 11})
		close(peers.answer)
		synctest.Wait()
		toA := slices.DeleteFunc(slices.Clone(peers.seen), func(s string) bool { return s[0] == 'b' })
		if want := []string{"a report 0 <nil>", "a report 1 <nil>", "a report 4 <nil>"}; !slices.Equal(toA, want) {
			t.Errorf("%q", toA)
		}
		toB := slices.DeleteFunc(slices.Clone(peers.seen), func(s string) bool { return s[0] == 'a' })
		if want := []string{
			"b recall 0 <nil>", "b recall 1 <nil>", "b recall 2 <nil>", "b recall 3 <nil>", "b recall 4 <nil>", "b over 9 <nil>",
			"b stable 11 <nil>",
		}; !slices.Equal(toB, want) {
			t.Errorf("%q", toB)
		}
		if len(grants) != 3 || grants[0].From != "a" {
			t.Errorf("%+v", grants)
		}
		if len(p.boxes) != 0 {
			t.Errorf("%d boxes are kept", len(p.boxes))
		}
		p.close(time.Second)
		p.send("a", lease.Report{})
		if len(p.boxes) != 0 {
			t.Error("something is taken after the end")
		}
	})
}

// Words to a node that does not answer are few; at the end it gets the last of them, if it answers in time.
func TestPostIsBounded(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		peers := &slowPeers{answer: make(chan struct{})}
		p := newPost(peers, time.Minute, func(lease.Grant) {})
		for i := range uint64(3 * MaxWords) {
			p.send("a", lease.Over{Boot: lease.Boot{Serial: i}})
			synctest.Wait()
		}
		p.send("a", lease.Stable{Index: 7})
		time.AfterFunc(time.Second, func() { close(peers.answer) })
		begun := time.Now()
		p.close(time.Hour)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("closed after %v", took)
		}
		last := fmt.Sprintf("a over %d <nil>", 3*MaxWords-1)
		if n := len(peers.seen); n != MaxWords+1 || peers.seen[n-1] != last {
			t.Errorf("%d: %q", n, peers.seen)
		}
	})
}
