package realm

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// issuerKey is one key of an issuer, with the algorithms that it is for.
type issuerKey struct {
	kid  string
	algs []string
	key  jwt.VerificationKey
}

// parseKeys reads a set of keys (RFC 7517, 5). Keys that no token may be checked by are passed over, as the standard
// wants it: issuers publish keys for other ends beside them. A private key in it is an error: it is public from now on.
func parseKeys(set []byte) ([]issuerKey, error) {
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if _, err := strictObject(set); err != nil {
		return nil, errors.New("is not a JSON object, or has a member twice")
	}
	if err := json.Unmarshal(set, &list); err != nil || len(list.Keys) > maxKeys {
		return nil, fmt.Errorf("must have a list of at most %d keys", maxKeys)
	}
	var keys []issuerKey
	for _, raw := range list.Keys {
		var m jwkset.JWKMarshal
		if err := json.Unmarshal(raw, &m); err != nil {
			continue
		}
		if m.D != "" || m.K != "" || m.P != "" || m.Q != "" {
			return nil, errors.New("has a private or shared key: leave it out, and replace it at the issuer")
		}
		if key, ok := parseKey(m); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// parseKey makes a key of its description. The checks are our own: the library's compare the key with what it would
// write itself, which a coordinate that is too long makes it panic over, and leave size and curve alone.
func parseKey(m jwkset.JWKMarshal) (issuerKey, bool) {
	if m.USE != "" && m.USE != jwkset.UseSig || len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return issuerKey{}, false
	}
	m.X5C = nil // certificates say nothing here: whoever publishes the set vouches for its keys
	parsed, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return issuerKey{}, false
	}
	k := issuerKey{kid: m.KID}
	switch key := parsed.Key().(type) {
	case *rsa.PublicKey:
		// An exponent of more than four bytes would be cut to what fits.
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA || len(m.E) > maxExponent || key.E < 3 || key.E&1 == 0 {
			return issuerKey{}, false
		}
		k.key, k.algs = key, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		if _, err := key.ECDH(); err != nil { // not on the curve
			return issuerKey{}, false
		}
		k.key, k.algs = key, []string{map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]}
	case ed25519.PublicKey:
		k.key, k.algs = key, []string{"EdDSA"}
	default:
		return issuerKey{}, false
	}
	if m.ALG != "" {
		if !slices.Contains(k.algs, string(m.ALG)) {
			return issuerKey{}, false
		}
		k.algs = []string{string(m.ALG)}
	}
	return k, true
}

// fitting returns the keys that a token may have been signed with: by its kid, and of the type that its algorithm
// needs. A token without a kid may be of any, but not of more than maxTries.
func fitting(keys []issuerKey, head tokenHead) (fit []jwt.VerificationKey) {
	for _, k := range keys {
		if (head.kid == "" || k.kid == head.kid) && slices.Contains(k.algs, head.alg) && len(fit) < maxTries {
			fit = append(fit, k.key)
		}
	}
	return fit
}

// keyLocation says where an issuer's keys are read from: one of file and url.
type keyLocation struct {
	file, url string
	refresh   time.Duration
}

// keyStore keeps the keys of issuers that publish them in a file or at a URL. It has no goroutine: a token whose check
// finds that the keys are due reads them, and the others go on with those that are there.
type keyStore struct {
	dir   string // of files; "": none
	far   *http.Client
	near  *http.Client // speaks to this machine only
	now   func() time.Time
	log   *slog.Logger
	mu    sync.Mutex
	known map[keyLocation]*keySource
}

// keySource is what is known of one location.
type keySource struct {
	mu      sync.Mutex
	keys    []issuerKey
	read    time.Time     // when keys was; zero: never
	tried   time.Time     // when that was attempted last
	failed  bool          // the last attempt did
	reading chan struct{} // closed when the attempt under way is over; nil: none is
}

func newKeyStore(dir string, roots *x509.CertPool, now func() time.Time, log *slog.Logger) *keyStore {
	client := func(control func(string, string, syscall.RawConn) error) *http.Client {
		return &http.Client{
			Timeout:       keysTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Control: control}).DialContext,
				TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				MaxResponseHeaderBytes: maxKeySet,
				DisableKeepAlives:      true, // nothing is to be closed at the end
				ForceAttemptHTTP2:      false,
			},
		}
	}
	s := &keyStore{dir: dir, now: now, log: log, known: map[keyLocation]*keySource{}}
	s.far, s.near = client(nil), client(onlyLoopback)
	if t, ok := s.far.Transport.(*http.Transport); ok {
		t.Proxy = http.ProxyFromEnvironment // what an organisation lets its servers out by
	}
	return s
}

// onlyLoopback keeps a connection without TLS on this machine, whatever its name resolves to.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	if both, err := netip.ParseAddrPort(address); err != nil || !both.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%s is not this machine: keys come from others by https only", address)
	}
	return nil
}

// find returns the keys that may have signed a token. ErrUnavailable means that the issuer's keys could not be read,
// or not those that this token needs; ErrInvalidCredentials that they were, and it has no such key.
func (s *keyStore) find(ctx context.Context, at keyLocation, head tokenHead) ([]jwt.VerificationKey, error) {
	source := s.source(at)
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("wait for the keys of an issuer: %w", err)
		}
		source.mu.Lock()
		now := s.now()
		var fit []jwt.VerificationKey
		if !source.read.IsZero() && now.Sub(source.read) < maxKeyAge {
			fit = fitting(source.keys, head)
		}
		due := len(fit) == 0 || now.Sub(source.read) >= at.refresh
		reading, failed := source.reading, source.failed
		mine := due && reading == nil && (source.tried.IsZero() || now.Sub(source.tried) >= keysPause)
		if mine {
			source.reading = make(chan struct{})
		}
		source.mu.Unlock()
		switch {
		case mine:
			s.refresh(ctx, source, at)
		case len(fit) > 0:
			return fit, nil
		case reading != nil:
			select {
			case <-reading:
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for the keys of an issuer: %w", ctx.Err())
			}
		case failed:
			return nil, ErrUnavailable
		default:
			return nil, ErrInvalidCredentials
		}
	}
}

// refresh makes the one attempt that the caller has announced. One that ended with its caller, rather than by the
// issuer's fault, leaves the next caller free to try.
func (s *keyStore) refresh(ctx context.Context, source *keySource, at keyLocation) {
	var keys []issuerKey
	err := errors.New("BUG: panic while key set was read")
	defer func() { // whatever happened, the others must not wait for ever
		source.mu.Lock()
		defer source.mu.Unlock()
		close(source.reading)
		source.reading = nil
		if err != nil && ctx.Err() != nil {
			return
		}
		source.tried, source.failed = s.now(), err != nil
		if err != nil {
			s.log.Warn("the keys of an issuer can't be read", "file", at.file, "url", at.url, "err", err)
			return
		}
		source.keys, source.read = keys, source.tried
	}()
	keys, err = s.load(ctx, at)
}

func (s *keyStore) source(at keyLocation) *keySource {
	s.mu.Lock()
	defer s.mu.Unlock()
	if source := s.known[at]; source != nil {
		return source
	}
	if len(s.known) >= maxParsedRealms {
		clear(s.known) // of realms that have other locations by now, most likely
	}
	source := &keySource{}
	s.known[at] = source
	return source
}

func (s *keyStore) load(ctx context.Context, at keyLocation) ([]issuerKey, error) {
	var set []byte
	var err error
	if at.file != "" {
		set, err = s.readFile(at.file)
	} else {
		set, err = s.fetch(ctx, at.url)
	}
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(set)
	if err != nil {
		return nil, fmt.Errorf("parse key set: it %w", err)
	}
	return keys, nil
}

// readFile reads a file of the directory for key sets. Whoever configures realms must not be able to reach any other
// file of the node: the name has no path, and a link that leads out of the directory is not followed.
func (s *keyStore) readFile(name string) (_ []byte, err error) {
	if s.dir == "" {
		return nil, errors.New("this node has no directory for key sets")
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open directory for key sets: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	info, err := root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("look at key set: %w", err)
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for somebody to write to it
		return nil, errors.New("key set is not a regular file")
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open key set: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return readKeySet(file)
}

func (s *keyStore) fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for key set: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	client := s.far
	if strings.EqualFold(request.URL.Scheme, "http") {
		client = s.near
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask for key set: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for key set: answer is %d", response.StatusCode)
	}
	return readKeySet(response.Body)
}

func readKeySet(r io.Reader) ([]byte, error) {
	set, err := io.ReadAll(io.LimitReader(r, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(set) > maxKeySet {
		return nil, fmt.Errorf("read key set: longer than %d bytes", maxKeySet)
	}
	return set, nil
}
