package credential

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"cloakroom/cluster/session"
)

// Whatever stands in whatever place of eight, it is told right whether it is hexadecimal, and what it means.
func TestEightHex(t *testing.T) {
	const digits = "0123456789abcdefABCDEF"
	for at := range 8 {
		for c := range 256 {
			text := make([]byte, 8)
			for i := range text {
				text[i] = digits[rand.IntN(len(digits))]
			}
			text[at] = byte(c)
			want, err := hex.DecodeString(string(text))
			got, bad := eightHex(binary.LittleEndian.Uint64(text))
			if (bad == 0) != (err == nil) {
				t.Fatalf("%q: bad %x, %v", text, bad, err)
			}
			if err == nil && binary.LittleEndian.Uint32(want) != got {
				t.Fatalf("%q: %x, not %x", text, got, want)
			}
		}
	}
}

// Each character of a token counts, and its place.
func TestParseGrouped(t *testing.T) {
	tok := Mint()
	for i := range tok.Text {
		for c := range 256 {
			text := []byte(tok.Text)
			text[i] = byte(c)
			dashed := i == 8 || i == 13 || i == 18 || i == 23
			isHex := unicode.Is(unicode.ASCII_Hex_Digit, rune(c))
			key, ok := Parse(text)
			if want := dashed && c == '-' || !dashed && isHex; ok != want {
				t.Fatalf("%q: %t", text, ok)
			}
			if ok {
				raw, err := hex.DecodeString(string(text[:8]) + string(text[9:13]) + string(text[14:18]) + string(text[19:23]) + string(text[24:]))
				if err != nil || key != session.KeyOf(raw) {
					t.Fatalf("%q: another key, %v", text, err)
				}
			}
		}
	}
}

func TestTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		tok := Mint()
		key, ok := Parse([]byte(tok.Text))
		if !ok || key != tok.Key || seen[tok.Text] {
			t.Fatalf("token does not parse, or came twice")
		}
		seen[tok.Text] = true
		for i, r := range tok.Text {
			if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') || !dash && !unicode.Is(unicode.ASCII_Hex_Digit, r) {
				t.Fatalf("token has %q at %d", r, i)
			}
		}
	}
	for _, text := range []string{
		"", "840a33d4-b650-49f2-87a4-85412e99b37", "840a33d4-b650-49f2-87a4-85412e99b37cc", "840a33d4_b650-49f2-87a4-85412e99b37c",
		"840a33d4-b650-49f2-87a4-85412e99b37g", "840a33d4-b650-49f2-87a4-85412e99b3-c", "840a33d4b-650-49f2-87a4-85412e99b37c",
		strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64), strings.Repeat("-", 36),
	} {
		if _, ok := Parse([]byte(text)); ok {
			t.Errorf("%q is no token", text)
		}
	}
	if key, ok := Parse([]byte(strings.Repeat("00", 32))); !ok || key != session.KeyOf(make([]byte, 32)) {
		t.Error("a long token does not parse")
	}
}
