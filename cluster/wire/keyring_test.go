package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func newKeys(t testing.TB, n int) []ClusterKey {
	t.Helper()
	keys := make([]ClusterKey, n)
	for i := range keys {
		var err error
		if keys[i], err = NewClusterKey(); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func TestParseKeys(t *testing.T) {
	k := newKeys(t, MaxKeys+1)
	text := "# the key\n\n" + k[0].Encode() + "\r\n  " + k[1].Encode() + "\tof last year\n#" + k[2].Encode() + "\n"
	if got, err := ParseKeys(text); err != nil || !slices.Equal(got, k[:2]) {
		t.Errorf("%d keys, %v", len(got), err)
	}
	var many strings.Builder
	for _, key := range k {
		many.WriteString(key.Encode() + "\n")
	}
	for name, c := range map[string]struct {
		text string
		want error
		says string
	}{
		"nothing":           {"", ErrBadKey, ""},
		"comments":          {"# " + k[0].Encode() + "\n\n", ErrBadKey, ""},
		"no key":            {k[0].Encode() + "\n\nsecret\n", ErrBadKey, "line 3"},
		"zeros":             {ClusterKey{}.Encode(), ErrBadKey, "line 1"},
		"twice":             {k[0].Encode() + "\n" + k[0].Encode(), ErrBadRing, "twice"},
		"too many":          {many.String(), ErrBadRing, "at most"},
		"development key":   {k[0].Encode() + "\n" + DevelopmentKey().Encode(), ErrBadRing, "development"},
		"development first": {DevelopmentKey().Encode() + "\n" + k[0].Encode(), ErrBadRing, "development"},
	} {
		_, err := ParseKeys(c.text)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), k[0].Encode()[:8])) {
			t.Errorf("%s: the error repeats the text", name)
		}
	}
	if got, err := ParseKeys(DevelopmentKey().Encode()); err != nil || len(got) != 1 {
		t.Errorf("the development key alone: %v", err)
	}
}

func TestReplace(t *testing.T) {
	k := newKeys(t, 3)
	r := ring(k[0])
	derive := r.Deriver(PurposeSeal)
	if d := derive(); len(d) != 1 || d[0] != k[0].Derive(PurposeSeal) {
		t.Errorf("%x", d)
	}
	var told []KeyID
	failing := errors.New("a full disk")
	stop := r.Watch(func() error { told = append(told, r.IDs()[0]); return nil })
	stopFailing := r.Watch(func() error { return failing })

	if err := r.Replace(k[1:]); !errors.Is(err, failing) || r.First() != k[1] {
		t.Errorf("%v", err)
	}
	stopFailing()
	if d := derive(); len(d) != 2 || d[0] != k[1].Derive(PurposeSeal) || d[1] != k[2].Derive(PurposeSeal) || !slices.Equal(d, r.Derive(PurposeSeal)) {
		t.Errorf("%x", d)
	}
	for _, bad := range [][]ClusterKey{nil, {{}}, {k[0], k[0]}, {DevelopmentKey()}, {k[0], DevelopmentKey()}, newKeys(t, MaxKeys+1)} {
		if err := r.Replace(bad); err == nil {
			t.Errorf("%d keys were taken", len(bad))
		}
	}
	if err := r.Replace(k[1:]); err != nil {
		t.Errorf("the same again: %v", err)
	}
	stop()
	if err := r.Replace(k[:1]); err != nil {
		t.Error(err)
	}
	if !slices.Equal(told, []KeyID{k[1].ID(), k[1].ID()}) { // again, because somebody had failed
		t.Errorf("told of %v", told)
	}
	again := 0
	defer r.Watch(func() error { again++; return nil })()
	if err := r.Replace(k[1:2]); err != nil || again != 1 {
		t.Errorf("%v, told %d times", err, again)
	}
	if !slices.Equal(r.IDs(), []KeyID{k[1].ID()}) || k[0].ID() == k[1].ID() || len(k[0].ID()) != 16 {
		t.Errorf("%v", r.IDs())
	}
}

// TestReplaceIsTriedAgain: as long as somebody has kept old keys, the same ones are told again, and no longer.
func TestReplaceIsTriedAgain(t *testing.T) {
	k := newKeys(t, 2)
	r := ring(k[0])
	failing := errors.New("a full disk")
	calls := 0
	defer r.Watch(func() error {
		if calls++; calls <= 2 {
			return failing
		}
		return nil
	})()
	for i, want := range []error{failing, failing, nil, nil} {
		if err := r.Replace(k[1:]); !errors.Is(err, want) {
			t.Errorf("try %d: %v", i+1, err)
		}
	}
	if calls != 3 {
		t.Errorf("told %d times", calls)
	}
}

// The development key can't become part of a ring that the world may reach, nor leave one that stays on loopback.
func TestDevelopmentKeyStaysAlone(t *testing.T) {
	k := newKeys(t, 1)
	dev := DevelopmentRing()
	if err := dev.Replace(k); !errors.Is(err, ErrBadRing) || dev.First() != DevelopmentKey() {
		t.Errorf("%v", err)
	}
	if err := dev.CheckBind("0.0.0.0:7000"); !errors.Is(err, ErrLoopbackOnly) {
		t.Errorf("%v", err)
	}
	if err := ring(k...).CheckBind("0.0.0.0:7000"); err != nil {
		t.Error(err)
	}
	if _, err := NewKeyRing(k[0], DevelopmentKey()); !errors.Is(err, ErrBadRing) {
		t.Errorf("%v", err)
	}
}

func TestRingIsNotPrinted(t *testing.T) {
	r := ring(testKey)
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "ring", r, "in", struct{ Ring *KeyRing }{r})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "ring", r, "in", struct{ Ring *KeyRing }{r})
	hidden := struct{ ring *KeyRing }{r}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%z"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n", r, hidden)
		fmt.Fprintf(&out, verb+"\n", []*KeyRing{r})
	}
	j, err := json.Marshal(map[string]any{"ring": r})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	text := strings.ToLower(out.String())
	for _, leak := range []string{"1 2 3", "1, 2, 3", "1,2,3", testKeyHex, "0x1, ", `\x01`, strings.ToLower(testKey.Encode()[:8])} {
		if strings.Contains(text, leak) {
			t.Errorf("%q in\n%s", leak, text)
		}
	}
	if !strings.Contains(text, string(testKey.ID())) {
		t.Error("nothing says which key it is")
	}
}

// FuzzParseKeys: no file makes a reader panic, and what is taken can be written and read again.
func FuzzParseKeys(f *testing.F) {
	f.Add("# comment\n" + testKey.Encode() + " one\n")
	f.Add(testKey.Encode() + "\r\n" + ClusterKey{7}.Encode())
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, k := range keys {
			again.WriteString(k.Encode() + "\n")
		}
		if same, err := ParseKeys(again.String()); err != nil || !slices.Equal(same, keys) {
			t.Fatalf("%d keys, read again %d: %v", len(keys), len(same), err)
		}
	})
}
