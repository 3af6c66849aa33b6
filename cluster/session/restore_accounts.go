package session

import (
	"cmp"
	"runtime"
	"slices"
)

// sortAccounts puts the live sessions of all accounts into the order of their creation, on all processors: each account's
// sessions are its own.
func (rs *restorer) sortAccounts() error {
	all := rs.m.all
	workers := uint32(runtime.GOMAXPROCS(0))
	share := all.next/workers + 1
	done := make(chan error, workers)
	for i := range workers {
		go func() {
			s := accountSorter{rows: &rs.m.store.table.rows, most: userSessionsOf(rs.version)}
			err := all.each(min(i*share, all.next), min((i+1)*share, all.next), s.add)
			if err == nil {
				err = s.flush()
			}
			done <- err
		}()
	}
	var err error
	for range workers {
		if other := <-done; other != nil {
			err = other
		}
	}
	return err
}

// sorterLanes is how many accounts are sorted at a time. To follow the list of one is one cache miss after the other; that of
// many, one step of each in turn, is as many at once.
const sorterLanes = 32

type accountSorter struct {
	rows  *rows
	most  int // sessions that a user can have
	lanes [sorterLanes]sorterLane
	n     int // lanes in use
}

type sorterLane struct {
	account *account
	at      uint32
	made    []made
}

// made is a session, and by which command it was made.
type made struct {
	seq uint64
	n   uint32
}

// add takes an account with a list as join has left it.
func (s *accountSorter) add(a *account) error {
	switch live := a.live(); {
	case live == 0:
		return nil
	case live > s.most || a.user != nil && a.user.Disabled:
		return broken("sessions that a user must not have")
	case live == 1:
		a.oldest = a.youngest
		return nil
	}
	lane := &s.lanes[s.n]
	lane.account, lane.at, lane.made = a, a.youngest, lane.made[:0]
	if s.n++; s.n < sorterLanes {
		return nil
	}
	return s.flush()
}

func (s *accountSorter) flush() error {
	lanes := s.lanes[:s.n]
	s.n = 0
	for more := true; more; {
		more = false
		for i := range lanes {
			if lane := &lanes[i]; lane.at != 0 {
				r := s.rows.at(lane.at)
				lane.made = append(lane.made, made{seq: r.seq, n: lane.at})
				lane.at = r.older
				more = true
			}
		}
	}
	for i := range lanes {
		if err := s.relink(lanes[i].account, lanes[i].made); err != nil {
			return err
		}
	}
	return nil
}

func (s *accountSorter) relink(a *account, list []made) error {
	slices.SortFunc(list, func(x, y made) int { return cmp.Compare(x.seq, y.seq) })
	a.clear()
	for i, x := range list {
		if i > 0 && x.seq == list[i-1].seq {
			return broken("two sessions made by one command")
		}
		s.rows.append(a, x.n)
	}
	return nil
}
