package realm

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Keys are of use for what they were published for.
func TestJWTKeys(t *testing.T) {
	k, now := testSigners(), time.Now()
	long := jwk(t, k.p256, "k", nil)
	long["x"] = strings.Repeat("A", 100) + long["x"].(string) + strings.Repeat("B", 100)
	moved := jwk(t, k.p256, "k", nil)
	moved["y"] = moved["x"]
	for _, tt := range []struct {
		name string
		key  map[string]any
		sign crypto.Signer
		ok   bool
	}{
		{"as it is", jwk(t, k.rsa, "k", nil), k.rsa, true},
		{"for signatures", jwk(t, k.rsa, "k", map[string]any{"use": "sig", "alg": "RS256", "key_ops": []string{"verify"}}), k.rsa, true},
		{"for encryption", jwk(t, k.rsa, "k", map[string]any{"use": "enc"}), k.rsa, false},
		{"for something else", jwk(t, k.rsa, "k", map[string]any{"use": "other"}), k.rsa, false},
		{"to encrypt", jwk(t, k.rsa, "k", map[string]any{"key_ops": []string{"encrypt"}}), k.rsa, false},
		{"for another algorithm", jwk(t, k.rsa, "k", map[string]any{"alg": "PS256"}), k.rsa, false},
		{"for an algorithm of another type", jwk(t, k.rsa, "k", map[string]any{"alg": "ES256"}), k.rsa, false},
		{"for HMAC", jwk(t, k.rsa, "k", map[string]any{"alg": "HS256"}), k.rsa, false},
		{"1024 bits", jwk(t, k.weakRSA, "k", nil), k.weakRSA, false},
		{"exponent 1", jwk(t, k.rsa, "k", map[string]any{"e": "AQ"}), k.rsa, false},
		{"exponent 2", jwk(t, k.rsa, "k", map[string]any{"e": "Ag"}), k.rsa, false},
		{"exponent of which little is left", jwk(t, k.rsa, "k", map[string]any{"e": "AQAAAAAAAAABAAE"}), k.rsa, false},
		{"a coordinate too long", long, k.p256, false},
		{"not on its curve", moved, k.p256, false},
		{"other curve", jwk(t, k.p256, "k", map[string]any{"crv": "secp256k1"}), k.p256, false},
		{"not for signatures at all", jwk(t, k.ed, "k", map[string]any{"crv": "X25519"}), k.ed, false},
		{"certificates that are none", jwk(t, k.rsa, "k", map[string]any{"x5c": []string{"AAAA"}}), k.rsa, true},
	} {
		set := keySet(t, tt.key, jwk(t, k.p521, "other", nil))
		f := newFixture(t, Config{})
		f.addRealmOf(t, "sso", TypeJWT, jwtConfigText(`,"jwks":`+set))
		for _, header := range []map[string]any{{"kid": "k"}, nil} {
			_, err := f.bearer(t, sign(t, tt.sign, header, goodClaims(now, nil)))
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}

// A point that is on no curve is no key at all, rather than one that no signature fits.
func TestJWTKeysThatAreNone(t *testing.T) {
	k := testSigners()
	moved, long := jwk(t, k.p256, "k", nil), jwk(t, k.p256, "k", nil)
	moved["y"] = moved["x"]
	long["x"] = strings.Repeat("B", 100) + long["x"].(string)
	for _, key := range []map[string]any{moved, long, jwk(t, k.weakRSA, "k", nil), jwk(t, k.rsa, "k", map[string]any{"e": "AQ"})} {
		if keys, err := parseKeys([]byte(keySet(t, key))); err != nil || len(keys) != 0 {
			t.Errorf("%v: %d keys, %v", key, len(keys), err)
		}
	}
}

// Without a kid all keys of the type may be tried, but not more than a few.
func TestJWTTriesAreBounded(t *testing.T) {
	k := testSigners()
	var keys []issuerKey
	for range 10 {
		keys = append(keys, issuerKey{kid: "same", algs: []string{"RS256"}, key: &k.otherRSA.PublicKey})
	}
	for _, kid := range []string{"", "same"} {
		if n := len(fitting(keys, tokenHead{alg: "RS256", kid: kid})); n != maxTries {
			t.Errorf("%d keys are tried for the kid %q", n, kid)
		}
	}
}

func TestJWTConfig(t *testing.T) {
	k := testSigners()
	set := keySet(t, jwk(t, k.rsa, "r1", nil))
	private := jwk(t, k.rsa, "r1", map[string]any{"d": base64.RawURLEncoding.EncodeToString(k.rsa.D.Bytes())})
	base := fmt.Sprintf(`{"issuer":%q,"audience":%q`, testIssuer, testAudience)
	for _, tt := range []struct {
		name, config string
		ok           bool
	}{
		{"keys", base + `,"jwks":` + set + `}`, true},
		{"file", base + `,"jwksFile":"issuer.json"}`, true},
		{"URL", base + `,"jwksUrl":"https://issuer.example:8443/keys?x=y"}`, true},
		{"URL of this machine", base + `,"jwksUrl":"http://127.0.0.1:8080/keys"}`, true},
		{"URL of this machine by name", base + `,"jwksUrl":"http://localhost/keys"}`, true},
		{"URL of this machine, IPv6", base + `,"jwksUrl":"http://[::1]/keys"}`, true},
		{"all", base + `,"jwksFile":"k","algorithms":["ES256"],"leeway":"60s","refreshInterval":"1h","usernameClaim":"sub","groupsClaim":"g","groupRoles":{"a":["b"]},"sessionBoundToToken":true}`, true},
		{"no leeway", base + `,"jwksFile":"k","leeway":0}`, true},

		{"no keys", base + `}`, false},
		{"two kinds of keys", base + `,"jwksFile":"k","jwksUrl":"https://x.example"}`, false},
		{"no issuer", `{"audience":"x","jwksFile":"k"}`, false},
		{"no audience", `{"issuer":"x","jwksFile":"k"}`, false},
		{"empty audience", `{"issuer":"x","audience":["x",""],"jwksFile":"k"}`, false},
		{"audience null", `{"issuer":"x","audience":null,"jwksFile":"k"}`, false},
		{"misspelt member", base + `,"jwksFile":"k","algorithm":["ES256"]}`, false},
		{"HMAC", base + `,"jwksFile":"k","algorithms":["RS256","HS256"]}`, false},
		{"none", base + `,"jwksFile":"k","algorithms":["none"]}`, false},
		{"other algorithm", base + `,"jwksFile":"k","algorithms":["ES256K"]}`, false},
		{"leeway of an hour", base + `,"jwksFile":"k","leeway":"61s"}`, false},
		{"leeway below zero", base + `,"jwksFile":"k","leeway":"-1s"}`, false},
		{"refresh at each call", base + `,"jwksFile":"k","refreshInterval":"1s"}`, false},
		{"path", base + `,"jwksFile":"/etc/passwd"}`, false},
		{"way up", base + `,"jwksFile":"../keys"}`, false},
		{"way down", base + `,"jwksFile":"a/b"}`, false},
		{"hidden file", base + `,"jwksFile":".keys"}`, false},
		{"NUL", base + `,"jwksFile":"a\u0000b"}`, false},
		{"http", base + `,"jwksUrl":"http://issuer.example/keys"}`, false},
		{"http to what looks like this machine", base + `,"jwksUrl":"http://127.0.0.1.evil.example/keys"}`, false},
		{"http with a user that looks like this machine", base + `,"jwksUrl":"http://localhost@evil.example/keys"}`, false},
		{"file URL", base + `,"jwksUrl":"file:///etc/passwd"}`, false},
		{"password in the URL", base + `,"jwksUrl":"https://a:b@issuer.example/keys"}`, false},
		{"no host", base + `,"jwksUrl":"https:///keys"}`, false},
		{"private key", base + `,"jwks":` + keySet(t, private) + `}`, false},
		{"shared key", base + `,"jwks":{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}}`, false},
		{"no key of use", base + `,"jwks":` + keySet(t, jwk(t, k.weakRSA, "", nil)) + `}`, false},
		{"no keys in it", base + `,"jwks":{"keys":[]}}`, false},
		{"keys are no object", base + `,"jwks":[]}`, false},
		{"keys null", base + `,"jwks":null}`, false},
		{"too many keys", base + `,"jwks":{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}}`, false},
	} {
		err := ValidateConfig(TypeJWT, []byte(tt.config))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRealmConfig) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
