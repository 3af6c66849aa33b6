// Package keyring owns the data keys, which encrypt what a node keeps on its disk: how they are read from a file, named
// and derived from. It does not own what is encrypted nor in which form (storage), the cluster's key (wire), or when
// the file is read again (node).
package keyring

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/crypto/chacha20poly1305"
)

// ID names a key: the first bytes of a hash of it, from which nobody learns anything of the key. It may be printed.
type ID [8]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes the encoders of JSON and YAML write what String returns.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Purpose is what a key is used for. Each has a key of its own, derived from the one in the file.
type Purpose uint8

// Purposes.
const (
	Entries   Purpose = iota // of the log
	Snapshots                // of the machine
	purposes
)

// Key is one data key. It prints as its id. The zero Key is none and must not be used.
type Key struct {
	id ID
	// In a function, because fmt prints what unexported fields of others hold without asking them, and follows pointers
	// when the verb does not fit.
	secret func() *secret
}

type secret struct {
	text    string // base64, as in the file
	ciphers [purposes]cipher.AEAD
}

// NewKey makes a random key.
func NewKey() (Key, error) {
	var b [chacha20poly1305.KeySize]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Key{}, fmt.Errorf("make data key: %w", err)
	}
	return keyOf(b), nil
}

// keyOf derives all that a key is used for (HKDF with SHA-256, RFC 5869).
func keyOf(b [chacha20poly1305.KeySize]byte) Key {
	sum := sha256.Sum256(append([]byte("cloakroom/1 data key id "), b[:]...))
	kept := &secret{text: base64.StdEncoding.EncodeToString(b[:])}
	for p, name := range [purposes]string{Entries: "entries", Snapshots: "snapshots"} {
		derived, err := hkdf.Key(sha256.New, b[:], nil, "cloakroom/1 data "+name, chacha20poly1305.KeySize)
		if err != nil {
			panic("BUG: derive data key: " + err.Error())
		}
		if kept.ciphers[p], err = chacha20poly1305.NewX(derived); err != nil {
			panic("BUG: make cipher: " + err.Error())
		}
	}
	return Key{id: ID(sum[:len(ID{})]), secret: func() *secret { return kept }}
}

// parseKey reads the form that Encode writes. The error does not repeat it.
func parseKey(text string) (Key, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != chacha20poly1305.KeySize {
		return Key{}, ErrBadKey
	}
	raw := [chacha20poly1305.KeySize]byte(b)
	if raw == ([chacha20poly1305.KeySize]byte{}) {
		return Key{}, ErrBadKey // a line of zeros is an accident, not a secret
	}
	return keyOf(raw), nil
}

// ID returns the key's name.
func (k Key) ID() ID { return k.id }

// Cipher returns XChaCha20-Poly1305 under the key for a purpose: nonces of 24 random bytes, without a count that could
// be lost. It may be used from several goroutines.
func (k Key) Cipher(p Purpose) cipher.AEAD { return k.secret().ciphers[p] }

// Encode returns the key as a line for a key file, without the end of the line. It is the secret itself.
func (k Key) Encode() string { return k.secret().text }

func (k Key) String() string       { return "data key " + k.id.String() }
func (k Key) GoString() string     { return k.String() }
func (k Key) LogValue() slog.Value { return slog.StringValue(k.id.String()) }

// Format covers the verbs that pass String by, such as %d.
func (k Key) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // fmt keeps the error of its writer itself
}

var (
	_ fmt.Formatter  = Key{}
	_ slog.LogValuer = Key{}
)
