package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	alpn       = "cloakroom/1"    // what comes after TLS; a change of the handshake takes a new name
	serverName = "peer.cloakroom" // in every leaf: a dialer knows the address, not yet the node behind it
	caName     = "cloakroom cluster"
)

// identity is a node's certificate under the first key, and what it demands of others: one under any of the keys. It
// holds for both roles and does not change; another ring makes another one.
type identity struct {
	client *tls.Config
	server *tls.Config
	first  KeyID            // what the node's own certificate is under
	byCA   map[string]KeyID // by the public key of the key's CA
}

// newIdentity makes the keys' CAs and a leaf for the node id.
func newIdentity(keys []ClusterKey, nodeID string) (*identity, error) {
	id := &identity{first: keys[0].ID(), byCA: make(map[string]KeyID)}
	roots := x509.NewCertPool()
	var leaf tls.Certificate
	for i, key := range keys {
		ca, caKey, err := newCA(key)
		if err != nil {
			return nil, err
		}
		roots.AddCert(ca)
		id.byCA[string(ca.RawSubjectPublicKeyInfo)] = key.ID()
		if i > 0 {
			continue
		}
		if leaf, err = newLeaf(ca, caKey, nodeID); err != nil {
			return nil, err
		}
	}
	id.client = &tls.Config{
		Certificates:           []tls.Certificate{leaf},
		RootCAs:                roots,
		ClientCAs:              roots,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ServerName:             serverName,
		NextProtos:             []string{alpn},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true, // a resumed session would outlive the certificate checks of a restart
		VerifyConnection:       checkConnection,
	}
	id.server = id.client.Clone()
	return id, nil
}

// keyOf returns the key that the peer's certificate is under; "" is none.
func (id *identity) keyOf(s tls.ConnectionState) KeyID {
	for _, chain := range s.VerifiedChains {
		if key, ok := id.byCA[string(chain[len(chain)-1].RawSubjectPublicKeyInfo)]; ok {
			return key
		}
	}
	return ""
}

// newCA makes the CA of the key: the same on every node, whenever and with whatever build it is made. Every field that
// the standard library would choose by itself is given here, for its choice changes between releases.
func newCA(key ClusterKey) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed := key.Derive(PurposeCA)
	private := ed25519.NewKeyFromSeed(seed[:])
	public := private.Public().(ed25519.PublicKey)
	id := sha256.Sum256(public)
	notBefore, notAfter := validity()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: caName},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          id[:20],
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, nil, fmt.Errorf("make cluster certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("read cluster certificate: %w", err)
	}
	return cert, private, nil
}

func newLeaf(ca *x509.Certificate, caKey ed25519.PrivateKey, nodeID string) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make node key: %w", err)
	}
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return tls.Certificate{}, fmt.Errorf("make node certificate: %w", err)
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, not zero and of fixed length (RFC 5280, 4.1.2.2)
	notBefore, notAfter := validity()
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: nodeID},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{serverName},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, public, caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make node certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// validity is all of time, as far as certificates know it (RFC 5280, 4.1.2.5). The package doc says why.
func validity() (notBefore, notAfter time.Time) {
	return time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
}

// checkConnection adds to the verification of the chain what crypto/tls leaves open: a peer that offers no protocol
// at all gets through ALPN.
func checkConnection(s tls.ConnectionState) error {
	if s.NegotiatedProtocol != alpn {
		return errors.New("the peer does not speak " + alpn)
	}
	if len(s.PeerCertificates) == 0 {
		return errors.New("the peer has no certificate")
	}
	if n := len(commonName(s)); n == 0 || n > MaxNodeID {
		return errors.New("the peer's certificate has no node id")
	}
	return nil
}

// commonName is the node id that the certificate proves.
func commonName(s tls.ConnectionState) string { return s.PeerCertificates[0].Subject.CommonName }
