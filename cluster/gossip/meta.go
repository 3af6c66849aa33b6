package gossip

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"cloakroom/cluster/session"
)

// ErrMetaTooLarge says that metadata takes more than MaxMeta bytes: shorten names or addresses.
var ErrMetaTooLarge = errors.New("metadata is larger than 512 bytes: shorten the node's name or addresses")

// metaVersion is the first byte of encoded metadata. A node must understand every member's metadata, so a new version
// is only spoken when all members know it.
const metaVersion = 1

// metaFields is the length of the array that follows the version.
const metaFields = 11

// Meta is what a node tells all others about itself.
type Meta struct {
	ID          string // of the node, a UUID
	Name        string // for people
	ClusterID   string // empty until the node is part of a cluster
	Peer        string // host:port of the port for raft and the stream
	HTTP        string // host:port of the session API
	Expect      uint8  // nodes to wait for before a new cluster is made; 0: never make one
	HasState    bool   // has a log or snapshot of a cluster
	ReadReplica bool   // does not want to vote
	MinVersion  uint8  // of the protocol range: the oldest that the node speaks
	MaxVersion  uint8  // and the newest
}

// announcement is what goes out: the metadata, and whether the node is about to leave. memberlist does not tell its
// user whether a member left or died, so a leaving member says so in advance.
type announcement struct {
	Meta
	leaving bool
}

// encode returns the one encoding of a: the version, then an array. It is at most MaxMeta bytes long.
func (a announcement) encode() ([]byte, error) {
	b, err := a.encodeAny()
	if err != nil {
		return nil, err
	}
	if len(b) > MaxMeta {
		return nil, fmt.Errorf("%w (it takes %d)", ErrMetaTooLarge, len(b))
	}
	return b, nil
}

func (a announcement) encodeAny() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte(metaVersion)
	e := msgpack.NewEncoder(&buf)
	err := e.EncodeArrayLen(metaFields)
	for _, s := range []string{a.ID, a.Name, a.ClusterID, a.Peer, a.HTTP} {
		err = errors.Join(err, e.EncodeString(s))
	}
	err = errors.Join(err, e.EncodeUint(uint64(a.Expect)))
	for _, b := range []bool{a.HasState, a.ReadReplica, a.leaving} {
		err = errors.Join(err, e.EncodeBool(b))
	}
	err = errors.Join(err, e.EncodeUint(uint64(a.MinVersion)), e.EncodeUint(uint64(a.MaxVersion)))
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return buf.Bytes(), nil
}

// decodeAnnouncement accepts exactly what encode makes: another length of an integer or string is refused as well, so
// equal metadata has equal bytes.
func decodeAnnouncement(b []byte) (announcement, error) {
	if len(b) == 0 || len(b) > MaxMeta {
		return announcement{}, badMeta("%d bytes", len(b))
	}
	if b[0] != metaVersion {
		return announcement{}, badMeta("version %d", b[0])
	}
	r := bytes.NewReader(b[1:])
	a, err := readAnnouncement(msgpack.NewDecoder(r), r)
	if err != nil {
		return announcement{}, err
	}
	if again, err := a.encode(); err != nil || !bytes.Equal(again, b) {
		return announcement{}, badMeta("not in its shortest form, or bytes left over")
	}
	return a, nil
}

func readAnnouncement(d *msgpack.Decoder, r *bytes.Reader) (a announcement, err error) {
	if n, err := d.DecodeArrayLen(); err != nil || n != metaFields {
		return a, badMeta("an array of %d fields, %v", n, err)
	}
	for _, s := range []*string{&a.ID, &a.Name, &a.ClusterID, &a.Peer, &a.HTTP} {
		if *s, err = readString(d, r); err != nil {
			return a, err
		}
	}
	if a.Expect, err = d.DecodeUint8(); err != nil {
		return a, badMeta("expect: %v", err)
	}
	for _, b := range []*bool{&a.HasState, &a.ReadReplica, &a.leaving} {
		if *b, err = d.DecodeBool(); err != nil {
			return a, badMeta("flag: %v", err)
		}
	}
	for _, v := range []*uint8{&a.MinVersion, &a.MaxVersion} {
		if *v, err = d.DecodeUint8(); err != nil {
			return a, badMeta("version range: %v", err)
		}
	}
	return a, nil
}

// readString looks at the announced length before it reserves memory for it.
func readString(d *msgpack.Decoder, r *bytes.Reader) (string, error) {
	n, err := d.DecodeBytesLen()
	if err != nil || n < 0 || n > r.Len() {
		return "", badMeta("a string of %d bytes, %v", n, err)
	}
	b := make([]byte, n)
	if err := d.ReadFull(b); err != nil {
		return "", badMeta("string: %v", err)
	}
	return string(b), nil
}

func badMeta(format string, args ...any) error {
	return fmt.Errorf("decode metadata: %w: %s", session.ErrBadEncoding, fmt.Sprintf(format, args...))
}
