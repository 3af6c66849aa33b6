package session

import (
	"errors"
	"testing"
)

// A state begins another cluster with all that it holds but the members, and with numbers that nobody has seen.
func TestRefound(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *script{"first": busy, "paced": paced, "modern": modern} {
		t.Run(name, func(t *testing.T) {
			s := make(t)
			s.ok(s.create(30, NativeRealm, "bob"))
			m := s.m
			before, clock, seq := m.Stats(), m.Clock(), m.seq
			former, _ := m.Lookup(key(30))
			if err := m.Refound("another"); err != nil {
				t.Fatal(err)
			}
			m = reread(t, m) // what Restore takes is what Apply could have made
			after := m.Stats()
			if m.ClusterID() != "another" || len(m.Members()) != 0 || m.Clock() != clock {
				t.Errorf("cluster %s, members %v, clock %d", m.ClusterID(), m.Members(), m.Clock())
			}
			if after.Sessions != before.Sessions || after.Users != before.Users || after.Tombstones != before.Tombstones || after.Created != before.Created {
				t.Errorf("%+v, it was %+v", after, before)
			}
			view, ok := m.Lookup(key(30))
			if !ok || view.Session.Rev != former.Session.Rev {
				t.Errorf("session %+v, found: %v", view.Session, ok)
			}
			// The former cluster can't have given this revision to anything.
			r := m.Apply(m.Applied()+1, &Entry{Stamp: clock, Commands: []Command{&Put{Key: key(30), Attrs: []Attr{{"k", "v"}}}}})
			if r[0].Err != nil || r[0].Rev < seq+refoundGap {
				t.Errorf("%+v, the former cluster was at %d", r[0], seq)
			}
			if r := m.Apply(m.Applied()+1, &Entry{Stamp: clock, Commands: []Command{&PutMember{Member{ID: "n9", Name: "n9"}}}}); r[0].Err != nil {
				t.Error(r[0].Err)
			}
		})
	}
}

// All sessions of a state that another cluster is founded on can be ended, and stay so.
func TestRefoundAndEndAll(t *testing.T) {
	s := modern(t)
	s.ok(s.create(30, NativeRealm, "bob"))
	m := s.m
	if err := m.Refound("another"); err != nil {
		t.Fatal(err)
	}
	m.Apply(m.Applied()+1, &Entry{Commands: []Command{&EndAll{By: "a restored backup"}}})
	m = reread(t, m)
	for i := range byte(31) {
		if _, ok := m.Lookup(key(i)); ok {
			t.Errorf("session %d is live", i)
		}
	}
	if tomb, ok := m.Tombstone(key(30)); !ok || tomb.By != "a restored backup" {
		t.Errorf("%+v, %v", tomb, ok)
	}
}

func TestRefoundRefuses(t *testing.T) {
	if err := New().Refound("another"); !errors.Is(err, ErrBadCommand) {
		t.Errorf("a state of no cluster: %v", err)
	}
	m := busy(t).m
	full := busy(t).m
	full.seq = maxNumber - refoundGap + 1
	for name, try := range map[string]func() error{
		"the same id": func() error { return m.Refound(m.ClusterID()) },
		"no id":       func() error { return m.Refound("") },
		"no room":     func() error { return full.Refound("another") },
	} {
		if err := try(); !errors.Is(err, ErrBadCommand) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(m.Members()) == 0 {
		t.Error("a refusal has changed the state")
	}
}
