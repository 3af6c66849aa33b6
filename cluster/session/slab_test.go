package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func TestSizeClasses(t *testing.T) {
	last, lastFull := 0, 0
	for size := 1; size <= chunkSize; size++ {
		class, full := classOf(size)
		switch {
		case full < size || full%8 != 0 || full > size+max(7, size/8):
			t.Fatalf("a block of %d bytes gets %d", size, full)
		case class >= blobClasses || class < last || (class == last) != (full == lastFull):
			t.Fatalf("blocks of %d bytes are of class %d", size, class)
		}
		last, lastFull = class, full
	}
}

// Blocks that are in use overlap with none, whatever was released before.
func TestBlobsDoNotOverlap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	s := newBlobs(new(memory))
	held := map[place][]byte{}
	for i := range 60_000 {
		size := 1 + rnd.IntN(300)
		if i%100 == 0 {
			size = 1 + rnd.IntN(17_000)
		}
		b := bytes.Repeat([]byte{byte(i)}, size)
		p := s.put(b)
		if held[p] != nil {
			t.Fatal("a block is handed out twice")
		}
		held[p] = b
		for p, want := range held { // any three
			if !bytes.Equal(s.get(p), want) {
				t.Fatalf("block of %d bytes was written over", len(want))
			}
			if rnd.IntN(5) > 0 {
				break
			}
			delete(held, p)
			if rnd.IntN(2) == 0 {
				s.drop(p)
				continue
			}
			want = bytes.Repeat([]byte{byte(i + 1)}, max(1, len(want)+rnd.IntN(20)-10))
			held[s.set(p, want)] = want
		}
	}
	var used int64
	for p, want := range held {
		if !bytes.Equal(s.get(p), want) {
			t.Fatalf("block of %d bytes was written over", len(want))
		}
		_, full := classOf(len(want))
		used += int64(full)
	}
	if used != s.used {
		t.Errorf("%d bytes in use, want %d", s.used, used)
	}
	runtime.KeepAlive(s.mem)
}

func TestRowsAreReused(t *testing.T) {
	s := newRows(new(memory))
	a, b := s.take(), s.take()
	s.at(a).key, s.at(b).key = key(1), key(2)
	s.give(a)
	s.give(b)
	if s.take() != b || s.take() != a || s.take() == a {
		t.Error("the row given back last is not the next")
	}
	for range 3 * rowsPerChunk {
		if n := s.take(); n == 0 || *s.at(n) != (row{}) {
			t.Fatalf("row %d: %+v", n, *s.at(n))
		}
	}
	runtime.KeepAlive(s.mem)
}

// Sessions end, and the memory that they were in goes back to the system; then as many come again.
func TestMemoryOfEndedSessionsGoesBack(t *testing.T) {
	mem := new(memory)
	s, r := newBlobs(mem), newRows(mem)
	const n = 200_000
	fill := func() (places []place, numbers []uint32) {
		for i := range n {
			places = append(places, s.put(bytes.Repeat([]byte{byte(i)}, 60+i%100)))
			number := r.take()
			r.at(number).seq = uint64(i)
			numbers = append(numbers, number)
		}
		return places, numbers
	}
	places, numbers := fill()
	mapped := mem.bytes
	written := func() (chunks int) {
		for _, c := range s.chunks {
			if !bytes.Equal(c[:pageSize], make([]byte, pageSize)) {
				chunks++
			}
		}
		for _, c := range r.chunks {
			if c[1] != (row{}) || c[2] != (row{}) {
				chunks++
			}
		}
		return chunks
	}
	for i := range n {
		at := i * 7919 % n // in another order than they came
		s.drop(places[at])
		r.give(numbers[at])
	}
	if runtime.GOOS == "linux" && written() > 2 { // of each kind, the one that was emptied last
		t.Errorf("%d of %d chunks are kept, of nothing", written(), len(s.chunks)+len(r.chunks))
	}
	places, numbers = fill()
	if mem.bytes != mapped {
		t.Errorf("%d bytes are mapped for as much as before, where %d were", mem.bytes, mapped)
	}
	for i := range n {
		if b := s.get(places[i]); len(b) != 60+i%100 || b[0] != byte(i) || r.at(numbers[i]).seq != uint64(i) {
			t.Fatalf("session %d was written over", i)
		}
	}
	runtime.KeepAlive(mem)
}

// Memory that was for blocks of one size serves those of another when nothing is left of the first in a span.
func TestSpansServeOtherSizes(t *testing.T) {
	s := newBlobs(new(memory))
	var mapped int64
	for round := range 40 {
		size := 16 << (round % 11)
		var held []uint64
		for i := range (8 << 20) / size {
			held = append(held, s.alloc(size))
			*s.word(held[i]) = uint64(i)
		}
		for i, at := range held {
			if *s.word(at) != uint64(i) {
				t.Fatalf("round %d: block %d was written over", round, i)
			}
			s.release(at, size)
		}
		if round == 0 {
			mapped = s.mem.bytes
		}
	}
	if s.mem.bytes > mapped+chunkSize || s.used != 0 {
		t.Errorf("%d bytes are mapped, %d for blocks of one size; %d in use", s.mem.bytes, mapped, s.used)
	}
	runtime.KeepAlive(s.mem)
}

// What a lookup has returned stays as it was, whatever becomes of the memory that it was read from.
func TestViewsOutliveTheirRecords(t *testing.T) {
	s := newScript(t)
	s.ok(&CreateRole{ID: "ro", Name: "ops"})
	login := func(k byte, who string, role string) {
		c := s.create(k, "corp", who)
		c.FixedRoles, c.Roles, c.UserID = true, []string{role}, "id-of-"+who
		c.Agent, c.Address, c.Attrs = "agent "+who, "192.0.2.1", []Attr{{"name", who}}
		s.ok(c)
	}
	var views []View
	var sessions []*Session
	for k := byte(1); k <= 20; k++ {
		login(k, fmt.Sprint("first", k), "dev")
		v, _ := s.m.Lookup(key(k))
		views, sessions = append(views, v), append(sessions, s.session(k))
	}
	show := func() (text string) {
		for i := range views {
			text += fmt.Sprintf("%+v %v %+v\n", views[i].Session, views[i].Roles(), *sessions[i])
		}
		return text
	}
	before := show()
	used := s.m.Slabs()
	for k := byte(1); k <= 20; k++ {
		s.ok(&Put{Key: key(k), Attrs: []Attr{{"name", "other"}}})
		s.ok(&SetRoles{Realm: "corp", Username: fmt.Sprint("first", k), Roles: []string{"ops"}})
		s.ok(&Invalidate{Key: key(k), Reason: EndedByLogout})
	}
	s.pass(2 * WhyLife)
	s.ok(&Tick{})
	for k := byte(101); k <= 120; k++ {
		login(k, fmt.Sprint("later", k), "ops")
	}
	if s.m.Slabs() > used+used/4 {
		t.Fatalf("%d bytes in use, %d before: the memory is not reused", s.m.Slabs(), used)
	}
	runtime.GC()
	if after := show(); after != before {
		t.Errorf("now\n%s\nbefore\n%s", after, before)
	}
}

// Sessions that come and go for ever, with attributes that grow and shrink, need no more memory than there is room for at
// the worst moment of a round.
func TestChurnNeedsNoMoreMemory(t *testing.T) {
	s := newScript(t)
	rnd := rand.New(rand.NewPCG(2, 2))
	const n = 3000
	var mapped int64
	users := int(s.m.store.table.accounts.next) // with records
	next := uint64(0)
	for round := range 12 {
		keys := make([]Key, n)
		for i := range keys {
			next++
			c := s.create(0, "corp", fmt.Sprint("user", rnd.IntN(300)))
			c.Key, c.Attrs = dueKey(int(next)*77_777), attrs(rnd.IntN(8), rnd.IntN(100))
			keys[i] = c.Key
			s.do(c)
		}
		for _, k := range keys {
			s.do(&Put{Key: k, Attrs: attrs(rnd.IntN(8), rnd.IntN(100))})
		}
		for _, k := range keys {
			s.do(&Invalidate{Key: k, Reason: EndedByLogout})
		}
		if st := s.m.Stats(); st.Sessions != 0 {
			t.Fatalf("%d sessions left", st.Sessions)
		}
		s.pass(TombstoneLife + time.Second)
		for range 3 {
			s.do(&Tick{})
		}
		table := s.m.store.table
		if round == 3 {
			mapped = table.mem.bytes
		}
		if round > 3 && table.mem.bytes != mapped {
			t.Fatalf("round %d: %d bytes are mapped, %d before", round, table.mem.bytes, mapped)
		}
		if used := int(table.accounts.next) - len(table.accounts.free); used != users || table.n != 0 || table.tombs.queue.len() != 0 {
			t.Fatalf("round %d: %d accounts, %d sessions, %d tombstones are kept", round,
				used, table.n, table.tombs.queue.len())
		}
	}
}

// The memory of a machine goes back to the system with it.
func TestMemoryGoesBack(t *testing.T) {
	gone := make(chan struct{})
	func() {
		s := newScript(t)
		s.login(1)
		runtime.AddCleanup(s.m.store.table.mem, func(gone chan struct{}) { close(gone) }, gone)
	}()
	for range 10 {
		runtime.GC()
	}
	<-gone
}
