package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// loadFlags say how requests are sent. They are the same for every command that sends them.
type loadFlags struct {
	For         time.Duration `name:"for" default:"10s" placeholder:"TIME" help:"How long to measure (${default})."`
	Warmup      time.Duration `default:"1s" placeholder:"TIME" help:"How long to send requests before that, uncounted (${default})."`
	Connections int           `short:"c" default:"64" placeholder:"N" help:"Connections, each with one request at a time (${default})."`
	Rate        float64       `placeholder:"R" help:"Open loop: requests a second in all; latency counts from the time that a request should have been sent. Without it: closed loop."`
}

// config returns the run that the flags describe.
func (f *loadFlags) config(open load.Open) load.Config {
	return load.Config{Workers: f.Connections, Duration: f.For, Warmup: f.Warmup, Rate: f.Rate, Open: open}
}

// Validate checks the flags.
func (f *loadFlags) Validate() error {
	return f.config(func(context.Context, int) (load.Caller, error) { return nil, errors.New("not to be called") }).Validate()
}

// loop is how the run is described to readers.
func (f *loadFlags) loop() string {
	if f.Rate > 0 {
		return fmt.Sprintf("open loop, %g requests a second", f.Rate)
	}
	return "closed loop"
}

// validateAll checks groups of flags: the command line's parser asks the commands only.
func validateAll(groups ...interface{ Validate() error }) error {
	for _, g := range groups {
		if err := g.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// outputFlags say what becomes of the result.
type outputFlags struct {
	JSON        bool `name:"json" help:"Print the result as JSON."`
	AllowErrors bool `help:"Exit with 0 although requests failed."`
}

// nodeFlags say which nodes are asked, and as whom.
type nodeFlags struct {
	Target      []string `required:"" placeholder:"URL" help:"Nodes, such as http://127.0.0.1:8080; connections are spread over them."`
	Sessions    int      `default:"10000" placeholder:"N" help:"Sessions to make first and pick from at random (${default}). They stay until they time out."`
	User        string   `default:"admin" placeholder:"NAME" help:"User with the role admin or service (${default})."`
	PasswordEnv string   `default:"CLOAKROOM_PASSWORD" placeholder:"VARIABLE" help:"Environment variable with that user's password (${default})."`
	TLSCA       string   `name:"tls-ca" type:"existingfile" placeholder:"FILE" help:"PEM file of the CAs to trust with https (default: the system's)."`
}

// Validate checks the flags.
func (f *nodeFlags) Validate() error {
	if len(f.Target) > maxTargets {
		return fmt.Errorf("--target: %d nodes: at most %d", len(f.Target), maxTargets)
	}
	if f.Sessions < 1 || f.Sessions > peer.MaxSessions {
		return fmt.Errorf("--sessions %d: need 1 to %d", f.Sessions, peer.MaxSessions)
	}
	for _, text := range f.Target {
		if _, err := peer.ParseTarget(text, nil); err != nil {
			return err
		}
	}
	return nil
}

// service returns the nodes' API.
func (f *nodeFlags) service(a *app) (*peer.Service, error) {
	password, set := a.env(f.PasswordEnv)
	if !set || password == "" {
		return nil, usagef("no password for %s: set %s", f.User, f.PasswordEnv)
	}
	s := &peer.Service{User: f.User, Password: peer.Secret(password), Timeout: peer.CallTimeout}
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	for _, text := range f.Target {
		target, err := peer.ParseTarget(text, roots)
		if err != nil {
			return nil, usageError{err}
		}
		s.Targets = append(s.Targets, target)
	}
	return s, nil
}

func (f *nodeFlags) roots() (*x509.CertPool, error) {
	if f.TLSCA == "" {
		return nil, nil // nil is the system's own
	}
	pem, err := os.ReadFile(f.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("read CAs: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usagef("%s: no certificate in it", f.TLSCA)
	}
	return roots, nil
}
