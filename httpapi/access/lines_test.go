package access

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

// Nobody waits for longer than lineTime, nor in a full line.
func TestLineIsBounded(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var l loginLines
		key := lineKey{user: "ann"}
		l.enter(key)
		begin := time.Now()
		var group sync.WaitGroup
		for range MaxLine {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), lineTime)
				defer cancel()
				l.enter(key)
				if _, again := l.wait(ctx, key); again || time.Since(begin) != lineTime {
					t.Errorf("may ask again: %v, after %v", again, time.Since(begin))
				}
			})
		}
		synctest.Wait()
		l.enter(key)
		if _, again := l.wait(t.Context(), key); again || time.Since(begin) != 0 {
			t.Error("waits in a full line")
		}
		group.Wait()
		l.leave(key, nil)
		if len(l.of) != 0 || l.waiting != 0 {
			t.Errorf("%d lines, %d wait", len(l.of), l.waiting)
		}
		for i := range maxLines {
			other := lineKey{user: string(rune('a' + i/MaxLine))}
			if i%MaxLine == 0 {
				l.enter(other)
			}
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), lineTime)
				defer cancel()
				l.enter(other)
				l.wait(ctx, other)
			})
		}
		synctest.Wait()
		l.enter(key)
		l.enter(key)
		if begin := time.Now(); true {
			if _, again := l.wait(t.Context(), key); again || time.Since(begin) != 0 {
				t.Error("waits where too many do")
			}
		}
		group.Wait()
	})
}

// The first of the line does not ask before the leader has heard of what makes room, and passes its turn on when its time is
// up.
func TestLineWaitsForTheLeaderToHear(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var l loginLines
		key := lineKey{user: "ann"}
		l.enter(key)
		l.enter(key)
		got := make(chan string, 2)
		wait := func(name string, long time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			l.enter(key)
			_, again := l.wait(ctx, key)
			if !again {
				name += " refused"
			}
			got <- name
		}
		go wait("first", time.Second)
		synctest.Wait()
		go wait("second", time.Minute)
		synctest.Wait()
		told := make(chan struct{})
		l.leave(key, told)
		synctest.Wait()
		select {
		case name := <-got:
			t.Fatalf("%s before the leader has heard", name)
		default:
		}
		if name := <-got; name != "first refused" {
			t.Error(name)
		}
		close(told)
		if name := <-got; name != "second" {
			t.Error(name)
		}
		l.leave(key, nil)
		l.leave(key, nil)
		if len(l.of) != 0 || l.waiting != 0 {
			t.Errorf("%d lines, %d wait", len(l.of), l.waiting)
		}
	})
}
