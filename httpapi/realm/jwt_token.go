package realm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// tokenHead is what a token's header says about its key. Whatever else it says about keys (jku, jwk, x5u, x5c) is the
// sender's word, and not looked at.
type tokenHead struct {
	alg string
	kid string
}

var errToken = errors.New("token is malformed")

// parseToken reads a token as strictly as any reader might, before its signature is looked at: what two readers could
// understand differently is refused. The library then reads the same bytes.
func parseToken(text string) (tokenHead, error) {
	if len(text) > maxToken || strings.Count(text, ".") != 2 {
		return tokenHead{}, errToken
	}
	first, rest, _ := strings.Cut(text, ".")
	second, third, _ := strings.Cut(rest, ".")
	header, err := tokenPart(first)
	if err != nil {
		return tokenHead{}, err
	}
	claims, err := tokenPart(second)
	if err != nil {
		return tokenHead{}, err
	}
	head := tokenHead{}
	var algOK, kidOK bool
	head.alg, algOK = header["alg"].(string)
	head.kid, kidOK = header["kid"].(string)
	_, named := header["kid"]
	_, critical := header["crit"] // extensions that must be understood (RFC 7515, 4.1.11): none are
	_, nested := header["cty"]    // of a token within a token (RFC 7519, 5.2)
	_, bound := claims["cnf"]     // good only together with a proof of a key that is not asked for (RFC 7800)
	if !algOK || named != kidOK || third == "" ||
		critical || nested || bound || !validType(header["typ"]) || !validTimes(claims) {
		return tokenHead{}, errToken
	}
	return head, nil
}

// validType accepts what is meant to say who somebody is; an issuer signs other things with the same key (RFC 8725,
// 3.11), and they go to others.
func validType(value any) bool {
	typ, ok := value.(string)
	typ, _ = strings.CutPrefix(strings.ToLower(typ), "application/")
	return value == nil || ok && (typ == "jwt" || typ == "at+jwt")
}

// validTimes refuses moments that no calendar has: what a conversion makes of them is the machine's choice.
func validTimes(claims map[string]any) bool {
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, ok := claims[name]
		if !ok {
			continue
		}
		number, ok := value.(json.Number)
		seconds, err := number.Float64()
		if !ok || err != nil || seconds < 0 || seconds > maxSeconds {
			return false
		}
	}
	return true
}

// tokenPart reads one part of a token, which must be one JSON object.
func tokenPart(text string) (map[string]any, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder passes over line ends
		return nil, errToken
	}
	return strictObject(raw)
}

// strictObject reads a JSON object in which no object has a member twice: of two, each reader takes the one that it
// likes.
func strictObject(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errToken
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	value, err := strictValue(decoder, 0)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errToken
	}
	return object, nil
}

func strictValue(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil || depth > maxTokenDepth {
		return nil, errToken
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return nil, errToken
			}
			key, _ := name.(string)
			if _, twice := object[key]; twice {
				return nil, errToken
			}
			if object[key], err = strictValue(decoder, depth+1); err != nil {
				return nil, err
			}
		}
		_, err = decoder.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			element, err := strictValue(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		_, err = decoder.Token()
		return list, err
	}
	return token, nil
}
