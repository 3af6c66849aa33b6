package session

import (
	"crypto/sha256"
	"encoding/hex"
)

// KeySize is the length of a session key in bytes.
const KeySize = 16

// Key names a session everywhere but in its owner's cookie: the first 16 bytes of the SHA-256 of the token.
// A stolen log, snapshot or metrics page holds keys only, and no key can be turned back into a token.
type Key [KeySize]byte

// KeyOf returns the key of a token, given the token's decoded bytes.
func KeyOf(token []byte) Key {
	sum := sha256.Sum256(token)
	return Key(sum[:KeySize])
}

// String returns the key in hexadecimal: the public handle of the session.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether the key is unset.
func (k Key) IsZero() bool { return k == Key{} }

// ParseKey reads a handle. The error is ErrBadHandle.
func ParseKey(handle string) (Key, error) {
	var k Key
	if len(handle) != 2*KeySize {
		return k, ErrBadHandle
	}
	if _, err := hex.Decode(k[:], []byte(handle)); err != nil {
		return Key{}, ErrBadHandle
	}
	return k, nil
}
