package keyring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func newKeys(t testing.TB, n int) []Key {
	t.Helper()
	var keys []Key
	for range n {
		k, err := NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

func TestParse(t *testing.T) {
	k := newKeys(t, 3)
	text := "# keys of the disk\n\n" + k[0].Encode() + "\n  " + k[1].Encode() + "\t2026, the first\r\n" + k[2].Encode() + "# old\n"
	keys, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i := range k {
		if keys[i].ID() != k[i].ID() {
			t.Errorf("key %d is %v, not %v", i, keys[i], k[i])
		}
		sealed := k[i].Cipher(Entries).Seal(nil, make([]byte, 24), []byte("text"), nil)
		if b, err := keys[i].Cipher(Entries).Open(nil, make([]byte, 24), sealed, nil); err != nil || string(b) != "text" {
			t.Errorf("key %d does not open what it has sealed: %v", i, err)
		}
		if _, err := keys[i].Cipher(Snapshots).Open(nil, make([]byte, 24), sealed, nil); err == nil {
			t.Errorf("key %d: one cipher for all purposes", i)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	k := newKeys(t, MaxKeys+1)
	var many strings.Builder
	for _, key := range k {
		many.WriteString(key.Encode() + "\n")
	}
	one := k[0].Encode()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"empty":         {"", ErrNoKey},
		"comments only": {"# nothing\n\n", ErrNoKey},
		"twice":         {one + "\n" + one + " again", ErrTwice},
		"short":         {one[:40], ErrBadKey},
		"long":          {one + one, ErrBadKey},
		"no base64":     {strings.Repeat("*", 44), ErrBadKey},
		"zeros":         {strings.Repeat("A", 43) + "=", ErrBadKey},
		"loose end":     {one[:42] + "F=", ErrBadKey},
		"second line":   {one + "\n" + k[1].Encode()[:43], ErrBadKey},
		"too many":      {many.String(), ErrTooMany},
		"too large":     {one + " " + strings.Repeat("x", MaxFile), ErrTooLarge},
	} {
		_, err := Parse([]byte(test.text))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), one[:20]) || strings.Contains(err.Error(), k[1].Encode()[:20])) {
			t.Errorf("%s: the error holds the key", name)
		}
	}
}

func TestRing(t *testing.T) {
	k := newKeys(t, 3)
	if _, err := New(nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("a ring of nothing: %v", err)
	}
	given := []Key{k[0]}
	r, err := New(given)
	if err != nil {
		t.Fatal(err)
	}
	given[0] = k[2] // the ring has its own
	if r.First().ID() != k[0].ID() {
		t.Errorf("the first is %v", r.First())
	}
	if err := r.Replace([]Key{k[1]}); !errors.Is(err, ErrNotCurrent) {
		t.Errorf("replaced without the current key: %v", err)
	}
	if err := r.Replace([]Key{k[1], k[0]}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.IDs(), []ID{k[1].ID(), k[0].ID()}) || r.First().ID() != k[1].ID() {
		t.Errorf("ids %v", r.IDs())
	}
	if got, ok := r.Find(k[0].ID()); !ok || got.ID() != k[0].ID() {
		t.Error("the old key is not found")
	}
	if _, ok := r.Find(k[2].ID()); ok {
		t.Error("found a key that was never there")
	}
	if err := r.Replace(nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("replaced by nothing: %v", err)
	}
}

// TestNeverPrinted: no way to print a key, a ring, or what holds one in an unexported field shows it.
func TestNeverPrinted(t *testing.T) {
	k := newKeys(t, 1)[0]
	ring, err := New([]Key{k})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Parse([]byte(k.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		key  Key
		keys []Key
		ring *Ring
	}
	h := holder{k, raw, ring}
	var out bytes.Buffer
	for _, v := range []any{k, &k, h, &h, ring, *h.ring.keys.Load()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "key", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("key", "key", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	b := decode(t, k.Encode())
	for _, form := range []string{k.Encode(), string(b), hex.EncodeToString(b), hex.EncodeToString([]byte(k.Encode())), fmt.Sprint([4]byte(b[:4]))} {
		if strings.Contains(out.String(), strings.Trim(form, "[]")) {
			t.Errorf("printed: %q", form)
		}
	}
	if !strings.Contains(out.String(), k.ID().String()) {
		t.Error("the id is nowhere")
	}
}
