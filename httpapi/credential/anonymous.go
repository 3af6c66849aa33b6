package credential

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"cloakroom/cluster/session"
)

// An anonymous token is what a client of the M/Monit surface gets before it logs in, and keeps as its session's token
// when it has. No node stores anything for it, or a stranger could fill the log: that this cluster issued it, and
// when, can be read off the token itself.
//
//	4 bytes   when it was issued: Unix seconds of cluster time, big-endian
//	16 bytes  random: the part that nobody can guess
//	12 bytes  of HMAC-SHA256 over the purpose and the above, under a key that only nodes have
//
// in hexadecimal. The MAC keeps a client from choosing its own token, and so an attacker from planting a token that
// no node has issued. That a token serves for one login is the machine's to enforce: a key is never used twice.
const (
	anonymousTimeSize   = 4
	anonymousRandomSize = 16
	anonymousMACSize    = AnonymousSize - anonymousTimeSize - anonymousRandomSize
	anonymousPurpose    = "cloakroom anonymous token v1\x00"
)

// MintAnonymous makes an anonymous token that is issued at now.
func MintAnonymous(key *[32]byte, now session.Time) Token {
	var random [anonymousRandomSize]byte
	_, _ = rand.Read(random[:]) // never fails (its documentation)
	return AnonymousOf(key, uint32(now.Std().Unix()), random)
}

// AnonymousOf returns the token that was issued at a time, in Unix seconds, with these random bytes.
func AnonymousOf(key *[32]byte, issued uint32, random [anonymousRandomSize]byte) Token {
	raw := make([]byte, 0, AnonymousSize)
	raw = binary.BigEndian.AppendUint32(raw, issued)
	raw = append(raw, random[:]...)
	raw = append(raw, anonymousMAC(key, raw)...)
	return Token{Text: hex.EncodeToString(raw), Key: session.KeyOf(raw)}
}

// IsAnonymous reports whether a cookie's text has the length of an anonymous token.
func IsAnonymous(text []byte) bool { return len(text) == AnonymousText }

// RedeemAnonymous returns the token in a form of its own, and until when it may become a session's. Errors:
// session.ErrSessionInvalid for one that this cluster did not issue, session.ErrTooLate.
func RedeemAnonymous(keys [][32]byte, text []byte, now session.Time) (Token, session.Time, error) {
	var raw [AnonymousSize]byte
	if !IsAnonymous(text) {
		return Token{}, 0, session.ErrSessionInvalid
	}
	if _, err := hex.Decode(raw[:], text); err != nil {
		return Token{}, 0, session.ErrSessionInvalid
	}
	signed := raw[:anonymousTimeSize+anonymousRandomSize]
	if !anonymousSigned(keys, signed, raw[len(signed):]) {
		return Token{}, 0, session.ErrSessionInvalid
	}
	issued := session.TimeOf(time.Unix(int64(binary.BigEndian.Uint32(raw[:])), 0))
	notAfter := issued.Add(anonymousLife)
	if now > notAfter || now < issued.Add(-anonymousAhead) {
		return Token{}, 0, session.ErrTooLate
	}
	return Token{Text: hex.EncodeToString(raw[:]), Key: session.KeyOf(raw[:])}, notAfter, nil
}

// anonymousSigned says whether the MAC is one under any of the keys.
func anonymousSigned(keys [][32]byte, signed, mac []byte) bool {
	for i := range keys {
		if hmac.Equal(mac, anonymousMAC(&keys[i], signed)) {
			return true
		}
	}
	return false
}

func anonymousMAC(key *[32]byte, signed []byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(anonymousPurpose)) // a hash's Write never fails
	mac.Write(signed)
	return mac.Sum(nil)[:anonymousMACSize]
}
