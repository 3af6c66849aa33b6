package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A peer with the key that breaks the rules of frames loses its connection, and nothing else happens.
func TestBrokenFrames(t *testing.T) {
	request := frame{typ: frameRequest, id: 1, kind: kindBlock}
	for name, bytes := range map[string][]byte{
		"too long":           lengthOf(MaxFrame + 1),
		"much too long":      lengthOf(1<<32 - 1),
		"empty":              lengthOf(0),
		"other version":      append(lengthOf(3), frameVersion+1, 0x91, byte(framePing)),
		"not an array":       append(lengthOf(3), frameVersion, 0xc0, 0xc0),
		"an answer":          (&frame{typ: frameAnswer, id: 1}).encode(),
		"the same id":        append(request.encode(), request.encode()...),
		"long cluster id":    append(lengthOf(70), append([]byte{frameVersion, 0x92, byte(frameCluster), 0xd9, 65}, make([]byte, 65)...)...),
		"unknown type":       append(lengthOf(3), frameVersion, 0x91, 99),
		"body out of bounds": append(lengthOf(9), frameVersion, 0x95, 1, 1, 1, 0, 0xc4, 200, 1),
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, l *lab) {
				b := l.open("b")
				b.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
				p := l.puppet("a", b.Addr()).stream("a")
				start := time.Now()
				if _, err := p.Write(bytes); err != nil {
					t.Fatal(err)
				}
				mustEnd(t, p)
				if d := time.Since(start); d != 0 {
					t.Errorf("closed after %v", d)
				}
				synctest.Wait()
				if n := b.Stats().StreamsIn; n != 0 {
					t.Errorf("%d streams", n)
				}
			})
		})
	}
}

// Answers to requests that nobody made, and a peer that answers with requests.
func TestBrokenAnswers(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a := l.open("a")
		serve := func(reply ...frame) func(*puppet) {
			return func(p *puppet) {
				f, err := p.next()
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range reply {
					if r.id == 0 {
						r.id = f.id
					}
					if _, err := p.Write(r.encode()); err != nil {
						return
					}
				}
				_, _ = p.next() // until the dialer closes
			}
		}
		for i, c := range []struct {
			name  string
			serve func(*puppet)
			want  error
		}{
			{"stray answers", serve(frame{typ: frameAnswer, id: 999, body: []byte("x")}, frame{typ: frameFailure, id: 998}, frame{typ: frameAnswer, body: []byte("mine")}, frame{typ: frameAnswer, body: []byte("again")}), nil},
			{"a request", serve(frame{typ: frameRequest, kind: kindEcho}), ErrLost},
			{"a cancel", serve(frame{typ: frameCancel}), ErrLost},
		} {
			addr := l.impostor(fmt.Sprintf("host%d", i), "n9", nil, puppetServer(l, "n9", c.serve))
			got, err := a.Call(l.ctx(), Node{Addr: addr}, kindEcho, nil)
			if !errors.Is(err, c.want) || c.want == nil && string(got) != "mine" {
				t.Errorf("%s: %q, %v", c.name, got, err)
			}
		}
		if err := a.Close(); err != nil { // before the impostors wait for their connections to end
			t.Error(err)
		}
	})
}
