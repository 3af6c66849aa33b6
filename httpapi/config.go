package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"cloakroom/cluster"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/admin"
	"cloakroom/httpapi/audit"
)

// Config is what a Server is made of. Cluster, Membership, Authenticator, Hasher, Sealer, Logger and the two durations are required.
type Config struct {
	Address          string       // of the API; not used when there is a Listener
	Listener         net.Listener // the server closes it
	Operator         string       // of /metrics, /cluster, /support-bundle, /debug/pprof; "" and no OperatorListener: none
	OperatorListener net.Listener
	TLSCert          string // PEM files for the API; "": plain HTTP
	TLSKey           string
	CertificateCheck time.Duration // between two looks at the two files; 0: 10 s
	HSTS             string        // Strict-Transport-Security of answers that come by TLS; "": DefaultHSTS, HSTSOff: none

	Cluster       access.Cluster
	Authenticator access.Authenticator
	Hasher        admin.Hasher
	Sealer        admin.Sealer
	Membership    admin.Membership
	Backups       admin.Backups // nil: none can be made
	Support       Support       // nil: there are no support bundles
	Logger        *slog.Logger
	LogLevel      *slog.LevelVar // of the Logger, to be changed at run time; nil: it can't be, and what is set has no effect
	Audit         *audit.Log     // nil: nothing is audited
	Recheck       Rechecker      // for its counters; nil: there is none
	Version       string         // of the program, for metrics

	Level           cluster.Level // of reads; 0: Lease
	AllowLocalReads bool          // let a request weaken its own reads to local
	IdleTimeout     time.Duration // of new sessions
	MaxLifetime     time.Duration // of new sessions

	CookieDomain string
	CookieSecure access.CookieSecure // "": SecureAuto
	// CookieHostPrefix names the cookies __Secure-id and __Host-zsessionid, and so keeps browsers from taking them from
	// anybody but this very host, over TLS. SecureAuto means SecureAlways then; there may be no CookieDomain.
	CookieHostPrefix bool
	TrustedProxies   []netip.Prefix // whose X-Forwarded-For, X-Forwarded-Proto, X-Request-Id and PROXY headers count
	AllowedOrigins   []string       // "https://app.example": pages that may call the API with credentials

	LoginURL      string   // where GET /auth/forward sends browsers; "": /index.csp of the host that they came to
	ReturnOrigins []string // "https://app.example": besides its own one, where a login may lead back to

	AnonymousKey [32]byte // of the MAC of tokens from before a login; the same on every node
	// AnonymousKeys returns the keys while the cluster's key is exchanged: the first makes new tokens, any is accepted. nil:
	// AnonymousKey alone.
	AnonymousKeys func() [][32]byte
	MMonitRotate  bool // give every M/Monit login a fresh token, at the price of clients that read the cookie once
}

func (c *Config) validate() error {
	if c.Cluster == nil || c.Membership == nil || c.Authenticator == nil || c.Hasher == nil || c.Sealer == nil || c.Logger == nil {
		return errors.New("HTTP server: Cluster, Membership, Authenticator, Hasher, Sealer and Logger are required")
	}
	if c.LogLevel == nil {
		c.LogLevel = new(slog.LevelVar)
	}
	if c.AnonymousKeys == nil {
		key := c.AnonymousKey
		c.AnonymousKeys = func() [][32]byte { return [][32]byte{key} }
	}
	if c.Level == 0 {
		c.Level = cluster.Lease
	}
	if c.Audit == nil {
		var err error
		if c.Audit, err = audit.Open(audit.Config{Logger: c.Logger}); err != nil {
			return err
		}
	}
	if c.IdleTimeout <= 0 || c.MaxLifetime < c.IdleTimeout {
		return fmt.Errorf("idle timeout %v and maximum lifetime %v: the first must be positive, the second no shorter", c.IdleTimeout, c.MaxLifetime)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("TLS: a certificate needs a key and the other way round")
	}
	switch c.CookieSecure {
	case "":
		c.CookieSecure = access.SecureAuto
	case access.SecureAuto, access.SecureAlways, access.SecureNever:
	default:
		return fmt.Errorf("cookie secure %q: must be auto, always or never", c.CookieSecure)
	}
	if err := c.validateTLS(); err != nil {
		return err
	}
	for _, r := range c.CookieDomain {
		if r <= ' ' || r > '~' || r == ';' || r == ',' || r == '"' {
			return fmt.Errorf("cookie domain %q: is not a host name", c.CookieDomain)
		}
	}
	if err := CheckLoginURL(c.LoginURL); err != nil {
		return fmt.Errorf("login URL %q: %w", c.LoginURL, err)
	}
	for _, origin := range append(slices.Clone(c.ReturnOrigins), c.AllowedOrigins...) {
		if err := access.CheckAllowed(origin); err != nil {
			return err
		}
	}
	return nil
}

// validateTLS checks what hangs together with how clients reach the API.
func (c *Config) validateTLS() error {
	if c.CertificateCheck < 0 {
		return fmt.Errorf("certificate check every %v: must be positive", c.CertificateCheck)
	}
	if c.CertificateCheck == 0 {
		c.CertificateCheck = certificateCheck
	}
	if c.HSTS == "" {
		c.HSTS = DefaultHSTS
	}
	if err := CheckHSTS(c.HSTS); err != nil {
		return err
	}
	if !c.CookieHostPrefix {
		return nil
	}
	switch {
	case c.CookieSecure == access.SecureNever:
		return errors.New("cookies with a prefix: browsers take them with the attribute Secure only")
	case c.CookieDomain != "":
		return errors.New("cookies with a prefix: browsers take __Host- without a domain only")
	}
	c.CookieSecure = access.SecureAlways
	return nil
}
