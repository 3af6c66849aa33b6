package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"cloakroom/cluster"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi"
	"cloakroom/httpapi/realm"
	"cloakroom/httpapi/recheck"
)

// Config is everything that a node can be told. Each field is a flag of `serve`, an environment variable of the same
// name with CLOAKROOM_ in front, and a key of the configuration file; flags win over variables, variables over the
// file, the file over the defaults.
type Config struct {
	Name          string   `group:"node" placeholder:"NAME" help:"Name of this node in logs and lists (default: the host's name)."`
	HTTP          string   `name:"http" group:"node" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the session API."`
	Operator      string   `group:"node" default:"127.0.0.1:8081" placeholder:"ADDR" help:"Address of /metrics, /cluster, /support-bundle and /debug/pprof. Keep it private."`
	DataDir       string   `group:"node" default:"./cloakroom-data" placeholder:"DIR" help:"Directory of the log, the snapshots and control.sock."`
	Ephemeral     bool     `group:"node" help:"Keep the log in memory, under a new node id at each start: for tests and demos."`
	TLSCert       string   `name:"tls-cert" group:"node" placeholder:"FILE" help:"Certificate chain of the session API, PEM."`
	TLSKey        string   `name:"tls-key" group:"node" placeholder:"FILE" help:"Its private key, PEM."`
	DiskReserve   ByteSize `group:"node" default:"auto" placeholder:"BYTES" help:"Space to keep free where the data directory is, such as 512MiB: with less, nothing new is stored and lookups go on."`
	MemoryLimit   ByteSize `group:"node" default:"auto" placeholder:"BYTES" help:"Memory in use, such as 2GiB, above which no new sessions are made; lookups go on."`
	DataKeyFile   string   `group:"node" placeholder:"FILE" help:"Keys that the log and the snapshots are encrypted with, a line each as keygen prints it: the first encrypts, all decrypt (default: no encryption)."`
	JWKSDir       string   `name:"jwks-dir" group:"node" placeholder:"DIR" help:"Directory with the key sets that realms of the type jwt may name (default: none)."`
	AuditLog      string   `group:"node" default:"auto" placeholder:"FILE" help:"File of the audit log, a line of JSON for each event: auto is audit.log in the data directory, or none."`
	AuditExpiries float64  `group:"node" default:"1" placeholder:"SHARE" help:"Share of the sessions that end by a timeout which the audit log tells of, 0 to 1."`
	LogFormat     string   `group:"node" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text or json; logs go to standard error."`
	LogLevel      string   `group:"node" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"debug, info, warn or error."`

	Peer            string        `group:"cluster" default:"127.0.0.1:8082" placeholder:"ADDR" help:"Address for the other nodes: raft and requests, TCP."`
	Gossip          string        `group:"cluster" default:"127.0.0.1:8083" placeholder:"ADDR" help:"Address for gossip, TCP and UDP."`
	Advertise       string        `group:"cluster" placeholder:"HOST" help:"Host that the other nodes reach this one by; needed when --peer or --gossip listen on every address."`
	Join            []string      `group:"cluster" placeholder:"ADDR" help:"Gossip addresses of nodes to join, HOST:PORT, or dns+srv:NAME for the hosts and ports of that name's SRV records."`
	BootstrapExpect int           `group:"cluster" placeholder:"N" help:"Begin a new cluster once N empty nodes see each other (default: 1 without --join, never with it)."`
	ReadReplica     bool          `group:"cluster" help:"Hold a copy and answer, but do not vote unless an operator promotes it."`
	Heartbeat       time.Duration `group:"cluster" default:"500ms" placeholder:"TIME" help:"A follower that hears nothing from the leader for so long starts an election: the same on every node."`
	LeaseDuration   time.Duration `group:"cluster" placeholder:"TIME" help:"How long a node may answer lookups from its memory without hearing from the leader, and how long one that is lost holds up writes, once: the same on every node (default: 1s, or twice --heartbeat if that is more)."`
	RemoveDeadAfter time.Duration `group:"cluster" default:"1h" placeholder:"TIME" help:"The leader removes a node that was dead for so long, if the others are enough without it; 0: never."`
	ClusterKeyFile  string        `group:"cluster" placeholder:"FILE" help:"The cluster's one secret, as keygen prints it. Without it: a public development key, on loopback only."`

	IdleTimeout     time.Duration `group:"sessions" default:"30m" placeholder:"TIME" help:"A session that is not used for so long ends."`
	MaxLifetime     time.Duration `group:"sessions" default:"8h" placeholder:"TIME" help:"A session ends so long after the login, used or not."`
	Consistency     string        `group:"sessions" default:"lease" enum:"lease,quorum,local" placeholder:"LEVEL" help:"Level of reads: lease (never old, answered from memory), quorum (never old, by asking a majority) or local (from memory, may be old)."`
	AllowLocalReads bool          `group:"sessions" help:"Let a request ask for a local read although the level is stronger."`
	WhenCutOff      string        `group:"sessions" default:"refuse" enum:"refuse,local" placeholder:"ANSWER" help:"What a node that can't reach the leader does with lookups of sessions: refuse them, or answer them at level local; then it goes on accepting sessions that were ended elsewhere."`

	TrustedProxies   []string      `group:"http" placeholder:"CIDR" help:"Networks whose X-Forwarded-For, X-Forwarded-Proto and PROXY protocol are believed (default: none)."`
	AllowedOrigins   []string      `group:"http" placeholder:"ORIGIN" help:"Web origins that may call with credentials (default: none)."`
	LoginURL         string        `name:"login-url" group:"http" placeholder:"URL" help:"Where /auth/forward sends browsers to log in (default: /index.csp of the host that they came to)."`
	ReturnOrigins    []string      `group:"http" placeholder:"ORIGIN" help:"Web origins that a login may lead back to, besides its own (default: none)."`
	CookieDomain     string        `group:"http" placeholder:"DOMAIN" help:"Domain attribute of the cookies (default: none, so the host alone)."`
	CookieSecure     string        `group:"http" default:"auto" enum:"auto,always,never" placeholder:"WHEN" help:"Secure attribute of the cookies: auto (over TLS), always or never."`
	RecheckInterval  time.Duration `group:"sessions" default:"5m" placeholder:"TIME" help:"How often the leader looks users of directories who have sessions up again: who is gone there is logged out."`
	CookieHostPrefix bool          `group:"http" help:"Name the cookies __Host-zsessionid and __Secure-id, which no sibling host can plant; needs TLS and no --cookie-domain, and clients that expect these names."`
	HSTS             string        `name:"hsts" group:"http" default:"max-age=31536000" placeholder:"VALUE" help:"Strict-Transport-Security of answers that reach the client by TLS; off for none."`
	TLSCheck         time.Duration `name:"tls-check" group:"http" default:"10s" placeholder:"TIME" help:"How often the files of --tls-cert and --tls-key are looked at."`
	MMonitRotate     bool          `name:"mmonit-rotate" group:"http" help:"Give every M/Monit login a fresh token, scripts too."`

	Argon2Memory      uint32 `name:"argon2-memory" group:"passwords" default:"19456" placeholder:"KIB" help:"Memory of one password hash, in KiB."`
	Argon2Iterations  uint32 `name:"argon2-iterations" group:"passwords" default:"2" placeholder:"N" help:"Passes over that memory."`
	Argon2Parallelism uint8  `name:"argon2-parallelism" group:"passwords" default:"1" placeholder:"N" help:"Lanes of one password hash."`
}

// cutOffLocal is the value of WhenCutOff that lets lookups go on.
const cutOffLocal = "local"

// The values of AuditLog that name no file.
const (
	auditAuto = "auto"
	auditNone = "none"
)

// auditFile returns the path of the audit log, "" for none.
func (c *Config) auditFile() string {
	switch {
	case c.AuditLog == auditNone, c.AuditLog == auditAuto && c.Ephemeral:
		return ""
	case c.AuditLog == auditAuto:
		return filepath.Join(c.DataDir, "audit.log")
	}
	return c.AuditLog
}

// DefaultConfig returns the configuration of a node that was told nothing.
func DefaultConfig() Config {
	var cfg Config
	parser, err := kong.New(&cfg)
	if err != nil {
		panic("BUG: the flags of Config: " + err.Error())
	}
	if _, err := parser.Parse(nil); err != nil {
		panic("BUG: the defaults of Config: " + err.Error())
	}
	return cfg
}

// FlagError says which setting is wrong, by the name of its flag, and why.
type FlagError struct {
	Flag   string // without the dashes
	Reason string
}

func (e *FlagError) Error() string { return "--" + e.Flag + ": " + e.Reason }

func flagErrorf(flag, format string, args ...any) error {
	return &FlagError{Flag: flag, Reason: fmt.Sprintf(format, args...)}
}

// Validate checks each setting and the relations between them. Its errors are *FlagError.
func (c *Config) Validate() error {
	for _, check := range []func() error{
		c.checkNode, c.checkAddresses, c.checkAdvertise, c.checkKey, c.checkCluster, c.checkTimes, c.checkRoom, c.checkSessions, c.checkHTTP, c.checkPasswords,
		c.checkRest,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// complete fills what the defaults leave open: the node's name, and how many nodes begin a cluster.
func (c *Config) complete() error {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return flagErrorf("name", "the host has no name (%v): give the node one", err)
		}
		label, _, _ := strings.Cut(host, ".")
		c.Name = label
	}
	if c.BootstrapExpect == 0 && len(c.Join) == 0 {
		c.BootstrapExpect = 1
	}
	return nil
}

func (c *Config) checkNode() error {
	if c.Name != "" && !validName(c.Name) {
		return flagErrorf("name", "%q: a name is 1 to %d letters, digits, dots, hyphens and underscores", c.Name, MaxName)
	}
	if c.DataDir == "" {
		return flagErrorf("data-dir", "a directory is needed")
	}
	if len(c.controlSocket()) > maxSocketPath {
		return flagErrorf("data-dir", "%q: the path of its control.sock is longer than the %d bytes that a socket may have", c.DataDir, maxSocketPath)
	}
	if !(c.AuditExpiries >= 0 && c.AuditExpiries <= 1) {
		return flagErrorf("audit-expiries", "%v: a share is from 0 to 1", c.AuditExpiries)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return flagErrorf("tls-cert", "--tls-cert and --tls-key go together")
	}
	return nil
}

func (c *Config) checkAddresses() error {
	addresses := []struct{ flag, addr string }{
		{"http", c.HTTP},
		{"operator", c.Operator},
		{"peer", c.Peer},
		{"gossip", c.Gossip},
	}
	seen := make(map[string]string, len(addresses))
	for _, a := range addresses {
		if err := checkAddress(a.addr); err != nil {
			return flagErrorf(a.flag, "%v", err)
		}
		if other, twice := seen[a.addr]; twice && !anyPort(a.addr) {
			return flagErrorf(a.flag, "%s is the address of --%s already", a.addr, other)
		}
		seen[a.addr] = a.flag
	}
	if len(c.Join) > MaxJoin {
		return flagErrorf("join", "%d addresses: at most %d are needed to find a cluster", len(c.Join), MaxJoin)
	}
	for _, addr := range c.Join {
		if err := checkSeed(addr); err != nil {
			return flagErrorf("join", "%v", withCode(err))
		}
	}
	return nil
}

func (c *Config) checkAdvertise() error {
	if c.Advertise == "" {
		for _, a := range []struct{ flag, addr string }{{"peer", c.Peer}, {"gossip", c.Gossip}} {
			if unspecified(a.addr) {
				return flagErrorf("advertise", "--%s %s listens on every address: say by which host the other nodes reach this one", a.flag, a.addr)
			}
		}
		return nil
	}
	if !validHost(c.Advertise) {
		return flagErrorf("advertise", "%q: a host name or an IP address is needed, without a port", c.Advertise)
	}
	if unspecified(net.JoinHostPort(c.Advertise, "1")) {
		return flagErrorf("advertise", "%s is no address that others can reach", c.Advertise)
	}
	return nil
}

// checkKey refuses the development key, which everyone knows, wherever another machine could use it.
func (c *Config) checkKey() error {
	if c.ClusterKeyFile != "" {
		return nil
	}
	return c.checkBind(wire.DevelopmentKey())
}

// checkBind checks that the addresses for other nodes are not too open for the key.
func (c *Config) checkBind(key wire.ClusterKey) error {
	for _, a := range []struct{ flag, addr string }{{"peer", c.Peer}, {"gossip", c.Gossip}} {
		if wire.CheckBind(key, a.addr) != nil {
			return flagErrorf("cluster-key-file", "--%s %s is not on loopback, so a key of your own is needed: make one with `cloakroom keygen`", a.flag, a.addr)
		}
	}
	return nil
}

func (c *Config) checkCluster() error {
	switch {
	case c.ReadReplica && len(c.Join) == 0:
		return flagErrorf("read-replica", "a read replica needs a cluster to --join")
	case c.ReadReplica && c.BootstrapExpect > 0:
		return flagErrorf("read-replica", "a read replica does not vote by itself, so it can't begin a cluster: leave --bootstrap-expect out")
	case c.BootstrapExpect < 0:
		return flagErrorf("bootstrap-expect", "%d is negative", c.BootstrapExpect)
	case c.BootstrapExpect > roster.MaxExpect:
		return flagErrorf("bootstrap-expect", "%d: at most %d", c.BootstrapExpect, roster.MaxExpect)
	case c.BootstrapExpect == 1 && len(c.Join) > 0:
		return flagErrorf("bootstrap-expect", "1 makes a cluster of this node alone: leave --join out, or expect more nodes")
	case c.BootstrapExpect > 1 && len(c.Join) == 0:
		return flagErrorf("bootstrap-expect", "%d: name the nodes to find with --join", c.BootstrapExpect)
	}
	return nil
}

// checkTimes keeps the times apart that hang together: an election takes several heartbeats, and a node is not dead for
// having missed one.
func (c *Config) checkTimes() error {
	switch {
	case c.Heartbeat < MinHeartbeat || c.Heartbeat > MaxHeartbeat:
		return flagErrorf("heartbeat", "%v: from %v to %v", c.Heartbeat, MinHeartbeat, MaxHeartbeat)
	case c.RemoveDeadAfter < 0:
		return flagErrorf("remove-dead-after", "%v is negative: 0 stands for never", c.RemoveDeadAfter)
	case c.RemoveDeadAfter > 0 && c.RemoveDeadAfter < MinDeadHeartbeats*c.Heartbeat:
		return flagErrorf("remove-dead-after", "%v: at least %d times --heartbeat %v, or 0 for never", c.RemoveDeadAfter, MinDeadHeartbeats, c.Heartbeat)
	case c.LeaseDuration < 0:
		return flagErrorf("lease-duration", "%v is negative", c.LeaseDuration)
	}
	return nil
}

// checkRest leaves to the cluster what only it can judge: how long a lease may be, and how that hangs together with
// elections. All else that it checks was checked before, where it can be told by the name of its flag.
func (c *Config) checkRest() error {
	whole := *c
	whole.Name = cmp.Or(c.Name, "unnamed") // the parser asks before the host was asked for its name
	if err := whole.complete(); err != nil {
		return err
	}
	if err := whole.cluster().Validate(); err != nil {
		return flagErrorf("lease-duration", "%v", err)
	}
	return nil
}

func (c *Config) checkRoom() error {
	switch {
	case c.DiskReserve != 0 && c.DiskReserve < MinDiskReserve:
		return flagErrorf("disk-reserve", "%v: at least %v, or auto", c.DiskReserve, MinDiskReserve)
	case c.MemoryLimit != 0 && c.MemoryLimit < MinMemoryLimit:
		return flagErrorf("memory-limit", "%v: at least %v, or auto", c.MemoryLimit, MinMemoryLimit)
	}
	return nil
}

func (c *Config) checkSessions() error {
	switch {
	case c.RecheckInterval < recheck.MinInterval:
		return flagErrorf("recheck-interval", "%v: at least %v", c.RecheckInterval, recheck.MinInterval)
	case c.IdleTimeout < 0:
		return flagErrorf("idle-timeout", "%v is negative", c.IdleTimeout)
	case c.IdleTimeout < MinIdleTimeout:
		return flagErrorf("idle-timeout", "%v: at least %v", c.IdleTimeout, MinIdleTimeout)
	case c.MaxLifetime < 0:
		return flagErrorf("max-lifetime", "%v is negative", c.MaxLifetime)
	case c.MaxLifetime > MaxLifetime:
		return flagErrorf("max-lifetime", "%v: at most %v", c.MaxLifetime, MaxLifetime)
	case c.MaxLifetime < c.IdleTimeout:
		return flagErrorf("max-lifetime", "%v is shorter than --idle-timeout %v", c.MaxLifetime, c.IdleTimeout)
	}
	return nil
}

func (c *Config) checkHTTP() error {
	if _, err := parseNetworks(c.TrustedProxies); err != nil {
		return flagErrorf("trusted-proxies", "%v", err)
	}
	for _, origin := range c.AllowedOrigins {
		if err := checkOrigin(origin); err != nil {
			return flagErrorf("allowed-origins", "%v", err)
		}
	}
	if err := httpapi.CheckLoginURL(c.LoginURL); err != nil {
		return flagErrorf("login-url", "%q: %v", c.LoginURL, err)
	}
	for _, origin := range c.ReturnOrigins {
		if err := checkOrigin(origin); err != nil {
			return flagErrorf("return-origins", "%v", err)
		}
	}
	if c.CookieHostPrefix && c.CookieDomain != "" {
		return flagErrorf("cookie-host-prefix", "a cookie with that name belongs to one host: leave --cookie-domain out")
	}
	if c.CookieHostPrefix && c.CookieSecure == "never" {
		return flagErrorf("cookie-host-prefix", "browsers take such cookies over TLS only: --cookie-secure never contradicts it")
	}
	if c.TLSCheck < MinTLSCheck {
		return flagErrorf("tls-check", "%v: at least %v", c.TLSCheck, MinTLSCheck)
	}
	if err := httpapi.CheckHSTS(c.HSTS); err != nil {
		return flagErrorf("hsts", "%v", err)
	}
	if c.CookieDomain != "" && !validHost(strings.TrimPrefix(c.CookieDomain, ".")) {
		return flagErrorf("cookie-domain", "%q is not a domain", c.CookieDomain)
	}
	return nil
}

func (c *Config) checkPasswords() error {
	for flag, cost := range map[string]uint32{
		"argon2-memory": c.Argon2Memory, "argon2-iterations": c.Argon2Iterations, "argon2-parallelism": uint32(c.Argon2Parallelism),
	} {
		if cost == 0 {
			return flagErrorf(flag, "must be more than 0")
		}
	}
	if _, err := realm.NewHasher(c.hasher()); err != nil {
		return flagErrorf("argon2-memory", "%v", err)
	}
	return nil
}

// cluster returns what the settings say of the node's place in its cluster.
func (c *Config) cluster() cluster.Config {
	cfg := cluster.Config{
		Name:        c.Name,
		DataDir:     c.DataDir,
		Ephemeral:   c.Ephemeral,
		Peer:        c.Peer,
		Gossip:      c.Gossip,
		Advertise:   c.Advertise,
		Join:        c.Join,
		Expect:      c.BootstrapExpect,
		ReadReplica: c.ReadReplica,
		Idle:        c.IdleTimeout,
		Heartbeat:   c.Heartbeat,
		Lease:       c.LeaseDuration,
		RemoveAfter: c.RemoveDeadAfter,
		DiskReserve: int64(c.DiskReserve),
		MemoryLimit: int64(c.MemoryLimit),
	}
	if c.WhenCutOff == cutOffLocal {
		cfg.CutOff = cluster.Local
	}
	return cfg
}

// hasher returns what a password hash costs.
func (c *Config) hasher() realm.HasherConfig {
	return realm.HasherConfig{Memory: c.Argon2Memory, Iterations: c.Argon2Iterations, Parallelism: c.Argon2Parallelism}
}

// controlSocket is where this machine's commands reach the node.
func (c *Config) controlSocket() string { return controlSocket(c.DataDir) }

func controlSocket(dataDir string) string { return filepath.Join(dataDir, "control.sock") }

// reachable returns the address under which others reach a listener on addr: its own, unless it listens everywhere.
func (c *Config) reachable(addr string) string {
	if !unspecified(addr) {
		return addr
	}
	_, port, _ := net.SplitHostPort(addr)
	host := c.Advertise
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
