package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

func sample() announcement {
	return announcement{
		Meta: Meta{
			ID: "0190b1c2-0000-7000-8000-000000000001", Name: "n1", ClusterID: "9f3d3f8e-3b0a-4c58-b0a5-3b8f6a5a1c11",
			Peer: "10.0.0.1:7000", HTTP: "n1.example:8080", Expect: 3, HasState: true, MinVersion: 1, MaxVersion: 200,
		},
		leaving: true,
	}
}

// TestMetaGolden freezes the encoding: nodes of different versions read each other's metadata.
func TestMetaGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/meta-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := sample().encode()
	if err != nil || !bytes.Equal(got, golden) {
		t.Errorf("encoded %x, %v; want %x", got, err, golden)
	}
	a, err := decodeAnnouncement(golden)
	if err != nil || a != sample() {
		t.Errorf("decoded %+v, %v", a, err)
	}
}

func TestMetaSize(t *testing.T) {
	a := sample()
	b, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	a.Name += strings.Repeat("x", MaxMeta-len(b)-3) // from 32 bytes on a string's head is 3 bytes at most, not 1
	for {
		b, err = a.encode()
		if err != nil {
			break
		}
		if back, err := decodeAnnouncement(b); err != nil || back != a {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		a.Name += "x"
	}
	if !errors.Is(err, ErrMetaTooLarge) {
		t.Error(err)
	}
	if b, _ := a.encodeAny(); len(b) != MaxMeta+1 {
		t.Errorf("refused at %d bytes", len(b))
	}
}

func TestDecodeMetaIsStrict(t *testing.T) {
	good, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int, b ...byte) []byte {
		return append(append(bytes.Clone(good[:i]), b...), good[i+1:]...)
	}
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"version 0":           change(0, 0),
		"version 2":           change(0, 2),
		"one field more":      append(change(1, 0x9c), 1),
		"one field less":      change(1, 0x9a),
		"a map":               change(1, 0x8b),
		"a long array head":   change(1, 0xdc, 0, metaFields),
		"bytes left over":     append(bytes.Clone(good), 0),
		"a string of 4 GiB":   {metaVersion, 0x9b, 0xdb, 0xff, 0xff, 0xff, 0xff},
		"bytes for a string":  change(2, 0xc4),
		"nil for a string":    {metaVersion, 0x9b, 0xc0},
		"a long integer head": change(len(good)-3, 0xcc, 1),
		"an integer of 256":   append(bytes.Clone(good[:len(good)-2]), 0xcd, 1, 0),
		"more than the limit": bytes.Repeat([]byte{metaVersion}, MaxMeta+1),
	} {
		if a, err := decodeAnnouncement(b); !errors.Is(err, session.ErrBadEncoding) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for i := range good {
		if _, err := decodeAnnouncement(good[:i]); !errors.Is(err, session.ErrBadEncoding) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func FuzzDecodeMeta(f *testing.F) {
	for _, a := range []announcement{{}, sample(), {Meta: Meta{ID: "x", Expect: 255, ReadReplica: true}}} {
		b, err := a.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{metaVersion, 0x9b, 0xdb, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnnouncement(b)
		if err != nil {
			if !errors.Is(err, session.ErrBadEncoding) {
				t.Fatal(err)
			}
			return
		}
		again, err := a.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes as %x, %v", b, again, err)
		}
	})
}
