package session

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// How sessions end in the model.

// modelSweep is the task to bury sessions that have ended.
type modelSweep struct {
	keys  []Key
	whole bool // found by looking through all sessions, in the order of keys
	after Key  // those up to here were looked at
}

// end ends a session at once.
func (md *model) end(k Key, why Reason, by string) {
	t := Tombstone{Key: k, Ended: md.clock, Reason: why, Mod: md.mod, By: by[:min(len(by), 320)]}
	md.heard = append(md.heard, hears(&md.sessions[k].Session, t))
	delete(md.sessions, k)
	md.tombs = append(md.tombs, t)
	md.ended[why]++
}

// hears is what an OnEnd tells.
func hears(s *Session, t Tombstone) string { return fmt.Sprintf("%+v %+v", *s, t) }

// endWhere ends the sessions that match, leaving their tombstones to sweeps: in the given order, or whole if there is none.
func (md *model) endWhere(match func(Session) bool, order func(a, b Session) int, why Reason, by string) uint32 {
	if !md.modern {
		why, by = EndedByUser, ""
	}
	var found []Session
	for _, s := range md.sessions {
		if s.tomb == nil && match(s.Session) {
			s.tomb = &Tombstone{Key: s.Key, Ended: md.clock, Reason: why, Mod: md.mod, By: by[:min(len(by), 320)]}
			found = append(found, s.Session)
			md.ended[why]++
		}
	}
	if len(found) == 0 {
		return 0
	}
	task := modelSweep{whole: order == nil}
	if order != nil {
		slices.SortFunc(found, order)
	}
	for _, s := range found {
		task.keys = append(task.keys, s.Key)
	}
	md.queue = append(md.queue, task)
	return uint32(len(found))
}

func bySeq(a, b Session) int { return cmp.Compare(a.Seq, b.Seq) }
func byKey(a, b Session) int { return strings.Compare(string(a.Key[:]), string(b.Key[:])) }

// sweep buries 1024 sessions, and looks through 4096 for those of whole realms.
func (md *model) sweep() Result {
	n, looked := 0, 0
	bury := func(k Key) {
		md.tombs = append(md.tombs, *md.sessions[k].tomb)
		delete(md.sessions, k)
		n++
	}
	for n < 1024 && looked < 4096 && len(md.queue) > 0 {
		task := &md.queue[0]
		for !task.whole && n < 1024 && len(task.keys) > 0 {
			bury(task.keys[0])
			task.keys = task.keys[1:]
		}
		for _, k := range slices.SortedFunc(maps.Keys(md.sessions), compareKeys) {
			if !task.whole || n == 1024 || looked == 4096 || len(task.keys) == 0 {
				break
			}
			if compareKeys(k, task.after) <= 0 {
				continue
			}
			looked++
			task.after = k
			if i := slices.Index(task.keys, k); i >= 0 {
				bury(k)
				task.keys = slices.Delete(task.keys, i, i+1)
			}
		}
		if len(task.keys) == 0 {
			md.queue = md.queue[1:]
		}
	}
	return Result{Ended: uint32(n), More: len(md.queue) > 0}
}
