package clustertest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What a bubble costs is what it works, but where it does nothing.
func TestSpent(t *testing.T) {
	for name, c := range map[string]struct{ passed, worked, want time.Duration }{
		"never rests":                    {10 * time.Second, 10 * time.Second, 10 * time.Second},
		"never rests, on many threads":   {10 * time.Second, 30 * time.Second, 10 * time.Second},
		"never rests, on a busy machine": {10 * time.Second, 300 * time.Millisecond, 300 * time.Millisecond},
		"stands still":                   {10 * time.Second, 3 * time.Millisecond, 10 * time.Second},
	} {
		if got := spent(c.passed, c.worked); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Of goroutines that wait for fake time, and one that waits for a lock that one of them holds, the last is named.
func TestRestlessAreNamed(t *testing.T) {
	var mu sync.Mutex
	release := make(chan struct{}) // of no bubble, so waiting for it is no rest
	named := make(chan string, 1)
	go func() {
		for {
			all := stacks()
			sleeps := bytes.Contains(all, []byte("[sleep (durable)")) // it may have been put aside on its way there
			if s := string(restless(all)); sleeps && strings.Contains(s, "sync.Mutex.Lock") {
				named <- s
				close(release)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	synctest.Test(t, func(*testing.T) {
		go func() { time.Sleep(time.Hour) }()
		mu.Lock()
		go func() { // holds up fake time
			mu.Lock()
			defer mu.Unlock()
		}()
		<-release
		mu.Unlock()
		time.Sleep(2 * time.Hour)
	})
	s := <-named
	if n := strings.Count(s, "goroutine "); strings.Contains(s, "time.Sleep") || n == 0 {
		t.Errorf("named:\n%s", s)
	}
}
