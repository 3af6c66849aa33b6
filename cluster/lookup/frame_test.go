package lookup

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

var update = flag.Bool("update", false, "write the frozen frames anew")

// frames are the ways of each kind of frame: decoded, and encoded again.
var frames = map[string]struct {
	sample []byte
	again  func(b []byte) ([]byte, error)
}{
	"report": {
		encodeReport(lease.Report{Boot: lease.Boot{Process: math.MaxUint64, Serial: 3}, Applied: 70000, Stable: 69999, Sent: 1 << 50, Want: true}),
		func(b []byte) ([]byte, error) {
			m, err := decodeReport(b)
			return encodeReport(m), err
		},
	},
	"grant": {
		encodeGrant(lease.Grant{Term: 7, Boot: lease.Boot{Process: 1, Serial: 300}, Remaining: 999_999_999, Echo: 1 << 50, Min: 5, Stable: 128}),
		func(b []byte) ([]byte, error) {
			m, err := decodeGrant(b)
			return encodeGrant(m), err
		},
	},
	"boot": {
		encodeBoot(lease.Boot{Process: 1 << 40, Serial: 2}),
		func(b []byte) ([]byte, error) {
			boot, err := decodeBoot(b)
			return encodeBoot(boot), err
		},
	},
	"stable": {
		encodeStable(1 << 33),
		func(b []byte) ([]byte, error) {
			index, err := decodeStable(b)
			return encodeStable(index), err
		},
	},
	"point": {
		pointAnswer{index: 256, stable: 255}.encode(),
		func(b []byte) ([]byte, error) {
			a, err := decodePoint(b)
			return a.encode(), err
		},
	},
	"question": {
		encode(),
		func(b []byte) ([]byte, error) {
			_, err := decode(b, 0)
			return encode(), err
		},
	},
}

// The frames of this version are frozen: nodes of different builds exchange them.
func TestFrozenFrames(t *testing.T) {
	for name, f := range frames {
		path := filepath.Join("testdata", "golden", name+"-v1.hex")
		if *update {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(f.sample)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if frozen := strings.TrimSpace(string(text)); frozen != hex.EncodeToString(f.sample) {
			t.Errorf("%s: %x, frozen is %s", name, f.sample, frozen)
		}
		if again, err := f.again(f.sample); err != nil || !bytes.Equal(again, f.sample) {
			t.Errorf("%s: read and written as %x, %v", name, again, err)
		}
	}
}

// What is cut, longer, of another version or kind, or out of range is refused.
func TestBadFrames(t *testing.T) {
	for name, f := range frames {
		bad := map[string][]byte{
			"another version":         append([]byte{2}, f.sample[1:]...),
			"a byte more":             append(bytes.Clone(f.sample), 0),
			"too many fields":         encode(1, 2, 3, 4, 5, 6, 7, 8),
			"not in the shortest way": {frameVersion, 0xdd, 0, 0, 0, 1, 0xcc, 1},
		}
		for n := range f.sample {
			bad["cut to "+string(rune('A'+n))] = f.sample[:n]
		}
		for what, b := range bad {
			if _, err := f.again(b); !errors.Is(err, session.ErrBadEncoding) {
				t.Errorf("%s, %s: error %v", name, what, err)
			}
		}
	}
	for what, b := range map[string][]byte{
		"a time out of range":     encode(1, 1, 1, 1, 1<<63, 0),
		"an unknown flag":         encode(1, 1, 1, 1, 1, 2),
		"a negative time":         encodeReport(lease.Report{Sent: -1}),
		"a long number":           {frameVersion, 0x96, 1, 1, 1, 1, 0xcc, 1, 0},
		"a string for a number":   {frameVersion, 0x96, 1, 1, 1, 1, 0xa1, 'x', 0},
		"nothing":                 nil,
		"a negative serial":       {frameVersion, 0x96, 1, 0xff, 1, 1, 1, 0},
		"a float for an interval": {frameVersion, 0x96, 1, 1, 1, 1, 0xca, 0, 0, 0, 0, 0},
	} {
		if m, err := decodeReport(b); !errors.Is(err, session.ErrBadEncoding) {
			t.Errorf("report, %s: %+v, %v", what, m, err)
		}
	}
	for what, b := range map[string][]byte{
		"a duration out of range": encode(1, 1, 1, 1<<63, 1, 1, 1),
		"a time out of range":     encode(1, 1, 1, 1, 1<<63, 1, 1),
	} {
		if m, err := decodeGrant(b); !errors.Is(err, session.ErrBadEncoding) {
			t.Errorf("grant, %s: %+v, %v", what, m, err)
		}
	}
}

// A decoder takes whatever comes, and what it takes it writes the same.
func FuzzFrames(f *testing.F) {
	for _, frame := range frames {
		f.Add(frame.sample)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, frame := range frames {
			if again, err := frame.again(b); err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s: %x was read and is written as %x", name, b, again)
			}
		}
	})
}

// So are the answers that are older than the frames: a number in 8 bytes, without a version.
func TestFrozenIndexes(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		r, _, _ := open(t)
		for want, serve := range map[string]wire.Handler{"0000000000000064": r.serveReadIndex, "0000000000000005": r.serveTerm} {
			if got, err := serve(t.Context(), wire.Peer{ID: "b"}, nil); err != nil || hex.EncodeToString(got) != want {
				t.Errorf("%x, %v; frozen is %s", got, err, want)
			}
		}
	})
}
