package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// us is what the product is called among the others.
const us = "cloakroom"

// field is everyone who takes part. All run all the time: an idle cluster costs its neighbours something, and is to cost
// everyone the same.
type field struct {
	set    *settings
	app    *app
	dir    string
	binary string // of the product, "": to be built

	cluster  *peer.Cloakroom // nil with --target
	service  *peer.Service   // the nodes, all of them
	sessions *peer.Sessions
	peers    []peer.Peer // the others
	skipped  []note
	grown    growth
	filled   time.Duration // how long it took to fill the sessions in

	stops []func() error // of the scenario under way
	dirs  int
}

// growth is what filling the sessions in cost a node in memory.
type growth struct {
	before, after int64 // bytes resident
	known         bool
}

// start starts and fills everyone.
func (f *field) start(ctx context.Context) error {
	if f.service != nil {
		return f.startTarget(ctx)
	}
	if err := f.startPeers(ctx); err != nil {
		return err
	}
	f.app.progressf("%s: starting three nodes", us)
	f.cluster = peer.NewCloakroom(f.config())
	if err := f.startCluster(ctx, f.cluster); err != nil {
		return err
	}
	f.binary = f.cluster.Binary()
	f.service = f.cluster.Service()
	before, known := f.resident()
	began := time.Now()
	if err := f.cluster.Fill(ctx, f.set.Sessions); err != nil {
		return err
	}
	f.sessions, f.filled = f.cluster.Sessions(), time.Since(began)
	if err := settleDown(ctx, f.set); err != nil {
		return err
	}
	after, still := f.resident()
	f.grown = growth{before: before, after: after, known: known && still}
	return nil
}

// filledPerSecond is how fast sessions were made.
func (f *field) filledPerSecond() float64 { return float64(f.set.Sessions) / f.filled.Seconds() }

// resident returns what one node has in memory: always the same one.
func (f *field) resident() (int64, bool) {
	pids := f.cluster.PIDs()
	if len(pids) == 0 {
		return 0, false
	}
	return peer.Resident(pids[0])
}

func (f *field) startTarget(ctx context.Context) error {
	if err := f.service.Open(ctx); err != nil {
		return errors.Join(err, f.service.Close())
	}
	bar := newBar(f.app, "sessions", f.set.Sessions)
	sessions, err := f.service.Fill(ctx, f.set.Sessions, bar.set)
	f.sessions = sessions
	f.skipped = append(f.skipped, note{"peers", "they would stand beside this program, and the nodes elsewhere"})
	return errors.Join(err, f.service.Close())
}

// config is that of the cluster that figures are taken of.
func (f *field) config() peer.CloakroomConfig {
	return peer.CloakroomConfig{
		Binary: f.binary, Level: peer.Lease, Lease: f.set.Lease, Heartbeat: f.set.Heartbeat,
		Idle: keepAlive, Progress: newBar(f.app, "sessions", f.set.Sessions).set,
	}
}

// startCluster starts a cluster in a directory of its own.
func (f *field) startCluster(ctx context.Context, c *peer.Cloakroom) error {
	dir, err := f.newDir(us)
	if err != nil {
		return err
	}
	return c.Start(ctx, dir)
}

// extraCluster starts a cluster beside the others, until the scenario is over.
func (f *field) extraCluster(ctx context.Context, cfg peer.CloakroomConfig, sessions int) (*peer.Cloakroom, error) {
	cfg.Progress = newBar(f.app, "sessions", sessions).set
	c := peer.NewCloakroom(cfg)
	f.later(c.Stop)
	if err := f.startCluster(ctx, c); err != nil {
		return nil, err
	}
	return c, c.Fill(ctx, sessions)
}

func (f *field) newDir(name string) (string, error) {
	f.dirs++
	dir := filepath.Join(f.dir, fmt.Sprintf("%d-%s", f.dirs, name))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("start %s: %w", name, err)
	}
	return dir, nil
}

func (f *field) startPeers(ctx context.Context) error {
	for _, name := range f.set.Peers {
		if name == "none" {
			continue
		}
		p, err := newPeer(name)
		if err != nil {
			return err
		}
		dir, err := f.newDir(name)
		if err != nil {
			return err
		}
		f.app.progressf("%s: starting", name)
		err = p.Start(ctx, dir)
		if errors.Is(err, peer.ErrAbsent) {
			f.app.progressf("%s: left out: %v", name, err)
			f.skipped = append(f.skipped, note{name, err.Error()})
			continue
		}
		f.peers = append(f.peers, p) // stopped even when its start failed halfway
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		if err := p.Fill(ctx, f.set.Sessions); err != nil {
			return fmt.Errorf("fill %s: %w", name, err)
		}
	}
	return nil
}

func newPeer(name string) (peer.Peer, error) {
	switch name {
	case "fasthttp":
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		return peer.NewBare(self, "bare"), nil
	case "redis":
		return peer.NewRedis(), nil
	case "etcd":
		return peer.NewEtcd(false), nil
	}
	return nil, usagef("no peer is called %q", name)
}

// notes says what a reader must know of everyone.
func (f *field) notes() []note {
	var notes []note
	if f.cluster != nil {
		notes = append(notes, note{us, f.cluster.Note()})
	} else {
		notes = append(notes, note{us, fmt.Sprintf("running already, at %d addresses; the processor time of the nodes is not known", len(f.service.Targets))})
	}
	for _, p := range f.peers {
		notes = append(notes, note{p.Name(), p.Note()})
	}
	return notes
}

// later has something stopped when the scenario is over.
func (f *field) later(stop func() error) { f.stops = append(f.stops, stop) }

// endScenario stops what the scenario started, the last one first.
func (f *field) endScenario() error {
	var errs []error
	for _, stop := range slices.Backward(f.stops) {
		errs = append(errs, stop())
	}
	f.stops = nil
	return errors.Join(errs...)
}

// stop stops everyone at once.
func (f *field) stop() error {
	stops := []func() error{}
	if f.cluster != nil {
		stops = append(stops, f.cluster.Stop)
	}
	for _, p := range f.peers {
		stops = append(stops, p.Stop)
	}
	errs := make([]error, len(stops))
	var wg sync.WaitGroup
	for i, stop := range stops {
		wg.Go(func() { errs[i] = stop() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// spot is a place to send requests of the product to.
type spot struct {
	name    string // what a row is called after it
	service *peer.Service
	pids    []int // nil: not known
	node    int
}

// Names of spots.
const (
	atLeader   = "leader"
	atFollower = "follower"
	atNodes    = "nodes" // all in turn
)

// spots are the leader and a follower, or running nodes in turn.
func (f *field) spots(ctx context.Context) ([]spot, error) {
	if f.cluster == nil {
		return []spot{{name: atNodes, service: f.service}}, nil
	}
	if err := f.cluster.WaitWhole(ctx); err != nil {
		return nil, err
	}
	leader, err := f.cluster.Leader(ctx)
	if err != nil {
		return nil, err
	}
	follower := f.cluster.Follower(leader)
	return []spot{
		{atLeader, f.cluster.ServiceAt(leader), f.cluster.PIDAt(leader), leader},
		{atFollower, f.cluster.ServiceAt(follower), f.cluster.PIDAt(follower), follower},
	}, nil
}

// lead is where requests go that should go to the leader.
func (f *field) lead(ctx context.Context) (spot, error) {
	spots, err := f.spots(ctx)
	if err != nil {
		return spot{}, err
	}
	return spots[0], nil
}

// everywhere is all nodes in turn.
func (f *field) everywhere() spot {
	s := spot{name: atNodes, service: f.service}
	if f.cluster != nil {
		s.pids = f.cluster.PIDs()
	}
	return s
}

// loaded returns a turn that puts load on a spot of the product. Who leads is asked at each turn: it may have changed.
func (f *field) loaded(who string, x float64, at func(context.Context) (spot, error), loop func(load.Open) load.Config, open func(*peer.Service) load.Open) turn {
	return one(who, x, func(ctx context.Context) (reading, error) {
		s, err := at(ctx)
		if err != nil {
			return reading{}, err
		}
		return take(ctx, s.pids, loop(open(s.service)), f.set.AllowErrors)
	})
}

// spotNamed returns what finds a spot by its name; nodes that run already are asked in turn whatever the name.
func (f *field) spotNamed(name string) func(context.Context) (spot, error) {
	return func(ctx context.Context) (spot, error) {
		spots, err := f.spots(ctx)
		if err != nil {
			return spot{}, err
		}
		if i := slices.IndexFunc(spots, func(s spot) bool { return s.name == name }); i >= 0 {
			return spots[i], nil
		}
		return spots[0], nil
	}
}

// others returns a turn for each peer that offers something.
func (f *field) others(x float64, loop func(load.Open) load.Config, open func(peer.Peer) (load.Open, error)) ([]turn, error) {
	var turns []turn
	for _, p := range f.peers {
		if _, err := open(p); errors.Is(err, peer.ErrNotOffered) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name(), err)
		}
		turns = append(turns, one(p.Name(), x, func(ctx context.Context) (reading, error) {
			opened, err := open(p) // anew: it may have another leader by now
			if err != nil {
				return reading{}, err
			}
			return take(ctx, p.PIDs(), loop(opened), f.set.AllowErrors)
		}))
	}
	return turns, nil
}

// lookupOf returns how peers are asked at a level.
func lookupOf(level peer.Level) func(peer.Peer) (load.Open, error) {
	return func(p peer.Peer) (load.Open, error) { return p.Lookup(level) }
}

func putOf(p peer.Peer) (load.Open, error) { return p.Put() }
