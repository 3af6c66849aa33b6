package session

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// BenchmarkTables holds this table against what else could find records of a row's size by their keys: memory, all that the
// table needs beside the records included; a lookup of keys at random; a full collection. It says so of a quarter of the
// sessions that the table is made for, and takes a minute.
func BenchmarkTables(b *testing.B) {
	const n = benchSessions / 4
	for _, kind := range []struct {
		name string
		make func() keyTable
	}{
		{"index+slab", func() keyTable { return newTable(newAccounts()) }},
		{"maps-of-numbers+slab", func() keyTable { return newNumberMaps() }},
		{"maps-of-structs", func() keyTable { return new(structMaps) }},
		{"maps-of-pointers", func() keyTable { return new(pointerMaps) }},
		{"one-map-of-pointers", func() keyTable { return pointerMap{} }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			if testing.Short() {
				b.Skip("takes long")
			}
			keys := make([]Key, n)
			for i := range keys {
				keys[i] = benchKey(i)
			}
			before := resident(b)
			t := kind.make()
			for i := range keys {
				t.putRow(&row{key: keys[i], seq: uint64(i)})
			}
			b.ReportMetric((resident(b)-before)/n, "B/record")
			begun := time.Now()
			runtime.GC()
			b.ReportMetric(float64(time.Since(begun).Microseconds())/1000, "ms/GC")
			rnd := rand.New(rand.NewPCG(7, 7))
			rnd.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			at := 0
			for b.Loop() {
				if r := t.rowOf(&keys[at]); r == nil || r.key != keys[at] {
					b.Fatal("lost")
				}
				if at++; at == n {
					at = 0
				}
			}
			runtime.KeepAlive(t)
		})
	}
}

// keyTable finds rows by their keys.
type keyTable interface {
	putRow(r *row)
	rowOf(k *Key) *row
}

func (t *table) putRow(r *row) {
	n := t.rows.take()
	*t.rows.at(n) = *r
	t.index.put(&r.key, n)
}

func (t *table) rowOf(k *Key) *row { return t.rows.at(t.index.find(k)) }

// numberMaps are built-in maps, without pointers, and the slab.
type numberMaps struct {
	rows rows
	maps [1 << 10]map[Key]uint32
}

func newNumberMaps() *numberMaps { return &numberMaps{rows: newRows(new(memory))} }

func (t *numberMaps) putRow(r *row) {
	n := t.rows.take()
	*t.rows.at(n) = *r
	put(&t.maps[mapOf(&r.key)], r.key, n)
}

func (t *numberMaps) rowOf(k *Key) *row { return t.rows.at(t.maps[mapOf(k)][*k]) }

// structMaps are built-in maps that hold the rows themselves. What is larger than 128 bytes the built-in map keeps by
// pointer, so this is the largest record for which it does not.
type structMaps [1 << 10]map[Key]row

func (t *structMaps) putRow(r *row) { put(&t[mapOf(&r.key)], r.key, *r) }

func (t *structMaps) rowOf(k *Key) *row {
	r := t[mapOf(k)][*k]
	return &r
}

// named is a row with as many pointers as a record of strings has.
type named struct {
	row
	texts [3]*string
}

type pointerMaps [1 << 10]map[Key]*named

func (t *pointerMaps) putRow(r *row) { put(&t[mapOf(&r.key)], r.key, newNamed(r)) }

func (t *pointerMaps) rowOf(k *Key) *row { return &t[mapOf(k)][*k].row }

type pointerMap map[Key]*named

func (t pointerMap) putRow(r *row) { t[r.key] = newNamed(r) }

func (t pointerMap) rowOf(k *Key) *row { return &t[*k].row }

func newNamed(r *row) *named {
	name := fmt.Sprint("user", r.seq/10)
	return &named{row: *r, texts: [3]*string{&name, &name, &name}}
}

func mapOf(k *Key) int { return shardOf(k) >> 6 }

func put[V any](m *map[Key]V, k Key, v V) {
	if *m == nil {
		*m = make(map[Key]V)
	}
	(*m)[k] = v
}

// BenchmarkMemoryAfterEnd reports what a table keeps of its memory when all of its sessions have expired: with their
// tombstones, and when these are forgotten.
func BenchmarkMemoryAfterEnd(b *testing.B) {
	for _, n := range []int{1_000_000, benchSessions} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				before := resident(b)
				m := grown(b, n)
				b.ReportMetric((resident(b)-before)/1e6, "full-MB")
				now, longest, begun := start.Add(9*time.Hour), time.Duration(0), time.Now()
				apply := func(c Command) {
					from := time.Now()
					m.Apply(m.Applied()+1, &Entry{Stamp: now, Commands: []Command{c}})
					longest = max(longest, time.Since(from))
				}
				apply(&Tick{})
				for m.Stats().Sessions > 0 {
					apply(&Expire{Cutoff: now, Keys: m.Due(now, MaxExpire)})
				}
				b.ReportMetric(float64(time.Since(begun).Nanoseconds())/float64(n), "ns/end")
				b.ReportMetric((resident(b)-before)/1e6, "ended-MB")
				now = now.Add(WhyLife)
				for m.Stats().Tombstones > 0 {
					apply(&Tick{})
				}
				b.ReportMetric((resident(b)-before)/1e6, "forgotten-MB")
				b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-entry")
				runtime.KeepAlive(m)
			}
		})
	}
}
