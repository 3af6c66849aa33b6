package gossip

import (
	"encoding/binary"
	"fmt"
)

// The kinds of messages (memberlist's net.go). Those that nodes do not send to each other are refused: compressed ones
// above all, of which one packet unpacks to 40 MiB, and into more of them.
const (
	pingMsg         = 0
	indirectPingMsg = 1
	ackMsg          = 2
	suspectMsg      = 3
	aliveMsg        = 4
	deadMsg         = 5
	pushPullMsg     = 6
	compoundMsg     = 7
	userMsg         = 8
	encryptMsg      = 10
	nackMsg         = 11
	checksumMsg     = 12
	errorMsg        = 13
)

// checkPacketContent says whether a decrypted packet is one that members send: a message, or several of them as parts of a
// compound one, with or without a checksum before them.
func checkPacketContent(b []byte) error {
	if len(b) > 0 && b[0] == checksumMsg {
		if len(b) < 5 {
			return errContent
		}
		b = b[5:] // memberlist looks at the checksum; the message is authentic anyway
	}
	if len(b) == 0 || b[0] != compoundMsg {
		return checkMessage(b)
	}
	return checkCompound(b[1:])
}

// checkCompound looks at the parts: their number, their lengths in two bytes each, then they themselves.
func checkCompound(b []byte) error {
	if len(b) == 0 {
		return errContent
	}
	n := int(b[0])
	b = b[1:]
	if len(b) < 2*n {
		return errContent
	}
	lengths, b := b[:2*n], b[2*n:]
	for ; len(lengths) > 0; lengths = lengths[2:] {
		length := int(binary.BigEndian.Uint16(lengths))
		if length > len(b) {
			return errContent
		}
		if err := checkMessage(b[:length]); err != nil {
			return err
		}
		b = b[length:]
	}
	if len(b) > 0 {
		return errContent
	}
	return nil
}

// checkMessage looks at a single message of a packet.
func checkMessage(b []byte) error {
	if len(b) == 0 {
		return errContent
	}
	switch b[0] {
	case userMsg: // News takes any bytes
		return nil
	case pingMsg, indirectPingMsg, ackMsg, suspectMsg, aliveMsg, deadMsg, nackMsg:
		return (&packed{b[1:]}).onlyStruct()
	}
	return fmt.Errorf("%w: kind %d", errContent, b[0])
}

// checkRequest looks at what comes on a stream that another node has made.
func checkRequest(b []byte) error {
	switch b[0] { // open returns a byte at least
	case pushPullMsg:
		return checkPushPull(b[1:])
	case pingMsg:
		return (&packed{b[1:]}).onlyStruct()
	}
	return fmt.Errorf("%w: kind %d on a stream", errContent, b[0])
}

// checkAnswer looks at what comes back on a stream.
func checkAnswer(b []byte) error {
	switch b[0] {
	case pushPullMsg:
		return checkPushPull(b[1:])
	case ackMsg, errorMsg:
		return (&packed{b[1:]}).onlyStruct()
	}
	return fmt.Errorf("%w: kind %d as an answer", errContent, b[0])
}

// checkPushPull looks at an exchange of all that two nodes know: a head that says how many nodes follow it and how many
// bytes follow those, the nodes, the bytes. memberlist makes room for what the head says.
func checkPushPull(b []byte) error {
	p := &packed{b}
	n, err := p.mapLen()
	if err != nil {
		return err
	}
	nodes, length := uint64(0), uint64(0)
	for range n {
		name, err := p.text()
		if err != nil {
			return err
		}
		switch name {
		case "Nodes":
			nodes, err = p.uint()
		case "UserStateLen":
			length, err = p.uint()
		default:
			err = p.skip(0)
		}
		if err != nil {
			return err
		}
	}
	if nodes > maxNodes || length > MaxState {
		return fmt.Errorf("%w: %d nodes, %d bytes", errContent, nodes, length)
	}
	for range nodes {
		if err := p.structure(); err != nil {
			return err
		}
	}
	if uint64(len(p.b)) != length {
		return errContent
	}
	return nil
}
