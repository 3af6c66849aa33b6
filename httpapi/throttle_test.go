package httpapi

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottleByUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th, addr := newThrottle(), netip.MustParseAddr("192.0.2.1")
		fail := func(realm, user string) error { _, err := th.admit(addr, realm, user); return err }
		for range failuresPerUser {
			if err := fail("native", "ann"); err != nil {
				t.Fatal(err)
			}
		}
		var wait *waitError
		if err := fail("native", "ann"); !errors.Is(err, errFailures) || !errors.As(err, &wait) || wait.after != userFailureLeak {
			t.Fatalf("error is %v", err)
		}
		if fail("native", "ANN") == nil {
			t.Error("the user's name in capitals is another user's")
		}
		if fail("native", "bob") != nil || fail("other", "ann") != nil {
			t.Error("another user is refused")
		}
		if _, err := th.admit(netip.MustParseAddr("192.0.2.2"), "native", "ann"); err != nil {
			t.Error("a stranger locks the user out")
		}
		time.Sleep(userFailureLeak)
		if fail("native", "ann") != nil {
			t.Error("nothing was forgotten")
		}
		if fail("native", "ann") == nil {
			t.Error("more was forgotten than one failure")
		}
		time.Sleep(failuresPerUser * userFailureLeak)
		for range failuresPerUser {
			if fail("native", "ann") != nil {
				t.Fatal("not all was forgotten")
			}
		}
	})
}

func TestThrottleByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		for i := range failuresPerAddress { // all over one customer's network
			addr := netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1))
			if _, err := th.admit(addr, "native", fmt.Sprint("user", i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := th.admit(netip.MustParseAddr("2001:db8:1:2:ffff::1"), "native", "x"); err == nil {
			t.Error("the network is not refused")
		}
		if _, err := th.admit(netip.MustParseAddr("2001:db8:1:3::1"), "native", "x"); err != nil {
			t.Error("the next network is")
		}
	})
}

// A guesser that sends everything at once gets no further than one that waits for each answer.
func TestThrottleCountsBeforehand(t *testing.T) {
	th, addr := newThrottle(), netip.MustParseAddr("192.0.2.1")
	var mu sync.Mutex
	var all sync.WaitGroup
	admitted := 0
	for range 200 {
		all.Go(func() {
			if _, err := th.admit(addr, "native", "ann"); err == nil {
				mu.Lock()
				defer mu.Unlock()
				admitted++
			}
		})
	}
	all.Wait()
	if admitted != failuresPerUser {
		t.Errorf("%d attempts were admitted", admitted)
	}
}

func TestThrottleForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th, addr := newThrottle(), netip.MustParseAddr("192.0.2.1")
		for range 1000 {
			forgive, err := th.admit(addr, "native", "ann")
			if err != nil {
				t.Fatal(err)
			}
			forgive()
		}
		if len(th.buckets) != 0 {
			t.Errorf("%d buckets are kept for nothing", len(th.buckets))
		}
	})
}

func TestThrottleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		long := strings.Repeat("x", 10_000)
		attempt := func(i int) {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if _, err := th.admit(addr, "native", long); err != nil {
				t.Fatal(err)
			}
		}
		for i := range maxThrottled {
			attempt(i)
		}
		if n := len(th.buckets); n != maxThrottled {
			t.Errorf("%d buckets", n)
		}
		time.Sleep(time.Hour)
		// What is over goes before what is not.
		for range failuresPerUser {
			attempt(0)
		}
		for i := range maxThrottled / 4 {
			attempt(maxThrottled + i)
		}
		if n := len(th.buckets); n > maxThrottled {
			t.Errorf("%d buckets", n)
		}
		if _, err := th.admit(netip.AddrFrom4([4]byte{10}), "native", long); err == nil {
			t.Error("failures of a moment ago are forgotten for those of an hour ago")
		}
	})
}
