package transport

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzProxyHeader: a PROXY header is read the same however it comes in, takes no byte that is not its own, and what it
// is not is passed on whole.
func FuzzProxyHeader(f *testing.F) {
	v2 := proxyV2 + "\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x12\x34\x00\x50"
	for _, seed := range []string{
		"", "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\nGET", "PROXY TCP6 2001:db8::7 ::1 4660 80\r\n", "PROXY UNKNOWN\r\n", "PROXY \r\n",
		"PROXY TCP4 ::ffff:1.2.3.4 127.0.0.1 1 80\r\n", v2 + "GET", proxyV2 + "\x20\x00\x00\x00", proxyV2 + "\x21\x21\x00\x24" + strings.Repeat("\x01", 40),
		proxyV2 + "\x21\x31\xff\xff", proxyV2[:12], proxyV2 + "\x21\x11\x00\x00", "PROX", "\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	read := func(r io.Reader) (p proxyHeader, rest []byte, err error) {
		err = p.read(r)
		if err != nil {
			return p, nil, err
		}
		var head []byte
		for b := make([]byte, 7); ; {
			n := p.pending(b)
			if n == 0 {
				break
			}
			head = append(head, b[:n]...)
		}
		rest, err = io.ReadAll(r)
		return p, append(head, rest...), err
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, rest, err := read(bytes.NewReader(sent))
		slow, slowRest, slowErr := read(iotest.OneByteReader(bytes.NewReader(sent)))
		if (err == nil) != (slowErr == nil) || err == nil && (!bytes.Equal(rest, slowRest) || addrText(whole.source) != addrText(slow.source)) {
			t.Fatalf("%q at once: %v, %q, %v; byte by byte: %v, %q, %v", sent, whole.source, rest, err, slow.source, slowRest, slowErr)
		}
		if err != nil {
			return
		}
		if !bytes.HasSuffix(sent, rest) {
			t.Fatalf("%q is left of %q", rest, sent)
		}
		isHeader := bytes.HasPrefix(sent, []byte(proxyV1)) || bytes.HasPrefix(sent, []byte(proxyV2))
		if !isHeader && (len(rest) != len(sent) || whole.source != nil) || isHeader && len(rest) == len(sent) {
			t.Fatalf("%q: %v, and %q is left", sent, whole.source, rest)
		}
		if whole.source != nil && !AddrOf(whole.source).IsValid() {
			t.Fatalf("%q: the source is %v", sent, whole.source)
		}
	})
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
