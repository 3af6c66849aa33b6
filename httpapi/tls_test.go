package httpapi

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/lookup"
	"cloakroom/httpapi/transport"
	"cloakroom/httpapi/transport/certtest"
)

// serialOf returns the serial of the certificate that a server shows.
func serialOf(addr string) (int64, error) {
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }() // all that was wanted is there
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// Certificates are replaced in every way, good ones and broken ones, and no request fails meanwhile.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	cert, key := certtest.Good(t, 1)
	files := certtest.NewFiles(t, cert, key)
	f := newFixture(t, func(cfg *Config) {
		cfg.TLSCert, cfg.TLSKey, cfg.CertificateCheck = files.Cert, files.Key, 2*time.Millisecond
	}).opened()
	addr := f.Addr().String()
	stop := make(chan struct{})
	var asked atomic.Int64
	var load sync.WaitGroup
	for i := range 4 {
		load.Go(func() {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: i%2 == 0}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: patience}
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := client.Get("https://" + addr + "/healthz")
				if err != nil {
					t.Errorf("request: %v", err)
					return
				}
				_ = res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("status %d", res.StatusCode)
				}
				asked.Add(1)
			}
		})
	}
	shows := func(want int64) {
		t.Helper()
		await(t, fmt.Sprintf("certificate %d", want), func() bool {
			got, err := serialOf(addr)
			if err != nil {
				t.Fatal(err)
			}
			return got == want
		})
	}
	more := func() { // some requests later
		for n := asked.Load(); asked.Load() < n+20; {
			<-time.After(time.Millisecond)
		}
	}
	shows(1)
	for serial := int64(2); serial <= 5; serial++ {
		cert, key = certtest.Good(t, serial)
		switch serial {
		case 2, 4:
			files.Rename(cert, key)
		case 3:
			files.InPlace(cert, key, more)
		case 5:
			files.Write(cert, key)
			if err := f.ReloadCertificate(); err != nil {
				t.Error(err)
			}
		}
		shows(serial)
		other, _ := certtest.Good(t, 99)
		failed := f.certificate.Stats().Failures
		files.Rename(other, key)
		await(t, "a refusal", func() bool { return f.certificate.Stats().Failures > failed })
		shows(serial)
		if err := f.ReloadCertificate(); err == nil {
			t.Error("a pair that does not belong together is taken")
		}
		files.Rename(cert, key)
		if err := f.ReloadCertificate(); err != nil {
			t.Error(err)
		}
		more()
	}
	close(stop)
	load.Wait()
	if n := f.certificate.Stats().Reloads; n != 4 {
		t.Errorf("%d reloads, not 4", n)
	}
	if n := strings.Count(f.logs.String(), "new TLS certificate refused"); n < 4 {
		t.Errorf("%d of 4 refusals were logged", n)
	}
	t.Logf("%d requests", asked.Load())
}

func TestCertificateMetrics(t *testing.T) {
	if err := newFixture(t).ReloadCertificate(); err == nil {
		t.Error("without TLS something is reloaded")
	}
	cert, key := certtest.Good(t, 1)
	files := certtest.NewFiles(t, cert, key)
	f := newFixture(t, func(cfg *Config) { cfg.TLSCert, cfg.TLSKey = files.Cert, files.Key }).opened()
	scrape := func() string {
		t.Helper()
		res, err := http.Get("http://" + f.OperatorAddr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	files.Write([]byte("x"), key)
	if f.ReloadCertificate() == nil {
		t.Error("taken")
	}
	cert, key = certtest.Good(t, 2)
	files.Write(cert, key)
	if err := f.ReloadCertificate(); err != nil {
		t.Error(err)
	}
	block, _ := pem.Decode(cert)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	expectLines(t, scrape(),
		fmt.Sprintf("cloakroom_tls_certificate_not_after_timestamp_seconds %v", float64(leaf.NotAfter.Unix())),
		"cloakroom_tls_certificate_reloads_total 1", "cloakroom_tls_certificate_reload_failures_total 1", "cloakroom_tls_handshakes_refused_total 0")
	if strings.Contains(metricsOf(t, lookup.Stats{}), "cloakroom_tls") {
		t.Error("without TLS there are metrics of it")
	}
}

// Handshakes that are not ended have their time, and there are so many at once, in all and of one address. Connections
// that have shaken hands don't suffer.
func TestHandshakesAreBounded(t *testing.T) {
	cert, key := certtest.Good(t, 1)
	files := certtest.NewFiles(t, cert, key)
	for name, limit := range map[string]func(*transport.Handshakes){
		"in all":         func(h *transport.Handshakes) { h.InAll = 2 },
		"of one address": func(h *transport.Handshakes) { h.OfOne = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			slow := newLeisure(t)
			f := newFixture(t, func(cfg *Config) { cfg.TLSCert, cfg.TLSKey, cfg.Listener = files.Cert, files.Key, slow })
			limit(f.handshakes)
			f.opened()
			addr := f.Addr().String()
			good, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			established := newWireClient(t, good)
			await(t, "the handshake to be over here, too", func() bool { return f.handshakes.Running() == 0 })
			var halves []net.Conn
			for range 2 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				if _, err := io.WriteString(c, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"); err != nil {
					t.Fatal(err)
				}
				halves = append(halves, c)
			}
			await(t, "two halves", func() bool { return f.handshakes.Running() == 2 })
			if _, err := serialOf(addr); err == nil {
				t.Error("a third handshake is let in")
			}
			if n := f.handshakes.Refused(); n != 1 {
				t.Errorf("%d are refused", n)
			}
			established.write(head("GET /healthz"))
			f.expect(established.read(), 200, "")
			for _, c := range halves { // their time is over
				if err := errors.Join(slow.hurry(c), c.SetReadDeadline(time.Now().Add(patience))); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
					t.Errorf("half a handshake is not ended: %v", err)
				}
			}
			await(t, "the places", func() bool { return f.handshakes.Running() == 0 })
			if _, err := serialOf(addr); err != nil {
				t.Errorf("after the halves: %v", err)
			}
		})
	}
}

// Versions, protocols and suites that are offered.
func TestTLSOffers(t *testing.T) {
	cert, key := certtest.Good(t, 1)
	files := certtest.NewFiles(t, cert, key)
	f := newFixture(t, func(cfg *Config) { cfg.TLSCert, cfg.TLSKey = files.Cert, files.Key }).opened()
	for _, c := range []struct {
		name   string
		client *tls.Config
		ok     bool
	}{
		{"1.3 is preferred", &tls.Config{}, true},
		{"1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"1.0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, false},
		{"h2 and http/1.1", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, true},
		{"another protocol", &tls.Config{NextProtos: []string{"imap"}}, false},
		{"h2 alone", &tls.Config{NextProtos: []string{"h2"}}, false},
		{"a key exchange without forward secrecy", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
		{"3DES", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}}, false},
		{"RC4", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}}, false},
	} {
		c.client.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", f.Addr().String(), c.client)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		state := conn.ConnectionState()
		if c.client.MaxVersion == 0 && state.Version != tls.VersionTLS13 || len(c.client.NextProtos) > 0 && state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: version %x, protocol %q", c.name, state.Version, state.NegotiatedProtocol)
		}
		if _, err := io.WriteString(conn, head("GET /healthz")); err != nil {
			t.Error(err)
		}
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 200 {
			t.Errorf("%s: %v %v", c.name, res, err)
		}
		_ = conn.Close()
	}
}
