package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
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

func BenchmarkApplyPut(b *testing.B) {
	m, keys := filled(b, 10_000)
	attrs := []Attr{{"step", "paid"}}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e := &Entry{Stamp: start, Commands: []Command{&Put{Key: keys[i%len(keys)], Attrs: attrs}}}
		if res := m.Apply(m.Applied()+1, e); res[0].Err != nil {
			b.Fatal(res[0].Err)
		}
		i++
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
			m.Snapshot()
		}
	})
	b.Run("write", func(b *testing.B) {
		s := m.Snapshot()
		b.ReportAllocs()
		for b.Loop() {
			n, err := s.WriteTo(io.Discard)
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
