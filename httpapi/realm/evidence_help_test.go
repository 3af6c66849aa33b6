package realm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"cloakroom/cluster/session"
)

// signers are an issuer's keys. RSA keys take long to make, so all tests share them.
type signers struct {
	rsa, otherRSA, weakRSA *rsa.PrivateKey
	p256, p384, p521       *ecdsa.PrivateKey
	ed                     ed25519.PrivateKey
}

var testSigners = sync.OnceValue(func() *signers {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	s := &signers{}
	var err error
	s.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	s.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	s.weakRSA, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	for key, curve := range map[**ecdsa.PrivateKey]elliptic.Curve{&s.p256: elliptic.P256(), &s.p384: elliptic.P384(), &s.p521: elliptic.P521()} {
		*key, err = ecdsa.GenerateKey(curve, rand.Reader)
		must(err)
	}
	_, s.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return s
})

// jwk describes a public key; more is put into the description.
func jwk(t testing.TB, key crypto.Signer, kid string, more map[string]any) map[string]any {
	t.Helper()
	made, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]any{}
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	maps.Copy(object, more)
	return object
}

// keySet is a set of keys as issuers publish it.
func keySet(t testing.TB, keys ...map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	testIssuer   = "https://issuer.example/realms/main"
	testAudience = "cloakroom"
)

// goodClaims are those of a token that is accepted at that time; change overrides them, nil removes one.
func goodClaims(now time.Time, change map[string]any) map[string]any {
	claims := map[string]any{
		"iss": testIssuer, "aud": testAudience, "sub": "0815", "preferred_username": "ann", "groups": []string{"staff"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func signingMethod(key crypto.Signer) jwt.SigningMethod {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return jwt.SigningMethodRS256
	case *ecdsa.PrivateKey:
		return map[int]jwt.SigningMethod{256: jwt.SigningMethodES256, 384: jwt.SigningMethodES384, 521: jwt.SigningMethodES512}[k.Curve.Params().BitSize]
	}
	return jwt.SigningMethodEdDSA
}

// sign makes a token by the library that issuers written in Go use.
func sign(t testing.TB, key crypto.Signer, header, claims map[string]any) string {
	t.Helper()
	return signAs(t, signingMethod(key), key, header, claims)
}

func signAs(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signRaw signs what is given, whatever it is.
func signRaw(t testing.TB, key crypto.Signer, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := signingMethod(key).Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func toJSON(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// addRealmOf adds a realm with a configuration that goes the way of the API's.
func (f *fixture) addRealmOf(t testing.TB, name, realmType, config string, roles ...string) *session.Realm {
	t.Helper()
	sealed, err := f.SealConfig(realmType, []byte(config))
	if err != nil {
		t.Fatalf("configure realm %s: %v", name, err)
	}
	r := &session.Realm{ID: "realm-" + name, Name: name, Type: realmType, Enabled: true, RoleNames: roles, Rev: 20, Config: sealed}
	f.directory.addRealm(r)
	return r
}

// lines are a request's header lines.
func lines(text string) func(func([]byte, []byte) bool) {
	return func(yield func([]byte, []byte) bool) {
		for line := range strings.SplitSeq(text, "\n") {
			name, value, ok := strings.Cut(line, ":")
			if ok && !yield([]byte(strings.TrimSpace(name)), []byte(value)) {
				return
			}
		}
	}
}

func at(address string) netip.Addr { return netip.MustParseAddr(address) }

func jwtConfigText(more string) string {
	return fmt.Sprintf(`{"issuer":%q,"audience":%q,"ephemeralUsers":true%s}`, testIssuer, testAudience, more)
}
