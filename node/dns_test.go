package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cloakroom/cluster/seed/dnstest"
)

// nameServerVariable tells resolvingMain which name server to ask.
const nameServerVariable = "CLOAKROOM_TEST_NAME_SERVER"

// resolvingMain is the program with a name server of a test's in place of those in resolv.conf.
func resolvingMain() {
	net.DefaultResolver = dnstest.Resolver(os.Getenv(nameServerVariable))
	main()
}

// Three processes that know one name find each other by its SRV records alone. A fourth one comes when these have changed.
func TestNodesFindEachOtherByDNS(t *testing.T) {
	t.Parallel()
	const service = "_gossip._tcp.cloakroom.example.org"
	s := newSuiteOf(t, 4, cheapHashes...)
	var err error
	if s.binary, err = exec.LookPath("cloakroom-resolving"); err != nil {
		t.Fatal(err)
	}
	names := dnstest.Start(t)
	s.environ = append(s.environ, nameServerVariable+"="+names.Addr())
	record := func(n *suiteNode) string {
		_, port, err := net.SplitHostPort(n.flags[indexOf(n.flags, "--gossip")+1])
		if err != nil {
			t.Fatal(err)
		}
		names.Set(n.name+".cloakroom.example.org", "A 127.0.0.1")
		return "SRV 0 0 " + port + " " + n.name + ".cloakroom.example.org."
	}
	for _, n := range s.nodes {
		n.flags[indexOf(n.flags, "--join")+1] = "dns+srv:" + service
		n.flags[indexOf(n.flags, "--bootstrap-expect")+1] = "3"
	}
	for _, n := range s.nodes[:3] {
		s.start(n)
	}
	s.until("n3 says what the name server says", func() bool {
		log, err := os.ReadFile(s.nodes[2].log)
		return err == nil && strings.Contains(string(log), "no seed answers") && strings.Contains(string(log), "lookup "+service+".") && strings.Contains(string(log), "no such host")
	})
	names.Set(service, record(s.nodes[0]), record(s.nodes[1]), record(s.nodes[2]))
	for _, n := range s.nodes[:3] {
		s.awaitReady(n)
	}
	names.Set(service, record(s.nodes[3]), record(s.nodes[1]))
	s.start(s.nodes[3])
	s.awaitReady(s.nodes[3])
	s.until("the first user", func() bool {
		return s.login(s.client(), s.nodes[3], "admin", suitePassword).StatusCode == http.StatusCreated
	})
	clusters := make(map[string]bool)
	for _, n := range s.nodes {
		clusters[s.cluster(n).ClusterID] = true
	}
	if len(clusters) != 1 {
		t.Errorf("clusters %v", clusters)
	}
}
