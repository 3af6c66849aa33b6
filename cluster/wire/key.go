package wire

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
)

// ClusterKey is the one secret of a cluster. It is printed as <secret> by fmt, slog and the encoders of JSON and YAML;
// fmt can't be kept from an unexported field, so no struct keeps it in one.
type ClusterKey [32]byte

// Purposes of derived keys. Each goes into HKDF's info: a key that leaks tells nothing of the others.
const (
	PurposeGossip    = "gossip"    // memberlist's encryption
	PurposeCA        = "ca"        // seed of the private CA's Ed25519 key
	PurposeAnonymous = "anonymous" // login tokens of callers without a session
	PurposeSeal      = "seal"      // values that only nodes read again
	PurposeCSRF      = "csrf"      // tokens against cross-site requests
)

const secret = "<secret>"

// NewClusterKey makes a random key.
func NewClusterKey() (ClusterKey, error) {
	var k ClusterKey
	if _, err := rand.Read(k[:]); err != nil {
		return ClusterKey{}, fmt.Errorf("make cluster key: %w", err)
	}
	return k, nil
}

// ParseClusterKey reads the form that Encode writes. White space around it is allowed, since it comes from a file.
// The errors do not repeat the text.
func ParseClusterKey(text string) (ClusterKey, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) != len(ClusterKey{}) {
		return ClusterKey{}, ErrBadKey
	}
	k := ClusterKey(b)
	if k == (ClusterKey{}) {
		return ClusterKey{}, ErrBadKey // a file of zeros is an accident, not a secret
	}
	return k, nil
}

// DevelopmentKey is the key of nodes that were given none. It is public: CheckBind keeps such nodes to loopback.
func DevelopmentKey() ClusterKey {
	return sha256.Sum256([]byte("cloakroom development key, known to everyone"))
}

// CheckBind refuses an address to listen on that is open to other machines while the key is known to everyone. addr is
// host:port or a host; a name other than localhost is refused with the development key, since it may resolve to
// anything.
func CheckBind(key ClusterKey, addr string) error {
	if key != DevelopmentKey() {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen on %q: %w", addr, ErrLoopbackOnly)
}

// Encode returns the key as text for a file.
func (k ClusterKey) Encode() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Derive returns the key for one purpose, by HKDF with SHA-256 (RFC 5869). The same on every node.
func (k ClusterKey) Derive(purpose string) [32]byte {
	b, err := hkdf.Key(sha256.New, k[:], nil, "cloakroom/1 "+purpose, 32)
	if err != nil {
		panic("BUG: derive key: " + err.Error())
	}
	return [32]byte(b)
}

func (k ClusterKey) String() string               { return secret }
func (k ClusterKey) GoString() string             { return secret }
func (k ClusterKey) LogValue() slog.Value         { return slog.StringValue(secret) }
func (k ClusterKey) MarshalText() ([]byte, error) { return []byte(secret), nil }

// Format covers the verbs that pass String by, such as %d.
func (k ClusterKey) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, secret) // fmt keeps the error of its writer itself
}

var (
	_ fmt.Formatter  = ClusterKey{}
	_ slog.LogValuer = ClusterKey{}
)
