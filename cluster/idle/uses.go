package idle

import (
	"sync"

	"cloakroom/cluster/session"
)

// uses holds the last use of each session on this node since the last touch that took it along.
type uses struct {
	shards [shards]shard
}

type shard struct {
	mu   sync.Mutex
	last map[session.Key]session.Time
}

func newUses() *uses {
	u := &uses{}
	for i := range u.shards {
		u.shards[i].last = make(map[session.Key]session.Time)
	}
	return u
}

func (u *uses) of(k session.Key) *shard { return &u.shards[k[0]] }

// note remembers a use; false means that the table is full.
func (u *uses) note(k session.Key, at session.Time) bool {
	s := u.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.last[k]
	if !known && len(s.last) >= MaxUses/shards {
		return false
	}
	if at > last {
		s.last[k] = at
	}
	return true
}

func (u *uses) last(k session.Key) session.Time {
	s := u.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[k]
}

// forget drops uses that have been replicated, unless there was a later one meanwhile.
func (u *uses) forget(touched []session.Use) {
	for _, t := range touched {
		s := u.of(t.Key)
		s.mu.Lock()
		if s.last[t.Key] <= t.At {
			delete(s.last, t.Key)
		}
		s.mu.Unlock()
	}
}

// each calls fn with the uses of one shard after another, no lock held.
func (u *uses) each(fn func([]session.Use)) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		list := make([]session.Use, 0, len(s.last))
		for k, at := range s.last {
			list = append(list, session.Use{Key: k, At: at})
		}
		s.mu.Unlock()
		fn(list)
	}
}
