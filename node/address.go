package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"cloakroom/cluster/seed"
	"cloakroom/cluster/session"
)

// maxSocketPath is what sun_path holds on every system, its closing zero byte taken off (unix(7): 108; BSD: 104).
const maxSocketPath = 103

// checkAddress checks an address to listen on: HOST:PORT, where an empty host is every address and port 0 a free one.
func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not an address of the form HOST:PORT", addr)
	}
	if host != "" && !validHost(host) {
		return fmt.Errorf("%q: %q is neither a host name nor an IP address", addr, host)
	}
	if n, err := strconv.ParseUint(port, 10, 32); err != nil || n > 65535 {
		return fmt.Errorf("%q: a port is a number from 0 to 65535", addr)
	}
	return nil
}

// checkRemote checks an address to connect to: as checkAddress, with a host and a real port.
func checkRemote(addr string) error {
	if err := checkAddress(addr); err != nil {
		return err
	}
	if unspecified(addr) || anyPort(addr) {
		return fmt.Errorf("%q: a host and a port from 1 to 65535 are needed to connect", addr)
	}
	return nil
}

// checkSeed checks where to look for nodes: an address to connect to, or a scheme and a name.
func checkSeed(text string) error {
	if seed.Schemed(text) {
		_, err := seed.Parse(text)
		return err
	}
	if err := checkRemote(text); err != nil {
		return &session.Error{Code: seed.ErrBad.Code, Message: err.Error()}
	}
	return nil
}

// unspecified reports whether a listener on addr takes connections to every address of the machine.
func unspecified(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// anyPort reports whether the system chooses the port.
func anyPort(addr string) bool {
	_, port, _ := net.SplitHostPort(addr)
	return strings.Trim(port, "0") == ""
}

// validHost reports whether a host is an IP address, or a name of letters, digits, hyphens and underscores (RFC 1123,
// and what Docker adds).
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, r := range label {
		if !nameRune(r) || r == '.' {
			return false
		}
	}
	return true
}

func validName(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	for _, r := range name {
		if !nameRune(r) {
			return false
		}
	}
	return true
}

func nameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
}

// parseNetworks reads CIDRs; a bare IP address is the network of that address alone.
func parseNetworks(list []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		if ip, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// checkOrigin checks a web origin as browsers send it (RFC 6454, section 6.2): scheme, host, port, nothing else.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || origin != u.Scheme+"://"+u.Host {
		return fmt.Errorf("%q is not an origin such as https://app.example.org", origin)
	}
	return nil
}
