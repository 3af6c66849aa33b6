package realm

import (
	"bytes"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

const (
	goldenSalt = "AAECAwQFBgcICQoLDA0ODw"
	goldenHash = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA"
)

func TestPHCGolden(t *testing.T) {
	p := phc{costs: costs{19456, 2, 1}, salt: make([]byte, 16), hash: make([]byte, 32)}
	for i := range p.salt {
		p.salt[i] = byte(i)
	}
	for i := range p.hash {
		p.hash[i] = byte(31 - i)
	}
	const want = "$argon2id$v=19$m=19456,t=2,p=1$" + goldenSalt + "$" + goldenHash
	if got := p.encode(); string(got) != want {
		t.Errorf("encoded %s, want %s", string(got), want)
	}
	back, err := parsePHC(want)
	if err != nil || back.costs != p.costs || !bytes.Equal(back.salt, p.salt) || !bytes.Equal(back.hash, p.hash) {
		t.Errorf("parsed %+v, %v", back, err)
	}
}

func TestParsePHCRefuses(t *testing.T) {
	const good = "$argon2id$v=19$m=19456,t=2,p=1$" + goldenSalt + "$" + goldenHash
	for name, text := range map[string]string{
		"empty":                 "",
		"other algorithm":       strings.Replace(good, "argon2id", "argon2i", 1),
		"other version":         strings.Replace(good, "v=19", "v=16", 1),
		"no version":            strings.Replace(good, "v=19$", "", 1),
		"text before":           "x" + good,
		"field after":           good + "$",
		"line break after":      good + "\n",
		"line break in hash":    strings.Replace(good, "Hx4d", "Hx4d\n", 1),
		"padding":               strings.Replace(good, goldenHash, goldenHash+"=", 1),
		"loose last bits":       strings.TrimSuffix(good, "A") + "B",
		"costs out of order":    strings.Replace(good, "m=19456,t=2", "t=2,m=19456", 1),
		"cost twice":            strings.Replace(good, "t=2", "t=2,t=2", 1),
		"leading zero":          strings.Replace(good, "t=2", "t=02", 1),
		"sign":                  strings.Replace(good, "t=2", "t=+2", 1),
		"no iterations":         strings.Replace(good, "t=2", "t=0", 1),
		"many iterations":       strings.Replace(good, "t=2", "t=17", 1),
		"iterations overflow":   strings.Replace(good, "t=2", "t=4294967298", 1),
		"no lanes":              strings.Replace(good, "p=1", "p=0", 1),
		"many lanes":            strings.Replace(good, "p=1", "p=5", 1),
		"lanes overflow":        strings.Replace(good, "p=1", "p=257", 1),
		"all memory":            strings.Replace(good, "m=19456", "m=4294967295", 1),
		"memory over the bound": strings.Replace(good, "m=19456", "m=262145", 1),
		"work over the bound":   strings.Replace(good, "m=19456,t=2", "m=262144,t=16", 1),
		"too little for lanes":  strings.Replace(good, "m=19456,t=2,p=1", "m=31,t=2,p=4", 1),
		"short salt":            strings.Replace(good, goldenSalt, "AAECAwQFBg", 1),
		"no salt":               strings.Replace(good, goldenSalt, "", 1),
		"short hash":            strings.Replace(good, goldenHash, "Hx4dHBsaGRg", 1),
		"no hash":               strings.Replace(good, goldenHash, "", 1),
		"long":                  strings.Replace(good, goldenHash, strings.Repeat("A", 400), 1),
	} {
		if _, err := parsePHC(session.Secret(text)); err == nil {
			t.Errorf("%s: accepted %q", name, text)
		}
	}
	if _, err := parsePHC(good); err != nil {
		t.Errorf("the string that the others were made from: %v", err)
	}
}

// Whatever is accepted is within bounds and is the only spelling of itself.
func FuzzParsePHC(f *testing.F) {
	f.Add(string(referenceHash))
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$" + goldenSalt + "$" + goldenHash)
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$AAAA$AAAA")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePHC(session.Secret(text))
		if err != nil {
			return
		}
		if !p.withinBounds() || len(p.salt) < minSalt || len(p.hash) < minHash || len(p.hash) > maxHash {
			t.Errorf("accepted out of bounds: %+v", p)
		}
		if again := p.encode(); string(again) != text {
			t.Errorf("accepted %q, which is written %q", text, string(again))
		}
	})
}
