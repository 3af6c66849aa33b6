package transport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Certificate is the chain and the key that the API shows, read from two files, and again when these change: whoever
// renews a certificate replaces the files, by rename or in place, and need not restart the node. A pair that can't
// serve is refused, and the one before it stays.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	current  atomic.Pointer[tls.Certificate]
	reloads  atomic.Uint64 // pairs taken after the first
	failures atomic.Uint64 // tries that were refused

	mu      sync.Mutex // one look at the files at a time; guards what follows
	loaded  [32]byte   // hash of the files that current came from
	seen    [32]byte   // hash of the files at the last look of the watch
	refused string     // why the last try was refused: said once
}

// NewCertificate returns a certificate that has read nothing yet.
func NewCertificate(certFile, keyFile string, log *slog.Logger) *Certificate {
	return &Certificate{certFile: certFile, keyFile: keyFile, log: log}
}

// Open reads the first pair. Unlike later ones it may be out of date: there is none that would be better.
func (c *Certificate) Open() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	chain, key, sum, err := c.files()
	if err != nil {
		return err
	}
	pair, err := parsePair(chain, key)
	if err != nil {
		return err
	}
	if err := inDate(pair.Leaf, time.Now()); err != nil {
		c.log.Warn("TLS certificate is not good now", "error", err)
	}
	c.takeLocked(pair, sum)
	return nil
}

// config returns the TLS of a listener that shows the certificate. What it leaves out is Go's choice: versions from 1.2,
// and cipher suites with forward secrecy.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// Reload reads the files now. The error says why the certificate from before stays; nil also when nothing has changed.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reloadLocked()
}

// Watch looks at the files again and again until ctx ends. It goes by their content: a file may change twice within
// what its times can tell apart.
func (c *Certificate) Watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look takes a new pair that the look before has seen, too: one of two files may be written, or half of one, and a
// chain that lacks its end can't be told from a whole one.
func (c *Certificate) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _, sum, err := c.files()
	if err == nil && sum == c.loaded {
		c.seen, c.refused = sum, ""
		return
	}
	if err == nil && sum != c.seen {
		c.seen = sum
		return
	}
	_ = c.reloadLocked() // it has counted and said why not
}

func (c *Certificate) reloadLocked() error {
	chain, key, sum, err := c.files()
	if err == nil && sum == c.loaded {
		return nil
	}
	var pair *tls.Certificate
	if err == nil {
		pair, err = parsePair(chain, key)
	}
	if err == nil {
		err = inDate(pair.Leaf, time.Now())
	}
	if err != nil {
		c.failures.Add(1)
		if why := err.Error(); why != c.refused {
			c.refused = why
			c.log.Warn("new TLS certificate refused: the one from before stays", "error", err, "not_after", c.notAfter())
		}
		return fmt.Errorf("reload TLS certificate: %w", err)
	}
	c.takeLocked(pair, sum)
	c.reloads.Add(1)
	return nil
}

func (c *Certificate) takeLocked(pair *tls.Certificate, sum [32]byte) {
	if former := c.current.Swap(pair); former != nil {
		if lost := lostNames(former.Leaf, pair.Leaf); len(lost) > 0 {
			c.log.Warn("the new TLS certificate is not for all the names of the one before: who calls this node by another is refused by his own client", "lost", lost)
		}
	}
	c.loaded, c.seen, c.refused = sum, sum, ""
	c.log.Info("TLS certificate loaded", "serial", pair.Leaf.SerialNumber.Text(16), "names", pair.Leaf.DNSNames, "not_after", pair.Leaf.NotAfter)
}

// lostNames are the names and addresses that the former certificate was good for, and the present one is not. It may be
// meant so, and mostly it is the certificate of another host.
func lostNames(former, present *x509.Certificate) (lost []string) {
	names := slices.Clone(former.DNSNames)
	for _, ip := range former.IPAddresses {
		names = append(names, ip.String())
	}
	for _, name := range names {
		// A wildcard can't be verified as a host; one of its hosts can.
		if present.VerifyHostname(strings.Replace(name, "*", "any", 1)) != nil {
			lost = append(lost, name)
		}
	}
	return lost
}

// notAfter returns the end of the certificate that is shown, zero before there is one.
func (c *Certificate) notAfter() time.Time {
	if pair := c.current.Load(); pair != nil {
		return pair.Leaf.NotAfter
	}
	return time.Time{}
}

// CertificateStats is what a certificate was replaced by.
type CertificateStats struct {
	NotAfter time.Time // of the one that is shown; zero before there is one
	Reloads  uint64    // pairs taken after the first
	Failures uint64    // tries that were refused
}

// Stats returns what became of it.
func (c *Certificate) Stats() CertificateStats {
	return CertificateStats{c.notAfter(), c.reloads.Load(), c.failures.Load()}
}

func (c *Certificate) files() (chain, key []byte, sum [32]byte, err error) {
	if chain, err = readPEM(c.certFile); err != nil {
		return nil, nil, sum, err
	}
	if key, err = readPEM(c.keyFile); err != nil {
		return nil, nil, sum, err
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d ", len(chain)) // a hash's Write never fails
	h.Write(chain)
	h.Write(key)
	return chain, key, [32]byte(h.Sum(nil)), nil
}

// readPEM reads a file that is no device and no pipe: those could keep the watch waiting for good.
func readPEM(name string) ([]byte, error) {
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPEM {
		return nil, fmt.Errorf("%s: is longer than %d bytes", name, maxPEM)
	}
	return text, nil
}

// parsePair is tls.X509KeyPair, and stricter: that passes over blocks which it can't read, so a chain that was cut off
// in the middle would be shown without its end, and clients would not find the way to their root.
func parsePair(chain, key []byte) (*tls.Certificate, error) {
	blocks := 0
	for rest := chain; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", blocks+1, err)
		}
	}
	if begun := bytes.Count(chain, []byte("-----BEGIN ")); begun != blocks {
		return nil, fmt.Errorf("of %d blocks in the chain only %d are whole", begun, blocks)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

func inDate(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate is over since %v", leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is good from %v on only", leaf.NotBefore)
	}
	return nil
}
