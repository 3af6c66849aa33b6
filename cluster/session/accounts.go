package session

import (
	"hash/maphash"
	"slices"
	"unsafe"
)

// account is one user name of one realm, with or without a user's record. Its live sessions are a list through their rows.
// It is two cache lines, and what a lookup reads is in the first.
type account struct {
	realm   *realmState
	name    string
	user    *User
	id      string // a user id that sessions of it were made with: nearly always the only one
	end     uint64 // the last end of all sessions: those with Seq <= end are over
	userMod uint64 // user.Mod

	since  uint64    // realm.end that the list is of: those of an older one, if any, have all been ended since
	ended  *sweep    // ended by an index and not yet swept, oldest first
	others *[]string // further user ids, if there are any

	number uint32 // by which rows know it
	rows   uint32 // in the table
	owner  uint32 // which of the ids is user.ID; 0: none
	listed bool   // it can be found by its name

	oldest, youngest, n uint32 // the list, and its length, if current
	_                   [12]byte
}

const accountSize = 128

var _ [accountSize]byte = [unsafe.Sizeof(account{})]byte{}

// accounts has all accounts by number, and in chunks, so that a row's account is found without a further miss. An account is
// given back when it can't be found by its name, as it has no record and no live session, and has no rows either. Nobody
// may look at it after a call that can do so.
type accounts struct {
	chunks []*[accountsPerChunk]account
	next   uint32
	free   []uint32
	names  slots // by the hash of the user name
	seed   maphash.Seed
}

const (
	accountsPerChunk = 256
	maxAccountChunks = 512 // made at a time: 16 MiB
)

// nameShards is how many parts the table of names has: one of them grows at a time.
const nameShards = 1 << 12

func newAccounts() *accounts { return &accounts{seed: maphash.MakeSeed()} }

func (s *accounts) at(n uint32) *account {
	return &s.chunks[n/accountsPerChunk][n%accountsPerChunk]
}

// take returns an account of that name which can be found.
func (s *accounts) take(rs *realmState, name string) *account {
	n := s.next
	if last := len(s.free) - 1; last >= 0 {
		n = s.free[last]
		s.free = s.free[:last]
	} else {
		if s.next++; int(n/accountsPerChunk) == len(s.chunks) {
			s.grow()
		}
	}
	a := s.at(n)
	a.number, a.realm, a.name, a.listed = n, rs, name, true
	rs.accounts++
	if s.names.shards == nil {
		s.names.shards = make([]shard, nameShards)
	}
	hash := s.hash(name)
	sh := s.shardOf(hash)
	s.names.room(sh)
	sh.n++
	seat(s.names.of(sh), slotOf(uint32(hash), n+1))
	return a
}

// grow adds chunks, a quarter of what there is, side by side in memory that is to be in huge pages: an account is where a
// lookup ends, and without them that takes it nearly two cache misses.
func (s *accounts) grow() {
	more := make([][accountsPerChunk]account, min(max(len(s.chunks)/4, 1), maxAccountChunks))
	adviseHuge(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(more))), len(more)*accountsPerChunk*accountSize))
	for i := range more {
		s.chunks = append(s.chunks, &more[i])
	}
}

func (s *accounts) hash(name string) uint64 { return maphash.String(s.seed, name) }

func (s *accounts) shardOf(hash uint64) *shard { return &s.names.shards[hash>>32%nameShards] }

// search returns the account of a name, whose hash that is, and its slot; nil where there is none.
func (s *accounts) search(rs *realmState, name string, hash uint64) (a *account, at uint32) {
	if s.names.shards == nil {
		return nil, 0
	}
	sh := s.shardOf(hash)
	slots := s.names.of(sh)
	if len(slots) == 0 {
		return nil, 0
	}
	for at = home(uint32(hash), sh.size); slots[at] != 0; {
		if x := slots[at]; uint32(x>>32) == uint32(hash) {
			if a = s.at(uint32(x) - 1); a.realm == rs && a.name == name {
				return a, at
			}
		}
		if at++; at == sh.size {
			at = 0
		}
	}
	return nil, 0
}

// near reads what candidate will read first.
func (s *accounts) near(hash uint64) uint64 {
	sh := s.shardOf(hash)
	if sh.size == 0 {
		return 0
	}
	return s.names.of(sh)[home(uint32(hash), sh.size)]
}

// candidate returns the account that a name of that hash can be of, if it is one; it does not look at it.
func (s *accounts) candidate(hash uint64) *account {
	sh := s.shardOf(hash)
	slots := s.names.of(sh)
	if len(slots) == 0 {
		return nil
	}
	for at := home(uint32(hash), sh.size); slots[at] != 0; {
		if x := slots[at]; uint32(x>>32) == uint32(hash) {
			return s.at(uint32(x) - 1)
		}
		if at++; at == sh.size {
			at = 0
		}
	}
	return nil
}

// unlist makes that an account can't be found by its name any more.
func (s *accounts) unlist(a *account) {
	hash := s.hash(a.name)
	_, at := s.search(a.realm, a.name, hash)
	s.names.closeGap(s.shardOf(hash), at)
	a.listed = false
	a.realm.accounts--
}

func (s *accounts) giveUnused(a *account) {
	if a.listed || a.rows > 0 {
		return
	}
	s.free = append(s.free, a.number)
	*a = account{}
}

// each calls fn with the accounts that can be found, and have numbers from first on and before end.
func (s *accounts) each(first, end uint32, fn func(*account) error) error {
	for n := first; n < end; n++ {
		if a := s.at(n); a.listed {
			if err := fn(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns the account of a name, nil where there is none.
func (rs *realmState) find(name string) *account {
	a, _ := rs.all.search(rs, name, rs.all.hash(name))
	return a
}

// account returns the account of a name, making it where there is none.
func (rs *realmState) account(name string) *account {
	if a := rs.find(name); a != nil {
		return a
	}
	return rs.all.take(rs, name)
}

// drop forgets an account that holds nothing any more. Sessions of it that are yet to be swept keep the account, and
// with it their end index, themselves.
func (rs *realmState) drop(a *account) {
	if a.user == nil && a.live() == 0 && a.listed {
		rs.all.unlist(a)
		rs.all.giveUnused(a)
	}
}

// setUser makes u the record; nil takes it away.
func (a *account) setUser(u *User) {
	a.user, a.userMod, a.owner = u, 0, 0
	if u != nil {
		a.userMod, a.owner = u.Mod, a.findID(u.ID)
	}
}

// idNumber returns the number of a user id for a row. Ids are kept for as long as the account has any session: there are
// few, the record's or none, unless a name was given to one user after another.
func (a *account) idNumber(id string) uint32 {
	if id == "" {
		return 0
	}
	n := a.findID(id)
	if n == 0 {
		n = a.addID(id)
	}
	if a.user != nil && a.user.ID == id {
		a.owner = n
	}
	return n
}

// findID returns the number of an id, 0 if no session was made with it.
func (a *account) findID(id string) uint32 {
	if a.id == id {
		return 1
	}
	if a.others == nil {
		return 0
	}
	if i := slices.Index(*a.others, id); i >= 0 {
		return uint32(i + 2)
	}
	return 0
}

func (a *account) addID(id string) uint32 {
	if a.id == "" {
		a.id = id
		return 1
	}
	if a.others == nil {
		a.others = new([]string)
	}
	*a.others = append(*a.others, id)
	return uint32(len(*a.others) + 1)
}

func (a *account) userID(number uint32) string {
	switch number {
	case 0:
		return ""
	case 1:
		return a.id
	}
	return (*a.others)[number-2]
}

// forgetIDs is for an account without sessions.
func (a *account) forgetIDs() { a.id, a.others, a.owner = "", nil, 0 }
