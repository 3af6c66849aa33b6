package session

import (
	"slices"
	"time"
)

// model is what the machine should be, written without regard to cost: flat maps, no index, no end index, no wheel.
// Everything is found by looking through everything, and sessions of a user end one by one.
type model struct {
	clock     Time
	seq       uint64
	mod       uint64
	clusterID string
	everUser  bool
	sessions  map[Key]*modelSession // live, or ended and not yet swept
	tombs     []Tombstone           // in the order of pruning
	queue     []modelSweep
	users     map[string]User  // by id
	roles     map[string]Role  // by id
	realms    map[string]Realm // by id
	members   map[string]Member
	pace      Pace
	limits    Limits
	modern    bool // a command of version 4 was carried out
	heard     []string
	lostAt    Time
	late      int // changes of sessions that were idle for longer than IdleGrace forgives
	created   uint64
	ended     map[Reason]uint64
}

type modelSession struct {
	Session
	tomb *Tombstone // nil: live
}

func newModel() *model {
	return &model{
		sessions: map[Key]*modelSession{}, users: map[string]User{}, roles: map[string]Role{},
		realms: map[string]Realm{}, members: map[string]Member{}, ended: map[Reason]uint64{},
	}
}

func (md *model) apply(index uint64, e *Entry) []Result {
	md.clock = max(md.clock, e.Stamp)
	md.mod = index
	life := Time(10 * 60 * 1000)
	if md.modern {
		life = 60 * 60 * 1000 // there is always room in these tests
	}
	for len(md.tombs) > 0 && md.clock-md.tombs[0].Ended >= life {
		md.tombs = md.tombs[1:]
	}
	results := []Result{}
	for _, c := range e.Commands {
		md.seq++
		before := md.modern
		md.modern = before || ofVersion4(c)
		res := md.one(c)
		if res.Err != nil {
			md.modern = before
		}
		results = append(results, res)
	}
	return results
}

func (md *model) one(c Command) Result {
	switch c := c.(type) {
	case *Genesis:
		return md.genesis(c)
	case *Tick, *Handover:
		return Result{}
	case *Create:
		return md.create(c)
	case *Put:
		return md.put(c)
	case *Delete:
		return md.delete(c)
	case *Invalidate:
		if !md.reason(c.Reason) {
			return Result{Err: ErrBadCommand}
		}
		if err := md.usable(c.Key); err != nil {
			return Result{Err: err}
		}
		md.end(c.Key, c.Reason, c.By)
		return Result{Ended: 1}
	case *Touch:
		for _, u := range c.Uses {
			if s := md.live(u.Key); s != nil {
				s.LastUse = max(s.LastUse, min(u.At, md.clock))
			}
		}
		return Result{}
	case *Expire:
		return md.expire(c)
	case *EndUser:
		why := c.Reason
		if why == 0 {
			why = EndedByUser
		}
		if !md.reason(why) {
			return Result{Err: ErrBadCommand}
		}
		return Result{Ended: md.endUser(c.Realm, c.Username, why, c.By)}
	case *EndAll:
		return md.endAll(c)
	case *SetRoles:
		return md.setRoles(c)
	case *SetLimits:
		return md.setLimits(c)
	case *Sweep:
		return md.sweep()
	case *PutMember:
		m := c.Member
		if !modelID(m.ID) || !modelName(m.Name) || len(m.Peer) > 255 || len(m.HTTP) > 255 || m.MinVersion > m.MaxVersion || m.Pin > 2 {
			return Result{Err: ErrBadCommand}
		}
		m.Joined = md.clock
		if old, ok := md.members[m.ID]; ok {
			m.Joined = old.Joined
		}
		md.members[m.ID] = m
		return Result{}
	case *RemoveMember:
		md.lostAt = md.clock
		delete(md.members, c.ID)
		return Result{}
	case *Pace:
		if c.Touch < 0 || c.Grace < c.Touch || c.Grace > 24*time.Hour {
			return Result{Err: ErrBadCommand}
		}
		md.pace = *c
		return Result{}
	}
	return md.record(c)
}

func (md *model) put(c *Put) Result {
	return md.change(c.Key, c.IfRev, func(attrs map[string]string) *Error { return md.set(attrs, c.Attrs) })
}

func (md *model) delete(c *Delete) Result {
	return md.change(c.Key, c.IfRev, func(attrs map[string]string) *Error {
		if slices.Contains(c.Names, "CSRFToken") {
			return ErrReservedAttribute
		}
		for _, name := range c.Names {
			delete(attrs, name)
		}
		if len(c.Names) == 0 {
			clear(attrs)
		}
		return nil
	})
}

func (md *model) create(c *Create) Result {
	if err := md.refusal(c); err != nil {
		return Result{Err: err}
	}
	realm, _ := md.realm(c.Realm)
	user, known := md.user(c.Realm, c.Username)
	s := Session{
		Head: Head{
			Key: c.Key, Realm: c.Realm, Username: c.Username, UserID: c.UserID, Surface: c.Surface, CSRFOff: c.CSRFOff,
			Created: md.clock, LastUse: md.clock, Idle: c.Idle, Seq: md.seq, Rev: md.seq, Mod: md.mod,
			Expires: md.clock + Time(c.Lifetime.Milliseconds()),
		},
		Address: c.Address[:min(len(c.Address), 64)], Agent: c.Agent[:min(len(c.Agent), 256)], // ASCII in these tests
	}
	if known {
		s.UserID = user.ID
	}
	if c.FixedRoles {
		roles, err := md.roleSet(c.Roles)
		if err != nil {
			return Result{Err: err}
		}
		s.Roles = append([]string{}, roles...)
	}
	all := slices.Concat(s.Roles, user.RoleNames, realm.RoleNames)
	if c.NoAdmin && slices.Contains(all, "admin") {
		return Result{Err: ErrPrivilegedUser}
	}
	attrs := map[string]string{}
	if err := md.set(attrs, c.Attrs); err != nil {
		return Result{Err: err}
	}
	s.Attrs = modelAttrs(attrs)
	if err := md.noRoom(c); err != nil {
		return Result{Err: err}
	}

	var ended uint32
	if md.live(c.Replaces) != nil {
		md.end(c.Replaces, EndedByLogin, "")
		ended++
	}
	for own := md.of(c.Realm, c.Username); len(own) >= md.mostOfAUser(); own = own[1:] {
		md.end(own[0].Key, EndedByEviction, "")
		ended++
	}
	if !known && c.AutoCreate {
		md.users[c.UserID] = User{
			ID: c.UserID, Realm: c.Realm, Username: c.Username, Created: md.clock, Updated: md.clock, Rev: md.seq, Mod: md.mod,
		}
		md.everUser = true
	}
	md.sessions[c.Key] = &modelSession{Session: s}
	md.created++
	return Result{Rev: md.seq, Ended: ended}
}

// refusal says why a Create has no chance, as far as that does not depend on roles and attributes.
func (md *model) refusal(c *Create) *Error {
	if c.NotAfter != 0 && md.clock > c.NotAfter {
		return ErrTooLate
	}
	if c.Key == (Key{}) || c.Idle < 1e6 || c.Lifetime < 1e6 || c.Surface < 1 || c.Surface > 4 {
		return ErrBadCommand
	}
	if md.sessions[c.Key] != nil || slices.ContainsFunc(md.tombs, func(t Tombstone) bool { return t.Key == c.Key }) {
		return ErrKeyUsed
	}
	realm, ok := md.realm(c.Realm)
	if !ok {
		return ErrRealmNotFound
	}
	if !realm.Enabled {
		return ErrRealmDisabled
	}
	if realm.Rev != c.RealmRev {
		return ErrRevisionMoved
	}
	if !modelName(c.Username) {
		return ErrBadUserName
	}
	user, known := md.user(c.Realm, c.Username)
	_, idTaken := md.users[c.UserID]
	switch {
	case known && user.Disabled:
		return ErrUserDisabled
	case user.Rev != c.UserRev:
		return ErrRevisionMoved
	case !known && c.AutoCreate && (idTaken || !modelID(c.UserID)):
		return ErrBadCommand
	case !known && c.UserID != "" && !modelID(c.UserID):
		return ErrBadCommand
	}
	return nil
}

func (md *model) usable(k Key) *Error {
	s := md.live(k)
	if s == nil || md.clock >= s.Expires {
		return ErrSessionInvalid
	}
	if md.clock-s.LastUse > Time(s.Idle.Milliseconds()+max(3*time.Minute, md.grace(s.Idle)).Milliseconds()) {
		return ErrSessionIdle
	}
	if md.clock-s.LastUse > Time((s.Idle + 3*time.Minute).Milliseconds()) {
		md.late++
	}
	return nil
}

func (md *model) grace(idle time.Duration) time.Duration {
	return modelGranularity(idle, md.pace.Grace) + 2*time.Second
}

// modelGranularity says it in another order: what is usual, the pace where that is more, and then the bound.
func modelGranularity(idle, pace time.Duration) time.Duration {
	usual := min(idle/15, 120*time.Second)
	return min(max(usual, pace), idle/4)
}

func (md *model) change(k Key, ifRev uint64, edit func(map[string]string) *Error) Result {
	if err := md.usable(k); err != nil {
		return Result{Err: err}
	}
	s := md.live(k)
	if ifRev != 0 && s.Rev != ifRev {
		return Result{Err: ErrConflict}
	}
	attrs := map[string]string{}
	for _, a := range s.Attrs {
		attrs[a.Key] = a.Value
	}
	if err := edit(attrs); err != nil {
		return Result{Err: err}
	}
	s.Attrs = modelAttrs(attrs)
	s.LastUse, s.Rev, s.Mod = md.clock, md.seq, md.mod
	return Result{Rev: md.seq}
}

func (md *model) expire(c *Expire) Result {
	var ended uint32
	for _, k := range c.Keys {
		s := md.live(k)
		if s == nil {
			continue
		}
		idleAt := s.LastUse + Time(s.Idle.Milliseconds())
		idle := idleAt <= min(c.Cutoff, md.clock)
		old := s.Expires <= md.clock
		switch {
		case idle && old && idleAt < s.Expires, idle && !old:
			md.end(k, EndedByIdle, "")
		case old:
			md.end(k, EndedByLifetime, "")
		default:
			continue
		}
		ended++
	}
	return Result{Ended: ended}
}

func (md *model) live(k Key) *modelSession {
	if s := md.sessions[k]; s != nil && s.tomb == nil {
		return s
	}
	return nil
}

// of returns a user's live sessions, oldest first.
func (md *model) of(realm, username string) []Session {
	var own []Session
	for _, s := range md.sessions {
		if s.tomb == nil && s.Realm == realm && s.Username == username {
			own = append(own, s.Session)
		}
	}
	slices.SortFunc(own, bySeq)
	return own
}
