// Package seed owns what stands for the nodes to look for: one text of --join, and the addresses that it means at the
// moment. It does not contact anybody, and remembers nothing: who asks again gets what the names mean then.
package seed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cloakroom/cluster/session"
)

// ErrBad refuses a text that stands for no nodes. Its code is that of all errors of Parse, which say more.
var ErrBad = &session.Error{Code: "bad-seed", Message: "a seed is HOST:PORT, where a name means all its addresses, or " + SRV + ":NAME, where the SRV records of the name hold hosts and ports"}

// SRV is the scheme of seeds that are found by SRV records (RFC 2782).
const SRV = "dns+srv"

// Resolver answers what names mean, as *net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

var _ Resolver = (*net.Resolver)(nil)

// Seed is where to look for nodes. Parse makes it.
type Seed struct {
	host    string // with port
	port    uint16
	service string // or the name of SRV records, fully qualified
}

// Parse reads HOST:PORT or dns+srv:NAME. The errors have the code of ErrBad.
func Parse(text string) (Seed, error) {
	scheme, name, _ := strings.Cut(text, ":")
	switch {
	case scheme == SRV:
		if err := checkName(name); err != nil {
			return Seed{}, bad("%q: %v", text, err)
		}
		// With the dot at its end the name is asked for as it stands. Without it the system would try it below each domain
		// of its search list first, and one of them may answer for names that it does not know.
		return Seed{service: strings.TrimSuffix(name, ".") + "."}, nil
	case Schemed(text):
		return Seed{}, bad("%q: there is no scheme %q; %s", text, scheme, ErrBad.Message)
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return Seed{}, bad("%q: %s", text, ErrBad.Message)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return Seed{}, bad("%q: a port is a number from 1 to 65535", text)
	}
	return Seed{host: host, port: uint16(port)}, nil
}

// Schemed reports whether a text begins with a scheme, known or not, rather than with a host.
func Schemed(text string) bool {
	scheme, rest, found := strings.Cut(text, ":")
	if scheme == "dns" || scheme == "srv" { // hosts may have such names
		_, err := strconv.ParseUint(rest, 10, 64)
		return found && err != nil
	}
	return found && strings.Contains(scheme, "+")
}

func bad(format string, args ...any) error {
	return &session.Error{Code: ErrBad.Code, Message: fmt.Sprintf(format, args...)}
}

// checkName checks a name of SRV records: labels of letters, digits, hyphens and underscores.
func checkName(name string) error {
	name = strings.TrimSuffix(name, ".")
	switch {
	case name == "":
		return errors.New("the name is missing")
	case strings.Contains(name, ":"):
		return errors.New("SRV records hold the port, so none is given")
	case len(name) > maxName:
		return fmt.Errorf("a name has at most %d characters", maxName)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return errors.New("an address has no SRV records: give HOST:PORT")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || strings.ContainsFunc(label, func(r rune) bool { return !nameRune(r) }) {
			return fmt.Errorf("%q is no part of a name", label)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// String returns the seed as Parse takes it.
func (s Seed) String() string {
	if s.service != "" {
		return SRV + ":" + strings.TrimSuffix(s.service, ".")
	}
	return net.JoinHostPort(s.host, strconv.Itoa(int(s.port)))
}

// Addresses asks what the seed means now, and returns the addresses in order, each once. It takes LookupTime at most, twice
// that for SRV records. An error beside addresses says that there would be more, had all names been answered.
func (s Seed) Addresses(ctx context.Context, r Resolver) ([]netip.AddrPort, error) {
	if s.service == "" {
		ips, err := Lookup(ctx, r, s.host)
		return s.with(ips, s.port), err
	}
	targets, err := s.targets(ctx, r)
	if err != nil {
		return nil, err
	}
	ips, errs := make([][]netip.Addr, len(targets)), make([]error, len(targets))
	var group sync.WaitGroup
	for i, t := range targets {
		group.Go(func() { ips[i], errs[i] = Lookup(ctx, r, t.host) })
	}
	group.Wait()
	var addrs []netip.AddrPort
	for i, t := range targets {
		addrs = append(addrs, s.with(ips[i], t.port)...)
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return slices.Compact(addrs), First(errs)
}

// First returns the first error of several, if there is one: the others mostly say the same.
func First(errs []error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// with returns the addresses of one name that can be those of a node, with the port.
func (s Seed) with(ips []netip.Addr, port uint16) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, ip := range ips[:min(len(ips), maxPerName)] {
		if !ip.IsUnspecified() && !ip.IsMulticast() {
			addrs = append(addrs, netip.AddrPortFrom(ip, port))
		}
	}
	return addrs
}

// target is what one SRV record names.
type target struct {
	host string // fully qualified
	port uint16
}

// targets returns the hosts and ports of the SRV records, in order. Priorities and weights say whom to prefer, and here
// everybody is asked.
func (s Seed) targets(ctx context.Context, r Resolver) ([]target, error) {
	ctx, cancel := context.WithTimeout(ctx, LookupTime)
	defer cancel()
	_, records, err := r.LookupSRV(ctx, "", "", s.service)
	var targets []target
	for _, record := range records { // beside an error there are those that were in order
		host := strings.ToLower(strings.TrimSuffix(record.Target, ".")) + "."
		if host != "." && record.Port != 0 { // the root says that there is no such service here
			targets = append(targets, target{host, record.Port})
		}
	}
	if len(targets) == 0 {
		return nil, cmp.Or[error](err, &net.DNSError{Err: "no SRV records that name a host", Name: s.service, IsNotFound: true})
	}
	slices.SortFunc(targets, func(a, b target) int {
		return cmp.Or(strings.Compare(a.host, b.host), cmp.Compare(a.port, b.port))
	})
	targets = slices.Compact(targets)
	return targets[:min(len(targets), maxTargets)], nil
}

// Lookup returns at least one address of a host within LookupTime, IPv4 first: most networks have it.
func Lookup(ctx context.Context, r Resolver, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, LookupTime)
	defer cancel()
	found, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	ips := make([]netip.Addr, 0, len(found))
	for _, ip := range found {
		ips = append(ips, ip.Unmap())
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	return ips, nil
}
