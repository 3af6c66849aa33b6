package httpapi

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// throttle slows the guessing of passwords down: it counts failed logins, per user name and address and per address,
// in buckets that leak. It is this node's alone; a guesser gains a factor of the number of nodes. Users are not
// counted without their address, or a stranger could lock them out.
type throttle struct {
	seed maphash.Seed

	mu      sync.Mutex
	buckets map[uint64]bucket // by hash: a user name of any length costs the same
}

// bucket is known by when it will be empty: each failure moves that on by what one failure takes to leak.
type bucket struct{ empty time.Time }

func newThrottle() *throttle {
	return &throttle{seed: maphash.MakeSeed(), buckets: map[uint64]bucket{}}
}

// admit counts an attempt as a failure before its password is looked at, so that many at once don't get past; forgive
// takes it back. When there were too many, the error is errFailures in a waitError, and nothing was counted.
func (t *throttle) admit(addr netip.Addr, realmName, username string) (forgive func(), err error) {
	byUser, byAddress := t.keys(addr, realmName, username)
	at := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := max(t.wait(byUser, at, failuresPerUser, userFailureLeak), t.wait(byAddress, at, failuresPerAddress, addressFailureLeak))
	if wait > 0 {
		return nil, &waitError{errFailures, wait}
	}
	t.add(byUser, at, userFailureLeak)
	t.add(byAddress, at, addressFailureLeak)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.add(byUser, at, -userFailureLeak)
		t.add(byAddress, at, -addressFailureLeak)
	}, nil
}

// wait returns how long until a bucket has room for one more failure.
func (t *throttle) wait(key uint64, at time.Time, size int, leak time.Duration) time.Duration {
	b, known := t.buckets[key]
	if !known {
		return 0 // not by way of the zero time: a difference to it overflows
	}
	return b.empty.Sub(at) - time.Duration(size-1)*leak
}

func (t *throttle) add(key uint64, at time.Time, failure time.Duration) {
	b, known := t.buckets[key]
	if !known {
		if failure < 0 {
			return
		}
		t.makeRoom(at)
	}
	if b.empty.Before(at) {
		b.empty = at
	}
	if b.empty = b.empty.Add(failure); b.empty.After(at) {
		t.buckets[key] = b
	} else {
		delete(t.buckets, key)
	}
}

// makeRoom keeps the table within its bound. It looks at a few buckets, wherever the map begins: those that are empty
// go, and if none is, the one that would be first. To forget a failure is better than to refuse logins, and a look at
// all of them, at each login, would be what a flood is after.
func (t *throttle) makeRoom(at time.Time) {
	if len(t.buckets) < maxThrottled {
		return
	}
	looked, victim, first := 0, uint64(0), time.Time{}
	for key, b := range t.buckets {
		if !b.empty.After(at) {
			delete(t.buckets, key)
		}
		if first.IsZero() || b.empty.Before(first) {
			victim, first = key, b.empty
		}
		if looked++; looked == throttleScan {
			break
		}
	}
	if len(t.buckets) >= maxThrottled {
		delete(t.buckets, victim)
	}
}

// keys returns the two buckets of an attempt. One customer's IPv6 addresses count as one; user names count without
// regard to case, which directory servers don't look at either.
func (t *throttle) keys(addr netip.Addr, realmName, username string) (byUser, byAddress uint64) {
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	text, _ := addr.MarshalText() // never fails
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.Write(text) // never fails
	byAddress = h.Sum64()
	for _, name := range []string{realmName, username} {
		_ = h.WriteByte(0)
		_, _ = h.WriteString(strings.ToLower(name))
	}
	return h.Sum64(), byAddress
}
