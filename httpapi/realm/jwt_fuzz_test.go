package realm

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"cloakroom/cluster/session"
)

// FuzzJWT looks for a token that comes in without the issuer's signature, and for bytes that break the reader. The
// claims are signed by the issuer when signed is set, so that what lies behind the signature is reached.
func FuzzJWT(f *testing.F) {
	k, fixed := testSigners(), jwtFixture(f, "")
	now := fixed.evidence.now()
	good := toJSON(f, goodClaims(now, nil))
	for _, seed := range []struct{ header, claims string }{
		{`{"alg":"EdDSA"}`, good},
		{`{"alg":"EdDSA","kid":"d1","typ":"JWT"}`, good},
		{`{"alg":"none"}`, good},
		{`{"alg":"HS256","kid":"d1"}`, good},
		{`{"alg":"EdDSA","alg":"EdDSA"}`, good},
		{`{"alg":"EdDSA","crit":["b64"],"b64":false}`, good},
		{`{"alg":"EdDSA"}`, strings.Replace(good, "{", `{"exp":1e99,`, 1)},
		{`{"alg":"EdDSA"}`, strings.Replace(good, "{", `{"sub":{"a":[{}]},"sub":"b",`, 1)},
		{`{"alg":"EdDSA"}`, strings.Repeat(`[`, 1000)},
		{"\xff{}", `{"\ud800":1}`},
	} {
		f.Add(seed.header, seed.claims, []byte("signature"), true)
		f.Add(seed.header, seed.claims, []byte{}, false)
	}
	f.Fuzz(func(t *testing.T, header, claims string, signature []byte, signed bool) {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		if signed {
			var err error
			if signature, err = jwt.SigningMethodEdDSA.Sign(text, k.ed); err != nil {
				t.Fatal(err)
			}
		}
		identity, err := fixed.bearer(t, text+"."+base64.RawURLEncoding.EncodeToString(signature))
		switch {
		case err == nil && !signed:
			t.Errorf("%s came in without a signature as %+v", text, identity)
		case err == nil && !session.ValidName(identity.Username):
			t.Errorf("%s came in as %q", text, identity.Username)
		case err != nil && !errors.Is(err, ErrInvalidCredentials):
			t.Errorf("%s: %v", text, err)
		}
		if err != nil {
			return
		}
		// Another reader, which takes the last of two members: it must see the same.
		var again struct{ Iss, PreferredUsername, Sub any }
		object := map[string]any{}
		if json.Unmarshal([]byte(claims), &object) != nil || json.Unmarshal([]byte(claims), &again) != nil || object["iss"] != testIssuer {
			t.Errorf("another reader makes %v of %s", object, claims)
		}
	})
}

// FuzzKeySet looks for a set of keys that breaks the reader, or from which it takes a key that is too weak.
func FuzzKeySet(f *testing.F) {
	k := testSigners()
	f.Add(keySet(f, jwk(f, k.rsa, "r", nil), jwk(f, k.p256, "e", nil), jwk(f, k.ed, "d", nil)))
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 200) + `","y":"AA"},{"kty":"RSA","n":"AA","e":""},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`)
	f.Fuzz(func(t *testing.T, set string) {
		keys, err := parseKeys([]byte(set))
		if err != nil {
			return
		}
		for _, key := range keys {
			if public, ok := key.key.(*rsa.PublicKey); ok && (public.N.BitLen() < minRSA || public.E < 3) {
				t.Errorf("took a key of %d bits, exponent %d", public.N.BitLen(), public.E)
			}
			if len(key.algs) == 0 || slices.Contains(key.algs, "") {
				t.Errorf("took a key for %q", key.algs)
			}
			// A check with it must not break either.
			parser := jwt.NewParser()
			for _, alg := range key.algs {
				header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `"}`))
				if _, err := parser.Parse(header+".e30."+strings.Repeat("A", 88), func(*jwt.Token) (any, error) { return key.key, nil }); err == nil {
					t.Error("zeros are a signature")
				}
			}
		}
	})
}
