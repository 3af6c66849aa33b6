package main

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/audit"
)

// diary brings what the state machine does by its own rules into the audit log. It takes events from within the machine,
// where nothing may wait for a disk, so there is a queue between the two; what does not fit is counted and left out.
type diary struct {
	log   *audit.Log
	share float64 // of the ends by a timeout
	queue chan audit.Event
	group sync.WaitGroup

	mu      sync.Mutex
	omitted int // since the last event that did fit
}

// diaryQueue is how many events may wait: those of some entries full of expiries.
const diaryQueue = 8192

func newDiary(log *audit.Log, share float64) *diary {
	d := &diary{log: log, share: share, queue: make(chan audit.Event, diaryQueue)}
	d.group.Go(d.write)
	return d
}

// write runs until Close. In the end it tells how much was left out since the last event.
func (d *diary) write() {
	for e := range d.queue {
		d.log.Write(e)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.omitted > 0 {
		d.log.Write(audit.Event{
			Name: audit.Changed, Outcome: audit.OK, Target: "audit log", Detail: "ends of sessions and changes of members were left out", Omitted: d.omitted,
		})
	}
}

// Close writes what is left. Nothing may be told any more.
func (d *diary) Close() error {
	close(d.queue)
	d.group.Wait()
	return nil
}

// ended is told of the end of a session. Logouts and ends by an admin were audited with the request that asked for them.
func (d *diary) ended(s *session.Session, t session.Tombstone) {
	switch t.Reason {
	case session.EndedByIdle, session.EndedByLifetime:
		if !sampled(s.Key, d.share) {
			return
		}
	case session.EndedByEviction, session.EndedByLogin, session.EndedByOrphan, session.EndedByRecheck:
	default:
		return
	}
	d.tell(audit.Event{
		Name: audit.SessionEnded, Outcome: audit.OK, Realm: s.Realm, User: s.Username, Handle: s.Key.String(),
		Reason: t.Reason.String(), By: t.By,
	})
}

// sampled picks a share of the sessions by their keys, which are as good as random.
func sampled(k session.Key, share float64) bool {
	return float64(binary.BigEndian.Uint32(k[session.KeySize-4:]))/(1<<32) < share
}

// member is told of a change of the roster.
func (d *diary) member(what string, m session.Member) {
	target := "member " + m.ID
	if m.Name != "" {
		target = "member " + m.Name + " " + m.ID
	}
	d.tell(audit.Event{Name: audit.Changed, Outcome: audit.OK, Target: target, Detail: what})
}

// origin is told at the first start after a restore or a recovery. Who that was is not known: whoever could write into the data
// directory. Nothing else happens yet, so its line may wait for the disk.
func (d *diary) origin(clusterID string, from cluster.Origin) {
	d.log.Write(audit.Event{Name: audit.Changed, Outcome: audit.OK, By: "unknown", Target: "cluster " + clusterID, Detail: from.String()})
}

func (d *diary) tell(e audit.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.Omitted = d.omitted
	select {
	case d.queue <- e:
		d.omitted = 0
	default:
		d.omitted++
	}
}

// errorCode returns the stable code of an error, "failed" for one without; false for none.
func errorCode(err error) (code string, failed bool) {
	if err == nil {
		return "", false
	}
	if coded, ok := errors.AsType[*session.Error](err); ok {
		return coded.Code, true
	}
	return "failed", true
}

func rolesText(roles []string) string {
	if len(roles) == 0 {
		return "none"
	}
	return strings.Join(roles, " ")
}
