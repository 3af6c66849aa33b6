package gossip

import (
	"bytes"
	"compress/lzw"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/vmihailenco/msgpack/v5"

	"cloakroom/cluster/wire"
)

var (
	goodKey  = wire.ClusterKey{1, 2, 3} // that of config
	wrongKey = wire.ClusterKey{3, 2, 1}
)

// sealWith encrypts as memberlist does.
func sealWith(key wire.ClusterKey, version byte, plain, bound []byte) []byte {
	derived := key.Derive(wire.PurposeGossip)
	block, err := aes.NewCipher(derived[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		panic(err)
	}
	return aead.Seal(append([]byte{version}, nonce...), nonce, plain, bound)
}

func labelled(name string, b []byte) []byte {
	return append(append([]byte{labelByte, byte(len(name))}, name...), b...)
}

// packetOf is a packet as a member sends it.
func packetOf(plain []byte) []byte {
	return labelled(label, sealWith(goodKey, sealVersion, plain, []byte(label)))
}

// messageOf is a message on a stream, without the label before it.
func messageOf(key wire.ClusterKey, plain []byte) []byte {
	head := binary.BigEndian.AppendUint32([]byte{encryptMsg}, uint32(1+nonceSize+len(plain)+tagSize))
	return append(bytes.Clone(head), sealWith(key, sealVersion, plain, append(head, label...))...)
}

// streamOf is all that a member sends on a stream.
func streamOf(plain []byte) []byte { return labelled(label, messageOf(goodKey, plain)) }

// packMap is a message of that kind, or the head of one.
func packMap(kind byte, members map[string]any) []byte {
	b, err := msgpack.Marshal(members)
	if err != nil {
		panic(err)
	}
	return append([]byte{kind}, b...)
}

// bomb is a compressed message that memberlist unpacks to so many bytes.
func bomb(size int) []byte {
	var buf bytes.Buffer
	w := lzw.NewWriter(&buf, lzw.LSB, 8)
	if _, err := w.Write(make([]byte, size)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return packMap(9, map[string]any{"Algo": 0, "Buf": buf.Bytes()})
}

func compound(parts ...[]byte) []byte {
	b := []byte{compoundMsg, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	return append(b, bytes.Join(parts, nil)...)
}

// deep is a message of that kind with arrays in each other.
func deep(kind byte) []byte {
	return append(append([]byte{kind, 0x81, 0xa1, 'x'}, bytes.Repeat([]byte{0x91}, 1000)...), 0xc0)
}

// hostilePackets are packets that no node must take. Those of members need the key.
func hostilePackets() map[string][]byte {
	ping := packMap(pingMsg, map[string]any{"SeqNo": 1, "Node": "n1"})
	alive := packMap(aliveMsg, map[string]any{"Incarnation": 99, "Node": "evil", "Addr": []byte{10, 0, 0, 9}, "Port": 7946, "Vsn": []byte{1, 5, 2, 0, 0, 0}})
	noise := make([]byte, 1400)
	_, _ = rand.Read(noise)
	flipped := packetOf(ping)
	flipped[len(flipped)-1] ^= 1
	padded := sealWith(goodKey, 0, append(bytes.Repeat([]byte{1}, 31), 255), []byte(label))
	packets := map[string][]byte{
		"nothing":                    {},
		"a byte":                     {0},
		"noise":                      noise,
		"noise with a label":         labelled(label, noise),
		"a long label":               append([]byte{labelByte, 255}, noise[:100]...),
		"a label without length":     {labelByte},
		"an empty label":             {labelByte, 0, 1},
		"another label":              labelled("consul", sealWith(goodKey, sealVersion, ping, []byte("consul"))),
		"two labels":                 labelled(label, packetOf(ping)),
		"no label":                   sealWith(goodKey, sealVersion, ping, nil),
		"in clear":                   labelled(label, alive),
		"in clear without label":     alive,
		"in clear with a checksum":   labelled(label, append([]byte{checksumMsg, 0, 0, 0, 0}, alive...)),
		"another key":                labelled(label, sealWith(wrongKey, sealVersion, alive, []byte(label))),
		"bound to nothing":           labelled(label, sealWith(goodKey, sealVersion, alive, nil)),
		"one bit wrong":              flipped,
		"a version to come":          labelled(label, sealWith(goodKey, 2, alive, []byte(label))),
		"a member: padding":          labelled(label, padded),
		"a member: nothing":          packetOf(nil),
		"a member: a checksum":       packetOf([]byte{checksumMsg, 0, 0, 0}),
		"a member: checksum, end":    packetOf([]byte{checksumMsg, 0, 0, 0, 0}),
		"a member: unknown kind":     packetOf([]byte{99, 0x80}),
		"a member: a bomb":           packetOf(bomb(30 << 20)),
		"a member: bomb in compound": packetOf(compound(bomb(30<<20), ping)),
		"a member: deep compound":    packetOf(compound(compound(compound(ping)))),
		"a member: parts too long":   packetOf([]byte{compoundMsg, 2, 0, 9, 0, 9, 1}),
		"a member: no parts' length": packetOf([]byte{compoundMsg, 200, 0}),
		"a member: compound, end":    packetOf([]byte{compoundMsg}),
		"a member: an empty part":    packetOf(compound(nil)),
		"a member: more than parts":  packetOf(append(compound(ping), 1)),
		"a member: 4 GiB of data":    packetOf([]byte{aliveMsg, 0x81, 0xa4, 'M', 'e', 't', 'a', 0xc6, 0xff, 0xff, 0xff, 0xff, 1}),
		"a member: 4 Gi values":      packetOf([]byte{aliveMsg, 0x81, 0xa4, 'M', 'e', 't', 'a', 0xdd, 0xff, 0xff, 0xff, 0xff, 1}),
		"a member: deep":             packetOf(deep(aliveMsg)),
		"a member: no structure":     packetOf([]byte{pingMsg, 1}),
		"a member: nil":              packetOf([]byte{ackMsg, 0xc0}),
		"a member: push/pull":        packetOf(packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 0, "Join": false})),
		"a member: more behind":      packetOf(append(bytes.Clone(ping), 1)),
		"a member: sealed twice":     packetOf(append([]byte{encryptMsg}, sealWith(goodKey, sealVersion, ping, nil)...)),
	}
	return packets
}

// hostileStreams are streams that no node must take; the connection is closed at their end.
func hostileStreams() map[string][]byte {
	empty := packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 0, "Join": true})
	head := func(n uint32) []byte { return labelled(label, binary.BigEndian.AppendUint32([]byte{encryptMsg}, n)) }
	noise := make([]byte, 500)
	_, _ = rand.Read(noise)
	flipped := streamOf(empty)
	flipped[len(flipped)-1] ^= 1
	shorter := streamOf(append(bytes.Clone(empty), make([]byte, 100)...))
	shorter[2+len(label)+4] -= 100 // the length, which the message is bound to
	return map[string][]byte{
		"a byte":                   {0},
		"noise":                    noise,
		"HTTP":                     []byte("GET / HTTP/1.1\r\nHost: n1\r\n\r\n"),
		"a label":                  labelled(label, nil),
		"half a label":             labelled(label, nil)[:9],
		"another label":            labelled("consul", messageOf(goodKey, empty)),
		"in clear":                 labelled(label, empty),
		"in clear, no label":       empty,
		"a ping in clear":          labelled(label, packMap(pingMsg, map[string]any{"SeqNo": 1})),
		"a length of 4 GiB":        append(head(1<<32-1), noise...),
		"a length above the limit": append(head(maxStream+1), noise...),
		"a length of nothing":      append(head(0), noise...),
		"a length of a tag":        append(head(sealedMin-1), noise...),
		"noise of that length":     append(head(500), noise...),
		"less than announced":      append(head(501), noise...),
		"another key":              labelled(label, messageOf(wrongKey, empty)),
		"one bit wrong":            flipped,
		"another length":           shorter,
		"a member: nothing":        streamOf(nil),
		"a member: a bomb":         streamOf(bomb(30 << 20)),
		"a member: unknown":        streamOf([]byte{99, 0x80}),
		"a member: alive":          streamOf(packMap(aliveMsg, map[string]any{"Node": "evil"})),
		"a member: news":           streamOf(append(packMap(userMsg, map[string]any{"UserMsgLen": 20 << 20}), 1)),
		"a member: an answer":      streamOf(packMap(ackMsg, map[string]any{"SeqNo": 1})),
		"a member: many nodes":     streamOf(packMap(pushPullMsg, map[string]any{"Nodes": 1 << 20, "UserStateLen": 0})),
		"a member: empty nodes":    streamOf(append(packMap(pushPullMsg, map[string]any{"Nodes": maxNodes + 1, "UserStateLen": 0}), bytes.Repeat([]byte{0x80}, maxNodes+1)...)),
		"a member: nodes missing":  streamOf(packMap(pushPullMsg, map[string]any{"Nodes": 5, "UserStateLen": 0})),
		"a member: -1 nodes":       streamOf(packMap(pushPullMsg, map[string]any{"Nodes": -1, "UserStateLen": 0})),
		"a member: a long state":   streamOf(packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 20 << 20})),
		"a member: a state of -1":  streamOf(packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": -1})),
		"a member: no state":       streamOf(packMap(pushPullMsg, map[string]any{"Nodes": 0, "UserStateLen": 9})),
		"a member: a node of nil":  streamOf(append(packMap(pushPullMsg, map[string]any{"Nodes": 1, "UserStateLen": 0}), 0xc0)),
		"a member: a deep node":    streamOf(append(packMap(pushPullMsg, map[string]any{"Nodes": 1, "UserStateLen": 0}), deep(0)[1:]...)),
		"a member: a head of text": streamOf([]byte{pushPullMsg, 0xa1, 'x'}),
		"a member: deep head":      streamOf(deep(pushPullMsg)),
	}
}

// fakeNet is a network below a gate that the test speaks on.
type fakeNet struct {
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func newFakeNet() *fakeNet {
	return &fakeNet{packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{})}
}

func (f *fakeNet) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4(10, 0, 0, 1), 7946, nil
}
func (f *fakeNet) WriteTo([]byte, string) (time.Time, error) { return time.Now(), nil }
func (f *fakeNet) WriteToAddress([]byte, memberlist.Address) (time.Time, error) {
	return time.Now(), nil
}

func (f *fakeNet) DialTimeout(string, time.Duration) (net.Conn, error) {
	return nil, errors.New("nobody there")
}

func (f *fakeNet) DialAddressTimeout(memberlist.Address, time.Duration) (net.Conn, error) {
	return nil, errors.New("nobody there")
}
func (f *fakeNet) PacketCh() <-chan *memberlist.Packet { return f.packets }
func (f *fakeNet) StreamCh() <-chan net.Conn           { return f.streams }
func (f *fakeNet) Shutdown() error                     { f.once.Do(func() { close(f.done) }); return nil }

func (f *fakeNet) send(b []byte) {
	f.packets <- &memberlist.Packet{Buf: bytes.Clone(b), From: &net.UDPAddr{IP: net.IPv4(10, 0, 0, 66), Port: 1}, Timestamp: time.Now()}
}

func (f *fakeNet) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
}

func (f *fakeNet) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("no name server")
}

// fakeNode is a node on a fakeNet.
func fakeNode(t testing.TB, key wire.ClusterKey) (*Gossip, *fakeNet) {
	t.Helper()
	network := newFakeNet()
	g, err := Open(Config{
		NodeID: "n1", Keys: ring(key), Meta: Meta{ID: "n1", Name: "n1", MinVersion: 1, MaxVersion: 1},
		Logger: slog.New(slog.DiscardHandler), Transport: network,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g, network
}
