package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"

	"cloakroom/cluster/session"
)

// tokenSize is the length of a session token in bytes: 128 random bits (OWASP ASVS 7.2.3). anonymousSize is that of a
// token given to somebody who has not logged in yet: time, random bits and a MAC. Such a token becomes a session's
// when its owner logs in, so it is looked up like any other.
const (
	tokenSize     = 16
	tokenText     = 36 // 8-4-4-4-12
	anonymousSize = 32
	anonymousText = 64 // plain hexadecimal
)

// token is a session's secret in the form that a cookie carries. No log prints it; only its key is stored anywhere.
type token struct {
	text string
	key  session.Key
}

func (token) String() string       { return "<secret>" }
func (token) GoString() string     { return "<secret>" }
func (token) LogValue() slog.Value { return slog.StringValue("<secret>") }

// mintToken makes a fresh token. crypto/rand does not fail: it ends the program instead.
func mintToken() token {
	var raw [tokenSize]byte
	_, _ = rand.Read(raw[:]) // never fails (its documentation)
	return token{text: string(appendGrouped(nil, raw)), key: session.KeyOf(raw[:])}
}

// newID makes the id of a user, role or realm. It is no secret, and only its uniqueness matters.
func newID() string {
	var raw [tokenSize]byte
	_, _ = rand.Read(raw[:]) // never fails (its documentation)
	return string(appendGrouped(nil, raw))
}

// appendGrouped appends 16 bytes in the form 8-4-4-4-12.
func appendGrouped(dst []byte, raw [tokenSize]byte) []byte {
	from := 0
	for i, to := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, raw[from:to])
		from = to
	}
	return dst
}

// parseToken returns the key of a token's text. It allocates nothing.
func parseToken(text []byte) (session.Key, bool) {
	switch len(text) {
	case tokenText:
		var raw [tokenSize]byte
		if !parseGrouped(&raw, text) {
			return session.Key{}, false
		}
		return session.KeyOf(raw[:]), true
	case anonymousText:
		var raw [anonymousSize]byte
		if _, err := hex.Decode(raw[:], text); err != nil {
			return session.Key{}, false
		}
		return session.KeyOf(raw[:]), true
	}
	return session.Key{}, false
}

func parseGrouped(raw *[tokenSize]byte, text []byte) bool {
	n := 0
	for i := 0; i < len(text); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return false
			}
			i++
			continue
		}
		high, ok := fromHex(text[i])
		low, ok2 := fromHex(text[i+1])
		if !ok || !ok2 {
			return false
		}
		raw[n] = high<<4 | low
		n++
		i += 2
	}
	return true
}

func fromHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
