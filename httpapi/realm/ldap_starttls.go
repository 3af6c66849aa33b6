package realm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// startTLSRequest is the first message of a connection: an extended request for StartTLS (RFC 4511, 4.14), message 1.
const startTLSRequest = "\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + "1.3.6.1.4.1.1466.20037"

var errStartTLSRefused = errors.New("the directory server does not start TLS")

// startTLS asks for TLS and reads exactly the one answer. It takes no byte more: what a stranger on the way puts behind
// the answer becomes a part of the handshake, which then fails, and never of the protected conversation.
func startTLS(conn io.ReadWriter) error {
	if _, err := io.WriteString(conn, startTLSRequest); err != nil {
		return err
	}
	const (
		message  = 0x30 // SEQUENCE
		integer  = 0x02
		extended = 0x78 // [APPLICATION 24], the response
		result   = 0x0a // ENUMERATED
	)
	body, err := readElement(conn, message)
	if err != nil {
		return err
	}
	fields := bytes.NewReader(body)
	id, err := readElement(fields, integer)
	if err != nil {
		return err
	}
	response, err := readElement(fields, extended)
	if err != nil {
		return err
	}
	code, err := readElement(bytes.NewReader(response), result)
	if err != nil {
		return err
	}
	if !bytes.Equal(id, []byte{1}) || !bytes.Equal(code, []byte{0}) {
		return fmt.Errorf("%w: result %d", errStartTLSRefused, code)
	}
	return nil
}

// readElement reads one BER element of that tag and returns its content. Lengths may be longer than they need to be:
// Active Directory's are.
func readElement(r io.Reader, tag byte) ([]byte, error) {
	var header [2]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	if header[0] != tag {
		return nil, errReplyShape
	}
	length := int(header[1])
	if lengthOf := length & 0x7f; length >= 0x80 {
		var long [4]byte
		if lengthOf == 0 || lengthOf > len(long) {
			return nil, errReplyShape
		}
		if _, err := io.ReadFull(r, long[:lengthOf]); err != nil {
			return nil, err
		}
		length = 0
		for _, b := range long[:lengthOf] {
			length = length<<8 | int(b)
		}
	}
	if length > maxStartTLSReply {
		return nil, errReplyTooLong
	}
	content := make([]byte, length)
	_, err := io.ReadFull(r, content)
	return content, err
}
