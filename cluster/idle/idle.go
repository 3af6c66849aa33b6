package idle

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
)

// Do proposes a command.
type Do func(ctx context.Context, cmd session.Command) (session.Result, error)

// Machine gives access to the state: *consensus.Node.
type Machine interface {
	Read(fn func(*session.Machine))
	Mutate(fn func(*session.Machine))
}

// Config is what a Keeper needs.
type Config struct {
	Idle    time.Duration // idle timeout of the sessions made here
	Clock   *Clock
	Machine Machine
	Log     Log
	Peers   Peers
	Do      Do
	Logger  *slog.Logger
}

// Stats counts since the start.
type Stats struct {
	Touched   uint64 // sessions whose use was replicated from here
	Touches   uint64 // commands that carried them
	Forgotten uint64 // uses that were not remembered because the table was full
	Expires   uint64 // commands that ended idle sessions, as leader
}

// Keeper looks after last uses on this node and, while it leads, after expiry.
type Keeper struct {
	cfg    Config
	uses   *uses
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	touched, touches, forgotten, expires atomic.Uint64
}

// New makes a Keeper and registers its request with the stream.
func New(cfg Config) *Keeper {
	k := &Keeper{cfg: cfg, uses: newUses()}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	cfg.Clock.Serve(cfg.Peers)
	return k
}

// Open starts touching and following cluster time.
func (k *Keeper) Open() {
	k.group.Go(func() { every(k.ctx, Granularity(k.cfg.Idle), k.Flush) })
	k.group.Go(k.follow)
}

// Close stops and waits. Call Flush before it, so that no use is lost.
func (k *Keeper) Close() {
	k.cancel()
	k.group.Wait()
}

// Stats returns the counters.
func (k *Keeper) Stats() Stats {
	return Stats{Touched: k.touched.Load(), Touches: k.touches.Load(), Forgotten: k.forgotten.Load(), Expires: k.expires.Load()}
}

// Used remembers that a session is used now.
func (k *Keeper) Used(key session.Key) {
	if !k.uses.note(key, k.cfg.Clock.Now()) {
		k.forgotten.Add(1)
	}
}

// LastUse returns the latest use that this node knows of.
func (k *Keeper) LastUse(s *session.Session) session.Time {
	return max(s.LastUse, k.uses.last(s.Key))
}

// Check judges a session by cluster time: nil, ErrSessionIdle, or ErrSessionInvalid when its lifetime is over.
func (k *Keeper) Check(s *session.Session) error {
	now := k.cfg.Clock.Now()
	if now >= s.Expires {
		return session.ErrSessionInvalid
	}
	idleEnd := s.LastUse.Add(s.Idle + Grace(k.cfg.Idle))
	if now < idleEnd {
		return nil
	}
	if now < k.LastUse(s).Add(s.Idle) {
		return nil
	}
	return session.ErrSessionIdle
}

// Flush proposes what was used since the last time. A use that could not be replicated stays for the next time, and
// after one failure nothing more is tried: without a leader each of many touches would wait for one.
func (k *Keeper) Flush(ctx context.Context) {
	slots := make(chan struct{}, TouchesInFlight)
	var group sync.WaitGroup
	var batch []session.Use
	var failed atomic.Bool
	propose := func(touch []session.Use) {
		slots <- struct{}{}
		if failed.Load() {
			<-slots
			return
		}
		group.Go(func() {
			defer func() { <-slots }()
			if err := k.touch(ctx, touch); err != nil && !failed.Swap(true) {
				k.cfg.Logger.Warn("last uses not replicated, will be tried again", "error", err)
			}
		})
	}
	k.uses.each(func(list []session.Use) {
		for _, use := range list {
			if batch = append(batch, use); len(batch) == session.MaxTouches {
				propose(batch)
				batch = nil
			}
		}
	})
	if len(batch) > 0 {
		propose(batch)
	}
	group.Wait()
}

func (k *Keeper) touch(ctx context.Context, uses []session.Use) error {
	if _, err := k.cfg.Do(ctx, &session.Touch{Uses: uses}); err != nil {
		return err
	}
	k.touches.Add(1)
	k.touched.Add(uint64(len(uses)))
	k.uses.forget(uses)
	return nil
}

// follow asks the leader for the time: at once when there is one, then at intervals.
func (k *Keeper) follow() {
	for pause := 100 * time.Millisecond; ; pause = SyncInterval {
		if !k.cfg.Clock.Synced() {
			pause = 100 * time.Millisecond
		}
		if !sleep(k.ctx, pause) {
			return
		}
		k.cfg.Clock.Sync(k.ctx, k.cfg.Log, k.cfg.Peers)
	}
}

// Lead ends idle sessions and sweeps ended ones until ctx ends: while this node is the leader.
func (k *Keeper) Lead(ctx context.Context) { every(ctx, ExpireInterval, k.expire) }

func (k *Keeper) expire(ctx context.Context) {
	for range MaxExpireRounds {
		cutoff := k.cfg.Clock.Now().Add(-Grace(k.cfg.Idle))
		var due []session.Key
		k.cfg.Machine.Mutate(func(m *session.Machine) { due = m.Due(cutoff, session.MaxExpire) })
		if len(due) == 0 {
			break
		}
		if !k.propose(ctx, &session.Expire{Cutoff: cutoff, Keys: due}) {
			return
		}
		k.expires.Add(1)
	}
	for range MaxExpireRounds {
		var pending bool
		k.cfg.Machine.Read(func(m *session.Machine) { pending = m.SweepPending() })
		if !pending || !k.propose(ctx, &session.Sweep{}) {
			return
		}
	}
}

func (k *Keeper) propose(ctx context.Context, cmd session.Command) bool {
	_, err := k.cfg.Do(ctx, cmd)
	if err != nil && !errors.Is(err, context.Canceled) {
		k.cfg.Logger.Warn("ended sessions not swept, will be tried again", "error", err)
	}
	return err == nil
}

// every calls fn at intervals until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func(context.Context)) {
	for sleep(ctx, interval) {
		fn(ctx)
	}
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
