package seed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/seed/dnstest"
)

const service = "_gossip._tcp.cloakroom.example.org"

// looked asks for the service's addresses, as text.
func looked(t *testing.T, s *dnstest.Server, text string) (string, error) {
	t.Helper()
	seed, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := addresses(t, seed, func() Resolver { return s.Resolver() })
	var parts []string
	for _, a := range addrs {
		parts = append(parts, a.String())
	}
	return strings.Join(parts, " "), err
}

// addresses asks again, as nodes do, while there is no answer within LookupTime: a machine may stand still for so long.
func addresses(t *testing.T, s Seed, r func() Resolver) (addrs []netip.AddrPort, err error) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; {
		if addrs, err = s.Addresses(t.Context(), r()); !timedOut(err) {
			break
		}
	}
	return addrs, err
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func want(t *testing.T, s *dnstest.Server, text, addrs string) {
	t.Helper()
	if got, err := looked(t, s, text); got != addrs || err != nil {
		t.Errorf("%s means %q, %v; want %q", text, got, err, addrs)
	}
}

// nodes gives n1 to n3 addresses.
func nodes(t *testing.T) *dnstest.Server {
	s := dnstest.Start(t)
	s.Set("n1.example.org", "A 10.0.0.1")
	s.Set("n2.example.org", "A 10.0.0.2", "AAAA fd00::2")
	s.Set("n3.example.org", "AAAA fd00::3")
	return s
}

// What the records say now is what counts: names come, change and go.
func TestAnswersChange(t *testing.T) {
	t.Parallel()
	s := nodes(t)
	if got, err := looked(t, s, "dns+srv:"+service); got != "" || !notFound(err) {
		t.Errorf("a name that does not exist means %q, %v", got, err)
	}
	s.Set(service, "SRV 0 0 8083 n1.example.org.")
	want(t, s, "dns+srv:"+service, "10.0.0.1:8083")
	s.Set(service, "SRV 9 1 9083 n2.example.org.", "SRV 0 0 8083 n1.example.org.", "SRV 0 5 8083 N1.example.org.")
	want(t, s, "dns+srv:"+service, "10.0.0.1:8083 10.0.0.2:9083 [fd00::2]:9083")
	s.Set("n1.example.org", "A 10.0.0.7")
	s.Set("alias.example.org", "A 10.0.0.7")
	s.Set(service, "SRV 0 0 8083 n1.example.org.", "SRV 0 0 8083 alias.example.org.", "SRV 0 0 9083 n2.example.org.")
	want(t, s, "dns+srv:"+service, "10.0.0.2:9083 10.0.0.7:8083 [fd00::2]:9083")
	s.Set(service, "SRV 0 0 8083 n3.example.org.")
	want(t, s, "dns+srv:"+service, "[fd00::3]:8083")
	s.Set(service)
	if got, err := looked(t, s, "dns+srv:"+service); got != "" || !notFound(err) {
		t.Errorf("a name that has gone means %q, %v", got, err)
	}
	want(t, s, "n2.example.org:8083", "10.0.0.2:8083 [fd00::2]:8083") // as ever
}

func notFound(err error) bool {
	var d *net.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

// listening notes the names that the resolver is asked for.
type listening struct {
	Resolver
	names chan string
}

func (l listening) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	l.names <- service + proto + name
	return l.Resolver.LookupSRV(ctx, service, proto, name)
}

func (l listening) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	l.names <- host
	return l.Resolver.LookupNetIP(ctx, network, host)
}

// Names end with a dot: they are asked for as they stand, never below a domain of the system's search list.
func TestNamesAreFullyQualified(t *testing.T) {
	t.Parallel()
	s := nodes(t)
	s.Set("short", "SRV 0 0 8083 n1.example.org.")
	for _, text := range []string{"dns+srv:short", "dns+srv:short."} {
		seed, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var r listening
		addrs, err := addresses(t, seed, func() Resolver {
			r = listening{s.Resolver(), make(chan string, 10)}
			return r
		})
		if len(addrs) != 1 || err != nil {
			t.Errorf("%s: %v, %v", text, addrs, err)
		}
		if first, second := <-r.names, <-r.names; first != "short." || second != "n1.example.org." || len(r.names) > 0 {
			t.Errorf("%s: asked for %q, then %q", text, first, second)
		}
	}
}

// A target without an address does not take the others away, and is told of.
func TestPartOfAnAnswer(t *testing.T) {
	t.Parallel()
	s := nodes(t)
	s.Set(service, "SRV 0 0 8083 n1.example.org.", "SRV 0 0 8083 gone.example.org.")
	if got, err := looked(t, s, "dns+srv:"+service); got != "10.0.0.1:8083" || !notFound(err) || !strings.Contains(err.Error(), "gone.example.org") {
		t.Errorf("%q, %v", got, err)
	}
}

// What can't be the address of a node is passed over.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s := nodes(t)
	s.Set("zero.example.org", "A 0.0.0.0", "AAAA ::", "A 224.0.0.1", "A 10.0.0.9")
	s.Set(service, "SRV 0 0 8083 .", "SRV 0 0 0 n1.example.org.", "SRV 0 0 8083 zero.example.org.", `SRV 0 0 8083 we\032ird.example.org.`)
	if got, err := looked(t, s, "dns+srv:"+service); got != "10.0.0.9:8083" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s.Set(service, "SRV 0 0 8083 .")
	if got, err := looked(t, s, "dns+srv:"+service); got != "" || !notFound(err) {
		t.Errorf("the root as the only target: %q, %v", got, err)
	}
	s.Set(service, `SRV 0 0 8083 a\.b.example.org.`, "SRV 0 0 8083 n1.example.org.") // Go takes no dots within a label
	if got, err := looked(t, s, "dns+srv:"+service); got != "" || err == nil {
		t.Errorf("an answer that can't be read: %q, %v", got, err)
	}
	s.Set(service, "TXT hello", "A 10.0.0.1")
	if got, err := looked(t, s, "dns+srv:"+service); got != "" || !notFound(err) {
		t.Errorf("a name without SRV records: %q, %v", got, err)
	}
}

// An answer that is larger than a packet comes by TCP, whole, and is cut to the limit, always in the same place.
func TestLargeAnswer(t *testing.T) {
	t.Parallel()
	s := dnstest.Start(t)
	var records, addrs []string
	for i := range maxTargets + 40 {
		name := fmt.Sprintf("n%03d.example.org", i)
		s.Set(name, fmt.Sprintf("A 10.0.1.%d", i))
		records = append(records, "SRV 0 0 8083 "+name+".")
		if i < maxTargets {
			addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 8083).String())
		}
	}
	slices.Reverse(records)
	s.Set(service, records...)
	want(t, s, "dns+srv:"+service, strings.Join(addrs, " "))
	asked := s.Asked()
	if !slices.Contains(asked, dnstest.Question{Network: "udp", Name: service + ".", Type: "SRV"}) || !slices.Contains(asked, dnstest.Question{Network: "tcp", Name: service + ".", Type: "SRV"}) {
		t.Errorf("asked %v", asked[:2])
	}
	var many []string
	for i := range 2 * maxPerName {
		many = append(many, fmt.Sprintf("A 10.0.2.%d", i+1))
	}
	s.Set("many.example.org", many...)
	if got, err := looked(t, s, "many.example.org:8083"); len(strings.Fields(got)) != maxPerName || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A server that says nothing is an error, at the caller's own limit too, and forgotten when it answers again.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := nodes(t)
	s.Set(service, "SRV 0 0 8083 n1.example.org.")
	s.Silence(true)
	seed, err := Parse("dns+srv:" + service)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if addrs, err := seed.Addresses(ctx, s.Resolver()); len(addrs) > 0 || !timedOut(err) {
		t.Errorf("%v, %v", addrs, err)
	}
	s.Silence(false)
	want(t, s, "dns+srv:"+service, "10.0.0.1:8083")
}
