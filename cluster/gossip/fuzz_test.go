package gossip

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"cloakroom/cluster/wire"
)

// FuzzMember gives a node whatever a member could encrypt, in a packet and on a stream. What passes the gate is handled by
// memberlist, and nothing may end the process, or make it deaf.
func FuzzMember(f *testing.F) {
	for _, b := range memberMessages() {
		f.Add(b)
	}
	g, network := fakeNode(f, goodKey)
	f.Fuzz(func(t *testing.T, plain []byte) {
		network.send(packetOf(plain))
		near, far := net.Pipe()
		network.streams <- far
		if err := near.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := near.Write(streamOf(plain)); err == nil {
			_, _ = io.Copy(io.Discard, near) // until the node has closed
		}
		_ = near.Close()
		if g.list.NumMembers() < 1 {
			t.Fatal("the node has lost itself")
		}
	})
}

// FuzzGate gives a node what a stranger can send. Nothing of it may pass.
func FuzzGate(f *testing.F) {
	for _, b := range hostilePackets() {
		f.Add(b)
	}
	for _, b := range hostileStreams() {
		f.Add(b)
	}
	g, _ := fakeNode(f, wire.ClusterKey{77}) // nothing of the above is sealed under this one
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := g.gate.checkPacket(bytes.Clone(b)); err == nil {
			t.Fatal("passed as a packet")
		}
		var all bytes.Buffer
		if err := g.gate.readMessage(bytes.NewReader(b), &all, checkRequest); err == nil {
			t.Fatal("passed as a message")
		}
		if all.Len() > len(b) {
			t.Fatalf("%d bytes kept of %d", all.Len(), len(b))
		}
	})
}

// FuzzPacked: reading along never panics, and never goes behind the end.
func FuzzPacked(f *testing.F) {
	for _, b := range memberMessages() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &packed{b}
		if err := p.skip(0); err == nil && (len(p.b) >= len(b) || !bytes.HasSuffix(b, p.b)) {
			t.Fatalf("%d bytes, %d left", len(b), len(p.b))
		}
		_ = checkPacketContent(b)
		if len(b) > 0 {
			_, _ = checkRequest(b), checkAnswer(b)
		}
	})
}

// memberMessages are messages that members send, and some that none does.
func memberMessages() [][]byte {
	node := map[string]any{"Name": "n2", "Addr": []byte{10, 0, 0, 2}, "Port": 7946, "Meta": []byte("x"), "Incarnation": 3, "State": 0, "Vsn": []byte{1, 5, 2, 0, 0, 0}}
	ping := packMap(pingMsg, map[string]any{"SeqNo": 1, "Node": "n1", "SourceAddr": []byte{10, 0, 0, 2}, "SourcePort": 7946, "SourceNode": "n2"})
	alive := packMap(aliveMsg, map[string]any{"Incarnation": 9, "Node": "n2", "Addr": []byte{10, 0, 0, 2}, "Port": 7946, "Meta": []byte("x"), "Vsn": []byte{1, 5, 2, 0, 0, 0}})
	self := packMap(aliveMsg, map[string]any{"Incarnation": 9, "Node": "n1", "Addr": []byte{10, 0, 0, 1}, "Port": 7946, "Vsn": []byte{1, 5}})
	pushPull := append(packMap(pushPullMsg, map[string]any{"Nodes": 1, "UserStateLen": 2, "Join": true}), packMap(0, node)[1:]...)
	return [][]byte{
		ping, alive, self, compound(ping, alive), compound(self, []byte("\x08news")),
		packMap(indirectPingMsg, map[string]any{"SeqNo": 1, "Target": []byte{1}, "Port": 0, "Node": "n3", "Nack": true}),
		packMap(ackMsg, map[string]any{"SeqNo": 1, "Payload": []byte{1}}), packMap(nackMsg, map[string]any{"SeqNo": 1}),
		packMap(suspectMsg, map[string]any{"Incarnation": 1 << 31, "Node": "n1", "From": "n2"}),
		packMap(deadMsg, map[string]any{"Incarnation": 1 << 31, "Node": "n1", "From": "n1"}),
		append(pushPull, 1, 2), bomb(1 << 20), deep(aliveMsg),
		{checksumMsg, 1, 2, 3, 4, 8, 9},
	}
}
