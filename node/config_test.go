package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
)

// parseServe returns the configuration that a command line of serve makes, with an environment of its own.
func parseServe(t *testing.T, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	a := &app{
		stdin: strings.NewReader(""), stdout: t.Output(), stderr: t.Output(),
		lookup: func(key string) (string, bool) {
			value, ok := env[key]
			return value, ok
		},
	}
	var g grammar
	if _, err := a.parse(t.Context(), &g, args); err != nil {
		return Config{}, err
	}
	cfg := Config(g.Serve.Flags)
	if err := cfg.complete(); err != nil {
		return cfg, err
	}
	return cfg, a.settings.explain(cfg.Validate())
}

func TestDefaultConfigIsValid(t *testing.T) {
	cfg := DefaultConfig()
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if cfg.HTTP != "127.0.0.1:8080" || cfg.IdleTimeout != 30*time.Minute || cfg.MaxLifetime != 8*time.Hour || cfg.BootstrapExpect != 1 {
		t.Errorf("defaults: %+v", cfg)
	}
}

// TestPrecedence holds a flag above a variable, a variable above the file, the file above the default.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte("name: from-file\nidle-timeout: 11m\nmax-lifetime: 3h\njoin: [a:1, b:2]\nbootstrap-expect: 3\nephemeral: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"CLOAKROOM_CONFIG": file, "CLOAKROOM_NAME": "from-env", "CLOAKROOM_IDLE_TIMEOUT": "12m", "CLOAKROOM_LOG_LEVEL": "",
	}
	cfg, err := parseServe(t, env, "serve", "--name", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Name != "from-flag" || cfg.IdleTimeout != 12*time.Minute || cfg.MaxLifetime != 3*time.Hour || cfg.LogLevel != "info" {
		t.Errorf("name %s, idle %v, lifetime %v, log level %s", cfg.Name, cfg.IdleTimeout, cfg.MaxLifetime, cfg.LogLevel)
	}
	if strings.Join(cfg.Join, " ") != "a:1 b:2" || cfg.BootstrapExpect != 3 || !cfg.Ephemeral {
		t.Errorf("join %q, expect %d, ephemeral %v", cfg.Join, cfg.BootstrapExpect, cfg.Ephemeral)
	}
	cfg, err = parseServe(t, env, "--config", file, "--join", "c:3")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Name != "from-env" || strings.Join(cfg.Join, " ") != "c:3" {
		t.Errorf("without serve: name %s, join %q", cfg.Name, cfg.Join)
	}
}

func TestFusionFragment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte("api-gateway:\n  jwtExpirationSecs: 3600\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := parseServe(t, nil, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.IdleTimeout != time.Hour {
		t.Errorf("idle timeout %v", cfg.IdleTimeout)
	}
}

// TestWrongFiles shows that each fault of a file is named with its line.
func TestWrongFiles(t *testing.T) {
	for text, want := range map[string]string{
		"nmae: n1\n":                              `:1: unknown key "nmae"`,
		"name: n1\n\nname: n2\n":                  ":3: name is set twice",
		"name: [a, {b: c}]\n":                     ":1: name: a list of plain values",
		"name: {a: b}\n":                          ":1: name: a plain value",
		"- name\n":                                ":1: lines of the form key: value",
		"config: other.yaml\n":                    `unknown key "config"`,
		"name: 'n1\n":                             "yaml: ",
		"idle-timeout: -3m\n":                     ":1)",
		"idle-timeout: soon\n":                    `--idle-timeout: expected duration but got "soon"`,
		"api-gateway:\n  port: 1\n":               `:2: unknown key "port"`,
		"api-gateway: {jwtExpirationSecs: -1}\n":  "not a positive number",
		"api-gateway: {jwtExpirationSecs: 1.5}\n": "not a positive number",
		"idle-timeout: 1m\napi-gateway: {jwtExpirationSecs: 60}\n": ":2: the idle-timeout is set by",
		"api-gateway: [1]\n":  "lines of the form",
		"consistency: sure\n": "--consistency",
	} {
		file := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := parseServe(t, nil, "--config", file)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "name:\n", "api-gateway:\n", "join: &j [a:1]\nbootstrap-expect: 3\n"} {
		file := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := parseServe(t, nil, "--config", file); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestWrongSettings shows that each fault is told by the flag's name, and where it was set.
func TestWrongSettings(t *testing.T) {
	for line, want := range map[string]string{
		"--http 8080":                                    "--http: ",
		"--http 127.0.0.1:65536":                         "--http: ",
		"--http 127.0.0.1:-1":                            "--http: ",
		"--http [::1:80":                                 "--http: ",
		"--operator a_b!:80":                             "--operator: ",
		"--operator 127.0.0.1:8080":                      "--operator: 127.0.0.1:8080 is the address of --http already",
		"--peer 0.0.0.0:8082":                            "--advertise: ",
		"--gossip :8083":                                 "--advertise: ",
		"--peer 0.0.0.0:1 --advertise a:1":               "--advertise: ",
		"--peer 0.0.0.0:1 --advertise ::":                "--advertise: ",
		"--peer 0.0.0.0:1 --advertise a":                 "--cluster-key-file: ",
		"--gossip 10.0.0.1:1":                            "--cluster-key-file: ",
		"--join a":                                       "--join: ",
		"--join a:0":                                     "--join: ",
		"--join :1":                                      "--join: ",
		"--bootstrap-expect -1":                          "--bootstrap-expect: ",
		"--bootstrap-expect 100":                         "--bootstrap-expect: ",
		"--bootstrap-expect 3":                           "--bootstrap-expect: ",
		"--bootstrap-expect 1 --join a:1":                "--bootstrap-expect: ",
		"--read-replica":                                 "--read-replica: ",
		"--read-replica --join a:1 --bootstrap-expect 3": "--read-replica: ",
		"--idle-timeout=-1s":                             "--idle-timeout: -1s is negative",
		"--idle-timeout -1s":                             "--idle-timeout: -1s is negative",
		"--idle-timeout 1ms":                             "--idle-timeout: ",
		"--idle-timeout 30":                              "--idle-timeout: ",
		"--max-lifetime -1h":                             "--max-lifetime: -1h0m0s is negative",
		"--max-lifetime 1m":                              "--max-lifetime: ",
		"--max-lifetime 9000h":                           "--max-lifetime: ",
		"--heartbeat 99ms":                               "--heartbeat: 99ms: from 100ms to 4s",
		"--heartbeat 10001ms":                            "--heartbeat: ",
		"--heartbeat 0":                                  "--heartbeat: ",
		"--heartbeat 1":                                  "--heartbeat: ",
		"--remove-dead-after -1h":                        "--remove-dead-after: -1h0m0s is negative",
		"--remove-dead-after 4s":                         "--remove-dead-after: 4s: at least 10 times --heartbeat 500ms",
		"--remove-dead-after 30s --heartbeat 4s":         "--remove-dead-after: ",
		"--remove-dead-after never":                      "--remove-dead-after: ",
		"--disk-reserve 0":                               "--disk-reserve: ",
		"--disk-reserve 1MiB":                            "--disk-reserve: 1MiB: at least 4MiB, or auto",
		"--disk-reserve lots":                            "--disk-reserve: \"lots\" is not a size",
		"--disk-reserve -1GB":                            "--disk-reserve: ",
		"--memory-limit 10MB":                            "--memory-limit: 10MB: at least 128MiB, or auto",
		"--memory-limit 2G":                              "--memory-limit: ",
		"--memory-limit 9999999TiB":                      "--memory-limit: ",
		"--lease-duration=-1s":                           "--lease-duration: -1s is negative",
		"--lease-duration 249ms --heartbeat 100ms":       "--lease-duration: lease duration 249ms: must be 250ms to 8s",
		"--lease-duration 8001ms":                        "--lease-duration: lease duration 8.001s: must be 250ms to 8s",
		"--lease-duration 999ms":                         "--lease-duration: lease duration 999ms with a heartbeat of 500ms: must be twice the heartbeat at least",
		"--lease-duration 1s --heartbeat 501ms":          "--lease-duration: ",
		"--lease-duration 1":                             "--lease-duration: ",
		"--lease-duration long":                          "--lease-duration: ",
		"--consistency strong":                           "--consistency",
		"--when-cut-off lease":                           "--when-cut-off",
		"--log-level loud":                               "--log-level",
		"--log-format xml":                               "--log-format",
		"--tls-cert a.pem":                               "--tls-cert: ",
		"--tls-key a.pem":                                "--tls-cert: ",
		"--trusted-proxies 10.0.0.0/33":                  "--trusted-proxies: ",
		"--trusted-proxies all":                          "--trusted-proxies: ",
		"--allowed-origins *":                            "--allowed-origins: ",
		"--allowed-origins http://a/":                    "--allowed-origins: ",
		"--allowed-origins http://u@a":                   "--allowed-origins: ",
		"--cookie-domain a;b":                            "--cookie-domain: ",
		"--cookie-secure maybe":                          "--cookie-secure",
		"--argon2-memory 100":                            "--argon2-memory: ",
		"--argon2-memory 0":                              "--argon2-memory: ",
		"--argon2-iterations 0":                          "--argon2-iterations: ",
		"--argon2-parallelism 300":                       "--argon2-parallelism: ",
		"--name a/b":                                     "--name: ",
		"--data-dir /" + strings.Repeat("d", 100):        "--data-dir: ",
		"--nonsense":                                     "unknown flag --nonsense",
		"nonsense":                                       "unexpected argument nonsense",
	} {
		_, err := parseServe(t, nil, strings.Fields(line)...)
		_, usage := errors.AsType[*usageError](err)
		_, flag := errors.AsType[*FlagError](err)
		if err == nil || !strings.HasPrefix(err.Error(), want) || !usage && !flag {
			t.Errorf("%s: error %v, want wrong use beginning with %q", line, err, want)
		}
	}
	for line, env := range map[string]map[string]string{
		"--peer 0.0.0.0:1 --advertise n1.example.org --cluster-key-file key": nil,
		"--http :8080": nil,
		"--http [::1]:8080 --operator localhost:8081 --peer [::1]:8082":    nil,
		"--trusted-proxies 10.0.0.0/8,::1 --allowed-origins https://a:444": nil,
		"--read-replica --join a:1":                                        nil,
		"--join a:1,b:2 --bootstrap-expect 3":                              {"CLOAKROOM_HTTP": ""},
		"--cookie-domain .example.org --cookie-secure never":               nil,
		"--http 127.0.0.1:0 --operator 127.0.0.1:0":                        nil,
		"--heartbeat 100ms --remove-dead-after 1s":                         nil,
		"--heartbeat 4s --remove-dead-after 0":                             nil,
		"--lease-duration 250ms --heartbeat 100ms":                         nil,
		"--lease-duration 8s":                                              {"CLOAKROOM_LEASE_DURATION": "1ms"},
		"--lease-duration 0 --heartbeat 4s":                                {"CLOAKROOM_LEASE_DURATION": "1s"},
		"--consistency quorum --when-cut-off local":                        nil,
		"--consistency local --when-cut-off refuse":                        nil,
		"--disk-reserve 4MiB --memory-limit 128MiB":                        {"CLOAKROOM_DISK_RESERVE": "nonsense"},
		"--disk-reserve AUTO --memory-limit auto":                          nil,
	} {
		if _, err := parseServe(t, env, strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestGuards holds the settings that guard a node to their defaults, and takes them from where all others come from.
func TestGuards(t *testing.T) {
	cfg := DefaultConfig()
	if cfg.Heartbeat != 500*time.Millisecond || cfg.RemoveDeadAfter != time.Hour || cfg.DiskReserve != 0 || cfg.MemoryLimit != 0 {
		t.Errorf("defaults: %v, %v, %v, %v", cfg.Heartbeat, cfg.RemoveDeadAfter, cfg.DiskReserve, cfg.MemoryLimit)
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte("heartbeat: 700ms\nremove-dead-after: 0\ndisk-reserve: 1073741824\nmemory-limit: 512MiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := parseServe(t, map[string]string{"CLOAKROOM_MEMORY_LIMIT": "2GiB"}, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Heartbeat != 700*time.Millisecond || cfg.RemoveDeadAfter != 0 || cfg.DiskReserve != gib || cfg.MemoryLimit != 2*gib {
		t.Errorf("%v, %v, %v, %v", cfg.Heartbeat, cfg.RemoveDeadAfter, cfg.DiskReserve, cfg.MemoryLimit)
	}
	_, err = parseServe(t, map[string]string{"CLOAKROOM_DISK_RESERVE": "lots"})
	if err == nil || !strings.HasSuffix(err.Error(), "(set by CLOAKROOM_DISK_RESERVE)") {
		t.Errorf("a wrong size: %v", err)
	}
}

// TestReads holds the settings of reads to their defaults, and shows what the cluster is told of them.
func TestReads(t *testing.T) {
	cfg := DefaultConfig()
	if cfg.Consistency != "lease" || cfg.WhenCutOff != "refuse" || cfg.AllowLocalReads || cfg.LeaseDuration != 0 {
		t.Errorf("defaults: %s, %s, %v, %v", cfg.Consistency, cfg.WhenCutOff, cfg.AllowLocalReads, cfg.LeaseDuration)
	}
	if told := cfg.cluster(); told.Lease != 0 || told.CutOff != 0 || told.Heartbeat != 500*time.Millisecond {
		t.Errorf("the cluster is told %v, %v, %v", told.Lease, told.CutOff, told.Heartbeat)
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte("lease-duration: 2s\nwhen-cut-off: local\nconsistency: quorum\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := parseServe(t, map[string]string{"CLOAKROOM_LEASE_DURATION": "3s"}, "--config", file, "--consistency", "lease")
	if err != nil {
		t.Fatal(err)
	}
	if told := cfg.cluster(); told.Lease != 3*time.Second || told.CutOff != cluster.Local || cfg.Consistency != "lease" {
		t.Errorf("the cluster is told %v, %v; reads are at %s", told.Lease, told.CutOff, cfg.Consistency)
	}
	_, err = parseServe(t, map[string]string{"CLOAKROOM_LEASE_DURATION": "600ms"})
	if err == nil || !strings.HasSuffix(err.Error(), "(set by CLOAKROOM_LEASE_DURATION)") {
		t.Errorf("a lease that is too short: %v", err)
	}
}

func TestErrorNamesItsSource(t *testing.T) {
	_, err := parseServe(t, map[string]string{"CLOAKROOM_IDLE_TIMEOUT": "-5m"})
	if err == nil || !strings.HasSuffix(err.Error(), "(set by CLOAKROOM_IDLE_TIMEOUT)") {
		t.Errorf("a negative time: %v", err)
	}
	_, err = parseServe(t, map[string]string{"CLOAKROOM_BOOTSTRAP_EXPECT": "many"})
	if err == nil || !strings.HasSuffix(err.Error(), "(set by CLOAKROOM_BOOTSTRAP_EXPECT)") {
		t.Errorf("a word for a number: %v", err)
	}
}

func TestJoinAloneNeverBootstraps(t *testing.T) {
	cfg, err := parseServe(t, nil, "--join", "a:1")
	if err != nil || cfg.BootstrapExpect != 0 {
		t.Errorf("with --join: expect %d, %v", cfg.BootstrapExpect, err)
	}
	cfg, err = parseServe(t, nil)
	if err != nil || cfg.BootstrapExpect != 1 {
		t.Errorf("without: expect %d, %v", cfg.BootstrapExpect, err)
	}
}
