package idle_test

import (
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// Many sessions that end in the same moment go in small batches, no faster than the rate, and in the meantime none of
// them is accepted anywhere.
func TestMassExpiry(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(4 * idle.MaxExpireRate)
		made := l.now()
		l.until(made.Add(l.idle) - 1)
		if s := l.nodes["a"].keeper.Stats(); s.Expires != 0 || s.ExpiryLag != 0 {
			t.Errorf("stats %+v", s)
		}
		l.until(made.Add(l.idle))
		for i := range 6 {
			l.refused(three[i%3], keys[len(keys)-1-i*100], session.ErrSessionIdle)
			time.Sleep(500 * time.Millisecond)
		}
		if s := l.nodes["a"].keeper.Stats(); s.ExpiryLag < 2 || s.ExpiryLag > 4 {
			t.Errorf("the oldest session that is due has been over for %v s", s.ExpiryLag)
		}
		time.Sleep(3 * second)
		l.nodes["a"].Read(func(m *session.Machine) {
			if live := m.Stats().Sessions; live > 0 {
				t.Errorf("%d sessions are left", live)
			}
		})
		if s := l.nodes["a"].keeper.Stats(); s.ExpiryLag != 0 {
			t.Errorf("stats %+v", s)
		}
		perSecond := map[session.Time]int{}
		l.mu.Lock()
		for _, p := range l.proposed {
			if c, ok := p.cmd.(*session.Expire); ok {
				perSecond[p.at/1000] += len(c.Keys)
				if len(c.Keys) > idle.ExpireBatch {
					t.Errorf("%d sessions in one command", len(c.Keys))
				}
			}
		}
		l.mu.Unlock()
		for _, n := range perSecond {
			if n > idle.MaxExpireRate+idle.ExpireBatch+10 { // those that were looked up come on top
				t.Errorf("%d sessions were ended in a second", n)
			}
		}
	}, shared)
}

// What nobody looks up is ended by its leader, and by a new one just as well.
func TestUnusedSessionsAreEnded(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle) - 1)
		time.Sleep(2 * second)
		if l.rep("", k) != 0 {
			t.Error("the session is there")
		}
		k, made = l.create()
		l.until(made.Add(l.idle) - 1)
		l.elect("b")
		time.Sleep(2 * second)
		if l.rep("", k) != 0 {
			t.Error("the session is there")
		}
	})
}

// A session that is over on the log's word alone costs a use in the log, no end, when a node knows better.
func TestExpiryAsksFirst(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		last := l.use("c", k)
		l.until(made.Add(l.idle))
		time.Sleep(2 * second)
		if rep := l.rep("", k); rep != last || len(commands[*session.Expire](l)) != 0 {
			t.Errorf("replicated is %d, the use was at %d; %d ends", rep, last, len(commands[*session.Expire](l)))
		}
		l.until(last.Add(l.idle))
		time.Sleep(2 * second)
		if l.rep("", k) != 0 {
			t.Error("the session is there")
		}
	})
}

// The records of sessions that were ended together are removed.
func TestSweep(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		l.populate(49)
		l.must("a", &session.EndUser{Realm: session.NativeRealm, Username: "u0"})
		time.Sleep(3 * second)
		l.nodes["a"].Read(func(m *session.Machine) {
			if m.SweepPending() {
				t.Error("records are left")
			}
		})
	})
}

// A node whose table of uses is full can't vouch for sessions of before, and for later ones it can. A use that is due is
// remembered all the same.
func TestFullTable(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		crowded := func(i int) session.Key { return session.Key{2: byte(i >> 16), 3: byte(i >> 8), 4: byte(i), 15: 1} }
		entry := &session.Entry{Stamp: l.now()}
		const full = idle.MaxUses / 1024
		for i := range full + 2 {
			entry.Commands = append(entry.Commands, l.creation(crowded(i), "u"+key(i/50).String()))
		}
		l.mu.Lock()
		l.log = append(l.log, entry)
		l.mu.Unlock()
		for _, n := range l.nodes {
			n.catchUp()
		}
		made := l.now()
		time.Sleep(time.Minute)
		b := l.nodes["b"].keeper
		for i := range full {
			l.nodes["b"].used(crowded(i))
		}
		if s := b.Stats(); s.Forgotten != 0 {
			t.Fatalf("stats %+v", s)
		}
		l.use("b", crowded(full))
		if s := b.Stats(); s.Forgotten != 1 {
			t.Fatalf("stats %+v", s)
		}
		time.Sleep(10 * second)
		later, at := l.create()
		l.until(made.Add(l.granularity()))
		last := l.use("b", crowded(full+1))
		time.Sleep(second)
		if rep := l.rep("", crowded(full+1)); rep != last {
			t.Errorf("replicated is %d, the use was at %d", rep, last)
		}
		l.until(made.Add(l.idle))
		l.accepted("c", crowded(full)) // who knows
		l.endsAt(at.Add(l.idle), "c", "a", later)
		l.endsAt(made.Add(l.idle+l.grace()), "a", "c", crowded(full))
	}, instant)
}
