package consensus

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// calmTransport puts heartbeats off while a follower is heard from anyway.
//
// The library sends each follower a heartbeat every tenth to fifth of Config.Heartbeat, whatever else it sends. Entries
// that a follower has taken do as well: they put off its election, and the leader counts them as a contact. So a heartbeat
// waits until that is Config.Heartbeat/calmParts ago. Nothing is answered in a follower's place, so the leader knows of no
// contact that there was not. Entries that are on their way, at a follower with a slow disk, put nothing off.
//
// A request from VerifyLeader would wait too: it is not used.
type calmTransport struct {
	*cappedTransport
	node *Node
	sent atomic.Uint64 // heartbeats

	mu     sync.Mutex
	voices map[raft.ServerID]*voice
}

// voice is what is heard of a member.
type voice struct {
	last    time.Time   // when it has last taken something
	pending *time.Timer // of the heartbeat that is put off; nil: none
}

func newCalmTransport(t *cappedTransport, n *Node) *calmTransport {
	return &calmTransport{cappedTransport: t, node: n, voices: map[raft.ServerID]*voice{}}
}

// AppendEntries sends entries at once, and a heartbeat when it is needed.
func (t *calmTransport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if heartbeat(args) {
		if !t.await(id, args.Term) {
			*resp = raft.AppendEntriesResponse{Term: args.Term} // nobody asks any more
			return nil
		}
		t.sent.Add(1)
	}
	err := t.cappedTransport.AppendEntries(id, to, args, resp)
	if err == nil && resp.Success {
		t.heard(id)
	}
	return err
}

// SetHeartbeatHandler takes the library's way past its main goroutine for heartbeats. Only those that change nothing may
// take it. One of another term, or to a node that is no follower, is refused: what the leader sends beside heartbeats does
// the same on the main goroutine. That is an entry, or the nudge about one (see nudge.go) where the library has given up on
// the node for some seconds; the ticks of the read leases see to it that there is one. Else the main goroutine would go on
// while the heartbeat ends this node's office, which takes as long as a write (ahead.enter): it may vote in a later term
// meanwhile, and the heartbeat's would be written over that. A node that becomes a candidate between the look and the
// library's own is a race of the library's, a few instructions long.
func (t *calmTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.cappedTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if request, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && !t.node.follows(request.Term) {
			rpc.Respond(&raft.AppendEntriesResponse{}, nil)
			return
		}
		handle(rpc)
	})
}

// heard notes that a member has taken something.
func (t *calmTransport) heard(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.voices[id]
	if v == nil {
		v = &voice{}
		t.voices[id] = v
	}
	v.last = time.Now()
	if v.pending != nil {
		v.pending.Reset(t.patience())
	}
}

func (t *calmTransport) patience() time.Duration { return t.node.cfg.Heartbeat / calmParts }

// await returns when a member has been silent for long enough. False: the office has ended meanwhile, and a heartbeat would
// only make members believe that it has not.
func (t *calmTransport) await(id raft.ServerID, term uint64) bool {
	for {
		pending := t.putOff(id)
		if pending == nil {
			<-t.node.ready
			return t.node.leads(term)
		}
		select {
		case <-pending.C:
		case <-t.node.halted:
			pending.Stop()
			return false
		}
	}
}

// putOff returns a timer for a heartbeat that is not needed yet.
func (t *calmTransport) putOff(id raft.ServerID) *time.Timer {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.voices[id]
	if v == nil {
		return nil
	}
	v.pending = nil
	rest := time.Until(v.last.Add(t.patience()))
	if rest <= 0 {
		return nil
	}
	v.pending = time.NewTimer(rest)
	return v.pending
}

// heartbeat reports whether a request is one, as the library tells them apart.
func heartbeat(a *raft.AppendEntriesRequest) bool {
	return len(a.Entries) == 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && a.LeaderCommitIndex == 0
}
