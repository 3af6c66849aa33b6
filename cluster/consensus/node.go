// Package consensus owns one member of the replicated log: hashicorp/raft, its transport, and the state machine that the
// log is applied to. It does not own how log, votes and snapshots lie on the disk (storage), what the entries mean
// (session), who should be a member (roster), how commands get to the leader (propose), or how fresh a read is (lookup).
//
// # Indexes
//
// Applied is the index of the last command or configuration entry whose effect is visible to Read. Entries by which a
// leader takes office never reach the machine, so waiting for the commit index of a leader that has applied no
// command of its own term can last for ever; wait for indexes of commands.
//
// # The nudge
//
// A follower hears that an entry is committed with the next entry, or after CommitTimeout. So that an acknowledgement
// that needs all members takes one round trip, a leader whose machine has applied entry i of its own term T sends each
// follower an empty append request for (i, T) that carries i as the commit index. See nudge.go.
//
// # Writes
//
// Before each store on the disk stands one of this package, which knows what a write means for a member: logstore.go,
// stablestore.go, snapshotstore.go. A leader sends commands to its followers while it writes them itself; nobody hears
// that one is committed, and no machine applies it, before the leader's own write is done (ahead.go).
//
// # Addresses
//
// The log's configuration holds the address of each member as it was last added. A member that comes back under
// another one is found by Config.Resolve, and, for good, by AddVoter or AddNonvoter with its id and the new address.
//
// # Giving up
//
// A node that can't go on says why to Config.OnFatal, once, and leaves the network: an entry is never skipped, and a
// leader that can't write must not stay leader. Starting it again on the same data is right in every case; where it
// can't succeed, Open says so.
//
// A write of entries, term or vote, and clearing the end of the log, ends the node when it fails (storage.ErrDiskFull, if
// that is why) and when it takes longer than Config.Stall (storage.ErrStalled). A snapshot that fails, of the node's own
// or the leader's, and entries that can't be removed from the front of the log are tried again; only when they stall they
// end the node. What is on disk can be read after each of these.
package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/histogram"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// Node is one member. Its methods may be called at any time from any goroutine.
type Node struct {
	cfg       Config
	raft      *raft.Raft
	transport *raft.NetworkTransport
	layer     *layer
	disk      *storage.Disk
	log       *logStore
	ahead     *ahead // before log
	snapshots *snapshotStore
	fsm       *fsm
	nudger    *nudger
	calm      *calmTransport
	logger    *logAdapter

	ready     chan struct{} // closed when raft is set: callbacks come before
	abandoned chan struct{} // closed when Open has failed
	halted    chan struct{} // closed when the node has failed or is closed: waiters give up
	proposals gate
	group     sync.WaitGroup
	elections atomic.Uint64
	committed histogram.Histogram // proposals
	changed   broadcast
	failOnce  sync.Once
	haltOnce  sync.Once
	stopOnce  sync.Once
	stopped   raft.Future // set by stopOnce
	closeOnce sync.Once
	closeErr  error
}

// Server is one member in the configuration.
type Server struct {
	ID    string
	Addr  string
	Voter bool
}

// Open starts a node on its data. A node without data waits to be bootstrapped or to be added by a leader.
func Open(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, errors.Join(err, closeLayer(cfg.Layer))
	}
	n := &Node{
		cfg:    cfg,
		logger: newLogAdapter(cfg.Logger),
		layer:  newLayer(cfg.Layer),
		ready:  make(chan struct{}),
		halted: make(chan struct{}),

		abandoned: make(chan struct{}),
	}
	n.changed.init()
	n.proposals.init()
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.abandon())
	}
	return n, nil
}

func closeLayer(l raft.StreamLayer) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

func (n *Node) open() error {
	disk, err := n.cfg.openDisk(n.logger)
	if err != nil {
		return err
	}
	n.disk = disk
	// Before anybody can send this node a term, which would be all that it has.
	if err := checkLoss(&disk.Stores, n.cfg.Member); err != nil {
		return err
	}
	watch := storage.Watch{Limit: n.cfg.Stall, OnFail: n.fail, OnSlow: (&storage.LateWrites{Logger: n.cfg.Logger}).Note}
	conf := n.cfg.library(n.logger)
	// Before the log is scanned, which counts the entry, and on the stores themselves: a failure ends Open.
	written, err := writeFirst(conf, &disk.Stores, n.cfg.First)
	if err != nil {
		return storage.Failed("write first configuration", err)
	}
	if written && n.cfg.OnStored != nil {
		n.cfg.OnStored(firstTerm)
	}
	n.snapshots = newSnapshotStore(disk.Snapshots, watch, n.halted)
	n.log = newLogStore(disk.Log, n.cfg, watch)
	if err := n.log.scan(n.snapshots); err != nil {
		return err
	}
	n.snapshots.onTaken = n.log.meter.covered
	n.ahead = newAhead(n.log)
	n.fsm = newFSM(n.cfg.Version)
	n.fsm.onDisk = func(index uint64) error { return n.ahead.wait(n.halted, index) }
	n.fsm.onApplied = n.onApplied
	n.fsm.onCommand, n.fsm.onEnd = n.cfg.OnCommand, n.cfg.OnEnd
	n.fsm.onFatal = n.fail
	n.fsm.onReplacing = n.onReplacing
	n.fsm.onInstalled = n.onInstalled

	n.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: n,
		Logger:                n.logger,
		Stream:                n.layer,
		MaxPool:               maxPool,
		MaxRPCsInFlight:       maxInFlight,
		Timeout:               transportTimeout,
	})
	n.transport.TimeoutScale = timeoutScale
	stable := &stableStore{StableStore: disk.Stable, watch: watch}
	n.calm = newCalmTransport(&cappedTransport{n.transport, n.ahead}, n)
	r, err := raft.NewRaft(conf, n.fsm, n.ahead, stable, n.snapshots, n.calm)
	if err != nil {
		// The library only logs what is wrong with a snapshot.
		if problem := cmp.Or(n.snapshots.problem, n.fsm.problem); problem != nil {
			err = problem
		}
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft = r
	n.log.started.Store(true)
	r.RegisterObserver(n.observer())
	n.nudger = newNudger(n.transport, n.cfg.NodeID, n)
	close(n.ready)
	n.group.Go(n.takeSnapshots)
	return nil
}

// abandon undoes what open has done before it failed.
func (n *Node) abandon() error {
	close(n.abandoned)
	var errs []error
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	} else {
		errs = append(errs, n.layer.Close())
	}
	if n.disk != nil {
		errs = append(errs, n.disk.Close())
	}
	return errors.Join(errs...)
}

// Close stops the node and waits for all that it has started. Proposals in flight are given drainTimeout to end; what
// is left then ends with ErrLeadershipLost. A leader should be transferred first.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		drained := n.proposals.shut()
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		select {
		case <-drained:
		case <-n.halted: // it has failed before: nothing ends by itself any more
		case <-drain.Done():
		}
		cancel()
		n.halt()
		n.stop()
		err := n.stopped.Error()
		n.ahead.close()
		n.nudger.wait()
		n.group.Wait()
		n.closeErr = errors.Join(err, n.disk.Close())
	})
	return n.closeErr
}

// Settled reports, after Close, whether all of the log is in the database. If not, some of it is in the journal still, which
// the next start moves, but not that of a program from before there was a journal.
func (n *Node) Settled() bool { return n.disk.Settled() }

// stop begins the end of the library and takes the node off the network; it does not wait. The connections are closed
// too: requests to members that don't answer would hold up the end, and a leader whose disk stalls would go on with
// its heartbeats.
func (n *Node) stop() {
	n.stopOnce.Do(func() {
		n.logger.mute()
		n.stopped = n.raft.Shutdown()
		// Both close listener and connections only; their errors say that these were closed before.
		_ = n.transport.Close()
		n.transport.CloseStreams()
	})
}

// halt lets everybody give up who waits for the machine.
func (n *Node) halt() { n.haltOnce.Do(func() { close(n.halted) }) }

// fail ends the node for a reason. It returns at once and may be called from anywhere.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		// Not in the group: OnFatal may call Close, which waits for the group.
		go func() {
			select {
			case <-n.ready:
			case <-n.abandoned: // Open has said what is wrong
				return
			}
			n.halt()
			n.stop()
			n.cfg.OnFatal(err)
		}()
	})
}

// Read calls fn with the machine, which does not change meanwhile. fn must not block, must not keep the machine, and
// may keep the records that it finds.
func (n *Node) Read(fn func(*session.Machine)) { n.fsm.read(fn) }

// Mutate calls fn while nobody else sees the machine. It is for methods that change how the machine is indexed, never
// what it holds: that changes by entries of the log alone.
func (n *Node) Mutate(fn func(*session.Machine)) { n.fsm.mutate(fn) }

// Applied returns the index of the last entry whose effect is visible to Read.
func (n *Node) Applied() uint64 { return n.fsm.applied.Load() }

// Clock returns the machine's clock: the latest stamp whose entry is visible to Read, or about to be. It takes no lock.
func (n *Node) Clock() session.Time { return session.Time(n.fsm.clock.Load()) }

// Slabs returns how many bytes the machine holds that the collector does not know of. It takes no lock.
func (n *Node) Slabs() int64 { return n.fsm.slabs.Load() }

// WaitApplied returns when Applied has reached index. The error is the context's, or ErrShutdown.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.fsm.wait(ctx, n.halted, index)
}

// Term returns the current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// CommitIndex returns the highest index that this node knows to be committed. It may be an entry that never reaches
// the machine, see the package documentation.
func (n *Node) CommitIndex() uint64 { return n.ahead.written(n.raft.CommitIndex()) }

// IsLeader reports whether this node takes itself for the leader. Another node may know better.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader returns the leader that this node knows of; empty: none.
func (n *Node) Leader() (id, addr string) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a)
}

// LeaderID returns the id of the leader that this node knows of; empty: none.
func (n *Node) LeaderID() string {
	id, _ := n.Leader()
	return id
}

// Changed returns a channel that is closed when this node's office or the leader that it knows of changes next. To
// miss nothing, get the channel before looking at the state.
func (n *Node) Changed() <-chan struct{} { return n.changed.next() }

// leads reports whether this node is the leader of the term. The term is read twice: between two equal readings the
// state belongs to it.
func (n *Node) leads(term uint64) bool {
	return n.raft.CurrentTerm() == term && n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// follows reports whether this node is a follower in the term.
func (n *Node) follows(term uint64) bool {
	select {
	case <-n.ready:
		return n.raft.CurrentTerm() == term && n.raft.State() == raft.Follower
	default:
		return false
	}
}

// onApplied is told by the machine's goroutine of the last entry of each batch.
func (n *Node) onApplied(index, term uint64, reconfigured bool) {
	if n.cfg.OnApplied != nil {
		n.cfg.OnApplied(index, term)
	}
	<-n.ready
	n.nudger.applied(index, term, reconfigured)
}

// onReplacing is told by the machine's goroutine that a snapshot of the leader's is about to take its place.
func (n *Node) onReplacing() {
	if n.cfg.OnRestoring != nil {
		n.cfg.OnRestoring()
	}
}

// onInstalled is told by the machine's goroutine that it was restored from a snapshot of the leader's.
func (n *Node) onInstalled(meta *raft.SnapshotMeta) error {
	if n.cfg.OnRestored != nil {
		n.cfg.OnRestored(n.Applied())
	}
	if err := n.log.reconcile(meta); err != nil {
		return err
	}
	n.log.setEdge(meta)
	return nil
}

// observer counts elections and wakes those who wait for Changed. The filter is called on the library's own
// goroutines, at once: a channel could drop observations, or block the library.
func (n *Node) observer() *raft.Observer {
	return raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		switch data := o.Data.(type) {
		case raft.LeaderObservation:
			if data.LeaderID != "" {
				n.elections.Add(1)
			}
			n.changed.notify()
		case raft.RaftState:
			n.ahead.enter(data)
			n.changed.notify()
		}
		return false
	})
}
