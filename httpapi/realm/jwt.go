package realm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwtConfig is the configuration of a realm whose users bring a token that an issuer has signed (OpenID Connect, RFC
// 9068). Exactly one of JWKS, JWKSFile and JWKSURL says which keys are the issuer's.
type jwtConfig struct {
	evidenceConfig
	Issuer              string          `json:"issuer"`          // of the claim iss, letter by letter
	Audience            nameList        `json:"audience"`        // one of them must be in the claim aud
	Algorithms          []string        `json:"algorithms"`      // none: all that are asymmetric
	JWKS                json.RawMessage `json:"jwks"`            // the keys themselves (RFC 7517)
	JWKSFile            string          `json:"jwksFile"`        // name of a file in the node's directory for key sets
	JWKSURL             string          `json:"jwksUrl"`         // https, or http to this very machine
	RefreshInterval     jsonTimeout     `json:"refreshInterval"` // of file and URL; 0: defaultRefresh
	Leeway              *jsonTimeout    `json:"leeway"`          // for clocks that differ; nil: defaultLeeway
	UsernameClaim       string          `json:"usernameClaim"`   // "": defaultUsernameClaim
	GroupsClaim         string          `json:"groupsClaim"`     // "": groups; may be a path as realm_access.roles
	SessionBoundToToken bool            `json:"sessionBoundToToken"`

	static []issuerKey // of JWKS
	leeway time.Duration
}

// defaultUsernameClaim is the claim that names the user where the configuration says nothing.
const defaultUsernameClaim = "preferred_username"

// asymmetric are the algorithms that a realm may allow (RFC 7518, 3.1; RFC 8037). With those of a shared secret, whoever
// can check tokens can make them; and "none" is no signature.
func asymmetric() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// parseJWTConfig reads and checks a configuration, with defaults filled in.
func parseJWTConfig(config []byte) (*jwtConfig, error) {
	c := &jwtConfig{GroupsClaim: "groups", RefreshInterval: jsonTimeout(defaultRefresh), leeway: defaultLeeway}
	if err := strictConfig(config, c); err != nil {
		return nil, err
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = asymmetric()
	}
	if c.Leeway != nil {
		c.leeway = time.Duration(*c.Leeway)
	}
	if c.UsernameClaim == "" {
		c.UsernameClaim = defaultUsernameClaim
	}
	refresh := time.Duration(c.RefreshInterval)
	switch {
	case c.Issuer == "" || len(c.Issuer) > maxClaimText:
		return nil, badConfig("issuer is required: what the claim iss must be")
	case len(c.Audience) == 0 || len(c.Audience) > maxAudiences || slices.Contains(c.Audience, ""):
		return nil, badConfig("audience is required: a token for somebody else would do otherwise")
	case slices.ContainsFunc(c.Algorithms, func(alg string) bool { return !slices.Contains(asymmetric(), alg) }):
		return nil, badConfig("algorithms are of " + strings.Join(asymmetric(), ", "))
	case c.leeway < 0 || c.leeway > maxLeeway:
		return nil, badConfig(fmt.Sprintf("leeway is at most %v", maxLeeway))
	case refresh < minRefresh || refresh > maxRefresh:
		return nil, badConfig(fmt.Sprintf("refreshInterval is %v to %v", minRefresh, maxRefresh))
	case len(c.UsernameClaim) > maxClaimText || c.GroupsClaim == "" || len(c.GroupsClaim) > maxClaimText:
		return nil, badConfig("usernameClaim and groupsClaim are names of claims")
	}
	if err := c.GroupRoles.check(); err != nil {
		return nil, err
	}
	return c, c.checkKeys()
}

// checkKeys checks where the keys come from. A file that is not there is no error: what is on a node's disk is not for
// the answer to say.
func (c *jwtConfig) checkKeys() error {
	given := 0
	for _, is := range []bool{len(c.JWKS) > 0, c.JWKSFile != "", c.JWKSURL != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return badConfig("one of jwks, jwksFile and jwksUrl is required: the issuer's keys")
	case c.JWKSFile != "" && !validFileName(c.JWKSFile):
		return badConfig("jwksFile is the name of a file in the directory that the nodes keep key sets in, without a path")
	case c.JWKSURL != "" && !validJWKSURL(c.JWKSURL):
		return badConfig("jwksUrl is an https URL without user and fragment; http is for this very machine only")
	case len(c.JWKS) == 0:
		return nil
	}
	keys, err := parseKeys(c.JWKS)
	if err != nil {
		return badConfig("jwks: " + err.Error())
	}
	if len(keys) == 0 {
		return badConfig("jwks has no key that a token could be checked by: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519, for signatures")
	}
	c.static = keys
	return nil
}

func validFileName(name string) bool {
	if name == "" || len(name) > maxKeyFileName || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; fold(c) == '-' && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func validJWKSURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxKeyURL || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}

// source returns the key store's name for where the keys come from.
func (c *jwtConfig) source() keyLocation {
	return keyLocation{file: c.JWKSFile, url: c.JWKSURL, refresh: time.Duration(c.RefreshInterval)}
}

// jwtRealm checks the tokens of one realm.
type jwtRealm struct {
	*jwtConfig
	keys *keyStore
	now  func() time.Time
}

func (r *jwtRealm) common() evidenceConfig { return r.evidenceConfig }

// prove implements prover. What is wrong with a token is not told, but for one that has merely expired.
func (r *jwtRealm) prove(ctx context.Context, ev Evidence) (claim, error) {
	switch {
	case ev.Bearer == "":
		return claim{}, ErrNoEvidence
	case ev.Other:
		return claim{}, ErrTwoCredentials
	}
	head, err := parseToken(ev.Bearer)
	if err != nil || !slices.Contains(r.Algorithms, head.alg) {
		return claim{}, ErrInvalidCredentials
	}
	candidates, err := r.candidates(ctx, head)
	if err != nil {
		return claim{}, err
	}
	claims, err := r.verify(ev.Bearer, candidates)
	if err != nil {
		return claim{}, err
	}
	username, err := r.username(claims)
	if err != nil {
		return claim{}, err
	}
	proved := claim{username: username, groups: r.groups(claims)}
	if r.SessionBoundToToken {
		if proved.until, err = expiry(claims); err != nil {
			return claim{}, err
		}
	}
	return proved, nil
}

// candidates returns the keys that may have signed the token. The errors are ErrInvalidCredentials and ErrUnavailable.
func (r *jwtRealm) candidates(ctx context.Context, head tokenHead) ([]jwt.VerificationKey, error) {
	if r.static == nil {
		return r.keys.find(ctx, r.source(), head)
	}
	if fit := fitting(r.static, head); len(fit) > 0 {
		return fit, nil
	}
	return nil, ErrInvalidCredentials
}

// verify checks the signature and then the claims that every token has.
func (r *jwtRealm) verify(text string, keys []jwt.VerificationKey) (jwt.MapClaims, error) {
	parser := jwt.NewParser(
		jwt.WithValidMethods(r.Algorithms), jwt.WithStrictDecoding(), jwt.WithJSONNumber(),
		jwt.WithIssuer(r.Issuer), jwt.WithAudience(r.Audience...), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(r.leeway), jwt.WithTimeFunc(r.now),
	)
	claims := jwt.MapClaims{}
	_, err := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return jwt.VerificationKeySet{Keys: keys}, nil })
	switch {
	case err == nil:
		return claims, nil
	case onlyExpired(err):
		return nil, refusal{ErrTokenExpired}
	case errors.Is(err, jwt.ErrTokenInvalidClaims): // the issuer has signed it
		return nil, refusal{ErrInvalidCredentials}
	}
	return nil, ErrInvalidCredentials
}

// onlyExpired reports whether a token is good but for its age. Claims are looked at after the signature only.
func onlyExpired(err error) bool {
	for _, other := range []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenRequiredClaimMissing, jwt.ErrInvalidType,
		jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return errors.Is(err, jwt.ErrTokenExpired)
}

// username returns the claim that names the user. A token without it is refused, whatever others it has: by another claim
// the same person would be another user, or somebody else's name be taken for this one's. An address that the issuer has not verified may be anybody's (OpenID
// Connect Core, 5.7).
func (r *jwtRealm) username(claims jwt.MapClaims) (string, error) {
	name, _ := claims[r.UsernameClaim].(string)
	if r.UsernameClaim == "email" && claims["email_verified"] != true {
		return "", refusal{ErrInvalidCredentials}
	}
	if name == "" {
		return "", refusal{ErrInvalidCredentials}
	}
	return name, nil
}

// groups returns the claim that names the user's groups: a list, or one of them. A name with dots may be that of the
// claim, or a path into it.
func (r *jwtRealm) groups(claims jwt.MapClaims) (groups []string) {
	value, ok := claims[r.GroupsClaim]
	if !ok {
		value = map[string]any(claims)
		for part := range strings.SplitSeq(r.GroupsClaim, ".") {
			object, _ := value.(map[string]any)
			value = object[part]
		}
	}
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, element := range v {
			if group, ok := element.(string); ok {
				groups = append(groups, group)
			}
		}
	}
	return groups
}

func expiry(claims jwt.MapClaims) (time.Time, error) {
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		return time.Time{}, ErrInvalidCredentials
	}
	return exp.Time, nil
}
