package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// settings say what is measured, and for how long. They are part of the report.
type settings struct {
	Sessions    int           `json:"sessions" default:"100000" placeholder:"N" help:"Sessions to make, through the API, and pick from at random (${default}); 1000000 and 10000000 are what the targets were set for."`
	Rounds      int           `json:"rounds" default:"5" placeholder:"N" help:"Rounds; in each, everyone is measured once, and the order moves on (${default})."`
	RoundTime   time.Duration `json:"roundTimeNs" default:"3s" placeholder:"TIME" help:"Length of one measurement (${default})."`
	Warmup      time.Duration `json:"warmupNs" default:"500ms" placeholder:"TIME" help:"How long to send requests before each, uncounted (${default})."`
	Connections int           `json:"connections" short:"c" default:"64" placeholder:"N" help:"Connections of a closed loop, each with one request at a time (${default})."`
	Rate        float64       `json:"rate" default:"2000" placeholder:"R" help:"Lookups a second of an open loop (${default}): well below what the machine can do, or the wait is measured and not the server."`
	Only        []string      `json:"only" placeholder:"NAME" help:"Scenarios to measure (default: all but those that are marked *). ${scenarios}"`
	Peers       []string      `json:"peers" default:"fasthttp,redis,etcd" enum:"fasthttp,redis,etcd,none" placeholder:"NAME" help:"Whom to measure beside the nodes (${default}); those that are not installed are named and left out. With --target: nobody."`
	Lease       time.Duration `json:"leaseNs" placeholder:"TIME" help:"The started nodes' --lease-duration (default: the program's own)."`
	Heartbeat   time.Duration `json:"heartbeatNs" placeholder:"TIME" help:"The started nodes' --heartbeat (default: the program's own)."`
	AllowErrors bool          `json:"allowErrors" help:"Go on although requests fail; they are counted."`

	Few         int             `json:"few" default:"10000" placeholder:"N" help:"Sessions of the small cluster that latency compares with (${default})."`
	Expiring    int             `json:"expiring" default:"0" placeholder:"N" help:"Sessions that scenario expiry lets go at once (default: as many as --sessions, up to 1000000)."`
	Sizes       []int           `json:"sizes" default:"1,3,5" placeholder:"N" help:"Cluster sizes of scenario size (${default})."`
	Loads       []int           `json:"loads" default:"1,4,16,64,256" placeholder:"N" help:"Numbers of connections of scenario connections (${default})."`
	After       time.Duration   `json:"afterNs" default:"3s" placeholder:"TIME" help:"How long scenario failover goes on after writes are back (${default})."`
	Heartbeats  []time.Duration `json:"heartbeatsNs" default:"500ms,750ms,1s" placeholder:"TIME" help:"Heartbeat times that scenario elections tries, each on a new cluster (${default}); 0s: the program's own."`
	Prime       int             `json:"primeMiB" default:"230" placeholder:"MIB" help:"Mebibytes of values that scenario elections puts beforehand (${default}): nodes take a snapshot after 256 MiB of log, and one is wanted meanwhile."`
	SnapshotLog int             `json:"snapshotLogMiB" name:"snapshot-log" default:"256" hidden:"" help:"Mebibytes of log after which nodes take a snapshot: it is how the program is built."`
	Hogs        int             `json:"hogs" default:"4" placeholder:"N" help:"Processes of scenario elections that do nothing but take processor time (${default})."`
}

// Validate checks the settings.
func (s *settings) Validate() error {
	switch {
	case s.Rounds < 1 || s.Rounds > maxRounds:
		return fmt.Errorf("--rounds %d: need 1 to %d", s.Rounds, maxRounds)
	case s.Sessions < 2 || s.Sessions > peer.MaxSessions:
		return fmt.Errorf("--sessions %d: need 2 to %d", s.Sessions, peer.MaxSessions)
	case s.Few < 1 || s.Few > peer.MaxSessions:
		return fmt.Errorf("--few %d: need 1 to %d", s.Few, peer.MaxSessions)
	case s.Expiring < 0 || s.Expiring > peer.MaxSessions:
		return fmt.Errorf("--expiring %d: need 0 to %d", s.Expiring, peer.MaxSessions)
	case s.Rate <= 0:
		return fmt.Errorf("--rate %g: need more than 0", s.Rate)
	case s.Lease < 0 || s.Heartbeat < 0:
		return fmt.Errorf("--lease %v --heartbeat %v: need more than 0", s.Lease, s.Heartbeat)
	case s.After <= 0 || s.After > maxFailover:
		return fmt.Errorf("--after %v: need up to %v", s.After, maxFailover)
	case s.Prime < 0 || s.Prime > maxPrime:
		return fmt.Errorf("--prime %d: need 0 to %d", s.Prime, maxPrime)
	case s.SnapshotLog < 1 || s.SnapshotLog > maxPrime:
		return fmt.Errorf("--snapshot-log %d: need 1 to %d", s.SnapshotLog, maxPrime)
	case s.Hogs < 0 || s.Hogs > peer.MaxHogs:
		return fmt.Errorf("--hogs %d: need 0 to %d", s.Hogs, peer.MaxHogs)
	}
	if err := s.validateLists(); err != nil {
		return err
	}
	return errors.Join(s.closed(nobody).Validate(), s.open(nobody).Validate())
}

func (s *settings) validateLists() error {
	for _, n := range s.Sizes {
		if n < 1 || n > maxNodes {
			return fmt.Errorf("--sizes %d: need 1 to %d", n, maxNodes)
		}
	}
	for _, n := range s.Loads {
		if n < 1 || n > load.MaxWorkers {
			return fmt.Errorf("--loads %d: need 1 to %d", n, load.MaxWorkers)
		}
	}
	if len(s.Heartbeats) == 0 || len(s.Heartbeats) > maxHeartbeats {
		return fmt.Errorf("--heartbeats: need 1 to %d", maxHeartbeats)
	}
	for _, heartbeat := range s.Heartbeats {
		if heartbeat < 0 || heartbeat > maxHeartbeat {
			return fmt.Errorf("--heartbeats %v: need 0s to %v", heartbeat, maxHeartbeat)
		}
	}
	for _, name := range s.Only {
		if !slices.ContainsFunc(allScenarios(), func(sc scenario) bool { return sc.about().Name == name }) {
			return fmt.Errorf("--only %s: there are %s", name, strings.Join(scenarioNames(), ", "))
		}
	}
	return nil
}

// nobody stands for a caller where settings are checked.
func nobody(context.Context, int) (load.Caller, error) { return nil, errors.New("not to be called") }

// wants says whether a scenario is to be measured.
func (s *settings) wants(is about) bool {
	if len(s.Only) > 0 {
		return slices.Contains(s.Only, is.Name)
	}
	return !is.Optional
}

// closed returns a closed loop: it measures throughput.
func (s *settings) closed(open load.Open) load.Config {
	return load.Config{Workers: s.Connections, Duration: s.RoundTime, Warmup: s.Warmup, Open: open}
}

// open returns an open loop: it measures latency, from when a request should have been sent.
func (s *settings) open(open load.Open) load.Config {
	return load.Config{Workers: max(s.Connections, openConnections), Duration: s.RoundTime, Warmup: s.Warmup, Rate: s.Rate, Open: open}
}

// The loops that most scenarios use.
const (
	closedLoop = "closed loop"
	openLoop   = "open loop"
)

// loop says how many callers a loop has, or how many requests a second.
func (s *settings) loop(kind string) string {
	if kind == closedLoop {
		return fmt.Sprintf("%s, %d connections", kind, s.Connections)
	}
	if rest, open := strings.CutPrefix(kind, openLoop); open && !strings.Contains(rest, " a second") {
		return fmt.Sprintf("%s, %g lookups a second%s", openLoop, s.Rate, rest)
	}
	return kind
}

// scenarioNames lists the scenarios for --only.
func scenarioNames() []string {
	var names []string
	for _, s := range allScenarios() {
		is := s.about()
		if is.Optional {
			is.Name += "*"
		}
		names = append(names, is.Name)
	}
	return names
}
