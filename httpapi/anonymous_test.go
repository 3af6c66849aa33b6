package httpapi

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// goldenAnonymous was computed by other means than this package's, for the key 00…1f, the time of testStart and the
// random bytes 00…0f. It freezes the format: nodes of different versions accept each other's tokens.
const goldenAnonymous = "6553f100" + "000102030405060708090a0b0c0d0e0f" + "f624f127ff505cc00ff812b8"

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
	got := anonymousToken(&key, uint32(testStart.Std().Unix()), random)
	if got.text != goldenAnonymous || got.key.String() != "7312fc2cc20a4b567b1ad15a276634dd" {
		t.Errorf("token %s, handle %s", got.text, got.key)
	}
	back, notAfter, err := redeemAnonymous(&key, []byte(goldenAnonymous), testStart)
	if err != nil || back != got || notAfter != testStart.Add(5*time.Minute) {
		t.Errorf("redeemed %q until %d, %v", back.text, notAfter, err)
	}
	if parsed, ok := parseToken([]byte(goldenAnonymous)); !ok || parsed != got.key {
		t.Error("the cookie parser finds another session")
	}
}

func TestAnonymousTokensAreUnguessable(t *testing.T) {
	f := newFixture(t)
	seen := map[string]bool{}
	for range 64 {
		text := f.mintAnonymous(testStart).text
		random := text[2*anonymousTimeSize : 2*(anonymousTimeSize+anonymousRandomSize)]
		if len(text) != anonymousText || len(random) != 32 || seen[random] {
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
		{"good", &key, goldenAnonymous, testStart, nil},
		{"good, written otherwise", &key, strings.ToUpper(goldenAnonymous), testStart, nil},
		{"just young enough", &key, goldenAnonymous, testStart.Add(5 * time.Minute), nil},
		{"just too old", &key, goldenAnonymous, testStart.Add(5*time.Minute + time.Millisecond), session.ErrTooLate},
		{"issued by a node a little ahead", &key, goldenAnonymous, testStart.Add(-anonymousAhead), nil},
		{"issued too far ahead", &key, goldenAnonymous, testStart.Add(-anonymousAhead - time.Millisecond), session.ErrTooLate},
		{"other key", &other, goldenAnonymous, testStart, session.ErrSessionInvalid},
		{"other time", &key, flip(3), testStart, session.ErrSessionInvalid},
		{"other random bytes", &key, flip(4), testStart, session.ErrSessionInvalid},
		{"other last random byte", &key, flip(19), testStart, session.ErrSessionInvalid},
		{"other MAC", &key, flip(20), testStart, session.ErrSessionInvalid},
		{"other end of MAC", &key, flip(31), testStart, session.ErrSessionInvalid},
		{"no MAC", &key, goldenAnonymous[:40], testStart, session.ErrSessionInvalid},
		{"longer", &key, goldenAnonymous + "00", testStart, session.ErrSessionInvalid},
		{"not hexadecimal", &key, strings.Replace(goldenAnonymous, "f1", "g1", 1), testStart, session.ErrSessionInvalid},
		{"session token", &key, mintToken().text, testStart, session.ErrSessionInvalid},
		{"nothing", &key, "", testStart, session.ErrSessionInvalid},
	} {
		if _, _, err := redeemAnonymous(tt.key, []byte(tt.text), tt.now); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// A used token is refused because the machine remembers it, later because it is too old: the one must last until the
// other begins.
func TestUsedTokensAreRememberedLongEnough(t *testing.T) {
	if anonymousLife+anonymousAhead >= session.TombstoneLife {
		t.Errorf("a token may be used for %v, and is remembered for %v", anonymousLife+anonymousAhead, session.TombstoneLife)
	}
}

// Whatever is accepted was made by anonymousToken from the same key, time and random bytes.
func FuzzRedeemAnonymous(f *testing.F) {
	f.Add(goldenAnonymous)
	f.Add(strings.ToUpper(goldenAnonymous))
	f.Add(goldenAnonymous[:62])
	f.Add("00112233-4455-6677-8899-aabbccddeeff")
	f.Add(strings.Repeat("0", anonymousText))
	f.Fuzz(func(t *testing.T, text string) {
		key := goldenKey()
		got, notAfter, err := redeemAnonymous(&key, []byte(text), testStart)
		if err != nil {
			if got != (token{}) || notAfter != 0 {
				t.Errorf("refused, yet gave %v", got.key)
			}
			return
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("accepted %q: %v", text, err)
		}
		issued := notAfter.Add(-anonymousLife)
		if again := anonymousToken(&key, uint32(issued.Std().Unix()), [16]byte(raw[4:20])); again != got || again.text != strings.ToLower(text) {
			t.Errorf("accepted %q, which is not what was issued", text)
		}
		if parsed, ok := parseToken([]byte(text)); !ok || parsed != got.key {
			t.Errorf("the cookie parser finds another session in %q", text)
		}
	})
}
