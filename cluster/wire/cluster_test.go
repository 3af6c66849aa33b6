package wire

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestClusterIDs(t *testing.T) {
	for _, c := range []struct {
		a, b string
		ok   bool
	}{{"", "", true}, {"one", "", true}, {"", "one", true}, {"one", "one", true}, {"one", "two", false}} {
		onBoth(t, func(t *testing.T, l *lab) {
			a, b := l.open("a"), l.open("b")
			a.SetCluster(c.a)
			b.SetCluster(c.b)
			for _, try := range [][2]*Transport{{a, b}, {b, a}} {
				_, err := try[0].Call(l.ctx(), Node{Addr: try[1].Addr()}, kindEcho, nil)
				if c.ok && err != nil || !c.ok && (!errors.Is(err, ErrOtherCluster) || !errors.Is(err, ErrUnreachable)) {
					t.Errorf("%q calls %q: %v", c.a, c.b, err)
				}
				_, err = try[0].Raft().Dial(raftAddr(try[1]), time.Minute)
				if c.ok && err != nil || !c.ok && !errors.Is(err, ErrOtherCluster) {
					t.Errorf("raft of %q dials %q: %v", c.a, c.b, err)
				}
			}
			if !c.ok {
				notServed(t, a)
				notServed(t, b)
			}
		})
	}
}

// Two nodes that met before either had a cluster id part when they turn out to be of different ones, whichever learns
// its id first, and stay together when they are of the same.
func TestSetClusterOnOpenConnections(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(a, b *Transport)
		parts bool
	}{
		{"dialer first", func(a, b *Transport) { a.SetCluster("one"); synctest.Wait(); b.SetCluster("two") }, true},
		{"dialer last", func(a, b *Transport) { b.SetCluster("two"); synctest.Wait(); a.SetCluster("one") }, true},
		{"at once", func(a, b *Transport) { a.SetCluster("one"); b.SetCluster("two") }, true},
		{"the same", func(a, b *Transport) { a.SetCluster("one"); synctest.Wait(); b.SetCluster("one"); b.SetCluster("one") }, false},
		{"one only", func(a, _ *Transport) { a.SetCluster("one") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, l *lab) {
				a, b := l.open("a"), l.open("b")
				b.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(time.Second):
						return nil, nil
					}
				})
				l.mustEcho(a, b.Addr())
				near, far := raftPair(t, a, b)
				result := make(chan error)
				go func() {
					_, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindBlock, nil)
					result <- err
				}()
				synctest.Wait()
				c.set(a, b)
				synctest.Wait()

				// Raft's connections can't be told the news, so they end in any case and are made again.
				if _, err := near.Write([]byte("x")); err == nil {
					if _, err := far.Read(make([]byte, 1)); err == nil {
						t.Error("raft's connection of before is open")
					}
				}
				err := <-result
				_, raftErr := a.Raft().Dial(raftAddr(b), time.Second)
				if !c.parts {
					if err != nil || raftErr != nil || a.Stats().StreamsOut != 1 {
						t.Errorf("call %v, raft %v, %+v", err, raftErr, a.Stats())
					}
					l.mustEcho(a, b.Addr())
					return
				}
				if !errors.Is(err, ErrLost) {
					t.Errorf("the call that ran: %v", err)
				}
				if !errors.Is(raftErr, ErrOtherCluster) {
					t.Errorf("raft: %v", raftErr)
				}
				if s := a.Stats().StreamsOut + b.Stats().StreamsIn; s != 0 {
					t.Errorf("%d ends of streams are open", s)
				}
				if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, ErrOtherCluster) {
					t.Errorf("a later call: %v", err)
				}
			})
		})
	}
}

// A node that gets another id (its cluster was begun anew) is a stranger to the old members.
func TestNewClusterID(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		a.SetCluster("one")
		b.SetCluster("one")
		l.mustEcho(a, b.Addr())
		near, _ := raftPair(t, a, b)
		b.SetCluster("two")
		synctest.Wait()
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("raft's connection is open")
		}
		if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, ErrOtherCluster) {
			t.Errorf("%v", err)
		}
		a.SetCluster("two")
		time.Sleep(backoffMax)
		l.mustEcho(a, b.Addr())
	})
}

// The id may change while a handshake is under way: after the hello was sent, before the connection is known.
func TestClusterChangesDuringHandshake(t *testing.T) {
	table := newTable()
	table.setKeys([]KeyID{""})
	told := &entry{stream: newStream(nil, nil, time.Second, nil), announced: "", cluster: "one"}
	table.setCluster("one")
	if _, err := table.admit(told); err != nil {
		t.Fatal(err)
	}
	if out, ok := told.stream.queued(); !ok {
		t.Error("the peer was not told")
	} else if f, err := decodeFrame(out.bytes[blockHeader:]); err != nil || f.typ != frameCluster || f.text != "one" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := table.admit(&entry{announced: "", cluster: "one"}); !errors.Is(err, errEnded) {
		t.Errorf("raft's connection with an old hello: %v", err)
	}
	if _, err := table.admit(&entry{announced: "", cluster: "two", stream: newStream(nil, nil, time.Second, nil)}); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("foreign by now: %v", err)
	}
	in := &entry{inbound: true, cluster: "one"}
	if cluster, err := table.admit(in); err != nil || cluster != "one" || in.announced != "one" {
		t.Errorf("%q, %v", cluster, err)
	}
}
