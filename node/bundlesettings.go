package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// setting is one setting as a support bundle shows it.
type setting struct{ name, shown string }

// The settings that a bundle shows, and those of which it says only whether they are set: files with keys in them, whose names
// are nobody's business. One that is in neither list is not shown.
var (
	shownSettings = []string{
		"name", "http", "operator", "data-dir", "ephemeral", "tls-cert", "disk-reserve", "memory-limit", "jwks-dir", "audit-log", "audit-expiries",
		"log-format", "log-level", "peer", "gossip", "advertise", "join", "bootstrap-expect", "read-replica", "heartbeat", "lease-duration",
		"remove-dead-after", "idle-timeout", "max-lifetime", "consistency", "allow-local-reads", "when-cut-off", "trusted-proxies", "allowed-origins",
		"return-origins", "login-url", "cookie-domain", "cookie-secure", "recheck-interval", "cookie-host-prefix", "hsts", "tls-check", "mmonit-rotate",
		"argon2-memory", "argon2-iterations", "argon2-parallelism",
	}
	maskedSettings = []string{"tls-key", "data-key-file", "cluster-key-file"}
)

// settingsOf returns the settings by the names of their flags.
func settingsOf(cfg Config) (list []setting) {
	for _, flag := range settingFlags(&cfg) {
		list = append(list, setting{flag.Name, shownSetting(flag)})
	}
	return list
}

// settingFlags returns the flags of serve, with the values that they have in cfg.
func settingFlags(cfg *Config) (flags []*kong.Flag) {
	parser, err := kong.New(cfg, kong.NoDefaultHelp())
	if err != nil {
		panic("BUG: the flags of Config: " + err.Error())
	}
	return parser.Model.Flags
}

func shownSetting(flag *kong.Flag) string {
	value := flag.Target.Interface()
	for _, name := range shownSettings {
		if name != flag.Name {
			continue
		}
		if list, ok := value.([]string); ok {
			return strings.Join(list, ",")
		}
		return fmt.Sprint(value)
	}
	for _, name := range maskedSettings {
		if name != flag.Name {
			continue
		}
		if flag.Target.IsZero() {
			return ""
		}
		return "<set>"
	}
	return "<hidden>"
}
