package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose reads the file as Compose does, by its schema.
func (l *linter) compose(ctx context.Context) error {
	const file = "compose.yaml"
	dir := filepath.Join(l.dir, "compose")
	text, err := l.read(filepath.Join("compose", file))
	if err != nil {
		return err
	}
	project, err := loader.LoadWithContext(ctx, types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: file, Content: []byte(text)}},
	})
	if err != nil {
		l.complain(file, "%v", err)
		return nil
	}
	balancer, ok := project.Services["haproxy"]
	if !ok || len(project.Services) != 4 {
		l.complain(file, "instead of three nodes and haproxy there are %q", project.ServiceNames())
		return nil
	}
	for _, s := range project.Services {
		l.hardened(file, s)
		if s.Name == balancer.Name {
			continue
		}
		environment := make(map[string]string)
		for name, value := range s.Environment {
			environment[name] = *value
		}
		l.node(file, s, environment, balancer)
		args := []string(s.Command)
		if len(args) == 0 {
			args = []string{"serve", "--data-dir=/data"} // what the image says
		}
		l.settings(ctx, file, args, environment)
	}
	return l.balancer(file, dir, balancer, project)
}

func (l *linter) hardened(file string, s types.ServiceConfig) {
	if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || len(s.SecurityOpt) != 1 || s.Privileged {
		l.complain(file, "%s can do more than it needs", s.Name)
	}
}

// node looks at what the file says twice.
func (l *linter) node(file string, s types.ServiceConfig, environment map[string]string, balancer types.ServiceConfig) {
	own := address(s)
	if environment["CLOAKROOM_ADVERTISE"] != own || environment["CLOAKROOM_NAME"] != s.Name || !strings.Contains(environment["CLOAKROOM_JOIN"]+",", own+":8083,") {
		l.complain(file, "%s is at %s, and says %s; the others look at %s", s.Name, own, environment["CLOAKROOM_ADVERTISE"], environment["CLOAKROOM_JOIN"])
	}
	if environment["CLOAKROOM_TRUSTED_PROXIES"] != address(balancer)+"/32" {
		l.complain(file, "%s believes %s, and the proxy is %s", s.Name, environment["CLOAKROOM_TRUSTED_PROXIES"], address(balancer))
	}
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < longestStop {
		l.complain(file, "%s is killed before the %v that a stop may take", s.Name, longestStop)
	}
	for name, path := range environment {
		secret, ok := strings.CutPrefix(path, "/run/secrets/")
		there := false
		for _, given := range s.Secrets {
			there = there || given.Source == secret
		}
		if ok && !there {
			l.complain(file, "%s: %s names the secret %s, which it does not get", s.Name, name, secret)
		}
	}
}

// balancer looks at whether HAProxy's configuration is there and gets what it asks for.
func (l *linter) balancer(file, dir string, s types.ServiceConfig, project *types.Project) error {
	for _, v := range s.Volumes {
		path := v.Source
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for name, value := range s.Environment {
			if !strings.Contains(string(text), "${"+name+"}") {
				l.complain(file, "%s does not ask for %s", v.Source, name)
			}
			if node, ok := strings.CutPrefix(name, "CLOAKROOM_N"); ok && *value != address(project.Services["n"+node])+":8080" {
				l.complain(file, "%s is %s, and n%s is at %s", name, *value, node, address(project.Services["n"+node]))
			}
		}
	}
	return nil
}

func address(s types.ServiceConfig) string {
	for _, n := range s.Networks {
		if n != nil {
			if ip, err := netip.ParseAddr(n.Ipv4Address); err == nil {
				return ip.String()
			}
		}
	}
	return "no address"
}
