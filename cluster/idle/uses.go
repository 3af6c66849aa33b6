package idle

import (
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
)

// uses is what this node remembers of the uses that it has seen: for each session the latest one, until it is
// replicated. It reaches back to since; horizon is up to when it was told to others.
type uses struct {
	horizon atomic.Int64 // the latest moment that a question was answered for
	since   atomic.Int64 // no use after it has been forgotten; 0: not known yet
	shards  [shardCount]shard
}

type shard struct {
	mu    sync.Mutex
	last  recent
	noted uint64
	lost  uint64 // of these, not remembered
}

type use struct {
	at     session.Time
	queued bool // waits to be sent, or is on its way
	loose  bool // seen at level local: by a node that may have been taken for one that serves nobody
}

// noted says what has become of a use.
type noted uint8

const (
	remembered noted = iota
	nowDue           // remembered, and to be sent
	tooLate          // not remembered: by a question answered meanwhile, the session was over
)

// basis is what a lookup has judged a session by.
type basis struct {
	rep    session.Time // replicated last use
	idle   time.Duration
	lag    time.Duration // of rep behind a use, from which on the use is due
	strict bool          // the use counts only if no question has been answered without it
}

func newUses() *uses { return &uses{} }

func (u *uses) of(k session.Key) *shard {
	return &u.shards[(uint(k[0])<<8|uint(k[1]))%shardCount]
}

// note remembers a use at a moment. The horizon is compared under the lock under which answers are read: so a use is
// either in an answer, or made in the knowledge of the question.
func (u *uses) note(k session.Key, at session.Time, b basis) noted {
	s := u.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	var old use
	x := s.last.find(k)
	if x != nil {
		old = *x
	}
	if b.strict && session.Time(u.horizon.Load()) >= max(b.rep, old.at).Add(b.idle) {
		return tooLate
	}
	s.noted++
	if at <= max(b.rep, old.at) {
		return remembered
	}
	due := !old.queued && at.Sub(b.rep) >= b.lag
	// A use that is due is soon replicated, and must be, for the session may have no other; the others can be spared.
	if limit := MaxUses / shardCount; x == nil && (s.last.n >= 2*limit || !due && s.last.n >= limit) {
		s.lost++
		raise(&u.since, at) // under the lock too: an answer reads it last
		return remembered
	}
	now := use{at: at, queued: old.queued || due, loose: !b.strict}
	if x == nil {
		s.last.put(k, now)
	} else {
		*x = now
	}
	if due {
		return nowDue
	}
	return remembered
}

// last returns the latest use that is remembered, 0 if there is none; with strict, also if it was seen at level local.
func (u *uses) last(k session.Key, strict bool) session.Time {
	s := u.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.last.find(k)
	if x == nil || strict && x.loose {
		return 0
	}
	return x.at
}

// tell returns the latest uses of the keys, 0 for none, and how far back these answers reach. From now on no use is
// noted for a session that is over at now as far as this node knows.
func (u *uses) tell(now session.Time, keys []session.Key) (since session.Time, later []session.Time) {
	raise(&u.horizon, now)
	later = make([]session.Time, len(keys))
	for i, k := range keys {
		later[i] = u.last(k, false)
	}
	return session.Time(u.since.Load()), later
}

// settle drops a use that is replicated, or of a session that is gone, and says whether what is left is due.
func (u *uses) settle(k session.Key, f fact) (due bool) {
	s := u.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.last.find(k)
	if x == nil {
		return false
	}
	if !f.live || x.at <= f.rep {
		s.last.drop(k)
		return false
	}
	x.queued = x.at.Sub(f.rep) >= f.lag
	return x.queued
}

// drop forgets a use that does not wait to be sent, if it is as old as it was.
func (u *uses) drop(k session.Key, at session.Time) {
	s := u.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.last.find(k); x != nil && x.at == at && !x.queued {
		s.last.drop(k)
	}
}

// list returns what one shard remembers.
func (u *uses) list(i int) []session.Use {
	s := &u.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]session.Use, 0, s.last.n)
	for k, x := range s.last.all() {
		list = append(list, session.Use{Key: k, At: x.at})
	}
	return list
}

// count returns how many uses were noted since the start, and how many of these were not remembered.
func (u *uses) count() (noted, lost uint64) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		noted += s.noted
		lost += s.lost
		s.mu.Unlock()
	}
	return noted, lost
}

// raise makes a number at least as high as a time.
func raise(n *atomic.Int64, to session.Time) {
	for old := n.Load(); old < int64(to); old = n.Load() {
		if n.CompareAndSwap(old, int64(to)) {
			return
		}
	}
}
