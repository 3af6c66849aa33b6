package session

import "slices"

// realmState is a realm with the accounts in it. When the realm is deleted, its state is taken out of the directory
// with an end index for all of its sessions; a realm made later under the same name gets a new one.
type realmState struct {
	name     string
	realm    *Realm // nil: deleted
	end      mark
	accounts map[string]*account // by user name: those with a record or a live session
	users    int                 // accounts with a record
	live     int                 // live sessions
	unswept  int                 // after the end: sessions that the realm's sweep has to find
}

func newRealmState(name string) *realmState {
	return &realmState{name: name, accounts: make(map[string]*account)}
}

// account is one user name of one realm, with or without a user's record.
type account struct {
	realm *realmState
	name  string
	user  *User
	end   mark     // the last end of all sessions: those with Seq <= end.seq are over
	keys  []Key    // live sessions, oldest first
	ended []*sweep // ended by an index and not yet swept, oldest first
}

// mark is the end of all sessions made by a command up to number seq.
type mark struct {
	seq uint64
	at  Time
	mod uint64
}

// sweep is the task to turn sessions ended by an index into tombstones. It does not change once it is queued.
type sweep struct {
	realm *realmState
	a     *account // nil: the whole realm
	keys  []Key    // of the account, oldest first
	end   mark
}

// username is what a snapshot names the account by: empty for a whole realm, which no user name is.
func (sw *sweep) username() string {
	if sw.a == nil {
		return ""
	}
	return sw.a.name
}

// account returns the account of a name, making it where there is none.
func (rs *realmState) account(name string) *account {
	a := rs.accounts[name]
	if a == nil {
		a = &account{realm: rs, name: name}
		rs.accounts[name] = a
	}
	return a
}

// drop forgets an account that holds nothing any more. Sessions of it that are yet to be swept keep the account, and
// with it their end index, themselves.
func (rs *realmState) drop(a *account) {
	if a.user == nil && len(a.keys) == 0 && rs.accounts[a.name] == a {
		delete(rs.accounts, a.name)
	}
}

// forget takes a live session from the account's list. The list is shared with nobody, but a sweep takes it over.
func (a *account) forget(k Key) {
	i := slices.Index(a.keys, k)
	if i < 0 {
		panic("BUG: live session " + k.String() + " is not in its account's list")
	}
	a.keys = slices.Delete(a.keys, i, i+1)
}

// endOf returns the end index that ended a session of this account first.
func (a *account) endOf(s *Session) mark {
	for _, sw := range a.ended {
		if s.Seq <= sw.end.seq {
			return sw.end
		}
	}
	return a.realm.end
}
