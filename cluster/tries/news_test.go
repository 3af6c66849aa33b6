package tries

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

var update = flag.Bool("update", false, "write the frozen frames anew")

// decoded returns the keys of news.
func decoded(t *testing.T, b []byte) []Key {
	t.Helper()
	f, err := decode(b, 1, newsFields, kinds*maxState)
	if err != nil {
		t.Fatal(err)
	}
	var keys []Key
	for f = f[1:]; len(f) > 0; f = f[newsFields:] {
		keys = append(keys, Key(f[0]))
	}
	return keys
}

// spread brings all news of one table to another.
func spread(from, to *lab) {
	for b := from.Take(1300, 2); b != nil; b = from.Take(1300, 2) {
		to.Hear(b)
	}
	to.now = max(to.now, from.now)
}

// A successor that has heard all refuses what its predecessor would have refused, for as long.
func TestSuccessor(t *testing.T) {
	for _, way := range []string{"packets", "state"} {
		old, next := newLab(t), newLab(t)
		next.term = 2
		var tries []Try
		for i, user := range []string{"ann", "bob", "eve"} {
			try := old.make(user, "192.0.2.1")
			for range ruleOf(kindPair).free + i {
				for wait := old.try(try); wait > 0; wait = old.try(try) {
					old.sleep(wait)
				}
				if user == "eve" { // knows her password
					old.pardon(try, true, old.term)
				}
			}
			tries = append(tries, try)
		}
		if way == "state" {
			next.Hear(old.State())
		} else {
			spread(old, next)
		}
		next.now = old.now
		for i, try := range tries {
			for again := range 2 {
				if a, b := old.try(try), next.try(try); a != b || (a > 0) != (i < 2 && again > 0 || i == 1) {
					t.Errorf("by %s, user %d: the old leader says %v, the new one %v", way, i, a, b)
				}
			}
		}
		if s := next.stats(); s.Known != 1 || s.Malformed != 0 {
			t.Errorf("by %s: %+v", way, s)
		}
	}
}

// News may come twice, late and in any order: the last change is the truth.
func TestLateNews(t *testing.T) {
	old, next := newLab(t), newLab(t)
	try := old.make("ann", "192.0.2.1")
	var packets [][]byte
	for range 5 {
		old.try(try)
		packets = append(packets, old.Take(1300, 2))
	}
	old.pardon(try, false, old.term)
	packets = append(packets, old.Take(1300, 2))
	for _, i := range []int{0, 5, 1, 4, 4, 3, 0, 2} {
		next.Hear(packets[i])
	}
	pair := pairOf(try.User, try.Address)
	if n := next.kinds[kindPair][pair].level(kindPair, next.now); n != 4 {
		t.Errorf("%d failures are known, not 4", n)
	}
	// A new leader's word counts more than an old one's, however late that comes.
	next.term = 2
	next.try(try)
	old.try(try)
	next.Hear(old.Take(1300, 2))
	old.Hear(next.Take(1300, 2))
	if a, b := old.kinds[kindPair][pair], next.kinds[kindPair][pair]; a != b || a.term != 2 || a.level(kindPair, old.now) != 5 {
		t.Errorf("the two leaders know %+v and %+v", a, b)
	}
}

// Packets are bounded, hold each counter once, and bring the highest first; each change is sent some times.
func TestTake(t *testing.T) {
	l := newLab(t)
	victim := l.make("ann", "192.0.2.1")
	for i := range 300 {
		l.try(l.make(fmt.Sprint("user", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250)))
		if i%30 == 0 {
			l.try(victim)
		}
	}
	times := make(map[Key]int)
	packets := 0
	for b := l.Take(400, 2); b != nil; b = l.Take(400, 2) {
		packets++
		keys := decoded(t, b)
		if len(b) > 400 || len(b) < 300 && len(l.pending) > 20 {
			t.Fatalf("a packet of %d bytes", len(b))
		}
		seen := make(map[Key]bool)
		for _, k := range keys {
			if seen[k] {
				t.Fatal("a counter is there twice")
			}
			seen[k] = true
			times[k]++
		}
		if first := pairOf(victim.User, victim.Address); (packets <= minSends) != seen[first] {
			t.Fatalf("packet %d: the highest counter is there: %v", packets, seen[first])
		}
	}
	if len(times) != 3*301 {
		t.Errorf("%d counters were told of", len(times))
	}
	for _, n := range times {
		if n != minSends {
			t.Fatalf("a counter was sent %d times", n)
		}
	}
	if l.try(victim); l.Take(20, 2) != nil {
		t.Error("a packet without room")
	}
	for want, others := range map[int]int{minSends: 1, 12: 6, maxSends: 200} {
		l.try(l.make("eve", "192.0.2.9"))
		n := 0
		for b := l.Take(1300, others); b != nil; b = l.Take(1300, others) {
			n++
		}
		if n != want {
			t.Errorf("with %d others a change is sent %d times", others, n)
		}
	}
}

// Whatever is heard, it locks nobody out for longer than counting could have.
func TestHeardIsBounded(t *testing.T) {
	l := newLab(t)
	try := l.make("ann", "192.0.2.1")
	week := uint64(KnownFor.Milliseconds())
	for _, k := range []Key{try.User, try.Address, pairOf(try.User, try.Address)} {
		l.Hear(encode(uint64(l.now), uint64(k), 99, 99, week, week))
	}
	if wait := l.try(try); wait == 0 || wait > ruleOf(kindPair).longest {
		t.Errorf("refused for %v", wait)
	}
	l.sleep(ruleOf(kindPair).longest)
	if wait := l.try(try); wait > 0 {
		t.Errorf("refused for %v more", wait)
	}
}

// frames are the ways of each kind of frame: decoded, and encoded again.
var frames = map[string]struct {
	sample []byte
	again  func(b []byte) ([]byte, error)
}{
	"reserve": {
		encodeTries([]Try{{User: 4 << 40, Address: 9<<40 | 2, Known: true}, {User: 8, Address: 2}}),
		func(b []byte) ([]byte, error) {
			tries, err := decodeTries(b)
			return encodeTries(tries), err
		},
	},
	"decision": {
		decision{term: 7, grants: []grant{{counted: 7}, {wait: 30 * time.Second}}}.encode(),
		func(b []byte) ([]byte, error) {
			n := 0
			if f, err := decode(b, 1, grantFields, MaxBatch); err == nil {
				n = (len(f) - 1) / grantFields
			}
			d, err := decodeDecision(b, n)
			return d.encode(), err
		},
	},
	"forgive": {
		encodePardons([]pardon{{Try: Try{User: 4 << 40, Address: 9<<40 | 2}, counted: 7, proven: true, term: 300}}),
		func(b []byte) ([]byte, error) {
			pardons, err := decodePardons(b)
			return encodePardons(pardons), err
		},
	},
	"news": {
		encode(append([]uint64{uint64(start)}, pieces()...)...),
		func(b []byte) ([]byte, error) {
			f, err := decode(b, 1, newsFields, kinds*maxState)
			if err != nil {
				return nil, err
			}
			again := f[:1:1]
			for g := f[1:]; len(g) > 0; g = g[newsFields:] {
				k, c, err := readPiece(g, session.Time(f[0]))
				if err != nil {
					return nil, err
				}
				piece := c.piece(k, session.Time(f[0]))
				again = append(again, piece[:]...)
			}
			return encode(again...), nil
		},
	},
}

func pieces() []uint64 {
	a := counter{term: 7, seq: 70_000, empty: start + 300_000, next: start + 1000}.piece(4<<40|1, start)
	b := counter{term: 6, seq: 1, empty: start - 5}.piece(8, start)
	return append(a[:], b[:]...)
}

// The frames of this version are frozen: nodes of different builds exchange them.
func TestFrozenFrames(t *testing.T) {
	for name, f := range frames {
		path := filepath.Join("testdata", "golden", name+"-v1.hex")
		if *update {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(f.sample)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(f.sample); got != strings.TrimSpace(string(text)) {
			t.Errorf("%s has changed: %s", name, got)
		}
		again, err := f.again(f.sample)
		if err != nil || !bytes.Equal(again, f.sample) {
			t.Errorf("%s: read again it is %x, %v", name, again, err)
		}
	}
}

func TestBadFrames(t *testing.T) {
	for name, f := range frames {
		for cut := range f.sample {
			if _, err := f.again(f.sample[:cut]); err == nil {
				t.Errorf("%s, cut to %d bytes, is accepted", name, cut)
			}
		}
		for what, b := range map[string][]byte{
			"another version": append([]byte{2}, f.sample[1:]...),
			"more bytes":      append(bytes.Clone(f.sample), 0),
			"too many":        encode(make([]uint64, newsFields*kinds*maxState+newsFields*7)...),
			"a long array":    {frameVersion, 0xdd, 0xff, 0xff, 0xff, 0xff},
			"large numbers":   encode(2, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64),
		} {
			if _, err := f.again(b); err == nil {
				t.Errorf("%s: %s is accepted", name, what)
			}
		}
	}
	l := newLab(t)
	l.Hear([]byte("no frame"))
	l.Hear(encode(math.MaxUint64))
	if l.stats().Malformed != 2 {
		t.Errorf("%d malformed messages", l.stats().Malformed)
	}
}

func FuzzFrames(f *testing.F) {
	for _, frame := range frames {
		f.Add(frame.sample)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, frame := range frames {
			if again, err := frame.again(b); err == nil {
				if twice, err := frame.again(again); err != nil || !bytes.Equal(again, twice) {
					t.Fatalf("%x, then %x: %v", again, twice, err)
				}
			}
		}
		table := NewTable()
		table.Hear(b)
		table.Hear(table.State())
		table.reserve(start, 1, []Try{{User: 8, Address: 2}})
	})
}
