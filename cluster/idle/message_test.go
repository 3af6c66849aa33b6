package idle

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

var update = flag.Bool("update", false, "write the frozen messages anew")

// message is any body of this package.
type message interface{ encode() []byte }

// decoders return a body as it was, or an error.
var decoders = map[string]func([]byte) (message, error){
	"touch":    func(b []byte) (message, error) { return decodeTouch(b) },
	"index":    func(b []byte) (message, error) { return decodeIndex(b) },
	"ask":      func(b []byte) (message, error) { return decodeAsk(b) },
	"answer":   func(b []byte) (message, error) { return decodeAnswer(b) },
	"grey":     func(b []byte) (message, error) { return decodeGrey(b) },
	"verdicts": func(b []byte) (message, error) { return decodeVerdicts(b) },
}

func samples() map[string]message {
	k, other := session.KeyOf([]byte("one")), session.KeyOf([]byte("other"))
	return map[string]message{
		"touch":    touchRequest{backlog: 70000, uses: []session.Use{{Key: k, At: 946684800000}, {Key: other, At: session.MaxTime}}},
		"index":    indexAnswer{index: 1 << 40},
		"ask":      askRequest{now: 946684800001, keys: []session.Key{k, other}},
		"answer":   askAnswer{since: 1, later: []session.Time{0, 946684800002}},
		"grey":     greyRequest{queries: []query{{key: k}, {key: other, use: true}}},
		"verdicts": greyAnswer{index: 7, verdicts: []verdict{ended, alive, undecided, unsettled}},
	}
}

// The messages of this version are frozen: nodes of different builds exchange them.
func TestFrozenMessages(t *testing.T) {
	for name, m := range samples() {
		path := filepath.Join("testdata", "golden", name+".hex")
		encoded := m.encode()
		if *update {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(encoded)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		frozen, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded, frozen) {
			t.Errorf("%s: %x, frozen is %x", name, encoded, frozen)
		}
		if got, err := decoders[name](frozen); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: read as %+v, %v", name, got, err)
		}
	}
}

// What is cut, longer, of another version or out of range is refused.
func TestBadMessages(t *testing.T) {
	for name, m := range samples() {
		good := m.encode()
		bad := map[string][]byte{"nothing": nil, "another version": append([]byte{2}, good[1:]...), "a byte more": append(bytes.Clone(good), 0)}
		for n := range 9 {
			bad["cut to "+string(rune('0'+n))] = good[:min(n, len(good)-1)]
		}
		switch name {
		case "verdicts":
			bad["an unknown verdict"] = append(bytes.Clone(good), 5)
			delete(bad, "a byte more")
			bad["a zero"] = append(bytes.Clone(good), 0)
		case "answer":
			bad["a time out of range"] = append([]byte{1, 255}, good[2:]...)
		case "grey":
			delete(bad, "cut to 1") // no sessions
			bad["an unknown flag"] = append(bytes.Clone(good[:len(good)-1]), 2)
		case "ask":
			bad["too many"] = append(bytes.Clone(good), make([]byte, session.KeySize*MaxAsk)...)
			bad["a time out of range"] = append([]byte{1, 255}, good[2:]...)
		case "touch":
			bad["too many"] = append(bytes.Clone(good), make([]byte, useSize*session.MaxTouches)...)
			delete(bad, "cut to 5") // no uses
		}
		for what, b := range bad {
			if _, err := decoders[name](b); !errors.Is(err, session.ErrBadEncoding) {
				t.Errorf("%s, %s: error %v", name, what, err)
			}
		}
	}
}

// A decoder takes whatever comes, and what it takes it writes the same.
func FuzzMessages(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, decode := range decoders {
			m, err := decode(b)
			if err == nil && !bytes.Equal(m.encode(), b) {
				t.Errorf("%s: %x was read and is written as %x", name, b, m.encode())
			}
		}
	})
}

// So are the question for a time and its answers, which are too short for files.
func TestFrozenTimes(t *testing.T) {
	for trust, want := range map[trust]string{cold: "010000000000000003e8", synced: "01" + hex.EncodeToString([]byte{byte(synced)}) + "00000000000003e8"} {
		if got := hex.EncodeToString(encodeTime(1000, trust)); got != want {
			t.Errorf("%v: %s, frozen is %s", trust, got, want)
		}
	}
	if synced != 2 || timeVersion != 1 {
		t.Errorf("trust %d, version %d", synced, timeVersion)
	}
}
