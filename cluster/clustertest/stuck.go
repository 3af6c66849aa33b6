package clustertest

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	// stuckAfter is how long a bubble may take; the longest take some ten seconds. See spent for what counts.
	stuckAfter = 4 * time.Minute
	// stuckLook is how often that is reckoned up.
	stuckLook = 5 * time.Second
	// restShare is the part of the time that a process may be at work in which it only waits: its runtime looks around.
	restShare = 200
)

// watchReal ends the process when a bubble takes far too long, and says which goroutines keep fake time from going on:
// one that never rests, or one that waits for a lock whose holder waits for time. It must be called outside the bubble.
func watchReal(name string) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		look := time.NewTicker(stuckLook)
		defer look.Stop()
		at, worked := time.Now(), processorTime()
		for left := stuckAfter; left > 0; {
			select {
			case <-done:
				return
			case <-look.C:
			}
			now, sum := time.Now(), processorTime()
			left -= spent(now.Sub(at), sum-worked)
			at, worked = now, sum
		}
		fmt.Fprintf(os.Stderr, "%s: the bubble has not ended after %v; goroutines that fake time waits for:\n\n%s", name, stuckAfter, restless(stacks()))
		os.Exit(2)
	})
	return func() {
		close(done)
		group.Wait()
	}
}

// spent returns how much of stuckAfter is gone after so long by the clock on the wall, of which the process was at work for
// so long. One that has work costs what it has worked, or a busy machine would end bubbles that only have to wait for their
// turn. One that has none waits for what doesn't come.
func spent(passed, worked time.Duration) time.Duration {
	if worked < passed/restShare {
		return passed
	}
	return min(worked, passed)
}

func stacks() []byte {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return buf[:n]
		}
	}
}

// restless returns those of the stacks whose goroutines are in a bubble and do not wait for it: fake time goes on when
// there are none.
func restless(all []byte) []byte {
	var found [][]byte
	for one := range bytes.SplitSeq(all, []byte("\n\n")) {
		head, _, _ := bytes.Cut(one, []byte("\n"))
		if bytes.Contains(head, []byte("synctest bubble")) && !bytes.Contains(head, []byte("(durable)")) {
			found = append(found, one)
		}
	}
	return append(bytes.Join(found, []byte("\n\n")), '\n')
}
