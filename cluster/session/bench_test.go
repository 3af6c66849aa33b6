package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// bytesAllocated returns how many bytes the whole process allocated while fn ran.
func bytesAllocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// filled has n sessions of the size that a comparison with Redis would have: seven short fields.
func filled(tb testing.TB, n int) (*Machine, []Key) {
	m := New()
	m.Apply(1, &Entry{Stamp: start, Commands: []Command{
		&Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rs"},
		&CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true},
	}})
	r, _ := m.RealmByName("corp")
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i)))
		c := benchCreate(keys[i], r.Rev, fmt.Sprint("user", i/10))
		if res := m.Apply(m.Applied()+1, &Entry{Stamp: start, Commands: []Command{c}}); res[0].Err != nil {
			tb.Fatal(res[0].Err)
		}
	}
	return m, keys
}

func benchCreate(k Key, realmRev uint64, username string) *Create {
	return &Create{
		Key: k, Realm: "corp", Username: username, RealmRev: realmRev, Surface: SurfaceFusion, Address: "192.0.2.10",
		Agent: "Mozilla/5.0", Idle: 30 * time.Minute, Lifetime: 8 * time.Hour, Attrs: benchAttrs(),
	}
}

func benchAttrs() []Attr {
	return []Attr{{"basket", "3"}, {"lang", "en"}, {"theme", "dark"}, {"step", "checkout"}}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	m, keys := filled(t, 1000)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		v, ok := m.Lookup(keys[i%len(keys)])
		if !ok || v.HasRole(RoleAdmin) {
			t.Fatal("wrong session")
		}
		if _, ok := m.Lookup(Key{1}); ok {
			t.Fatal("a session out of nothing")
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Touches are most of what is applied.
func TestTouchesDoNotAllocate(t *testing.T) {
	m, keys := filled(t, 1000)
	var touch Touch
	for _, k := range keys[:16] {
		touch.Uses = append(touch.Uses, Use{Key: k})
	}
	e := &Entry{Stamp: start, Commands: []Command{&touch}}
	results := make([]Result, 0, 1)
	if n := testing.AllocsPerRun(1000, func() {
		e.Stamp += 100
		for i := range touch.Uses {
			touch.Uses[i].At = e.Stamp
		}
		results = m.AppendApply(results[:0], m.Applied()+1, e)
		if v, _ := m.Lookup(keys[3]); results[0].Err != nil || v.Session.LastUse != e.Stamp {
			t.Fatal("not touched")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// crowded has one user with as many sessions as users have, as large as they get.
func crowded(tb testing.TB) *Machine {
	m, _ := filled(tb, 0)
	r, _ := m.RealmByName("corp")
	for i := range DefaultSessionsPerUser {
		c := benchCreate(KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i))), r.Rev, "eve")
		c.Address, c.Attrs = fmt.Sprintf("2001:db8::%x", i), attrs(MaxAttributes, MaxSessionBytes/MaxAttributes-4)
		if res := m.Apply(m.Applied()+1, &Entry{Stamp: start, Commands: []Command{c}}); res[0].Err != nil {
			tb.Fatal(res[0].Err)
		}
	}
	return m
}

// Whoever tries to log in makes the node look at the user's sessions, before his password is looked at.
func TestSessionsFromAnAddressDoNotAllocate(t *testing.T) {
	m := crowded(t)
	looked := 0
	if n := testing.AllocsPerRun(100, func() {
		looked = 0
		third := func(string) bool { looked++; return looked == 3 }
		if !m.HasSessionFrom("corp", "eve", third) || looked != 3 || !m.HasSessions("corp", "eve") {
			t.Fatal("no session")
		}
		if m.HasSessionFrom("corp", "eve", func(address string) bool { looked++; return address == "2001:db8::ff" }) {
			t.Fatal("a session from nowhere")
		}
	}); n != 0 || looked != 3+DefaultSessionsPerUser {
		t.Errorf("%v allocations, %d sessions looked at", n, looked)
	}
}

// allocations carries out one entry again and again, after change has made it the next one, and returns the allocations of each.
func allocations(m *Machine, e *Entry, change func()) float64 {
	results := make([]Result, 0, len(e.Commands))
	return testing.AllocsPerRun(500, func() {
		e.Stamp += 100
		change()
		if results = m.AppendApply(results[:0], m.Applied()+1, e); results[0].Err != nil {
			panic(results[0].Err)
		}
	})
}

// Changes of attributes, of the same size and of another, work on the bytes that are there.
func TestChangesDoNotAllocate(t *testing.T) {
	m, keys := filled(t, 1000)
	values := []string{"paid", "delivered to a neighbour on the third floor"}
	put := &Put{Key: keys[7], Attrs: []Attr{{"step", "a"}, {"coupon", ""}}}
	remove := &Delete{Key: keys[7], Names: []string{"coupon"}}
	i := 0
	if n := allocations(m, &Entry{Stamp: start, Commands: []Command{put, remove}}, func() {
		i++
		put.Attrs[0].Value = values[i%2]
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	s, _ := m.Session(keys[7])
	if v, ok := s.Attr("step"); v != values[i%2] || !ok || len(s.Attrs) != len(benchAttrs()) {
		t.Errorf("%+v", s.Attrs)
	}
}

// What an end allocates is the room for the next tombstones, now and then.
func TestEndsDoNotAllocate(t *testing.T) {
	m, keys := filled(t, 2000)
	end := &Invalidate{Reason: EndedByLogout}
	i := 0
	if n := allocations(m, &Entry{Stamp: start, Commands: []Command{end}}, func() {
		end.Key = keys[i]
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	e := benchEntry()
	buf, err := EncodeEntry(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := EncodeEntry(buf[:0], e); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, keys := filled(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := m.Lookup(keys[i%n]); !ok {
					b.Fatal("lost")
				}
				i += 7919
			}
		})
	}
}

// BenchmarkSessionFrom is what each try to log in takes, and what it would take with the whole sessions.
func BenchmarkSessionFrom(b *testing.B) {
	const nowhere = "192.0.2.1"
	m := crowded(b)
	for name, from := range map[string]func() bool{
		"borrowed": func() bool {
			return m.HasSessionFrom("corp", "eve", func(address string) bool { return address == nowhere })
		},
		"whole": func() bool {
			return slices.ContainsFunc(m.SessionsOf("corp", "eve"), func(s *Session) bool { return s.Address == nowhere })
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if from() {
					b.Fatal("a session from nowhere")
				}
			}
		})
	}
}

func BenchmarkApplyCreate(b *testing.B) {
	m, _ := filled(b, 0)
	r, _ := m.RealmByName("corp")
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		c := benchCreate(KeyOf(binary.BigEndian.AppendUint64(nil, n)), r.Rev, "user")
		c.Username = "user" // evicts from the hundredth on, which keeps the machine small
		if res := m.Apply(m.Applied()+1, &Entry{Stamp: start.Add(time.Duration(n) * time.Millisecond), Commands: []Command{c}}); res[0].Err != nil {
			b.Fatal(res[0].Err)
		}
	}
}

// BenchmarkApply carries out one command an entry, over and over: what no such entry allocates is asserted elsewhere.
func BenchmarkApply(b *testing.B) {
	put, touch, end := &Put{Attrs: []Attr{{"step", "paid"}}}, &Touch{Uses: make([]Use, 1)}, &Invalidate{Reason: EndedByLogout}
	for _, c := range []struct {
		name string
		cmd  Command
		next func(k Key, now Time)
	}{
		{"put", put, func(k Key, _ Time) { put.Key = k }},
		{"touch", touch, func(k Key, now Time) { touch.Uses[0] = Use{Key: k, At: now} }},
		{"end", end, func(k Key, _ Time) { end.Key = k }},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, keys := filled(b, 20_000)
			e := &Entry{Stamp: start, Commands: []Command{c.cmd}}
			results := make([]Result, 0, 1)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == len(keys) { // all have ended, or as well begin again
					b.StopTimer()
					m, keys = filled(b, 20_000)
					e.Stamp, i = start, 0
					b.StartTimer()
				}
				e.Stamp++
				c.next(keys[i], e.Stamp)
				if results = m.AppendApply(results[:0], m.Applied()+1, e); results[0].Err != nil {
					b.Fatal(results[0].Err)
				}
				i++
			}
		})
	}
}

func benchEntry() *Entry {
	e := &Entry{Stamp: start}
	for i := range 16 {
		e.Commands = append(e.Commands, &Put{Key: key(byte(i)), Attrs: []Attr{{"step", strings.Repeat("v", 100)}}})
	}
	return e
}

func BenchmarkEncodeEntry(b *testing.B) {
	e := benchEntry()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = EncodeEntry(buf[:0], e); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecodeEntry(b *testing.B) {
	buf, err := EncodeEntry(nil, benchEntry())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEntry(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodeEntryByReflection is what the library's encoder for any type takes for the same.
func BenchmarkEncodeEntryByReflection(b *testing.B) {
	e := benchEntry()
	enc := msgpack.NewEncoder(io.Discard)
	enc.UseArrayEncodedStructs(true)
	b.ReportAllocs()
	for b.Loop() {
		if err := enc.Encode(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, _ := filled(b, 100_000)
	b.Run("capture", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Snapshot(nil).Release()
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n, err := m.Snapshot(nil).WriteTo(io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(n)
		}
	})
	b.Run("restore", func(b *testing.B) {
		data := string(snapshotOf(b, m))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Restore(strings.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
