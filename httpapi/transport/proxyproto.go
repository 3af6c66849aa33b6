package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// The PROXY protocol, versions 1 and 2, as HAProxy's doc/proxy-protocol.txt defines them. A header is optional: the
// same proxy may speak plain HTTP, in its health checks for one.
const (
	proxyV1        = "PROXY "
	proxyV1Max     = 107 // bytes, CRLF included
	proxyV2        = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV2Fixed   = 16      // bytes of signature, command, family and length
	proxyV2Max     = 4 << 10 // bytes of addresses and TLVs that are accepted
	proxyShortest  = len(proxyV1)
	proxyReadAhead = 512 // bytes: more than a version 1 header
)

var errProxyHeader = errors.New("PROXY header is not valid")

// proxyHeader is what a trusted proxy may send before the client's bytes.
type proxyHeader struct {
	done   bool
	buf    []byte // read, and not part of the header
	source net.Addr
}

// pending moves bytes that were read beyond the header to b.
func (p *proxyHeader) pending(b []byte) int {
	n := copy(b, p.buf)
	if p.buf = p.buf[n:]; len(p.buf) == 0 {
		p.buf = nil
	}
	return n
}

// read reads the header, if there is one, under whatever deadline the connection has.
func (p *proxyHeader) read(r io.Reader) error {
	if err := p.fill(r, proxyShortest); err != nil {
		if len(p.buf) > 0 && errors.Is(err, io.EOF) {
			p.done = true // too short for a header: leave it to HTTP
			return nil
		}
		return err
	}
	var err error
	switch {
	case bytes.HasPrefix(p.buf, []byte(proxyV1)):
		err = p.readV1(r)
	case bytes.HasPrefix(p.buf, []byte(proxyV2)[:proxyShortest]):
		err = p.readV2(r)
	}
	if err != nil {
		return fmt.Errorf("read PROXY header: %w", err)
	}
	p.done = true
	return nil
}

// fill reads until at least n bytes are there.
func (p *proxyHeader) fill(r io.Reader, n int) error {
	for len(p.buf) < n {
		chunk := make([]byte, max(proxyReadAhead, n-len(p.buf)))
		got, err := r.Read(chunk)
		p.buf = append(p.buf, chunk[:got]...)
		if err != nil && len(p.buf) < n {
			return err
		}
	}
	return nil
}

func (p *proxyHeader) readV1(r io.Reader) error {
	end := -1
	for end < 0 {
		if end = bytes.Index(p.buf[:min(len(p.buf), proxyV1Max)], []byte("\r\n")); end >= 0 {
			break
		}
		if len(p.buf) >= proxyV1Max {
			return errProxyHeader
		}
		if err := p.fill(r, len(p.buf)+1); err != nil {
			return err
		}
	}
	fields := strings.Split(string(p.buf[:end]), " ")
	p.buf = p.buf[end+2:]
	if len(fields) >= 2 && fields[1] == "UNKNOWN" {
		return nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return errProxyHeader
	}
	from, err := netip.ParseAddrPort(net.JoinHostPort(fields[2], fields[4]))
	if err != nil || from.Addr().Is4() != (fields[1] == "TCP4") {
		return errProxyHeader
	}
	p.source = net.TCPAddrFromAddrPort(from)
	return nil
}

func (p *proxyHeader) readV2(r io.Reader) error {
	if err := p.fill(r, proxyV2Fixed); err != nil {
		return err
	}
	if !bytes.HasPrefix(p.buf, []byte(proxyV2)) || p.buf[12]>>4 != 2 {
		return errProxyHeader
	}
	command, family, length := p.buf[12]&15, p.buf[13], int(binary.BigEndian.Uint16(p.buf[14:]))
	if command > 1 || length > proxyV2Max {
		return errProxyHeader
	}
	if err := p.fill(r, proxyV2Fixed+length); err != nil {
		return err
	}
	body := p.buf[proxyV2Fixed : proxyV2Fixed+length]
	p.buf = p.buf[proxyV2Fixed+length:]
	if command == 0 { // LOCAL: the proxy itself, a health check
		return nil
	}
	switch family {
	case 0x11: // TCP over IPv4
		if len(body) < 12 {
			return errProxyHeader
		}
		p.source = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:])))
	case 0x21: // TCP over IPv6
		if len(body) < 36 {
			return errProxyHeader
		}
		p.source = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)), binary.BigEndian.Uint16(body[32:])))
	}
	return nil
}
