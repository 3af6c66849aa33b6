package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The frames of HTTP/2 (RFC 9113 section 6) that a gRPC client of unary calls needs, without padding and priorities,
// which no gRPC server sends.

// frameType is the third octet group of a frame's header.
type frameType byte

const (
	frameData         frameType = 0
	frameHeaders      frameType = 1
	frameReset        frameType = 3
	frameSettings     frameType = 4
	framePing         frameType = 6
	frameGoAway       frameType = 7
	frameWindow       frameType = 8
	frameContinuation frameType = 9
)

const (
	flagEndStream  = 0x1 // of DATA and HEADERS
	flagAck        = 0x1 // of SETTINGS and PING
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	http2Preface         = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader          = 9       // bytes
	maxFrame             = 1 << 14 // bytes: what a peer may send unless it is told otherwise
	settingInitialWindow = 4
	resetCancel          = 8
)

// frame is one frame as it was read; its payload is valid until the next is read.
type frame struct {
	kind    frameType
	flags   byte
	stream  uint32
	payload []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// number returns the 31 bits that begin the payload of WINDOW_UPDATE, and the code of RST_STREAM.
func (f *frame) number() (uint32, error) {
	if len(f.payload) < 4 {
		return 0, errors.New("http2: frame is too short")
	}
	return binary.BigEndian.Uint32(f.payload) &^ (1 << 31), nil
}

// frameReader reads frames; header blocks that are continued come out as one.
type frameReader struct {
	r    *bufio.Reader
	head [frameHeader]byte
	buf  []byte
	last frame
}

// next returns the next frame.
func (r *frameReader) next() (*frame, error) {
	if err := r.read(&r.last, r.buf[:0]); err != nil {
		return nil, err
	}
	f := &r.last
	if f.kind != frameHeaders {
		return f, nil
	}
	if f.has(flagPadded) || f.has(flagPriority) {
		return nil, errors.New("http2: padding and priorities are not understood")
	}
	for whole := *f; !f.has(flagEndHeaders); whole.payload = f.payload {
		if err := r.read(f, whole.payload); err != nil {
			return nil, err
		}
		if f.kind != frameContinuation || f.stream != whole.stream || len(f.payload) > maxFrame {
			return nil, errors.New("http2: broken header block")
		}
		f.kind, f.flags = frameHeaders, f.flags&flagEndHeaders|whole.flags&flagEndStream
	}
	return f, nil
}

// read reads one frame, and appends its payload to before.
func (r *frameReader) read(f *frame, before []byte) error {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return err
	}
	length := int(r.head[0])<<16 | int(r.head[1])<<8 | int(r.head[2])
	if length > maxFrame {
		return fmt.Errorf("http2: frame of %d bytes", length)
	}
	had := len(before)
	r.buf = append(before, make([]byte, length)...) // before is the buffer itself
	f.kind, f.flags = frameType(r.head[3]), r.head[4]
	f.stream = binary.BigEndian.Uint32(r.head[5:]) &^ (1 << 31)
	f.payload = r.buf
	_, err := io.ReadFull(r.r, r.buf[had:])
	return err
}

// appendFrame appends a frame.
func appendFrame(dst []byte, kind frameType, flags byte, stream uint32, payload ...byte) []byte {
	dst = append(dst, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), byte(kind), flags)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(dst, payload...)
}

// appendWindow appends a WINDOW_UPDATE.
func appendWindow(dst []byte, stream, increment uint32) []byte {
	return appendFrame(dst, frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, increment)...)
}

// appendSetting appends a SETTINGS frame with one setting.
func appendSetting(dst []byte, id uint16, value uint32) []byte {
	payload := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value)
	return appendFrame(dst, frameSettings, 0, 0, payload...)
}

// setting returns the value of a setting in a SETTINGS frame.
func (f *frame) setting(id uint16) (value uint32, set bool) {
	for p := f.payload; len(p) >= 6; p = p[6:] {
		if binary.BigEndian.Uint16(p) == id {
			value, set = binary.BigEndian.Uint32(p[2:]), true
		}
	}
	return value, set
}
