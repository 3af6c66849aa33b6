package idle

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// sender brings the uses of this node that are due to the leader, and keeps each until it is in the log and applied here.
type sender struct {
	keeper *Keeper
	wake   chan struct{} // capacity 1
	slots  chan struct{} // one for each batch in flight
	aloft  chan struct{} // capacity 1: there is a flight to watch

	mu     sync.Mutex
	queue  []due     // in the order of coming due
	failed []*flight // to be sent again before the queue
	flying []*flight
}

// due is a session with a use that is to be sent. The use itself stays in the table: a later one may take its place.
type due struct {
	key   session.Key
	since time.Time
}

// flight is a batch that is under way.
type flight struct {
	batch []due
	heard time.Time // when the leader had it, or had no room for it, as far as is known; before that, when it was first tried
}

func newSender(k *Keeper) *sender {
	return &sender{
		keeper: k,
		wake:   make(chan struct{}, 1), slots: make(chan struct{}, SendsInFlight), aloft: make(chan struct{}, 1),
	}
}

// add queues a session. The table bounds the queue: each of its uses is queued once.
func (s *sender) add(keys ...session.Key) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.queue = append(s.queue, due{key: key, since: now})
	}
	signal(s.wake)
}

// oldest is how long the oldest use that is due has waited.
func (s *sender) oldest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	oldest := now
	if len(s.queue) > 0 {
		oldest = s.queue[0].since
	}
	for _, flights := range [][]*flight{s.failed, s.flying} {
		for _, f := range flights {
			if since := f.batch[0].since; since.Before(oldest) {
				oldest = since
			}
		}
	}
	return now.Sub(oldest)
}

// waiting is how many uses are not known to be in the log yet.
func (s *sender) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.queue)
	for _, flights := range [][]*flight{s.failed, s.flying} {
		for _, f := range flights {
			n += len(f.batch)
		}
	}
	return n
}

// run sends until ctx ends, and waits for what is in flight.
func (s *sender) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, FlushPause) {
			return
		}
		for {
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			f, backlog := s.take()
			if f == nil {
				<-s.slots
				break
			}
			group.Go(func() {
				s.fly(ctx, f, backlog)
				<-s.slots
			})
		}
	}
}

func (s *sender) take() (f *flight, backlog int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) > 0 {
		f, s.failed = s.failed[0], s.failed[1:]
	} else if n := min(len(s.queue), session.MaxTouches); n > 0 {
		f = &flight{batch: s.queue[:n:n], heard: time.Now()}
		s.queue = s.queue[n:]
	} else {
		return nil, 0
	}
	s.flying = append(s.flying, f)
	signal(s.aloft)
	return f, len(s.queue) + len(s.failed)*session.MaxTouches
}

// fly brings one batch over. One that fails is sent again, after a pause.
func (s *sender) fly(ctx context.Context, f *flight, backlog int) {
	err := s.bring(ctx, f, backlog)
	if err != nil {
		s.keeper.cfg.Logger.Debug("last uses not replicated, will be tried again", "uses", len(f.batch), "error", err)
		sleep(ctx, FlushInterval)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.flying, f)
	s.flying = slices.Delete(s.flying, i, i+1)
	if err != nil {
		s.failed = append(s.failed, f)
		signal(s.wake)
	}
}

func (s *sender) bring(ctx context.Context, f *flight, backlog int) error {
	k := s.keeper
	keys := make([]session.Key, len(f.batch))
	for i, d := range f.batch {
		keys[i] = d.key
	}
	uses := make([]session.Use, 0, len(keys))
	for i, x := range k.facts(keys) {
		// Another node's touch may have come first.
		if at := k.uses.last(keys[i], false); x.live && at.Sub(x.rep) >= x.lag {
			uses = append(uses, session.Use{Key: keys[i], At: at})
		}
	}
	if len(uses) > 0 {
		if err := k.deliver(ctx, uses, backlog, func(at time.Time) { s.hear(f, at) }); err != nil {
			return err
		}
	}
	if again := k.settleUses(keys); len(again) > 0 {
		sleep(ctx, FlushPause) // however odd the clocks, this does not spin
		s.add(again...)
	}
	return nil
}

// settleUses clears the table of what is replicated, and returns the keys of uses that are due all the same: they are
// later ones.
func (k *Keeper) settleUses(keys []session.Key) (again []session.Key) {
	for i, f := range k.facts(keys) {
		if k.uses.settle(keys[i], f) {
			again = append(again, keys[i])
		}
	}
	return again
}

// deliver returns when the uses are in the log and applied on this node. It calls heard with the moments at which the
// leader had them, or had no room for them.
func (k *Keeper) deliver(ctx context.Context, uses []session.Use, backlog int, heard func(time.Time)) error {
	index, err := k.tellLeader(ctx, touchRequest{uses: uses, backlog: uint32(backlog)}, heard)
	if err != nil {
		return err
	}
	k.stats.touched.Add(uint64(len(uses)))
	wait, cancel := context.WithTimeout(ctx, ApplyTimeout)
	defer cancel()
	return k.cfg.Log.WaitApplied(wait, index)
}

// Replicate brings the last use of a session that this node knows of into the log, past those that wait, if the log needs
// it to know that the session lives. The error says that it could not be.
func (k *Keeper) Replicate(ctx context.Context, key session.Key) error {
	_, f := k.read(key)
	last := k.uses.last(key, false)
	if !f.live || last <= f.rep || last.Add(f.idle) <= k.cfg.Clock.Now() {
		return nil
	}
	_, err := k.cfg.Do(ctx, &session.Touch{Uses: []session.Use{{Key: key, At: last}}})
	return err
}

func (k *Keeper) tellLeader(ctx context.Context, q touchRequest, heard func(time.Time)) (index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	for {
		sent := time.Now() // what it had by then it may have taken with it since
		index, err = k.tellOnce(ctx, q)
		if err == nil || errors.Is(err, ErrOnBoard) || errors.Is(err, ErrBoardFull) {
			heard(sent)
		}
		if !errors.Is(err, ErrOnBoard) {
			return index, err
		}
	}
}

func (k *Keeper) tellOnce(ctx context.Context, q touchRequest) (index uint64, err error) {
	if o := k.office.Load(); o != nil {
		return o.take(ctx, k.cfg.Self, q)
	}
	leader := k.cfg.Log.LeaderID()
	if leader == "" || leader == k.cfg.Self {
		return 0, wire.ErrNoLeader
	}
	body, err := k.cfg.Peers.Call(ctx, leader, KindTouch, q.encode())
	if err != nil {
		return 0, err
	}
	a, err := decodeIndex(body)
	return a.index, err
}

func (k *Keeper) serveTouch(ctx context.Context, from wire.Peer, body []byte) ([]byte, error) {
	q, err := decodeTouch(body)
	if err != nil {
		return nil, err
	}
	o := k.office.Load()
	if o == nil {
		return nil, wire.ErrNoLeader
	}
	index, err := o.take(ctx, from.ID, q)
	if err != nil {
		return nil, err
	}
	return indexAnswer{index: index}.encode(), nil
}

// Flush replicates everything that this node alone knows of, due or not. It is called when the node has answered its
// last request. What could not be replicated is forgotten with this node; the log says how much. It returns how far back
// all uses of this node are known now, which the next start may go on from (Config.Since); 0 if that is not known.
func (k *Keeper) Flush(ctx context.Context) (since session.Time) {
	var batch []session.Use
	var lost int
	var lastErr error
	for i := range shardCount {
		list := k.uses.list(i)
		for j, f := range k.facts(keysOf(list)) {
			if f.live && list[j].At > f.rep {
				batch = append(batch, list[j])
			}
		}
		for len(batch) >= session.MaxTouches || i == shardCount-1 && len(batch) > 0 {
			n := min(len(batch), session.MaxTouches)
			if lastErr == nil {
				lastErr = k.flush(ctx, batch[:n])
			}
			if lastErr != nil {
				lost += n
			}
			batch = batch[n:]
		}
	}
	if lastErr != nil {
		k.cfg.Logger.Warn("last uses not replicated: this node takes them with it", "uses", lost, "error", lastErr)
		return 0
	}
	return session.Time(k.uses.since.Load())
}

// flush delivers one batch of the last flush. A leader may be about to be elected: this node was it, perhaps.
func (k *Keeper) flush(ctx context.Context, batch []session.Use) error {
	until := time.Now().Add(FlushPatience)
	for {
		err := k.deliver(ctx, batch, 0, func(time.Time) {})
		if err == nil {
			k.settleUses(keysOf(batch))
			return nil
		}
		if time.Now().After(until) || !sleep(ctx, FlushInterval) {
			return err
		}
	}
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
