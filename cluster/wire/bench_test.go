package wire

import (
	"runtime"
	"testing"
)

// BenchmarkCall64 is 64 callers that share one connection over TLS on loopback.
func BenchmarkCall64(b *testing.B) {
	l := &lab{t: b}
	from, to := l.open("a"), l.open("b")
	l.mustEcho(from, to.Addr())
	body := make([]byte, 200)
	ctx := l.ctx()
	b.ReportAllocs()
	b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := from.Call(ctx, Node{Addr: to.Addr()}, kindEcho, body); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkCall1 is one caller: a round trip without company.
func BenchmarkCall1(b *testing.B) {
	l := &lab{t: b}
	from, to := l.open("a"), l.open("b")
	l.mustEcho(from, to.Addr())
	body := make([]byte, 200)
	ctx := l.ctx()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := from.Call(ctx, Node{Addr: to.Addr()}, kindEcho, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	f := frame{typ: frameRequest, id: 1 << 20, kind: kindEcho, body: make([]byte, 200)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeFrame(f.encode()[blockHeader:]); err != nil {
			b.Fatal(err)
		}
	}
}
