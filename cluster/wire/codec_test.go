package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

var update = flag.Bool("update", false, "write the golden files that are missing; those that are there stay as they are")

// golden compares bytes with those of testdata/golden, which no later version may read otherwise, and returns those.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".hex")
	if _, err := os.Stat(path); *update && errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s has changed: %x", name, got)
	}
	return want
}

var goldenFrames = map[string]frame{
	"request":          {typ: frameRequest, id: 300, kind: 16, timeout: 1500 * time.Millisecond, body: []byte("body")},
	"request-no-limit": {typ: frameRequest, id: 1, kind: 255, body: []byte{}},
	"answer":           {typ: frameAnswer, id: 1 << 40, body: []byte{0, 1, 2}},
	"failure":          {typ: frameFailure, id: 7, code: "no-leader", text: "there is no leader"},
	"cancel":           {typ: frameCancel, id: 70000},
	"ping":             {typ: framePing},
	"pong":             {typ: framePong},
	"cluster":          {typ: frameCluster, text: "c0ffee"},
}

func TestFramesGolden(t *testing.T) {
	for name, f := range goldenFrames {
		block := golden(t, name, f.encode())
		got, err := decodeFrame(block[blockHeader:])
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// A type that is added must be frozen as well, and needs a version of the protocol from which on it is sent.
	frozen := map[frameType]bool{}
	for _, f := range goldenFrames {
		frozen[f.typ] = true
	}
	for typ := range frameType(255) {
		if typ.elements() > 0 && !frozen[typ] {
			t.Errorf("type %d is not frozen", typ)
		}
	}
}

func TestHelloGolden(t *testing.T) {
	for name, h := range map[string]hello{
		"hello":            {nodeID: "4cbd1f6e-0b5c-4a8e-9d59-7a3b0f7e9a11", min: 1, max: 3, cluster: "c0ffee"},
		"hello-no-cluster": {nodeID: "n1", min: 1, max: 1},
		"hello-largest":    {nodeID: strings.Repeat("n", MaxNodeID), min: 255, max: 255, cluster: strings.Repeat("c", MaxClusterID)},
	} {
		block := golden(t, name, h.encode())
		if got, refusal, err := decodeHello(block[blockHeader:]); err != nil || refusal != nil || got != h {
			t.Errorf("%s: %+v, %v, %v", name, got, refusal, err)
		}
	}
	e := &session.Error{Code: "other-cluster", Message: "the cluster has another id"}
	block := golden(t, "refusal", encodeRefusal(e))
	if _, refusal, err := decodeHello(block[blockHeader:]); err != nil || refusal == nil || *refusal != *e {
		t.Errorf("%v, %v", refusal, err)
	}
}

// What this build says of itself is part of what is frozen: a range that begins later shuts older nodes out.
func TestProtocolRange(t *testing.T) {
	if MinProtocol != 1 || MaxProtocol != 1 || frameVersion != 1 || helloVersion != 1 {
		t.Errorf("protocol %d to %d, frames %d, hello %d", MinProtocol, MaxProtocol, frameVersion, helloVersion)
	}
	if kindRaft != 'R' || kindStream != 'S' || alpn != "cloakroom/1" || serverName != "peer.cloakroom" {
		t.Errorf("connections begin with %q and %q, after TLS with %s for %s", kindRaft, kindStream, alpn, serverName)
	}
}

// A later version may add to its hello and to its refusals; what this one knows of them it still reads.
func TestHelloOfLaterVersion(t *testing.T) {
	later := func(encoded []byte, more int, extra ...byte) []byte {
		b := bytes.Clone(encoded[blockHeader:])
		b[1] += byte(more) // the array's length
		return append(b, extra...)
	}
	h := hello{nodeID: "n9", min: 1, max: 7, cluster: "c"}
	for name, b := range map[string][]byte{
		"a number":      later(h.encode(), 1, 0xcd, 1, 0),
		"an array":      later(h.encode(), 1, 0x92, 1, 0xa1, 'x'),
		"two":           later(h.encode(), 2, 0xc3, 0xc0),
		"of many bytes": later(h.encode(), 1, append([]byte{0xc4, 200}, make([]byte, 200)...)...),
	} {
		if got, refusal, err := decodeHello(b); err != nil || refusal != nil || got != h {
			t.Errorf("%s more: %+v, %v, %v", name, got, refusal, err)
		}
	}
	if _, refusal, err := decodeHello(later(encodeRefusal(ErrVersion), 1, 0xc3)); err != nil || refusal == nil || *refusal != *ErrVersion {
		t.Errorf("refusal: %v, %v", refusal, err)
	}
	other := append([]byte{helloVersion + 1}, h.encode()[blockHeader+1:]...)
	if _, _, err := decodeHello(other); !errors.Is(err, ErrVersion) {
		t.Errorf("another encoding: %v", err)
	}
}

// Every cut and every addition is noticed.
func TestDecodersRefuse(t *testing.T) {
	for name, f := range goldenFrames {
		block := f.encode()[blockHeader:]
		for n := range block {
			if _, err := decodeFrame(block[:n]); !errors.Is(err, errFrame) {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
		if _, err := decodeFrame(append(bytes.Clone(block), 0)); !errors.Is(err, errFrame) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
		if _, err := decodeFrame(append([]byte{frameVersion + 1}, block[1:]...)); !errors.Is(err, errFrame) {
			t.Errorf("%s of another version: %v", name, err)
		}
	}
	for name, h := range map[string]hello{
		"no id":          {min: 1, max: 1},
		"no version":     {nodeID: "a"},
		"wrong way":      {nodeID: "a", min: 2, max: 1},
		"long id":        {nodeID: strings.Repeat("x", MaxNodeID+1), min: 1, max: 1},
		"long cluster":   {nodeID: "a", min: 1, max: 1, cluster: strings.Repeat("x", MaxClusterID+1)},
		"version is 0":   {nodeID: "a", max: 1},
		"nothing at all": {},
	} {
		if _, _, err := decodeHello(h.encode()[blockHeader:]); !errors.Is(err, errHello) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"", "01", "0190", "0191c3", "019201c0", "0195cb7ff8000000000000", "01dd7fffffff", "0193020adb7fffffff"} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeFrame(b); !errors.Is(err, errFrame) {
			t.Errorf("frame %s: %v", bad, err)
		}
		if _, _, err := decodeHello(b); !errors.Is(err, errHello) {
			t.Errorf("hello %s: %v", bad, err)
		}
	}
}

// A length above the limit is refused before anything is allocated for it.
func TestReadBlock(t *testing.T) {
	if _, err := readBlock(bytes.NewReader(append(lengthOf(11), make([]byte, 11)...)), 10); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	huge := append(lengthOf(1<<32-1), 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := readBlock(bytes.NewReader(huge), MaxFrame); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	}); n > 8 {
		t.Errorf("%v allocations", n)
	}
	if b, err := readBlock(bytes.NewReader(append(lengthOf(10), make([]byte, 10)...)), 10); err != nil || len(b) != 10 {
		t.Error(err)
	}
	if _, err := readBlock(bytes.NewReader(append(lengthOf(10), make([]byte, 9)...)), 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := readBlock(bytes.NewReader(lengthOf(10)), 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := readBlock(bytes.NewReader(nil), 10); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]uint64{
		0: 0, time.Nanosecond: 1, time.Millisecond: 1, time.Millisecond + 1: 2, maxTimeout: 3_600_000, 1 << 62: 3_600_000,
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: %d", d, got)
		}
	}
}

// What decodes is a frame that we could have sent, and means the same again.
func FuzzFrame(f *testing.F) {
	for _, g := range goldenFrames {
		f.Add(g.encode()[blockHeader:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFrame(b)
		if err != nil {
			return
		}
		if len(got.body) > len(b) || len(got.code) > maxErrorCode || len(got.text) > maxErrorText {
			t.Fatalf("out of bounds: %+v", got)
		}
		again, err := decodeFrame(got.encode()[blockHeader:])
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello{nodeID: "a", min: 1, max: 1}.encode()[blockHeader:])
	f.Add(hello{nodeID: "a", min: 1, max: 9, cluster: "c"}.encode()[blockHeader:])
	f.Add(encodeRefusal(ErrVersion)[blockHeader:])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, refusal, err := decodeHello(b)
		switch {
		case err != nil:
		case refusal != nil:
			_, again, err := decodeHello(encodeRefusal(refusal)[blockHeader:])
			if err != nil || again == nil || *again != *refusal {
				t.Fatalf("%v became %v, %v", refusal, again, err)
			}
		default:
			again, _, err := decodeHello(h.encode()[blockHeader:])
			if err != nil || again != h || len(h.encode()) > MaxHello {
				t.Fatalf("%+v became %+v, %v", h, again, err)
			}
		}
	})
}

// Blocks from a stream: any bytes are refused or are within the limit, and nothing is read beyond them.
func FuzzBlock(f *testing.F) {
	f.Add(append(lengthOf(3), 1, 2, 3, 4))
	f.Add(lengthOf(1 << 31))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := readBlock(r, 64)
		if err == nil && (len(got) > 64 || !bytes.Equal(got, b[blockHeader:blockHeader+len(got)]) || r.Len() != len(b)-blockHeader-len(got)) {
			t.Fatalf("%x from %x", got, b)
		}
	})
}
