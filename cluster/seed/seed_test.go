package seed

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"n1.example.org:8083": "n1.example.org:8083",
		"10.0.0.1:1":          "10.0.0.1:1",
		"[::1]:65535":         "[::1]:65535",
		"dns:8083":            "dns:8083", // hosts of that name
		"srv:8083":            "srv:8083",

		"dns+srv:_gossip._tcp.cloakroom.example.org":  "dns+srv:_gossip._tcp.cloakroom.example.org",
		"dns+srv:_gossip._tcp.cloakroom.example.org.": "dns+srv:_gossip._tcp.cloakroom.example.org",
		"dns+srv:cloakroom.service.consul":            "dns+srv:cloakroom.service.consul",
	} {
		s, err := Parse(text)
		if err != nil || s.String() != want {
			t.Errorf("%s: %s, %v", text, s, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"":                              "a seed is HOST:PORT",
		"n1":                            "a seed is HOST:PORT",
		":8083":                         "a seed is HOST:PORT",
		"n1:0":                          "a port is",
		"n1:65536":                      "a port is",
		"n1:gossip":                     "a port is",
		"dns+srv":                       "the name is missing",
		"dns+srv:":                      "the name is missing",
		"dns+srv:.":                     "the name is missing",
		"dns+srv:_gossip._tcp.x:8083":   "hold the port",
		"dns+srv:127.0.0.1":             "an address has no SRV records",
		"dns+srv:a..b":                  "no part of a name",
		"dns+srv:a b":                   "no part of a name",
		"dns+srv://a":                   "no part of a name",
		"dns+srv:" + sixtyFour:          "no part of a name",
		"dns+srv:" + long:               "at most 253",
		"dns+srvs:_gossip._tcp.x":       `there is no scheme "dns+srvs"`,
		"dns+a:n1.example.org:8083":     `there is no scheme "dns+a"; a seed is HOST:PORT, where a name means all its addresses`,
		"dns:n1.example.org:8083":       `there is no scheme "dns"`,
		"DNS+SRV:_gossip._tcp.x":        `there is no scheme "DNS+SRV"`,
		"srv:_gossip._tcp.example.org.": `there is no scheme "srv"`,
	} {
		_, err := Parse(text)
		var coded *session.Error
		if !errors.As(err, &coded) || coded.Code != "bad-seed" || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

const sixtyFour = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var long = strings.Repeat("a.", 128)

// deaf never answers.
type deaf struct{ records []*net.SRV }

func (d deaf) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (d deaf) LookupSRV(ctx context.Context, _, _, name string) (string, []*net.SRV, error) {
	if d.records != nil {
		return name, d.records, nil
	}
	<-ctx.Done()
	return "", nil, context.Cause(ctx)
}

// A name server that is silent holds nobody up for longer than the limit, however many targets it is asked about.
func TestSilenceIsBounded(t *testing.T) {
	many := deaf{}
	for range 2 * maxTargets {
		many.records = append(many.records, &net.SRV{Target: "n.example.org.", Port: uint16(len(many.records) + 1)})
	}
	for text, r := range map[string]Resolver{"n1.example.org:8083": deaf{}, "dns+srv:example.org": deaf{}, "dns+srv:some.example.org": many} {
		clustertest.Bubble(t, func(t *testing.T) {
			s, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			addrs, err := s.Addresses(t.Context(), r)
			if len(addrs) > 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != LookupTime {
				t.Errorf("%s: %v, %v after %v", text, addrs, err, time.Since(begun))
			}
		})
	}
}
