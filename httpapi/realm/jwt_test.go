package realm

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cloakroom/cluster/session"
)

// jwtFixture has a realm sso whose issuer signs with all kinds of keys.
func jwtFixture(t testing.TB, more string) *fixture {
	t.Helper()
	f := newFixture(t, Config{})
	now := time.Now() // stands still: whatever the machine is busy with, no token becomes older than the test means it to be
	f.evidence.now = func() time.Time { return now }
	k := testSigners()
	set := keySet(t, jwk(t, k.rsa, "r1", nil), jwk(t, k.p256, "e1", nil), jwk(t, k.p384, "e2", nil), jwk(t, k.p521, "e3", nil), jwk(t, k.ed, "d1", nil))
	f.addRealmOf(t, "sso", TypeJWT, jwtConfigText(`,"groupRoles":{"staff":"developer"},"jwks":`+set+more), "everyone")
	return f
}

func (f *fixture) bearer(t testing.TB, token string) (Identity, error) {
	t.Helper()
	return f.AuthenticateRequest(t.Context(), "sso", Evidence{Bearer: token})
}

func TestJWTRealm(t *testing.T) {
	f := jwtFixture(t, "")
	k, now := testSigners(), f.evidence.now()
	for kid, key := range map[string]crypto.Signer{"r1": k.rsa, "e1": k.p256, "e2": k.p384, "e3": k.p521, "d1": k.ed} {
		identity, err := f.bearer(t, sign(t, key, map[string]any{"kid": kid}, goodClaims(now, nil)))
		if err != nil {
			t.Fatalf("%s: %v", kid, err)
		}
		if identity.Username != "ann" || !slices.Equal(identity.Roles, []string{"developer", "everyone"}) || !identity.FixedRoles ||
			identity.AutoCreate || identity.UserID == "" || identity.RealmRev != 20 || !identity.Until.IsZero() {
			t.Errorf("%s: %+v", kid, identity)
		}
	}
	for _, method := range []jwt.SigningMethod{
		jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512,
	} {
		if _, err := f.bearer(t, signAs(t, method, k.rsa, map[string]any{"kid": "r1"}, goodClaims(now, nil))); err != nil {
			t.Errorf("%s: %v", method.Alg(), err)
		}
	}
	if _, err := f.AuthenticateRequest(t.Context(), "sso", Evidence{}); any(err) != any(ErrNoEvidence) {
		t.Errorf("no token: %v", err)
	}
	_, err := f.AuthenticateRequest(t.Context(), "sso", Evidence{Bearer: sign(t, k.rsa, nil, goodClaims(now, nil)), Other: true})
	wantExactly(t, err, ErrTwoCredentials)
	if len(f.hashed) != 0 {
		t.Error("a password hash was spent")
	}
}

// Every one of these is signed by the issuer, but for the first few.
func TestJWTHeads(t *testing.T) {
	f := jwtFixture(t, "")
	k, now := testSigners(), f.evidence.now()
	claims := toJSON(t, goodClaims(now, nil))
	public, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := sign(t, k.rsa, map[string]any{"kid": "r1"}, goodClaims(now, nil))
	head, body, signature := strings.Split(good, ".")[0], strings.Split(good, ".")[1], strings.Split(good, ".")[2]
	attacker := jwk(t, k.otherRSA, "r1", nil)
	set, err := json.Marshal(attacker)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"none":                        part(`{"alg":"none"}`) + "." + body + ".",
		"none, as good as":            part(`{"alg":"none","kid":"r1"}`) + "." + body + "." + signature,
		"None":                        part(`{"alg":"None"}`) + "." + body + ".",
		"HS256 with the public key":   signAs(t, jwt.SigningMethodHS256, publicPEM, map[string]any{"kid": "r1"}, goodClaims(now, nil)),
		"HS256 with the key's bytes":  signAs(t, jwt.SigningMethodHS256, public, map[string]any{"kid": "r1"}, goodClaims(now, nil)),
		"HS256 with the key's number": signAs(t, jwt.SigningMethodHS256, k.rsa.N.Bytes(), nil, goodClaims(now, nil)),
		"HS256 with nothing":          signAs(t, jwt.SigningMethodHS256, []byte{}, nil, goodClaims(now, nil)),
		"somebody else's key":         sign(t, k.otherRSA, map[string]any{"kid": "r1"}, goodClaims(now, nil)),
		"somebody else's, no kid":     sign(t, k.otherRSA, nil, goodClaims(now, nil)),
		"key in the header":           sign(t, k.otherRSA, map[string]any{"kid": "r1", "jwk": attacker}, goodClaims(now, nil)),
		"key at an address":           sign(t, k.otherRSA, map[string]any{"kid": "r1", "jku": "https://evil.example/keys", "x5u": "https://evil.example/c"}, goodClaims(now, nil)),
		"key as a kid":                sign(t, k.otherRSA, map[string]any{"kid": string(set)}, goodClaims(now, nil)),
		"path as a kid":               sign(t, k.rsa, map[string]any{"kid": "../../../dev/null"}, goodClaims(now, nil)),
		"query as a kid":              sign(t, k.rsa, map[string]any{"kid": "r1' OR '1'='1"}, goodClaims(now, nil)),
		"empty kid of another":        sign(t, k.otherRSA, map[string]any{"kid": ""}, goodClaims(now, nil)),
		"kid is a number":             signRaw(t, k.rsa, `{"alg":"RS256","kid":1}`, claims),
		"kid is null":                 signRaw(t, k.rsa, `{"alg":"RS256","kid":null}`, claims),
		"kid of another type of key":  sign(t, k.rsa, map[string]any{"kid": "e1"}, goodClaims(now, nil)),
		"alg of another type of key":  signRaw(t, k.rsa, `{"alg":"ES256","kid":"e1"}`, claims),
		"alg of another curve":        signRaw(t, k.p384, `{"alg":"ES256","kid":"e2"}`, claims),
		"alg is missing":              signRaw(t, k.rsa, `{"kid":"r1"}`, claims),
		"alg is a list":               signRaw(t, k.rsa, `{"alg":["RS256"]}`, claims),
		"alg in lower case":           signRaw(t, k.rsa, `{"alg":"rs256"}`, claims),
		"alg twice":                   signRaw(t, k.rsa, `{"alg":"RS256","alg":"RS256"}`, claims),
		"alg twice, escaped":          signRaw(t, k.rsa, `{"alg":"RS256","\u0061lg":"RS256"}`, claims),
		"crit":                        signRaw(t, k.rsa, `{"alg":"RS256","crit":["exp"]}`, claims),
		"crit, empty":                 signRaw(t, k.rsa, `{"alg":"RS256","crit":[]}`, claims),
		"unencoded payload":           signRaw(t, k.rsa, `{"alg":"RS256","b64":false,"crit":["b64"]}`, claims),
		"nested":                      signRaw(t, k.rsa, `{"alg":"RS256","cty":"JWT"}`, claims),
		"token in a token":            signRaw(t, k.rsa, `{"alg":"RS256"}`, `"`+good+`"`),
		"logout token":                signRaw(t, k.rsa, `{"alg":"RS256","typ":"logout+jwt"}`, claims),
		"type is a number":            signRaw(t, k.rsa, `{"alg":"RS256","typ":1}`, claims),
		"header is a list":            signRaw(t, k.rsa, `["RS256"]`, claims),
		"header is deep":              signRaw(t, k.rsa, `{"alg":"RS256","x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, claims),
		"header and more":             signRaw(t, k.rsa, `{"alg":"RS256"}{}`, claims),
		"header is not UTF-8":         signRaw(t, k.rsa, "{\"alg\":\"RS256\",\"x\":\"\xff\"}", claims),
		"no signature":                head + "." + body + ".",
		"signature of another":        head + "." + part(toJSON(t, goodClaims(now, map[string]any{"preferred_username": "root"}))) + "." + signature,
		"signature cut":               strings.TrimSuffix(good, signature[300:]),
		"signature with padding":      good + "==",
		"signature with other end":    good[:len(good)-1] + otherTail(good[len(good)-1]),
		"in standard base64":          head + "." + body + "+/." + signature,
		"line end within":             head + "." + body[:10] + "\n" + body[10:] + "." + signature,
		"two parts":                   head + "." + body,
		"four parts":                  good + ".x",
		"five parts":                  good + "..",
		"dots":                        "..",
		"empty":                       " ",
		"huge":                        sign(t, k.rsa, map[string]any{"kid": "r1"}, goodClaims(now, map[string]any{"x": strings.Repeat("x", maxToken)})),
		"huge and nothing":            strings.Repeat("a", 1<<20) + "..",
	} {
		_, err := f.bearer(t, token)
		if any(err) != any(ErrInvalidCredentials) || !IsGuess(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, token := range map[string]string{
		"no type":      signRaw(t, k.rsa, `{"alg":"RS256"}`, claims),
		"type":         signRaw(t, k.rsa, `{"alg":"RS256","typ":"JWT"}`, claims),
		"access token": signRaw(t, k.rsa, `{"alg":"RS256","typ":"application/at+jwt"}`, claims),
		"other words":  sign(t, k.rsa, map[string]any{"kid": "r1", "jku": "https://evil.example/keys", "x5u": "x", "jwk": attacker}, goodClaims(now, nil)),
	} {
		if _, err := f.bearer(t, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// otherTail returns another character that stands for the same bits, as far as they count.
func otherTail(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)^1])
}

func TestJWTClaims(t *testing.T) {
	f := jwtFixture(t, "")
	now := f.evidence.now()
	type change = map[string]any
	for _, tt := range []struct {
		name   string
		change change
		err    error
	}{
		{"as it is", nil, nil},
		{"audience in a list", change{"aud": []string{"other", testAudience}}, nil},
		{"no nbf, no iat", change{"nbf": nil, "iat": nil}, nil},
		{"just over, within the leeway", change{"exp": now.Add(-5 * time.Second).Unix()}, nil},
		{"a little ahead", change{"nbf": now.Add(5 * time.Second).Unix(), "iat": now.Add(5 * time.Second).Unix()}, nil},
		{"parts of a second", change{"exp": float64(now.Unix()) + 300.5}, nil},

		{"expired", change{"exp": now.Add(-time.Minute).Unix()}, ErrTokenExpired},
		{"expired in 1970", change{"exp": 0}, ErrTokenExpired},
		{"expired and for somebody else", change{"exp": now.Add(-time.Minute).Unix(), "aud": "other"}, ErrInvalidCredentials},
		{"expired and not yet good", change{"exp": now.Add(-time.Minute).Unix(), "nbf": now.Add(time.Minute).Unix()}, ErrInvalidCredentials},
		{"no exp", change{"exp": nil}, ErrInvalidCredentials},
		{"not yet good", change{"nbf": now.Add(time.Minute).Unix()}, ErrInvalidCredentials},
		{"from the future", change{"iat": now.Add(time.Minute).Unix()}, ErrInvalidCredentials},
		{"other audience", change{"aud": "other"}, ErrInvalidCredentials},
		{"other audiences", change{"aud": []string{"other", testAudience + "2"}}, ErrInvalidCredentials},
		{"audience in two lists", change{"aud": []any{[]string{testAudience}}}, ErrInvalidCredentials},
		{"audience among numbers", change{"aud": []any{1, testAudience}}, ErrInvalidCredentials},
		{"audience as a member", change{"aud": change{testAudience: true}}, ErrInvalidCredentials},
		{"no audience", change{"aud": nil}, ErrInvalidCredentials},
		{"empty audience", change{"aud": []string{}}, ErrInvalidCredentials},
		{"other issuer", change{"iss": "https://issuer.example/realms/other"}, ErrInvalidCredentials},
		{"issuer with a slash", change{"iss": testIssuer + "/"}, ErrInvalidCredentials},
		{"issuer in a list", change{"iss": []string{testIssuer}}, ErrInvalidCredentials},
		{"no issuer", change{"iss": nil}, ErrInvalidCredentials},
		{"nobody", change{"preferred_username": nil, "sub": nil}, ErrInvalidCredentials},
		{"empty name", change{"preferred_username": "", "sub": ""}, ErrInvalidCredentials},
		{"name is a list", change{"preferred_username": []string{"ann"}, "sub": nil}, ErrInvalidCredentials},
		{"name for no header", change{"preferred_username": "ann\r\nX: y"}, ErrBadUsername},
		{"name not ASCII", change{"preferred_username": "änn"}, ErrBadUsername},
	} {
		_, err := f.bearer(t, sign(t, testSigners().rsa, map[string]any{"kid": "r1"}, goodClaims(now, tt.change)))
		t.Run(tt.name, func(t *testing.T) { wantExactly(t, err, tt.err) })
		if IsGuess(err) {
			t.Errorf("%s: what the issuer has signed counts as a guess", tt.name)
		}
	}
	good := toJSON(t, goodClaims(now, nil))
	for name, claims := range map[string]string{
		"name twice":          strings.Replace(good, "{", `{"preferred_username":"root",`, 1),
		"expiry twice":        strings.Replace(good, "{", `{"exp":9999999999,`, 1),
		"twice, deep within":  strings.Replace(good, "{", `{"x":[{"a":{"b":1,"b":2}}],`, 1),
		"a list":              "[" + good + "]",
		"null":                "null",
		"broken":              good[:len(good)-1],
		"more":                good + "{}",
		"never":               toJSON(t, goodClaims(now, change{"exp": "9999999999"})),
		"end of all time":     strings.Replace(good, `"exp":`, `"exp":1e300,"y":`, 1),
		"beyond all numbers":  strings.Replace(good, `"exp":`, `"exp":1e999,"y":`, 1),
		"before all time":     strings.Replace(good, `"nbf":`, `"nbf":-1e300,"y":`, 1),
		"no time":             strings.Replace(good, `"iat":`, `"iat":null,"y":`, 1),
		"in need of a key":    strings.Replace(good, "{", `{"cnf":{"jkt":"x"},`, 1),
		"deeper than anybody": strings.Replace(good, "{", `{"x":`+strings.Repeat(`{"x":`, 50)+"1"+strings.Repeat("}", 50)+`,`, 1),
	} {
		if _, err := f.bearer(t, signRaw(t, testSigners().rsa, `{"alg":"RS256","kid":"r1"}`, claims)); any(err) != any(ErrInvalidCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJWTNamesAndGroups(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name, config string
		claims       map[string]any
		user         string
		roles        []string
		err          error
	}{
		{"no way from name to sub", "", map[string]any{"preferred_username": nil}, "", nil, ErrInvalidCredentials},
		{"no way from empty name to sub", `,"usernameClaim":""`, map[string]any{"preferred_username": ""}, "", nil, ErrInvalidCredentials},
		{"no way from sub to name", `,"usernameClaim":"sub"`, map[string]any{"sub": nil}, "", nil, ErrInvalidCredentials},
		{"sub", `,"usernameClaim":"sub"`, nil, "0815", []string{"developer", "everyone"}, nil},
		{"no way back to sub", `,"usernameClaim":"nickname"`, nil, "", nil, ErrInvalidCredentials},
		{"address, verified", `,"usernameClaim":"email"`, map[string]any{"email": "ann@x.example", "email_verified": true}, "ann@x.example", []string{"developer", "everyone"}, nil},
		{"address, claimed", `,"usernameClaim":"email"`, map[string]any{"email": "root@x.example", "email_verified": false}, "", nil, ErrInvalidCredentials},
		{"address, nothing said", `,"usernameClaim":"email"`, map[string]any{"email": "root@x.example"}, "", nil, ErrInvalidCredentials},
		{"address, verified in words", `,"usernameClaim":"email"`, map[string]any{"email": "root@x.example", "email_verified": "true"}, "", nil, ErrInvalidCredentials},
		{"one group", "", map[string]any{"groups": "staff"}, "ann", []string{"developer", "everyone"}, nil},
		{"no group", "", map[string]any{"groups": nil}, "ann", []string{"everyone"}, nil},
		{"groups that are worth nothing", "", map[string]any{"groups": []any{"admin", "Staff", 1, nil, []string{"staff"}}}, "ann", []string{"everyone"}, nil},
		{"groups are no list", "", map[string]any{"groups": map[string]any{"staff": true}}, "ann", []string{"everyone"}, nil},
		{"groups at a path", `,"groupsClaim":"realm_access.roles"`, map[string]any{"realm_access": map[string]any{"roles": []string{"staff"}}}, "ann", []string{"developer", "everyone"}, nil},
		{"groups at no path", `,"groupsClaim":"realm_access.roles.x"`, map[string]any{"realm_access": map[string]any{"roles": []string{"staff"}}}, "ann", []string{"everyone"}, nil},
		{"claim with dots", `,"groupsClaim":"https://x.example/groups"`, map[string]any{"https://x.example/groups": []string{"staff"}}, "ann", []string{"developer", "everyone"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := jwtFixture(t, tt.config)
			identity, err := f.bearer(t, sign(t, testSigners().ed, map[string]any{"kid": "d1"}, goodClaims(now, tt.claims)))
			wantExactly(t, err, tt.err)
			if identity.Username != tt.user || !slices.Equal(identity.Roles, tt.roles) {
				t.Errorf("%+v", identity)
			}
		})
	}
}

func TestJWTUsers(t *testing.T) {
	token := sign(t, testSigners().ed, nil, goodClaims(time.Now(), nil))
	for _, tt := range []struct {
		name, policy string
		user         *session.User
		create       bool
		err          error
	}{
		{"record", "", &session.User{ID: "u9", RoleNames: []string{"own"}, Rev: 30}, false, nil},
		{"disabled", `"ephemeralUsers":true,`, &session.User{ID: "u9", Disabled: true, Rev: 30}, false, ErrInvalidCredentials},
		{"no record", "", nil, false, ErrInvalidCredentials},
		{"made at the first login", `"autoCreateUsers":true,`, nil, true, nil},
		{"never made", `"ephemeralUsers":true,"autoCreateUsers":true,`, nil, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := jwtFixture(t, "")
			k := testSigners()
			f.addRealmOf(t, "sso", TypeJWT, fmt.Sprintf(`{%s"issuer":%q,"audience":[%q],"jwks":%s}`, tt.policy, testIssuer, testAudience, keySet(t, jwk(t, k.ed, "", nil))))
			if tt.user != nil {
				tt.user.Realm, tt.user.Username = "sso", "ann"
				f.directory.addUser(tt.user)
			}
			identity, err := f.bearer(t, token)
			wantExactly(t, err, tt.err)
			if err == nil && (identity.AutoCreate != tt.create || identity.UserID == "" || tt.user != nil && (identity.UserID != "u9" || identity.UserRev != 30)) {
				t.Errorf("%+v", identity)
			}
			again, _ := f.bearer(t, token)
			if (again.UserID == identity.UserID) == tt.create && err == nil {
				t.Errorf("ids %q and %q", identity.UserID, again.UserID)
			}
		})
	}
}

// A session may be told to end with its token.
func TestJWTBindsSession(t *testing.T) {
	f := jwtFixture(t, `,"sessionBoundToToken":true`)
	now := f.evidence.now()
	identity, err := f.bearer(t, sign(t, testSigners().rsa, nil, goodClaims(now, nil)))
	if err != nil || identity.Until.Unix() != now.Add(5*time.Minute).Unix() {
		t.Errorf("until %v, %v", identity.Until, err)
	}
}

// RFC 7515, A.2 and A.3: tokens that others have made. They are for another reader and long over, which is found out
// only after the signature; with one byte changed, not even that.
func TestJWTOfTheStandard(t *testing.T) {
	const (
		rsaKey = `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`
		ecKey  = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
		claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
		byRSA  = "eyJhbGciOiJSUzI1NiJ9." + claims + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
		byEC   = "eyJhbGciOiJFUzI1NiJ9." + claims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	)
	keys, err := parseKeys([]byte(`{"keys":[` + rsaKey + "," + ecKey + `]}`))
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	config, err := parseJWTConfig([]byte(`{"issuer":"joe","audience":"us","jwks":{"keys":[` + rsaKey + "," + ecKey + `]}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &jwtRealm{jwtConfig: config, now: func() time.Time { return time.Unix(1300819380-60, 0) }}
	for _, token := range []string{byRSA, byEC} {
		head, err := parseToken(token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.verify(token, fitting(keys, head)); IsGuess(err) || !errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%s…: %v: the signature is good, and the audience is missing", token[:40], err)
		}
		changed := strings.Replace(token, "LA0KI", "LA0KJ", 1)
		if _, err := r.verify(changed, fitting(keys, head)); !IsGuess(err) {
			t.Errorf("%s…, changed: %v", token[:40], err)
		}
	}
}

func TestBrokenClaimsNeverPanic(t *testing.T) {
	f := jwtFixture(t, "")
	now := f.evidence.now()
	for _, value := range []any{nil, true, 1.5, "x", "", []any{}, []any{nil}, map[string]any{}, map[string]any{"": nil}, json.Number("1e400")} {
		for name := range goodClaims(now, nil) {
			claims := maps.Clone(goodClaims(now, nil))
			claims[name] = value
			text, err := json.Marshal(claims)
			if err != nil {
				continue
			}
			if _, err := f.bearer(t, signRaw(t, testSigners().ed, `{"alg":"EdDSA"}`, string(text))); err != nil && !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("%s is %v: %v", name, value, err)
			}
		}
	}
}
