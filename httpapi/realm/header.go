package realm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// headerConfig is the configuration of a realm whose users a proxy has authenticated. The proxy says so in headers.
// Anybody can write headers, so they count only where the connection itself comes from the proxy and the proxy repeats
// a secret.
type headerConfig struct {
	evidenceConfig
	UserHeader     string   `json:"userHeader"`     // "": defaultUserHeader
	GroupsHeader   string   `json:"groupsHeader"`   // "": defaultGroupsHeader
	GroupSeparator string   `json:"groupSeparator"` // "": a comma
	SecretHeader   string   `json:"secretHeader"`   // "": defaultSecretHeader
	Secret         string   `json:"secret"`
	Proxies        []string `json:"proxies"` // networks and addresses

	prefixes []netip.Prefix
	hash     [sha256.Size]byte // of the secret
}

// The headers of a realm that names no others. They are those that common proxies send.
const (
	defaultUserHeader   = "X-Forwarded-User"
	defaultGroupsHeader = "X-Forwarded-Groups"
	defaultSecretHeader = "X-Forwarded-Secret"
)

// parseHeaderConfig reads and checks a configuration whose secret is in clear, with defaults filled in.
func parseHeaderConfig(config []byte) (*headerConfig, error) {
	c := &headerConfig{UserHeader: defaultUserHeader, GroupsHeader: defaultGroupsHeader, GroupSeparator: ",", SecretHeader: defaultSecretHeader}
	if err := strictConfig(config, c); err != nil {
		return nil, err
	}
	names := c.names()
	for i, name := range names {
		if !validHeaderName(name) {
			return nil, badConfig("userHeader, groupsHeader and secretHeader are names of letters, digits and hyphens, and none that HTTP uses itself")
		}
		if slices.ContainsFunc(names[:i], func(other string) bool { return sameFolded([]byte(name), other) }) {
			return nil, badConfig("userHeader, groupsHeader and secretHeader must be three different headers")
		}
	}
	switch {
	case len(c.GroupSeparator) < 1 || len(c.GroupSeparator) > maxSeparator || !printable(c.GroupSeparator):
		return nil, badConfig(fmt.Sprintf("groupSeparator is 1 to %d printable characters", maxSeparator))
	case len(c.Secret) < minProxySecret || len(c.Secret) > maxProxySecret || !printable(c.Secret) || strings.Contains(c.Secret, " "):
		return nil, badConfig(fmt.Sprintf("secret is %d to %d printable characters without blanks", minProxySecret, maxProxySecret))
	}
	c.hash = sha256.Sum256([]byte(c.Secret))
	if err := c.GroupRoles.check(); err != nil {
		return nil, err
	}
	return c, c.parseProxies()
}

// parseProxies reads the list of proxies. Networks that are no list of proxies any more are refused: with one of those
// the secret alone would stand between a stranger and every user.
func (c *headerConfig) parseProxies() error {
	if len(c.Proxies) < 1 || len(c.Proxies) > maxProxies {
		return badConfig(fmt.Sprintf("proxies is a list of 1 to %d networks or addresses: those of the proxies", maxProxies))
	}
	for _, text := range c.Proxies {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil || prefix != prefix.Masked():
			return badConfig("proxies holds networks as 10.1.2.0/24 and addresses as 10.1.2.3")
		case prefix.Addr().Is4In6():
			return badConfig("proxies: write IPv4 networks as such")
		case prefix.Addr().Is4() && prefix.Bits() < minProxyBits4, prefix.Addr().Is6() && prefix.Bits() < minProxyBits6:
			return badConfig(fmt.Sprintf("proxies: networks are at most /%d wide, or /%d of IPv6", minProxyBits4, minProxyBits6))
		}
		c.prefixes = append(c.prefixes, prefix)
	}
	return nil
}

func (c *headerConfig) common() evidenceConfig { return c.evidenceConfig }

// Places of the headers in names and in what found returns.
const (
	atUser = iota
	atGroups
	atSecret
	headerCount
)

func (c *headerConfig) names() [headerCount]string {
	return [headerCount]string{atUser: c.UserHeader, atGroups: c.GroupsHeader, atSecret: c.SecretHeader}
}

// prove implements prover. Headers from anywhere but a proxy are as good as none: whoever sends them learns nothing.
func (c *headerConfig) prove(_ context.Context, ev Evidence) (claim, error) {
	peer := ev.Peer.Unmap().WithZone("")
	nobody := error(ErrNoEvidence)
	if ev.Bearer != "" {
		nobody = ErrInvalidCredentials // a token is no evidence here, and nothing else is to be looked at
	}
	if !slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return claim{}, nobody
	}
	values, err := c.found(ev)
	switch {
	case err != nil:
		return claim{}, err
	case len(values[atUser]) == 0: // a visitor whom the proxy does not know
		return claim{}, nobody
	case ev.Other || ev.Bearer != "":
		return claim{}, ErrTwoCredentials
	}
	// Hashes are of one length, so the comparison does not tell that of the secret.
	if got := sha256.Sum256(values[atSecret]); subtle.ConstantTimeCompare(got[:], c.hash[:]) != 1 {
		return claim{}, ErrInvalidCredentials
	}
	proved := claim{username: string(values[atUser])}
	for group := range bytes.SplitSeq(values[atGroups], []byte(c.GroupSeparator)) {
		if group = bytes.TrimSpace(group); len(group) > 0 {
			proved.groups = append(proved.groups, string(group))
		}
	}
	return proved, nil
}

// found returns the values of the three headers. Each may be there once, in its own spelling: a second line, or one
// whose name some server on the way would make the same, is somebody's who tries to be another. The error is
// ErrAmbiguousHeaders.
func (c *headerConfig) found(ev Evidence) (values [headerCount][]byte, err error) {
	if ev.Headers == nil {
		return values, nil
	}
	names := c.names()
	var seen [headerCount]bool
	for name, value := range ev.Headers {
		for at, want := range names {
			if !sameFolded(name, want) {
				continue
			}
			if seen[at] || !bytes.EqualFold(name, []byte(want)) {
				return values, refusal{ErrAmbiguousHeaders}
			}
			seen[at], values[at] = true, bytes.TrimSpace(value)
		}
	}
	return values, nil
}

// sameFolded reports whether two names are the same to a server that makes variables of them: without regard to case,
// and with one character for all that are neither letter nor digit (RFC 3875, 4.1.18).
func sameFolded(name []byte, other string) bool {
	if len(name) != len(other) {
		return false
	}
	for i := range name {
		if fold(name[i]) != fold(other[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return '-'
}

// validHeaderName accepts names for a header of one's own. Those that HTTP, browsers or this program give a meaning to
// are not the proxy's alone.
func validHeaderName(name string) bool {
	if name == "" || len(name) > maxHeaderName {
		return false
	}
	for i := range len(name) {
		if c := fold(name[i]); c == '-' && name[i] != '-' {
			return false
		}
	}
	lower := strings.ToLower(name)
	for _, taken := range [...]string{"accept", "content-", "sec-", "if-", "proxy-", "access-control-"} {
		if strings.HasPrefix(lower, taken) {
			return false
		}
	}
	switch lower {
	case "authorization", "connection", "consistency", "cookie", "csrftoken", "date", "expect", "forwarded", "host", "keep-alive",
		"origin", "range", "referer", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via", "x-forwarded-for",
		"x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-no-touch", "x-real-ip", "x-request-id":
		return false
	}
	return true
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
