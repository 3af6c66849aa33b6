package session

// realmState is a realm with the accounts in it. EndAll moves its end index. When the realm is deleted, its state is taken
// out of the directory with an end index for all of its sessions; a realm made later under the same name gets a new one.
type realmState struct {
	name     string
	realm    *Realm    // nil: deleted
	end      uint64    // those with Seq <= end are over: the last EndAll, or the realm's own end
	ended    []*sweep  // of all sessions, and not yet swept, oldest first
	accounts int       // those with a record or a live session
	all      *accounts // of all realms
	users    int       // accounts with a record
	live     int       // live sessions
}

func newRealmState(name string, all *accounts) *realmState {
	return &realmState{name: name, all: all}
}

// mark is the end of all sessions made by a command up to number seq: when, at which log index, why, and by whom.
type mark struct {
	seq uint64
	at  Time
	mod uint64
	why Reason
	by  string
}

// sweep is the task to turn sessions ended by an index into tombstones. What a snapshot tells of it does not change once it
// is queued.
type sweep struct {
	realm *realmState
	name  string   // of the account, which may be gone when a snapshot is written
	a     *account // nil: the whole realm
	keys  []Key    // of the account, oldest first
	left  int      // of the whole realm: sessions yet to be found
	end   mark
	next  *sweep // of the same account
}

// username is what a snapshot names the account by: empty for a whole realm, which no user name is.
func (sw *sweep) username() string { return sw.name }

// current reports whether no session of the account was ended with its whole realm since its keys were noted.
func (a *account) current() bool { return a.since == a.realm.end }

// live returns how many sessions of the account are live.
func (a *account) live() int {
	if !a.current() {
		return 0
	}
	return int(a.n)
}

// settle forgets the list if its sessions are not live any more. It comes before new ones, and before all are ended.
func (a *account) settle() {
	if !a.current() {
		a.clear()
		a.since = a.realm.end
	}
}

func (a *account) clear() { a.oldest, a.youngest, a.n = 0, 0, 0 }

// await adds a sweep to those that the account waits for.
func (a *account) await(sw *sweep) {
	last := &a.ended
	for *last != nil {
		last = &(*last).next
	}
	*last = sw
}

// endedBy returns the sweep that a session of this account waits for: that of the index which ended it first, its user's
// or its realm's. Nil: it has not ended.
func (a *account) endedBy(seq uint64) *sweep {
	own := a.ended
	for own != nil && seq > own.end.seq {
		own = own.next
	}
	for _, realm := range a.realm.ended {
		if seq > realm.end.seq {
			continue
		}
		if own == nil || realm.end.seq < own.end.seq {
			return realm
		}
		break
	}
	return own
}

// The list of an account's live sessions.

// append adds a session as the youngest.
func (s *rows) append(a *account, n uint32) {
	r := s.at(n)
	r.older, r.newer = a.youngest, 0
	if a.youngest == 0 {
		a.oldest = n
	} else {
		s.at(a.youngest).newer = n
	}
	a.youngest = n
	a.n++
}

// forget takes a live session out.
func (s *rows) forget(a *account, n uint32) {
	r := s.at(n)
	if r.older == 0 {
		if a.oldest != n {
			panic("BUG: live session " + r.key.String() + " is not in its account's list")
		}
		a.oldest = r.newer
	} else {
		s.at(r.older).newer = r.newer
	}
	if r.newer == 0 {
		a.youngest = r.older
	} else {
		s.at(r.newer).older = r.older
	}
	r.older, r.newer = 0, 0
	a.n--
}

// each calls fn with the live sessions of an account, oldest first. Fn may take the one that it is called with out.
func (s *rows) each(a *account, fn func(n uint32)) {
	if !a.current() {
		return
	}
	for n := a.oldest; n != 0; {
		next := s.at(n).newer
		fn(n)
		n = next
	}
}

// some reports whether fn holds for one of the live sessions of an account; it looks no further then.
func (s *rows) some(a *account, fn func(n uint32) bool) bool {
	if !a.current() {
		return false
	}
	for n := a.oldest; n != 0; n = s.at(n).newer {
		if fn(n) {
			return true
		}
	}
	return false
}
