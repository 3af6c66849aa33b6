package tries

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// lab is a leader's table with a clock that tests move.
type lab struct {
	*Table
	t     *testing.T
	names Names
	now   session.Time
	term  uint64
}

const start session.Time = 1_700_000_000_000

func newLab(t *testing.T) *lab {
	return &lab{Table: NewTable(), t: t, names: NewNames([32]byte{1}), now: start, term: 1}
}

func (l *lab) sleep(d time.Duration) { l.now = l.now.Add(d) }

func (l *lab) make(user, addr string) Try {
	return Try{User: l.names.User("native", user), Address: l.names.Address(netip.MustParseAddr(addr))}
}

// try asks for one try and returns how long to wait, 0 if it was granted.
func (l *lab) try(try Try) time.Duration { return l.reserve(l.now, l.term, []Try{try})[0].wait }

// burst tries until it is refused, at one moment, and returns how often it was not.
func (l *lab) burst(make func(i int) Try) (granted int, wait time.Duration) {
	l.t.Helper()
	for granted < 10_000 {
		if wait = l.try(make(granted)); wait > 0 {
			return granted, wait
		}
		granted++
	}
	l.t.Fatal("nothing is ever refused")
	return 0, 0
}

func (l *lab) pardon(try Try, proven bool, term uint64) {
	counted := uint8(1<<kindUser | 1<<kindPair | 1<<kindAddress)
	l.forgive(l.now, l.term, []pardon{{Try: try, counted: counted, proven: proven, term: term}})
}

func same(try Try) func(int) Try { return func(int) Try { return try } }

// The free tries, then delays that double, whoever asks meanwhile and however often.
func TestDelays(t *testing.T) {
	for _, c := range []struct {
		kind kind
		make func(l *lab) func(i int) Try
	}{
		{kindPair, func(l *lab) func(int) Try { return same(l.make("ann", "192.0.2.1")) }},
		{kindAddress, func(l *lab) func(int) Try {
			return func(i int) Try { return l.make(fmt.Sprint("user", i), "192.0.2.1") }
		}},
		{kindUser, func(l *lab) func(int) Try {
			return func(i int) Try { return l.make("ann", fmt.Sprintf("10.0.%d.%d", i/250, i%250)) }
		}},
	} {
		l, r := newLab(t), ruleOf(c.kind)
		next := 0
		try := func(int) Try { next++; return c.make(l)(next) }
		if granted, wait := l.burst(try); granted != r.free || wait != r.first {
			t.Errorf("kind %d: %d free tries, then a delay of %v", c.kind, granted, wait)
		}
		for want := r.first; l.now.Sub(start)+want+turnGrace < r.leak; want *= 2 { // until one failure is forgotten
			for range 50 { // none of these makes it longer, and none gets through early
				if l.try(try(0)) == 0 {
					t.Fatalf("kind %d: a try within a delay of %v", c.kind, want)
				}
				l.sleep(want / 50)
			}
			if c.kind == kindUser {
				l.sleep(turnGrace) // whoever the turn is kept for does not come
			}
			if wait := l.try(try(0)); wait > 0 {
				t.Fatalf("kind %d: after a delay of %v one of %v without a try", c.kind, want, wait)
			}
			if wait := l.try(try(0)); wait != 2*want {
				t.Errorf("kind %d: after a delay of %v one of %v", c.kind, want, wait)
			}
		}
		l.sleep(time.Duration(r.free+maxLevels) * r.leak)
		if granted, _ := l.burst(try); granted != r.free {
			t.Errorf("kind %d: %d free tries when all is forgotten", c.kind, granted)
		}
	}
}

// steady returns how many tries a greedy attacker gets in so long.
func steady(l *lab, length, step time.Duration, make func(i int) Try) (granted int) {
	for i, end := 0, l.now.Add(length); l.now < end; l.sleep(step) {
		for range 3 {
			i++
			if l.try(make(i)) == 0 {
				granted++
			}
		}
	}
	return granted
}

// What the rules allow in the long run is what limits.go says.
func TestLongRun(t *testing.T) {
	for name, c := range map[string]struct {
		make func(l *lab, i int) Try
		day  int
	}{
		"a user from one address": {func(l *lab, i int) Try { return l.make("ann", "192.0.2.1") }, 10 + 9 + 24*12},
		"a user from a thousand":  {func(l *lab, i int) Try { return l.make("ann", fmt.Sprintf("10.0.%d.%d", i%4, i/4%250)) }, 20 + 6 + 24*120},
		"an address":              {func(l *lab, i int) Try { return l.make(fmt.Sprint("user", i), "192.0.2.1") }, 100 + 7 + 24*1200},
	} {
		l := newLab(t)
		if n := steady(l, 24*time.Hour, time.Second, func(i int) Try { return c.make(l, i) }); n > c.day || n < c.day/2 {
			t.Errorf("%s: %d tries a day, at most %d are allowed", name, n, c.day)
		}
	}
}

func TestWhatCountsAsOne(t *testing.T) {
	n := NewNames([32]byte{1})
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"127.0.0.1", "127.9.9.9", true},
		{"127.0.0.1", "::1", true},
	} {
		a, b := netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)
		if same := n.Address(a) == n.Address(b); same != c.same {
			t.Errorf("%s and %s count as one: %v", c.a, c.b, same)
		}
	}
	if n.Address(netip.Addr{}) != n.Address(netip.MustParseAddr("127.0.0.1")) {
		t.Error("no address is not loopback")
	}
	if n.User("native", "ann") != n.User("NATIVE", "Ann") || n.User("native", "ann") == n.User("native", "bob") ||
		n.User("a", "bc") == n.User("ab", "c") || n.User("x", "ann") == n.User("y", "ann") {
		t.Error("users are mixed up")
	}
	if other := NewNames([32]byte{2}); other.User("native", "ann") == n.User("native", "ann") {
		t.Error("a key does not depend on the secret")
	}
}

func TestForgive(t *testing.T) {
	l := newLab(t)
	ann := l.make("ann", "192.0.2.1")
	for range 1000 {
		if l.try(ann) > 0 {
			t.Fatal("a right password counts")
		}
		l.pardon(ann, false, l.term)
	}
	granted, _ := l.burst(same(ann))
	if granted != ruleOf(kindPair).free {
		t.Fatalf("%d free tries", granted)
	}
	// Within a delay a right password opens the way for one try, as it was open for itself. The failures stay.
	l.sleep(time.Second)
	for range 3 {
		if l.try(ann) > 0 {
			t.Fatal("no try after a right password")
		}
		l.pardon(ann, false, l.term)
	}
	if l.try(ann) > 0 || l.try(ann) != 2*time.Second {
		t.Error("a right password has made failures forgotten")
	}
	// What another leader has granted is not this one's to forgive.
	l.sleep(2 * time.Second)
	l.pardon(ann, false, l.term+1)
	if l.try(ann) > 0 || l.try(ann) != 4*time.Second {
		t.Error("a try of another term was forgiven")
	}
}

// crowd makes the user's counter refuse everybody.
func crowd(l *lab, user string) {
	l.t.Helper()
	if n, _ := l.burst(func(i int) Try { return l.make(user, fmt.Sprintf("10.9.0.%d", i%ruleOf(kindUser).free)) }); n != ruleOf(kindUser).free {
		l.t.Fatalf("%d tries of a crowd", n)
	}
}

// An address that is known to be the user's is no matter of the user's counter, nor of what others do at that address.
func TestKnownAddress(t *testing.T) {
	l := newLab(t)
	home := l.make("ann", "192.0.2.1")
	crowd(l, "ann")
	if l.try(home) == 0 {
		t.Fatal("a crowd does not matter")
	}
	home.Known = true // a live session
	if l.try(home) > 0 {
		t.Fatal("a crowd locks out who is logged in")
	}
	home.Known = false
	l.pardon(home, true, 0) // a login, whoever has granted it
	if l.try(home) > 0 {
		t.Fatal("a crowd locks out who has logged in lately")
	}
	if n, _ := l.burst(func(i int) Try { return l.make(fmt.Sprint("user", i), "192.0.2.1") }); n == 0 {
		t.Fatal("nothing is granted to the address")
	}
	if l.try(l.make("bob", "192.0.2.1")) == 0 {
		t.Fatal("the address is not refused")
	}
	if n, _ := l.burst(same(home)); n != ruleOf(kindPair).free-2 {
		t.Errorf("from a known address %d tries are left", n)
	}
	if l.try(l.make("bob", "192.0.2.7")) > 0 || l.try(l.make("ann", "192.0.2.7")) == 0 {
		t.Error("an address is known for another user, or another address for this one")
	}
	if g := l.reserve(l.now.Add(time.Hour), l.term, []Try{home})[0]; g.counted != 1<<kindPair {
		t.Errorf("a try from a known address counts for others, or is forgiven in their place: %b", g.counted)
	}
	l.sleep(KnownFor + time.Minute)
	crowd(l, "ann")
	if l.try(home) == 0 {
		t.Error("an address is known for ever")
	}
}

// The true owner at a new address gets the very next turn, however often and from however many addresses an attacker asks
// that have failed.
func TestOwnersTurn(t *testing.T) {
	l := newLab(t)
	next := 0
	attack := func(n int) (granted int) {
		for range n {
			next++
			if l.try(l.make("ann", fmt.Sprintf("10.9.0.%d", next%4))) == 0 {
				granted++
			}
		}
		return granted
	}
	if n := attack(1000); n != ruleOf(kindUser).free {
		t.Fatalf("%d tries", n)
	}
	owner := l.make("ann", "192.0.2.77")
	for round := range 20 {
		wait := time.Duration(0)
		for range 3 { // the delay at that moment may be somebody else's turn
			attack(100)
			if wait = l.try(owner); wait == 0 {
				break
			}
			for end := l.now.Add(wait); l.now < end; l.sleep(10 * time.Millisecond) {
				attack(3)
			}
			if n := attack(100); n > 0 {
				t.Fatalf("round %d: the attacker has taken the turn", round)
			}
			l.sleep(3 * time.Second) // a person
			attack(100)
		}
		if wait > 0 {
			t.Fatalf("round %d: the owner had no turn", round)
		}
		l.pardon(owner, false, l.term)
		attack(100)
	}
	// A turn that is not used is nobody's after a while.
	l.try(owner)
	l.sleep(ruleOf(kindUser).longest)
	if attack(1000) > 0 {
		t.Fatal("the turn is not kept")
	}
	l.sleep(turnGrace)
	if attack(1000) != 1 {
		t.Error("the turn is kept for ever")
	}
}

// Among equals the lot decides: to ask a thousand times is no better than once.
func TestLotsAreFair(t *testing.T) {
	won := 0
	for round := range 400 {
		l := newLab(t)
		crowd(l, "ann")
		owner := l.make("ann", "192.0.2.77")
		attacker := l.make("ann", "192.0.2.66")
		if round%2 == 0 {
			l.try(owner)
		}
		for range 20 {
			l.try(attacker)
		}
		l.try(owner)
		l.sleep(ruleOf(kindUser).first)
		if l.try(owner) == 0 {
			won++
		} else if l.try(attacker) > 0 {
			t.Fatal("it is nobody's turn")
		}
	}
	if won < 140 || won > 260 {
		t.Errorf("the owner got %d of 400 turns", won)
	}
}

// A flood of made up names pushes out the counters of such names, not one with ten failures, and the table stays bounded.
func TestFloodDoesNotPushOut(t *testing.T) {
	l := newLab(t)
	victim := l.make("ann", "192.0.2.1")
	l.burst(same(victim))
	for i := range 4 * maxCounters {
		l.try(Try{User: Key(i) << 2, Address: Key(i)<<2 | Key(kindAddress)})
	}
	for k, counters := range l.kinds {
		if len(counters) > maxCounters {
			t.Errorf("kind %d: %d counters", k, len(counters))
		}
	}
	if len(l.pending) > maxPending {
		t.Errorf("%d news", len(l.pending))
	}
	if l.stats().Forgotten == 0 {
		t.Error("nothing was pushed out: this was no flood")
	}
	if l.try(victim) == 0 {
		t.Error("the victim's failures are forgotten")
	}
	if got := decoded(t, l.State()); len(got) == 0 || !slices.Contains(got, pairOf(victim.User, victim.Address)) {
		t.Error("a joiner is not told of the victim")
	}
	if len(l.State()) > 256<<10 {
		t.Errorf("a joiner is told %d bytes", len(l.State()))
	}
}

// What a full table takes is what the package says.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a table")
	}
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	l := newLab(t)
	for k := range kind(kinds) {
		for i := range 2 * maxCounters {
			l.putLocked(Key(i)<<2|Key(k), counter{empty: l.now.Add(time.Minute)}, l.now)
		}
	}
	mib := float64(used()-before) / (1 << 20)
	t.Logf("a full table takes %.1f MiB", mib)
	if mib > 15 {
		t.Errorf("a full table takes %.1f MiB", mib)
	}
	runtime.KeepAlive(l)
}
