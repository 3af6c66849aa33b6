// Package dnstest owns a small name server for tests, on a port of its own on loopback, by UDP and TCP. It knows what it was
// told last, and nothing of who asks.
package dnstest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is a running name server. All methods may be called from any goroutine.
type Server struct {
	t    testing.TB
	addr string

	mu     sync.Mutex
	zone   map[string][]dns.RR // by lower-case name with a dot at the end
	silent bool
	asked  []Question
}

// Question is one that has come in.
type Question struct {
	Network string // udp or tcp
	Name    string // with a dot at the end
	Type    string // such as SRV
}

// Start starts a server that knows no names, and stops it at the end of the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, zone: make(map[string][]dns.RR)}
	packets, listener, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		started, ended := make(chan struct{}), make(chan error, 1)
		server.NotifyStartedFunc = func() { close(started) }
		server.Handler = dns.HandlerFunc(s.answer)
		go func() { ended <- server.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-ended:
			t.Fatalf("name server: %v", err)
		}
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Errorf("stop the name server: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("name server: %v", err)
			}
		})
	}
	return s
}

// listen takes a port that is free for both.
func listen() (net.PacketConn, net.Listener, error) {
	var last error
	for range 20 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return packets, listener, nil
		}
		last = err
		_ = listener.Close() // it was only tried
	}
	return nil, nil, last
}

// Addr returns the server's IP:port, for UDP and TCP.
func (s *Server) Addr() string { return s.addr }

// Resolver returns the system's resolver, with this server in place of those in resolv.conf.
func (s *Server) Resolver() *net.Resolver { return Resolver(s.addr) }

// Resolver returns the system's resolver, with the server at the address in place of those in resolv.conf.
func Resolver(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}}
}

// Set makes these the records of a name, each as in a zone file without its name: "A 127.0.0.1". Without any, the name
// does not exist.
func (s *Server) Set(name string, records ...string) {
	s.t.Helper()
	name = strings.ToLower(dns.Fqdn(name))
	var parsed []dns.RR
	for _, text := range records {
		record, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s", name, text))
		if err != nil {
			s.t.Fatalf("record %q: %v", text, err)
		}
		parsed = append(parsed, record)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[name] = parsed
}

// Silence makes the server answer nothing, or answer again.
func (s *Server) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = on
}

// Asked returns what has been asked since the last call.
func (s *Server) Asked() []Question {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// answer answers one question as a server that is the authority for all names does. What does not fit into a packet is
// truncated, and asked for again by TCP.
func (s *Server) answer(w dns.ResponseWriter, question *dns.Msg) {
	reply, network := new(dns.Msg).SetReply(question), w.LocalAddr().Network()
	reply.Authoritative = true
	s.mu.Lock()
	for _, q := range question.Question {
		s.asked = append(s.asked, Question{network, q.Name, dns.TypeToString[q.Qtype]})
		records := s.zone[strings.ToLower(q.Name)]
		if len(records) == 0 {
			reply.Rcode = dns.RcodeNameError
		}
		for _, r := range records {
			if r.Header().Rrtype == q.Qtype {
				reply.Answer = append(reply.Answer, r)
			}
		}
	}
	silent := s.silent
	s.mu.Unlock()
	if silent {
		return
	}
	if network == "udp" {
		size := dns.MinMsgSize
		if option := question.IsEdns0(); option != nil {
			size = int(option.UDPSize())
		}
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply) // who asked may have gone
}
