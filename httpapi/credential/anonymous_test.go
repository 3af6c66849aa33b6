package credential

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// goldenAnonymous was computed by other means than this package's, for the key 00…1f, the time issuedAt and the
// random bytes 00…0f. It freezes the format: nodes of different versions accept each other's tokens.
const goldenAnonymous = "6553f100" + "000102030405060708090a0b0c0d0e0f" + "f624f127ff505cc00ff812b8"

const issuedAt = session.Time(1_700_000_000_000) // 2023-11-14T22:13:20Z

func goldenKey() (key [32]byte) {
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func TestAnonymousTokenGolden(t *testing.T) {
	key, random := goldenKey(), [anonymousRandomSize]byte{}
	for i := range random {
		random[i] = byte(i)
	}
	got := AnonymousOf(&key, uint32(issuedAt.Std().Unix()), random)
	if got.Text != goldenAnonymous || got.Key.String() != "7312fc2cc20a4b567b1ad15a276634dd" {
		t.Errorf("token %s, handle %s", got.Text, got.Key)
	}
	back, notAfter, err := RedeemAnonymous([][32]byte{key}, []byte(goldenAnonymous), issuedAt)
	if err != nil || back != got || notAfter != issuedAt.Add(5*time.Minute) {
		t.Errorf("redeemed %q until %d, %v", back.Text, notAfter, err)
	}
	if parsed, ok := Parse([]byte(goldenAnonymous)); !ok || parsed != got.Key {
		t.Error("the cookie parser finds another session")
	}
}

func TestAnonymousTokensAreUnguessable(t *testing.T) {
	key := goldenKey()
	seen := map[string]bool{}
	for range 64 {
		text := MintAnonymous(&key, issuedAt).Text
		random := text[2*anonymousTimeSize : 2*(anonymousTimeSize+anonymousRandomSize)]
		if len(text) != AnonymousText || len(random) != 32 || seen[random] {
			t.Fatalf("token %s: its 128 random bits are too few or came before", text)
		}
		seen[random] = true
	}
}

func TestRedeemAnonymousRefuses(t *testing.T) {
	key := goldenKey()
	other := key
	other[31]++
	flip := func(i int) string {
		raw, err := hex.DecodeString(goldenAnonymous)
		if err != nil {
			t.Fatal(err)
		}
		raw[i] ^= 1
		return hex.EncodeToString(raw)
	}
	for _, tt := range []struct {
		name string
		key  *[32]byte
		text string
		now  session.Time
		err  error
	}{
		{"good", &key, goldenAnonymous, issuedAt, nil},
		{"good, written otherwise", &key, strings.ToUpper(goldenAnonymous), issuedAt, nil},
		{"just young enough", &key, goldenAnonymous, issuedAt.Add(5 * time.Minute), nil},
		{"just too old", &key, goldenAnonymous, issuedAt.Add(5*time.Minute + time.Millisecond), session.ErrTooLate},
		{"issued by a node a little ahead", &key, goldenAnonymous, issuedAt.Add(-anonymousAhead), nil},
		{"issued too far ahead", &key, goldenAnonymous, issuedAt.Add(-anonymousAhead - time.Millisecond), session.ErrTooLate},
		{"other key", &other, goldenAnonymous, issuedAt, session.ErrSessionInvalid},
		{"other time", &key, flip(3), issuedAt, session.ErrSessionInvalid},
		{"other random bytes", &key, flip(4), issuedAt, session.ErrSessionInvalid},
		{"other last random byte", &key, flip(19), issuedAt, session.ErrSessionInvalid},
		{"other MAC", &key, flip(20), issuedAt, session.ErrSessionInvalid},
		{"other end of MAC", &key, flip(31), issuedAt, session.ErrSessionInvalid},
		{"no MAC", &key, goldenAnonymous[:40], issuedAt, session.ErrSessionInvalid},
		{"longer", &key, goldenAnonymous + "00", issuedAt, session.ErrSessionInvalid},
		{"not hexadecimal", &key, strings.Replace(goldenAnonymous, "f1", "g1", 1), issuedAt, session.ErrSessionInvalid},
		{"session token", &key, Mint().Text, issuedAt, session.ErrSessionInvalid},
		{"nothing", &key, "", issuedAt, session.ErrSessionInvalid},
	} {
		if _, _, err := RedeemAnonymous([][32]byte{*tt.key}, []byte(tt.text), tt.now); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// While the cluster's key is exchanged a token counts under any key of the ring, whichever node has made it, and no longer.
func TestAnonymousTokenUnderSeveralKeys(t *testing.T) {
	keys := [][32]byte{{1}}
	redeems := func(made Token, want error) {
		t.Helper()
		if got, _, err := RedeemAnonymous(keys, []byte(made.Text), issuedAt); !errors.Is(err, want) || want == nil && got != made {
			t.Errorf("%v", err)
		}
	}
	old := MintAnonymous(&keys[0], issuedAt)
	keys = [][32]byte{{2}, {1}}
	made := MintAnonymous(&keys[0], issuedAt)
	redeems(old, nil)
	redeems(made, nil)
	keys = [][32]byte{{1}, {2}} // a node that is a step behind
	redeems(made, nil)
	keys = [][32]byte{{2}}
	redeems(made, nil)
	redeems(old, session.ErrSessionInvalid)
}

// A used token is refused because the machine remembers it, later because it is too old: the one must last until the
// other begins.
func TestUsedTokensAreRememberedLongEnough(t *testing.T) {
	if anonymousLife+anonymousAhead >= session.TombstoneLife {
		t.Errorf("a token may be used for %v, and is remembered for %v", anonymousLife+anonymousAhead, session.TombstoneLife)
	}
}

// Whatever is accepted was made by AnonymousOf from the same key, time and random bytes.
func FuzzRedeemAnonymous(f *testing.F) {
	f.Add(goldenAnonymous)
	f.Add(strings.ToUpper(goldenAnonymous))
	f.Add(goldenAnonymous[:62])
	f.Add("00112233-4455-6677-8899-aabbccddeeff")
	f.Add(strings.Repeat("0", AnonymousText))
	f.Fuzz(func(t *testing.T, text string) {
		key := goldenKey()
		got, notAfter, err := RedeemAnonymous([][32]byte{key}, []byte(text), issuedAt)
		if err != nil {
			if got != (Token{}) || notAfter != 0 {
				t.Errorf("refused, yet gave %v", got.Key)
			}
			return
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("accepted %q: %v", text, err)
		}
		issued := notAfter.Add(-anonymousLife)
		if again := AnonymousOf(&key, uint32(issued.Std().Unix()), [16]byte(raw[4:20])); again != got || again.Text != strings.ToLower(text) {
			t.Errorf("accepted %q, which is not what was issued", text)
		}
		if parsed, ok := Parse([]byte(text)); !ok || parsed != got.Key {
			t.Errorf("the cookie parser finds another session in %q", text)
		}
	})
}
