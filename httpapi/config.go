package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"time"

	"cloakroom/cluster"
)

// Config is what a Server is made of. Cluster, Membership, Authenticator, Hasher, Sealer, Logger and the two durations are required.
type Config struct {
	Address          string       // of the API; not used when there is a Listener
	Listener         net.Listener // the server closes it
	Operator         string       // of /metrics, /cluster, /debug/pprof; "" and no OperatorListener: none
	OperatorListener net.Listener
	TLSCert          string // PEM files for the API; "": plain HTTP
	TLSKey           string

	Cluster       Cluster
	Authenticator Authenticator
	Hasher        Hasher
	Sealer        Sealer
	Membership    Membership
	Logger        *slog.Logger
	Version       string // of the program, for metrics

	Level           cluster.Level // of reads; 0: Quorum
	AllowLocalReads bool          // let a request weaken its own reads to local
	IdleTimeout     time.Duration // of new sessions
	MaxLifetime     time.Duration // of new sessions

	CookieDomain   string
	CookieSecure   CookieSecure   // "": SecureAuto
	TrustedProxies []netip.Prefix // whose X-Forwarded-For, X-Forwarded-Proto, X-Request-Id and PROXY headers count
	AllowedOrigins []string       // "https://app.example": pages that may call the API with credentials

	AnonymousKey [32]byte // of the MAC of tokens from before a login; the same on every node
	MMonitRotate bool     // give every M/Monit login a fresh token, at the price of clients that read the cookie once
}

func (c *Config) validate() error {
	if c.Cluster == nil || c.Membership == nil || c.Authenticator == nil || c.Hasher == nil || c.Sealer == nil || c.Logger == nil {
		return errors.New("HTTP server: Cluster, Membership, Authenticator, Hasher, Sealer and Logger are required")
	}
	if c.Level == 0 {
		c.Level = cluster.Quorum
	}
	if c.IdleTimeout <= 0 || c.MaxLifetime < c.IdleTimeout {
		return fmt.Errorf("idle timeout %v and maximum lifetime %v: the first must be positive, the second no shorter", c.IdleTimeout, c.MaxLifetime)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("TLS: a certificate needs a key and the other way round")
	}
	switch c.CookieSecure {
	case "":
		c.CookieSecure = SecureAuto
	case SecureAuto, SecureAlways, SecureNever:
	default:
		return fmt.Errorf("cookie secure %q: must be auto, always or never", c.CookieSecure)
	}
	for _, r := range c.CookieDomain {
		if r <= ' ' || r > '~' || r == ';' || r == ',' || r == '"' {
			return fmt.Errorf("cookie domain %q: is not a host name", c.CookieDomain)
		}
	}
	for _, origin := range c.AllowedOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			return fmt.Errorf("allowed origin %q: must have the form https://host[:port]", origin)
		}
	}
	return nil
}
