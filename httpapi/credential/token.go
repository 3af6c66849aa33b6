package credential

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"log/slog"

	"cloakroom/cluster/session"
)

// TokenSize is the length of a session token in bytes: 128 random bits (OWASP ASVS 7.2.3). anonymousSize is that of a
// token given to somebody who has not logged in yet: time, random bits and a MAC. Such a token becomes a session's
// when its owner logs in, so it is looked up like any other.
const (
	TokenSize     = 16
	TokenText     = 36 // 8-4-4-4-12
	AnonymousSize = 32
	AnonymousText = 64 // plain hexadecimal
)

// BearerPrefix begins the text of each bearer token, so that it is told apart from an application's own, which may well be
// in the form 8-4-4-4-12, and so that programs that look for secrets in source code find it.
const BearerPrefix = "crs_"

// Token is a session's secret in the form that a cookie carries. No log prints it; only its key is stored anywhere.
type Token struct {
	Text string
	Key  session.Key
}

func (Token) String() string       { return "<secret>" }
func (Token) GoString() string     { return "<secret>" }
func (Token) LogValue() slog.Value { return slog.StringValue("<secret>") }

// Mint makes a fresh token. crypto/rand does not fail: it ends the program instead.
func Mint() Token {
	var raw [TokenSize]byte
	_, _ = rand.Read(raw[:]) // never fails (its documentation)
	return Token{Text: string(appendGrouped(nil, raw)), Key: session.KeyOf(raw[:])}
}

// NewID makes the id of a user, role or realm. It is no secret, and only its uniqueness matters.
func NewID() string {
	var raw [TokenSize]byte
	_, _ = rand.Read(raw[:]) // never fails (its documentation)
	return string(appendGrouped(nil, raw))
}

// appendGrouped appends 16 bytes in the form 8-4-4-4-12.
func appendGrouped(dst []byte, raw [TokenSize]byte) []byte {
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

// Parse returns the key of a token's text. It allocates nothing.
func Parse(text []byte) (session.Key, bool) {
	switch len(text) {
	case TokenText:
		var raw [TokenSize]byte
		if !parseGrouped(&raw, text) {
			return session.Key{}, false
		}
		return session.KeyOf(raw[:]), true
	case AnonymousText:
		var raw [AnonymousSize]byte
		if _, err := hex.Decode(raw[:], text); err != nil {
			return session.Key{}, false
		}
		return session.KeyOf(raw[:]), true
	}
	return session.Key{}, false
}

// BearerText returns the token as POST /oauth2/token hands it out.
func (t Token) BearerText() string { return BearerPrefix + t.Text }

// ParseBearer returns the key of a bearer token's text; false: it is none of ours. It allocates nothing.
func ParseBearer(text []byte) (session.Key, bool) {
	if len(text) != len(BearerPrefix)+TokenText || string(text[:len(BearerPrefix)]) != BearerPrefix {
		return session.Key{}, false
	}
	return Parse(text[len(BearerPrefix):])
}

func parseGrouped(raw *[TokenSize]byte, text []byte) bool {
	if text = text[:TokenText]; text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	a, bad := eightHex(binary.LittleEndian.Uint64(text))
	b, bad2 := eightHex(uint64(binary.LittleEndian.Uint32(text[9:])) | uint64(binary.LittleEndian.Uint32(text[14:]))<<32)
	c, bad3 := eightHex(uint64(binary.LittleEndian.Uint32(text[19:])) | uint64(binary.LittleEndian.Uint32(text[24:]))<<32)
	d, bad4 := eightHex(binary.LittleEndian.Uint64(text[28:]))
	binary.LittleEndian.PutUint32(raw[:], a)
	binary.LittleEndian.PutUint32(raw[4:], b)
	binary.LittleEndian.PutUint32(raw[8:], c)
	binary.LittleEndian.PutUint32(raw[12:], d)
	return bad|bad2|bad3|bad4 == 0
}

// eightHex turns eight hexadecimal digits into four bytes, all at once. Bad is not 0 when one of the eight is none.
func eightHex(x uint64) (y uint32, bad uint64) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	// The top bit of each byte says whether it is at least a character; the bytes themselves are below 0x80, or bad.
	lower := x | ' '*ones
	digit := ((x | tops) - '0'*ones) &^ ((x | tops) - ('9'+1)*ones)
	letter := ((lower | tops) - 'a'*ones) &^ ((lower | tops) - ('f'+1)*ones) & tops
	bad = x&tops | ^(digit|letter)&tops
	x = x&(0x0f*ones) + 9*(letter>>7)
	x = (x<<4 | x>>8) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16), bad
}
