package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"cloakroom/cluster/wire"
)

// doctorCmd checks a configuration, that of a node that may not run yet, against the security floor.
type doctorCmd struct {
	Flags  configFlags `embed:""`
	JSON   bool        `name:"json" help:"Print JSON for programs."`
	Strict bool        `help:"Fail for advice, too, and not only for what is wrong."`
}

// grade says how an item of the floor stands.
type grade string

const (
	holds  grade = "holds"
	advice grade = "advice" // it holds, but could be better
	wrong  grade = "wrong"
)

// finding is one item of the floor, as it stands in this configuration.
type finding struct {
	Item   string `json:"item"`
	Source string `json:"source"` // of the rule
	Grade  grade  `json:"grade"`
	Found  string `json:"found"`
	Change string `json:"change,omitempty"` // what to do about it
}

// Run implements the command doctor: an item a line, and exit code 1 when one is wrong.
func (d *doctorCmd) Run(ctx context.Context, a *app) error {
	cfg := Config(d.Flags)
	if err := cfg.complete(); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	quiet := *a
	quiet.stderr = io.Discard // who else may read the files is an item of its own
	doctor := &doctor{cfg: &cfg, now: time.Now(), app: &quiet}
	found := append(doctor.examine(), a.examineCluster(ctx, &cfg)...)
	if d.JSON {
		if err := printJSON(a.stdout, found); err != nil {
			return err
		}
	} else if err := printFindings(a, found); err != nil {
		return err
	}
	bad := 0
	for _, f := range found {
		if f.Grade == wrong || f.Grade == advice && d.Strict {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d items have to change", bad, len(found))
	}
	return nil
}

func printFindings(a *app, found []finding) error {
	rows := make([][]string, 0, len(found))
	for _, f := range found {
		rows = append(rows, []string{string(f.Grade), f.Item, f.Source, f.Found, f.Change})
	}
	return printTable(a.stdout, []string{"GRADE", "ITEM", "RULE", "FOUND", "CHANGE"}, rows)
}

// doctor looks at one configuration, without a network.
type doctor struct {
	cfg   *Config
	now   time.Time
	app   *app // reads files of keys
	found []finding
}

// Thresholds of the doctor.
const (
	longIdle      = time.Hour           // ASVS 7.3.1 leaves the number to a risk analysis: above it, somebody should have made one
	longLife      = 24 * time.Hour      // ASVS 7.3.2 likewise
	certificateIn = 14 * 24 * time.Hour // a certificate that ends sooner is about to be forgotten
	fairRSA       = 2048                // bits
	weakArgonKiB  = 19456               // the OWASP cheat sheet's least, with 2 passes over it
	weakArgonRuns = 2
)

func (d *doctor) examine() []finding {
	d.transport()
	d.certificate()
	d.cookies()
	d.listeners()
	d.proxies()
	d.secrets()
	d.times()
	d.reads()
	d.passwords()
	d.records()
	return d.found
}

// say adds an item. Without anything to change it holds.
func (d *doctor) say(item, source, found string, g grade, change string) {
	if g == holds {
		change = ""
	}
	d.found = append(d.found, finding{Item: item, Source: source, Grade: g, Found: found, Change: change})
}

// loopback reports whether only this machine reaches an address to listen on.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (d *doctor) transport() {
	const item, source = "the API is encrypted", "ASVS 12.2.1"
	switch {
	case d.cfg.TLSCert != "":
		d.say(item, source, "TLS by this node", holds, "")
	case loopback(d.cfg.HTTP):
		d.say(item, source, "plain HTTP on loopback: for a proxy on this machine", holds, "")
	default:
		d.say(item, source, "plain HTTP on "+d.cfg.HTTP, wrong, "set --tls-cert and --tls-key, or listen on loopback behind a proxy that has them")
	}
}

func (d *doctor) certificate() {
	const item, source = "the certificate is good", "ASVS 12.1.1, 12.2.2"
	if d.cfg.TLSCert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(d.cfg.TLSCert, d.cfg.TLSKey)
	if err != nil {
		d.say(item, source, err.Error(), wrong, "mend the files of --tls-cert and --tls-key")
		return
	}
	ends := pair.Leaf.NotAfter
	found := "until " + ends.UTC().Format(time.DateOnly)
	switch {
	case d.now.Before(pair.Leaf.NotBefore) || d.now.After(ends):
		d.say(item, source, found+", so not now", wrong, "replace it: a running node takes the new files by itself")
	case weakKey(pair.Leaf.PublicKey):
		d.say(item, source, "its RSA key is short", wrong, fmt.Sprintf("make one of at least %d bits, or an ECDSA one", fairRSA))
	case ends.Sub(d.now) < certificateIn:
		d.say(item, source, found, advice, "renew it soon: a running node takes the new files by itself")
	default:
		d.say(item, source, found, holds, "")
	}
}

func weakKey(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() < fairRSA
	case *ecdsa.PublicKey:
		return key.Params().BitSize < 256
	}
	return false
}

func (d *doctor) cookies() {
	secure, proxied := d.cfg.CookieSecure, len(d.cfg.TrustedProxies) > 0
	const item, source = "cookies travel encrypted only", "ASVS 3.3.1"
	switch {
	case secure == "always", secure == "auto" && d.cfg.TLSCert != "":
		d.say(item, source, "Secure on every cookie", holds, "")
	case secure == "never":
		d.say(item, source, "--cookie-secure never", wrong, "set it to auto or always")
	case proxied:
		d.say(item, source, "Secure where a trusted proxy says https", holds, "")
	default:
		d.say(item, source, "auto, but neither TLS nor a trusted proxy: never set", wrong, "set --cookie-secure always, or name the proxy in --trusted-proxies")
	}
	switch {
	case d.cfg.CookieHostPrefix:
		d.say("no sibling host can plant a cookie", "ASVS 3.3.3", "__Host- and __Secure- names", holds, "")
	case d.cfg.CookieDomain != "":
		d.say("no sibling host can plant a cookie", "ASVS 3.3.3", "--cookie-domain "+d.cfg.CookieDomain+": every host below it gets the cookie", advice,
			"leave --cookie-domain out, and set --cookie-host-prefix if no client insists on the plain names")
	default:
		d.say("no sibling host can plant a cookie", "ASVS 3.3.3", "plain names, of this host alone", advice, "set --cookie-host-prefix if no client insists on the plain names")
	}
	rotate := "scripts keep the token from before the login (what half of M/Monit's clients need)"
	if d.cfg.MMonitRotate {
		d.say("each login gives a new token", "ASVS 7.2.4", "always", holds, "")
	} else {
		d.say("each login gives a new token", "ASVS 7.2.4", rotate, advice, "set --mmonit-rotate if your clients read the cookie after the login")
	}
}

func (d *doctor) listeners() {
	const item, source = "the operator's page is private", "ASVS 13.4.5"
	if loopback(d.cfg.Operator) {
		d.say(item, source, d.cfg.Operator, holds, "")
	} else {
		d.say(item, source, d.cfg.Operator+" is open to other machines, and asks for no login", wrong, "set --operator to a loopback address, or keep it in a network of its own and say so to whoever asks")
	}
}

func (d *doctor) proxies() {
	const item, source = "only proxies are trusted as proxies", "ASVS 4.1.3"
	for _, text := range d.cfg.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err == nil && (network.Addr().Is4() && network.Bits() < 8 || network.Addr().Is6() && network.Bits() < 16) {
			d.say(item, source, text+" is nearly everybody", wrong, "name the addresses of the proxies in --trusted-proxies: whoever is in it chooses its client's address")
			return
		}
	}
	d.say(item, source, fmt.Sprintf("%d networks", len(d.cfg.TrustedProxies)), holds, "")
	for _, origin := range d.cfg.AllowedOrigins {
		if strings.HasPrefix(origin, "http://") && !strings.HasPrefix(origin, "http://localhost") && !strings.HasPrefix(origin, "http://127.0.0.1") {
			d.say("pages that may call are encrypted", "ASVS 3.4.2", origin, wrong, "allow https origins only: whoever is on the way of a plain page can call with its readers' cookies")
			return
		}
	}
	d.say("pages that may call are encrypted", "ASVS 3.4.2", fmt.Sprintf("%d origins", len(d.cfg.AllowedOrigins)), holds, "")
}

func (d *doctor) secrets() {
	if d.cfg.ClusterKeyFile == "" {
		d.say("nodes prove that they belong", "ASVS 12.3.4", "the public development key, on loopback", wrong, "make a key with `cloakroom keygen` and name it in --cluster-key-file")
	} else {
		d.keyFile("nodes prove that they belong", "ASVS 12.3.4", "a key of your own", "make a key with `cloakroom keygen` and name it in --cluster-key-file", d.clusterKeyFile)
	}
	if d.cfg.DataKeyFile == "" {
		d.say("what is stored is encrypted", "ASVS 14.2.6", "tokens are hashed and realms' secrets are sealed; names, roles and attributes are in clear", advice,
			"set --data-key-file, unless the disk is encrypted already")
	} else {
		d.keyFile("what is stored is encrypted", "ASVS 14.2.6", "log and snapshots, with a key of your own", "mend the file of --data-key-file: a line of `cloakroom keygen`, and not the cluster's", func() error {
			_, err := d.app.secrets(d.cfg)
			return err
		})
	}
	d.modes()
}

// keyFile adds an item that holds if a file of keys can be used.
func (d *doctor) keyFile(item, source, good, change string, read func() error) {
	if err := read(); err != nil {
		d.say(item, source, oneLine(err), wrong, change)
		return
	}
	d.say(item, source, good, holds, "")
}

// errDevelopment is a file with the key that everyone knows.
var errDevelopment = errors.New("the public development key")

func (d *doctor) clusterKeyFile() error {
	keys, err := d.app.clusterKeys(d.cfg)
	if slices.Contains(keys, wire.DevelopmentKey()) {
		return errDevelopment
	}
	return err
}

// modes checks that nobody else on this machine may read the secrets.
func (d *doctor) modes() {
	const item, source = "files are their owner's alone", "ASVS 13.3.1"
	var open []string
	for _, path := range []string{d.cfg.ClusterKeyFile, d.cfg.DataKeyFile, d.cfg.TLSKey, d.cfg.DataDir, d.cfg.auditFile()} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && (path == d.cfg.DataDir || path == d.cfg.auditFile()): // made by the node, for its user alone
		case err != nil:
			d.say(item, source, err.Error(), wrong, "make the file readable to the node's user")
			return
		case exposed(info):
			open = append(open, fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()))
		}
	}
	if len(open) > 0 {
		d.say(item, source, strings.Join(open, ", "), wrong, "take every right from group and others: chmod go= FILE")
		return
	}
	d.say(item, source, "no rights for anybody else", holds, "")
}

func (d *doctor) times() {
	grade := func(t, long time.Duration) grade {
		if t > long {
			return advice
		}
		return holds
	}
	d.say("idle sessions end", "ASVS 7.3.1", d.cfg.IdleTimeout.String(), grade(d.cfg.IdleTimeout, longIdle), "set --idle-timeout to what the least attentive user needs")
	d.say("sessions end", "ASVS 7.3.2", d.cfg.MaxLifetime.String(), grade(d.cfg.MaxLifetime, longLife), "set --max-lifetime to a working day, or know why not")
}

func (d *doctor) reads() {
	const item, source = "a logout is final at once", "ASVS 7.4.1"
	switch {
	case d.cfg.Consistency == "local":
		d.say(item, source, "--consistency local: a node may go on accepting what was ended elsewhere", wrong, "set it to lease, which costs nothing, or quorum")
	case d.cfg.WhenCutOff == cutOffLocal:
		d.say(item, source, "not at a node that is cut off: --when-cut-off local", advice, "set it to refuse, unless staying logged in matters more to you than being logged out")
	case d.cfg.AllowLocalReads:
		d.say(item, source, "unless a request asks for less: --allow-local-reads", advice, "leave it out")
	default:
		d.say(item, source, "--consistency "+d.cfg.Consistency, holds, "")
	}
}

func (d *doctor) passwords() {
	found := fmt.Sprintf("argon2id, %d KiB, %d passes", d.cfg.Argon2Memory, d.cfg.Argon2Iterations)
	g := holds
	if d.cfg.Argon2Memory < weakArgonKiB || d.cfg.Argon2Iterations < weakArgonRuns {
		g = wrong
	}
	d.say("passwords are hashed slowly", "ASVS 11.4.2", found, g, fmt.Sprintf("set --argon2-memory to at least %d and --argon2-iterations to at least %d", weakArgonKiB, weakArgonRuns))
}

func (d *doctor) records() {
	if d.cfg.auditFile() == "" { // an ephemeral node has none at auto
		d.say("who did what is on record", "ASVS 16.3.1", "--audit-log "+d.cfg.AuditLog+": nowhere", wrong, "leave --audit-log and --ephemeral out, or name a file")
		return
	}
	d.say("who did what is on record", "ASVS 16.3.1", d.cfg.auditFile(), holds, "")
}

// examineCluster asks the node of this configuration, if it runs, for what is set for the whole cluster.
func (a *app) examineCluster(ctx context.Context, cfg *Config) []finding {
	d := &doctor{cfg: cfg}
	c, err := socketClient(&clientFlags{DataDir: cfg.DataDir})
	if err != nil {
		return nil
	}
	defer c.http.CloseIdleConnections() // a node that examines itself goes on
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	var limits limitsView
	if err := c.call(ctx, http.MethodGet, "/api/limits", nil, nil, &limits); err != nil {
		d.say("limits and realms of the cluster", "ASVS 7.1.2, 6.3.1", "not looked at: "+oneLine(err), advice, "ask again while the node runs")
		return d.found
	}
	d.say("a user's sessions are limited", "ASVS 7.1.2", fmt.Sprintf("%d, then %s", *limits.SessionsPerUser, *limits.WhenOver), holds, "")
	var realms []doctorRealm
	if err := c.call(ctx, http.MethodGet, "/api/realm-configs", url.Values{}, nil, &realms); err != nil {
		d.say("realms are asked safely", "ASVS 12.3.1", "not looked at: "+oneLine(err), advice, "ask again while the node runs")
		return d.found
	}
	d.realms(realms)
	return d.found
}

// doctorRealm is what the doctor looks at of a realm.
type doctorRealm struct {
	Name      string
	RealmType string
	Enabled   bool
	Config    struct {
		SSL      bool
		StartTLS bool `json:"startTls"`
		Host     string
		Hosts    []string                // further ones, with or without a port
		Search   struct{ BindDN string } `json:"search"`
		Login    struct {
			Search *struct{ BindDN string } `json:"search"`
		} `json:"login"`
	}
}

func (d *doctor) realms(realms []doctorRealm) {
	for _, r := range realms {
		if r.RealmType != "ldap" || !r.Enabled {
			continue
		}
		remote := slices.DeleteFunc(append([]string{r.Config.Host}, r.Config.Hosts...), onThisMachine)
		if r.Config.SSL || r.Config.StartTLS || len(remote) == 0 {
			d.say("realm "+r.Name+" is asked safely", "ASVS 12.3.1", "TLS, or on this machine", holds, "")
			continue
		}
		d.say("realm "+r.Name+" is asked safely", "ASVS 12.3.1", "passwords travel to "+strings.Join(remote, ", ")+" in clear", wrong, "set ssl or startTls in the realm's configuration")
	}
}

// onThisMachine reports whether a server, named with or without a port, is reached by loopback.
func onThisMachine(server string) bool {
	return loopback(server) || loopback(net.JoinHostPort(server, "0"))
}

// doctorTimeout is how long the doctor waits for a node that may not run.
const doctorTimeout = 5 * time.Second
