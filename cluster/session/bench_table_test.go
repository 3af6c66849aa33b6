package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// The benchmarks at the size that the table is made for. They take gigabytes and minutes, so not with -short.
const benchSessions = 10_000_000

func benchKey(i int) Key { return KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i))) }

// grown has n sessions like those of filled, ten a user, by fewer and larger entries.
func grown(b *testing.B, n int) *Machine {
	if testing.Short() && n > 1_000_000 {
		b.Skip("takes long")
	}
	m, _ := filled(b, 0)
	r, _ := m.RealmByName("corp")
	for i := 0; i < n; {
		e := &Entry{Stamp: start}
		for ; i < n && len(e.Commands) < 1000; i++ {
			e.Commands = append(e.Commands, benchCreate(benchKey(i), r.Rev, fmt.Sprint("user", i/10)))
		}
		for _, res := range m.Apply(m.Applied()+1, e) {
			if res.Err != nil {
				b.Fatal(res.Err)
			}
		}
	}
	return m
}

// resident returns the bytes of this process that are in memory.
func resident(b *testing.B) float64 {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages * os.Getpagesize())
}

// chase measures what one cache miss takes that the next one has to wait for: a walk through as much memory as the rows
// take, from the same source, in an order that nobody can guess.
type chase struct {
	mem   *memory
	lines [][]byte
	at    uint32
}

const chaseLine = rowSize

func newChase(bytes int) *chase {
	c := &chase{mem: new(memory)}
	for range (bytes + chunkSize - 1) / chunkSize {
		c.lines = append(c.lines, c.mem.chunk(false))
	}
	n := len(c.lines) * chunkSize / chaseLine
	order := rand.New(rand.NewPCG(5, 5)).Perm(n)
	for i, at := range order {
		*c.next(uint32(at)) = uint32(order[(i+1)%n])
	}
	return c
}

func (c *chase) next(line uint32) *uint32 {
	const each = chunkSize / chaseLine
	return (*uint32)(unsafe.Pointer(&c.lines[line/each][line%each*chaseLine]))
}

func (c *chase) step() {
	c.at = *c.next(c.at)
	runtime.KeepAlive(c.mem)
}

// BenchmarkLookupAtSize looks up keys at random, and reports how many dependent cache misses one takes, measured in turn with
// it. What it takes to choose the key, which is none of the table's, is taken off.
func BenchmarkLookupAtSize(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000, benchSessions} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := grown(b, n)
			runtime.GC()
			misses := newChase(n * rowSize)
			// Keys one after the other in memory, in no order: to read them is no miss.
			keys := make([]Key, 1<<20)
			rnd := rand.New(rand.NewPCG(6, 6))
			for i := range keys {
				keys[i] = benchKey(rnd.IntN(n))
			}
			if a := testing.AllocsPerRun(100, func() { m.Lookup(keys[0]) }); a != 0 {
				b.Fatalf("%v allocations", a)
			}
			var lookups, steps time.Duration
			var rounds int
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				begun := time.Now()
				for range 1000 {
					if _, ok := m.Lookup(keys[at%len(keys)]); !ok {
						b.Fatal("lost")
					}
					at++
				}
				between := time.Now()
				for range 1000 {
					misses.step()
				}
				lookups += between.Sub(begun)
				steps += time.Since(between)
				rounds += 1000
			}
			b.ReportMetric(float64(lookups.Nanoseconds())/float64(rounds), "ns/lookup")
			b.ReportMetric(float64(steps.Nanoseconds())/float64(rounds), "ns/miss")
			b.ReportMetric(float64(lookups)/float64(steps), "misses/lookup")
		})
	}
}

// BenchmarkMemory reports what a session of seven short fields takes, all that goes with it included: the share of the
// index, of its user's account, and of the wheel.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1_000_000, benchSessions} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				before := resident(b)
				m := grown(b, n)
				b.ReportMetric((resident(b)-before)/float64(n), "B/session")
				begun := time.Now()
				runtime.GC()
				b.ReportMetric(float64(time.Since(begun).Milliseconds()), "ms/GC")
				runtime.KeepAlive(m)
			}
		})
	}
}

// BenchmarkSnapshotAtSize writes and restores.
func BenchmarkSnapshotAtSize(b *testing.B) {
	for _, n := range []int{1_000_000, benchSessions} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := grown(b, n)
			for b.Loop() {
				r, w := io.Pipe()
				file := make(chan []byte, 1)
				go func() {
					all, _ := io.ReadAll(r)
					file <- all
				}()
				begun := time.Now()
				snap := m.Snapshot(nil)
				b.ReportMetric(float64(time.Since(begun).Microseconds()), "µs/capture")
				if _, err := snap.WriteTo(w); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(begun).Nanoseconds())/float64(n), "ns/written")
				_ = w.Close()
				data := <-file
				begun = time.Now()
				if _, err := Restore(strings.NewReader(unsafe.String(&data[0], len(data)))); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(begun).Nanoseconds())/float64(n), "ns/restored")
			}
		})
	}
}
