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

// compareCmd is `bench compare`.
type compareCmd struct {
	clusterFlags `embed:""`
	Peers        []string      `default:"cloakroom,fasthttp,redis,etcd" enum:"cloakroom,fasthttp,redis,etcd" placeholder:"NAME" help:"Whom to measure (${default}); those that are not installed are named and left out."`
	Measures     []string      `default:"lookup-local,lookup-quorum,put" enum:"lookup-local,lookup-quorum,put" placeholder:"NAME" help:"What to measure (${default})."`
	Rounds       int           `default:"5" placeholder:"N" help:"Rounds; each measures everyone once (${default})."`
	For          time.Duration `name:"for" default:"3s" placeholder:"TIME" help:"Length of one measurement (${default})."`
	Warmup       time.Duration `default:"500ms" placeholder:"TIME" help:"How long to send requests before each, uncounted (${default})."`
	Connections  int           `short:"c" default:"64" placeholder:"N" help:"Callers, each with one request at a time (${default}). All but etcd give each a connection."`
	Rate         float64       `placeholder:"R" help:"Open loop: requests a second, the same for everyone, and latencies instead of throughput."`
	Sessions     int           `default:"100000" placeholder:"N" help:"Sessions, or keys, to pick from at random (${default})."`
	Spread       bool          `help:"Send requests to all nodes in turn, not to the leader alone (this cluster and etcd)."`
	Route        string        `default:"verify" enum:"verify,session" placeholder:"ROUTE" help:"Call for local lookups: verify or session (${default}). Quorum lookups are by session: forward auth keeps to the nodes' level."`
	JSON         bool          `name:"json" help:"Print all readings as JSON."`
	AllowErrors  bool          `help:"Go on although requests fail."`
}

// clusterFlags say which program is started, and where it keeps its data.
type clusterFlags struct {
	Binary string `type:"existingfile" placeholder:"FILE" help:"The built program (default: go build of this tree)."`
	Dir    string `type:"existingdir" placeholder:"DIR" help:"Where the servers keep their data: a disk, or fsync costs nothing (default: the system's temporary directory)."`
	Keep   bool   `help:"Leave data and logs there afterwards."`
}

// Validate is called by the command line's parser.
func (c *compareCmd) Validate() error {
	if c.Rounds < 1 || c.Rounds > maxRounds {
		return fmt.Errorf("--rounds %d: need 1 to %d", c.Rounds, maxRounds)
	}
	if c.Sessions < 1 || c.Sessions > peer.MaxSessions {
		return fmt.Errorf("--sessions %d: need 1 to %d", c.Sessions, peer.MaxSessions)
	}
	return c.loadFlags().Validate()
}

func (c *compareCmd) loadFlags() *loadFlags {
	return &loadFlags{For: c.For, Warmup: c.Warmup, Connections: c.Connections, Rate: c.Rate}
}

// Run implements the command.
func (c *compareCmd) Run(ctx context.Context, a *app) (err error) {
	dir, remove, err := c.workDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	field := &field{cmd: c, app: a, dir: dir}
	defer func() { err = errors.Join(err, field.stop()) }() // before the directory goes
	if err := field.start(ctx); err != nil {
		return err
	}
	board := newScoreboard(c)
	board.Skipped = field.skipped
	for _, p := range field.peers {
		board.Notes = append(board.Notes, note{Peer: p.Name(), Text: p.Note()})
	}
	for round := range c.Rounds {
		if err := field.round(ctx, round, board); err != nil {
			return err
		}
	}
	if c.JSON {
		return writeJSON(a.stdout, board)
	}
	return board.print(a.stdout)
}

// workDir makes a directory for the servers, and returns what takes it away.
func (f *clusterFlags) workDir() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp(f.Dir, "cloakroom-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the servers: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, fmt.Errorf("make a directory for the servers: %w", err)
	}
	return dir, func() error {
		if f.Keep {
			return nil
		}
		return os.RemoveAll(dir)
	}, nil
}

// field is everyone who takes part. All run all the time: an idle cluster costs its neighbours something, and is to
// cost everyone the same.
type field struct {
	cmd     *compareCmd
	app     *app
	dir     string
	peers   []peer.Peer
	skipped []string
}

// start starts and fills the peers.
func (f *field) start(ctx context.Context) error {
	for _, name := range f.cmd.Peers {
		p, err := f.newPeer(name)
		if err != nil {
			return err
		}
		dir := filepath.Join(f.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		f.app.progressf("%s: starting", name)
		err = p.Start(ctx, dir)
		if errors.Is(err, peer.ErrAbsent) {
			f.app.progressf("%s: left out: %v", name, err)
			f.skipped = append(f.skipped, err.Error())
			continue
		}
		f.peers = append(f.peers, p) // stopped even when its start failed halfway
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		f.app.progressf("%s: filling in %d", name, f.cmd.Sessions)
		if err := p.Fill(ctx, f.cmd.Sessions); err != nil {
			return fmt.Errorf("fill %s: %w", name, err)
		}
	}
	if len(f.peers) == 0 {
		return errors.New("nobody is there to be measured")
	}
	return nil
}

func (f *field) newPeer(name string) (peer.Peer, error) {
	switch name {
	case "cloakroom":
		route, err := peer.ParseRoute(f.cmd.Route)
		if err != nil {
			return nil, usageError{err}
		}
		return peer.NewCloakroom(peer.CloakroomConfig{
			Binary: f.cmd.Binary, Level: peer.Local, Route: route, Spread: f.cmd.Spread,
			Progress: f.app.fillProgress(f.cmd.Sessions),
		}), nil
	case "fasthttp":
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		return peer.NewBare(self, "bare"), nil
	case "redis":
		return peer.NewRedis(), nil
	case "etcd":
		return peer.NewEtcd(f.cmd.Spread), nil
	}
	return nil, usagef("no peer is called %q", name)
}

// stop stops everyone at once.
func (f *field) stop() error {
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for _, p := range f.peers {
		wg.Go(func() {
			if err := p.Stop(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("stop %s: %w", p.Name(), err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// round measures everything once. The order moves on by one from round to round, so that nobody always comes after the
// same one.
func (f *field) round(ctx context.Context, round int, board *scoreboard) error {
	order := slices.Concat(f.peers[round%len(f.peers):], f.peers[:round%len(f.peers)])
	for _, m := range f.cmd.Measures {
		for _, p := range order {
			open, err := opener(p, m)
			if errors.Is(err, peer.ErrNotOffered) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s of %s: %w", m, p.Name(), err)
			}
			r, err := f.measure(ctx, p, open)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", m, p.Name(), err)
			}
			board.add(m, p.Name(), r)
			f.app.progressf("round %d of %d: %s of %s: %s", round+1, f.cmd.Rounds, m, p.Name(), r)
		}
	}
	return nil
}

func opener(p peer.Peer, measure string) (load.Open, error) {
	switch measure {
	case "lookup-local":
		return p.Lookup(peer.Local)
	case "lookup-quorum":
		return p.Lookup(peer.Quorum)
	case "put":
		return p.Put()
	}
	return nil, usagef("no measure is called %q", measure)
}

// measure takes one reading.
func (f *field) measure(ctx context.Context, p peer.Peer, open load.Open) (reading, error) {
	self := []int{os.Getpid()}
	server, known := peer.CPUTime(p.PIDs())
	client, knownToo := peer.CPUTime(self)
	res, err := load.Run(ctx, f.cmd.loadFlags().config(open))
	if err != nil {
		return reading{}, err
	}
	serverAfter, still := peer.CPUTime(p.PIDs())
	clientAfter, stillToo := peer.CPUTime(self)
	if err := judge(res, f.cmd.AllowErrors); err != nil {
		for label, failure := range res.Failures {
			err = fmt.Errorf("%w; %s: %s", err, label, failure.Example)
		}
		return reading{}, err
	}
	r := reading{PerSecond: res.PerSecond(), Latency: load.PercentilesOf(res.Latency), Failed: res.Failed}
	if known && knownToo && still && stillToo && res.Sent > 0 {
		r.ServerCPU = float64((serverAfter - server).Microseconds()) / float64(res.Sent)
		r.ClientCPU = float64((clientAfter - client).Microseconds()) / float64(res.Sent)
	}
	return r, nil
}
