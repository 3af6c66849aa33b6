package idle

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Do proposes a command. It returns when the command is applied, on the leader at least.
type Do func(ctx context.Context, cmd session.Command) (session.Result, error)

// Machine gives access to the state: *consensus.Node.
type Machine interface {
	Read(fn func(*session.Machine))
	Mutate(fn func(*session.Machine))
}

// Replica is this node's part in the replicated log: *consensus.Node.
type Replica interface {
	Log
	WaitApplied(ctx context.Context, index uint64) error
}

// Config is what a Keeper needs.
type Config struct {
	Self    string        // this node's id
	Since   session.Time  // no use after it that this node has seen is lost: Ever, what Flush has returned, or 0 for not known
	Idle    time.Duration // idle timeout of the sessions made here; the same on all nodes
	Clock   *Clock
	Machine Machine
	Log     Replica
	Peers   Peers
	// Others returns the ids of the other nodes that may serve sessions: all of the latest configuration and all of the
	// roster. One left out is not asked, and its users are logged out: so no list is better than one that isn't complete.
	Others func() ([]string, error)
	Do     Do
	Logger *slog.Logger
}

// Ever is the Since of a node under whose id nothing has been served yet.
const Ever session.Time = 1

// Keeper judges on this node whether sessions are over for idleness, remembers when they were used, and, while this
// node leads, replicates what all nodes remember and ends what was not used.
type Keeper struct {
	cfg    Config
	uses   *uses
	sender *sender
	grey   *rounds
	reads  sync.Pool // of *reading
	office atomic.Pointer[office]
	stats  counters

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// New makes a Keeper and registers its requests, and the clock's, with the stream.
func New(cfg Config) *Keeper {
	k := &Keeper{cfg: cfg, uses: newUses()}
	k.uses.since.Store(int64(cfg.Since))
	k.sender = newSender(k)
	k.grey = newRounds(k.askLeader)
	k.reads.New = func() any { return newReading() }
	k.ctx, k.cancel = context.WithCancel(context.Background())
	cfg.Clock.Serve(cfg.Peers)
	cfg.Peers.Handle(KindTouch, k.serveTouch)
	cfg.Peers.Handle(KindAsk, k.serveAsk)
	cfg.Peers.Handle(KindGrey, k.serveGrey)
	return k
}

// Open starts following cluster time, sending uses and asking.
func (k *Keeper) Open() {
	k.group.Go(func() { k.cfg.Clock.Follow(k.ctx, k.cfg.Log, k.cfg.Peers) })
	k.group.Go(k.begin)
	k.group.Go(func() { k.sender.run(k.ctx) })
	k.group.Go(func() { k.grey.run(k.ctx) })
	k.group.Go(k.clean)
}

// Close stops and waits. Call Flush before it, so that no use is lost.
func (k *Keeper) Close() {
	k.cancel()
	k.group.Wait()
}

// Lookup returns the session of a key if it is not over, by this node's machine, which the caller has brought to the
// level that it wants. With use it counts as a use of the session.
//
// With exact, a session that is over as far as this node knows is asked about; without, at level local, nobody is ever
// asked, and such a session is accepted for as long as its replicated last use may lag behind the true one.
//
// Errors: session.ErrSessionInvalid, session.ErrSessionIdle; and when nobody could be asked wire.ErrNoLeader,
// wire.ErrTimeout or wire.ErrOverloaded.
func (k *Keeper) Lookup(ctx context.Context, key session.Key, use, exact bool) (session.View, error) {
	view, over, err := k.judge(key, use, exact)
	if !over {
		return view, err
	}
	return k.inquire(ctx, key, use)
}

// judge answers a lookup from what this node knows. Over says that this does not suffice: the session is over, unless
// another node knows better.
func (k *Keeper) judge(key session.Key, use, exact bool) (view session.View, over bool, err error) {
	timed := k.cfg.Clock.Synced()
	if exact && !timed {
		return session.View{}, false, wire.ErrNoLeader
	}
	view, f := k.read(key)
	if !f.live {
		return session.View{}, false, f.refusal()
	}
	now := k.cfg.Clock.Now()
	if !timed {
		now = k.cfg.Clock.machine() // a wall clock must end nobody's session
	}
	if now >= f.expires {
		return session.View{}, false, session.ErrSessionInvalid
	}
	if now >= f.idleAt() && now >= k.uses.last(key).Add(f.idle) {
		switch {
		case exact:
			return session.View{}, true, nil
		case now >= f.idleAt().Add(f.grace):
			return session.View{}, false, session.ErrSessionIdle
		}
	}
	if use && timed && k.note(key, now, f, exact) == tooLate {
		return session.View{}, true, nil
	}
	return view, false, nil
}

// note remembers a use, and has it sent when it is due.
func (k *Keeper) note(key session.Key, at session.Time, f fact, strict bool) noted {
	n := k.uses.note(key, at, basis{rep: f.rep, idle: f.idle, lag: f.lag, strict: strict})
	if n == nowDue {
		k.sender.add(key)
	}
	return n
}

// LastUse returns the latest use that this node knows of.
func (k *Keeper) LastUse(s *session.Session) session.Time {
	return max(s.LastUse, k.uses.last(s.Key))
}

// begin notes since when this node remembers uses: from the first moment at which it knows what time it is, and serves.
func (k *Keeper) begin() {
	for k.uses.since.Load() == 0 {
		if k.cfg.Clock.Synced() {
			raise(&k.uses.since, k.cfg.Clock.Now())
			return
		}
		if !sleep(k.ctx, SyncPause) {
			return
		}
	}
}

// clean walks through the uses again and again and drops what nobody needs: what is replicated, belongs to a session
// that is gone, or is so long ago that it keeps none alive.
func (k *Keeper) clean() {
	for i := 0; sleep(k.ctx, CleanInterval); {
		for range cleanShards {
			k.cleanShard(i)
			i = (i + 1) % shardCount
		}
	}
}

func (k *Keeper) cleanShard(i int) {
	list := k.uses.list(i)
	if len(list) == 0 {
		return
	}
	now := k.cfg.Clock.Now()
	for j, f := range k.facts(keysOf(list)) {
		at := list[j].At
		if !f.live || at <= f.rep || at.Add(f.idle) <= now {
			k.uses.drop(list[j].Key, at)
		}
	}
}

func keysOf(uses []session.Use) []session.Key {
	keys := make([]session.Key, len(uses))
	for i, u := range uses {
		keys[i] = u.Key
	}
	return keys
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
