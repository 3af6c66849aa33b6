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
	// Do returns when everybody who holds a lease has applied the command, too.
	Do     Do
	Leases Leases        // nil: there are none
	Lease  time.Duration // how long one lasts; 0 without leases
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
	crowds sync.Pool // of *crowd
	office atomic.Pointer[office]
	stuck  atomic.Bool // uses can't be brought to the leader: see sender.look
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
	k.crowds.New = func() any { return newCrowd() }
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
	if k.cfg.Leases != nil {
		k.group.Go(func() { k.sender.watch(k.ctx) })
	}
	k.group.Go(func() { k.grey.run(k.ctx) })
	k.group.Go(k.clean)
}

// Close stops and waits. Call Flush before it, so that no use is lost.
func (k *Keeper) Close() {
	k.cancel()
	k.group.Wait()
}

// Arrival is when a lookup came that counts as a use of its session. That of the zero value does not.
type Arrival struct {
	counts bool
	at     session.Time // 0: this node did not know cluster time
}

// Arrive returns an arrival of now. It is to be called before the lookup makes sure that this node may answer, by its
// lease or by a point: then no use is timed later than the node is known to have served.
func (k *Keeper) Arrive() Arrival {
	if at, synced := k.cfg.Clock.Stamp(); synced {
		return Arrival{counts: true, at: at}
	}
	return Arrival{counts: true}
}

// Lookup returns the session of a key if it is not over, by this node's machine, which the caller has brought to the
// level that it wants. If the arrival counts, it is a use of the session.
//
// With exact, a session that is over as far as this node knows is asked about; without, at level local, nobody is ever
// asked, and such a session is accepted for as long as its replicated last use may lag behind the true one.
//
// Mod is the index that must be stable before the answer, a refusal too, may be told; 0 for what follows from the time
// alone. Errors: session.ErrSessionInvalid, session.ErrSessionIdle; and when nobody could be asked wire.ErrNoLeader,
// wire.ErrTimeout or wire.ErrOverloaded.
func (k *Keeper) Lookup(ctx context.Context, key session.Key, used Arrival, exact bool) (view session.View, mod uint64, err error) {
	view, mod, over, err := k.judge(key, used, exact)
	if !over {
		return view, mod, err
	}
	return k.inquire(ctx, key, used)
}

// Glance is Lookup for a session that is not over as far as this node knows; false: use Lookup.
func (k *Keeper) Glance(key session.Key, used Arrival, exact bool) (view session.View, mod uint64, ok bool) {
	view, mod, over, err := k.judge(key, used, exact)
	return view, mod, !over && err == nil
}

// judge answers a lookup from what this node knows. Over says that this does not suffice: the session is over, unless
// another node knows better, or its use must not be known to this node alone.
func (k *Keeper) judge(key session.Key, used Arrival, exact bool) (view session.View, mod uint64, over bool, err error) {
	timed := k.cfg.Clock.Synced()
	if exact && (!timed || used.counts && used.at == 0) {
		return session.View{}, 0, false, wire.ErrNoLeader
	}
	view, f := k.read(key)
	if !f.live {
		return session.View{}, f.mod, false, f.refusal()
	}
	now := k.cfg.Clock.Now()
	if !timed {
		now = k.cfg.Clock.machine() // a wall clock must end nobody's session
	}
	if now >= f.expires {
		return session.View{}, 0, false, session.ErrSessionInvalid
	}
	if now >= f.idleAt() && now >= k.uses.last(key, exact).Add(f.idle) {
		switch {
		case exact:
			return session.View{}, 0, true, nil
		case now >= f.idleAt().Add(f.grace):
			return session.View{}, 0, false, session.ErrSessionIdle
		}
	}
	if used.counts && timed && !k.note(key, used.at, f, exact) {
		return session.View{}, 0, true, nil
	}
	return view, f.mod, false, nil
}

// note remembers a use, and has it sent when it is due. False: it does not count as long as only this node knows of it.
func (k *Keeper) note(key session.Key, at session.Time, f fact, strict bool) bool {
	if strict && k.stuck.Load() && at.Sub(f.rep) >= f.lag {
		return false
	}
	n := k.uses.note(key, at, basis{rep: f.rep, idle: f.idle, lag: f.lag, strict: strict})
	if n == nowDue {
		k.sender.add(key)
	}
	return n != tooLate
}

// LastUse returns the latest use of a session that this node knows of, given the replicated one.
func (k *Keeper) LastUse(key session.Key, replicated session.Time) session.Time {
	return max(replicated, k.uses.last(key, false))
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
