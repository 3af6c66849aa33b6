package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/wire"
)

// patient is a configuration that keeps to the floor, in a directory of its own.
func patient(t *testing.T) *Config {
	t.Helper()
	cfg := DefaultConfig()
	dir := t.TempDir()
	cfg.DataDir = filepath.Join(dir, "data")
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.ClusterKeyFile = putFile(t, dir, "cluster.key", newKeyLine(t), 0o600)
	cfg.DataKeyFile = putFile(t, dir, "data.key", newKeyLine(t), 0o600)
	cfg.CookieHostPrefix, cfg.MMonitRotate = true, true
	cfg.MaxLifetime = 8 * time.Hour
	certify(t, &cfg, ellipticKey(t), time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	return &cfg
}

func putFile(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKeyLine(t *testing.T) string {
	t.Helper()
	key, err := wire.NewClusterKey()
	if err != nil {
		t.Fatal(err)
	}
	return key.Encode() + "\n"
}

func ellipticKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certify gives the configuration a certificate.
func certify(t *testing.T, cfg *Config, key crypto.Signer, from, to time.Time) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: from, NotAfter: to}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(cfg.DataDir)
	cfg.TLSCert = putFile(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})), 0o600)
	cfg.TLSKey = putFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), 0o600)
}

// grades are the items that the doctor finds.
func grades(cfg *Config, realms ...doctorRealm) map[string]finding {
	d := &doctor{cfg: cfg, now: time.Now(), app: &app{stderr: &bytes.Buffer{}}}
	found := map[string]finding{}
	d.realms(realms)
	for _, f := range d.examine() {
		found[f.Item] = f
	}
	return found
}

// TestDoctor: a configuration that keeps to the floor holds in every item, and each change worsens one of them.
func TestDoctor(t *testing.T) {
	for item, f := range grades(patient(t)) {
		if f.Grade != holds {
			t.Errorf("%s: %+v", item, f)
		}
	}
	const (
		belongs   = "nodes prove that they belong"
		encrypted = "what is stored is encrypted"
		owners    = "files are their owner's alone"
		good      = "the certificate is good"
		secure    = "cookies travel encrypted only"
		sibling   = "no sibling host can plant a cookie"
		final     = "a logout is final at once"
		slowly    = "passwords are hashed slowly"
		record    = "who did what is on record"
		reaches   = "the API is encrypted"
		callers   = "pages that may call are encrypted"
	)
	plain := func(c *Config) { c.TLSCert, c.TLSKey = "", "" }
	for name, c := range map[string]struct {
		change func(t *testing.T, c *Config)
		item   string
		want   grade
	}{
		"plain to the world":   {func(_ *testing.T, c *Config) { plain(c); c.HTTP = "0.0.0.0:8080" }, reaches, wrong},
		"plain on loopback":    {func(_ *testing.T, c *Config) { plain(c) }, reaches, holds},
		"no certificate there": {func(_ *testing.T, c *Config) { c.TLSCert += "x" }, good, wrong},
		"certificate has ended": {func(t *testing.T, c *Config) {
			certify(t, c, ellipticKey(t), time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
		}, good, wrong},
		"certificate ends soon": {func(t *testing.T, c *Config) {
			certify(t, c, ellipticKey(t), time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour))
		}, good, advice},
		"certificate is not yet": {func(t *testing.T, c *Config) {
			certify(t, c, ellipticKey(t), time.Now().Add(time.Hour), time.Now().Add(90*24*time.Hour))
		}, good, wrong},
		"cookies never secure": {func(_ *testing.T, c *Config) { c.CookieSecure = "never" }, secure, wrong},
		"cookies in clear":     {func(_ *testing.T, c *Config) { plain(c) }, secure, wrong},
		"cookies by a proxy":   {func(_ *testing.T, c *Config) { plain(c); c.TrustedProxies = []string{"10.0.0.1/32"} }, secure, holds},
		"plain names":          {func(_ *testing.T, c *Config) { c.CookieHostPrefix = false }, sibling, advice},
		"a domain":             {func(_ *testing.T, c *Config) { c.CookieHostPrefix, c.CookieDomain = false, "example.com" }, sibling, advice},
		"tokens stay":          {func(_ *testing.T, c *Config) { c.MMonitRotate = false }, "each login gives a new token", advice},
		"operator open":        {func(_ *testing.T, c *Config) { c.Operator = "0.0.0.0:8081" }, "the operator's page is private", wrong},
		"everybody a proxy":    {func(_ *testing.T, c *Config) { c.TrustedProxies = []string{"0.0.0.0/0"} }, "only proxies are trusted as proxies", wrong},
		"a plain origin":       {func(_ *testing.T, c *Config) { c.AllowedOrigins = []string{"http://example.com"} }, callers, wrong},
		"an https origin":      {func(_ *testing.T, c *Config) { c.AllowedOrigins = []string{"https://example.com"} }, callers, holds},

		"no cluster key":         {func(_ *testing.T, c *Config) { c.ClusterKeyFile = "" }, belongs, wrong},
		"the development key":    {func(t *testing.T, c *Config) { overwrite(t, c.ClusterKeyFile, wire.DevelopmentKey().Encode()) }, belongs, wrong},
		"garbage as cluster key": {func(t *testing.T, c *Config) { overwrite(t, c.ClusterKeyFile, "garbage") }, belongs, wrong},
		"no cluster key there":   {func(_ *testing.T, c *Config) { c.ClusterKeyFile += "x" }, belongs, wrong},
		"two cluster keys":       {func(t *testing.T, c *Config) { overwrite(t, c.ClusterKeyFile, newKeyLine(t)+newKeyLine(t)) }, belongs, holds},
		"no data key":            {func(_ *testing.T, c *Config) { c.DataKeyFile = "" }, encrypted, advice},
		"garbage as data key":    {func(t *testing.T, c *Config) { overwrite(t, c.DataKeyFile, "garbage") }, encrypted, wrong},
		"an empty data key":      {func(t *testing.T, c *Config) { overwrite(t, c.DataKeyFile, "") }, encrypted, wrong},
		"the cluster's data key": {func(_ *testing.T, c *Config) { c.DataKeyFile = c.ClusterKeyFile }, encrypted, wrong},

		"open cluster key":    {func(t *testing.T, c *Config) { open(t, c.ClusterKeyFile) }, owners, wrong},
		"open data key":       {func(t *testing.T, c *Config) { open(t, c.DataKeyFile) }, owners, wrong},
		"open TLS key":        {func(t *testing.T, c *Config) { open(t, c.TLSKey) }, owners, wrong},
		"open directory":      {func(t *testing.T, c *Config) { open(t, c.DataDir) }, owners, wrong},
		"no directory yet":    {func(t *testing.T, c *Config) { c.DataDir += "x" }, owners, holds},
		"open audit log":      {func(t *testing.T, c *Config) { putFile(t, c.DataDir, "audit.log", "", 0o640) }, owners, wrong},
		"private audit log":   {func(t *testing.T, c *Config) { putFile(t, c.DataDir, "audit.log", "", 0o600) }, owners, holds},
		"audit log elsewhere": {func(t *testing.T, c *Config) { c.AuditLog = putFile(t, filepath.Dir(c.DataDir), "a.log", "", 0o644) }, owners, wrong},

		"long idle":         {func(_ *testing.T, c *Config) { c.IdleTimeout = 2 * time.Hour }, "idle sessions end", advice},
		"long life":         {func(_ *testing.T, c *Config) { c.MaxLifetime = 48 * time.Hour }, "sessions end", advice},
		"local reads":       {func(_ *testing.T, c *Config) { c.Consistency = "local" }, final, wrong},
		"local when cut":    {func(_ *testing.T, c *Config) { c.WhenCutOff = cutOffLocal }, final, advice},
		"local when asked":  {func(_ *testing.T, c *Config) { c.AllowLocalReads = true }, final, advice},
		"quorum":            {func(_ *testing.T, c *Config) { c.Consistency = "quorum" }, final, holds},
		"little memory":     {func(_ *testing.T, c *Config) { c.Argon2Memory = weakArgonKiB - 1 }, slowly, wrong},
		"one pass":          {func(_ *testing.T, c *Config) { c.Argon2Iterations = 1 }, slowly, wrong},
		"no audit log":      {func(_ *testing.T, c *Config) { c.AuditLog = auditNone }, record, wrong},
		"ephemeral":         {func(_ *testing.T, c *Config) { c.Ephemeral = true }, record, wrong},
		"ephemeral, a file": {func(_ *testing.T, c *Config) { c.Ephemeral, c.AuditLog = true, filepath.Join(c.DataDir, "a.log") }, record, holds},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := patient(t)
			c.change(t, cfg)
			f, ok := grades(cfg)[c.item]
			if !ok || f.Grade != c.want || (f.Change == "") != (c.want == holds) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorShortKey(t *testing.T) {
	long, err := rsa.GenerateKey(rand.Reader, fairRSA)
	if err != nil {
		t.Fatal(err)
	}
	short := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	if weakKey(long.Public()) || !weakKey(short) || weakKey(ellipticKey(t).Public()) {
		t.Error("the wrong keys are weak")
	}
}

// TestDoctorOfRealms: every server of a directory is looked at.
func TestDoctorOfRealms(t *testing.T) {
	for config, want := range map[string]grade{
		`{"host":"localhost"}`: holds,
		`{"host":"127.0.0.1","hosts":["[::1]:389","localhost:1389"]}`:  holds,
		`{"host":"::1","hosts":["127.0.0.2"]}`:                         holds,
		`{"host":"ldap.example.com"}`:                                  wrong,
		`{"host":"localhost","hosts":["ldap.example.com"]}`:            wrong,
		`{"host":"localhost","hosts":["localhost","10.0.0.1:389"]}`:    wrong,
		`{"host":"localhost","hosts":["ldap.example.com"],"ssl":true}`: holds,
		`{"host":"ldap.example.com","startTls":true}`:                  holds,
	} {
		r := doctorRealm{Name: "staff", RealmType: "ldap", Enabled: true}
		if err := json.Unmarshal([]byte(config), &r.Config); err != nil {
			t.Fatal(err)
		}
		f := grades(patient(t), r)["realm staff is asked safely"]
		if f.Grade != want || want == wrong && strings.Contains(f.Found, "localhost") {
			t.Errorf("%s: %+v", config, f)
		}
		r.Enabled = false
		if f, ok := grades(patient(t), r)["realm staff is asked safely"]; ok {
			t.Errorf("%s, which is off: %+v", config, f)
		}
	}
}
