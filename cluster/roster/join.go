package roster

import (
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// announce tells the leader that this node is here, until it has its place, and then now and then. A node that is not
// the leader names the one that is.
func (r *Roster) announce(ctx context.Context, to string) {
	r.mu.Lock()
	due, admitted, noted := !r.placed || time.Since(r.announced) >= AnnounceInterval, r.admitted, r.noted
	r.mu.Unlock()
	if to == "" || !due {
		return
	}
	message := announcement{Member: r.cfg.Self, Admitted: admitted, Applied: r.cfg.Raft.Applied()}
	w, err := r.announceTo(ctx, to, message)
	if err == nil && !w.Accepted && w.LeaderID != "" {
		r.cfg.Book.SetNew(w.LeaderID, w.LeaderPeer)
		w, err = r.announceTo(ctx, w.LeaderID, message)
	}
	switch {
	case errors.Is(err, ErrRemoved) && r.isDismissed():
		return
	case errors.Is(err, ErrRemoved), errors.Is(err, ErrTooOld), errors.Is(err, session.ErrOtherCluster):
		r.cfg.OnFatal(err)
		return
	case errors.Is(err, ErrNameTaken): // perhaps by this node's own former life, which gossip has not found dead yet
		r.cfg.Logger.Warn("not let in, will be tried again", "error", err)
		return
	case err != nil:
		r.cfg.Logger.Debug("announcement not answered, will be tried again", "to", to, "error", err)
		return
	case !w.Accepted:
		return
	}
	if err := r.setCluster(w.ClusterID); err != nil {
		r.cfg.OnFatal(err)
		return
	}
	if !noted && r.cfg.Raft.Applied() > 0 { // a member without a log would be one that has lost it
		if err := r.cfg.OnAdmitted(); err != nil {
			r.cfg.OnFatal(err)
			return
		}
		noted = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.admitted, r.noted = true, noted
	if !noted {
		return // it announces itself again
	}
	if !r.placed && (w.Voter || w.Settled || r.cfg.Self.ReadReplica) {
		r.cfg.Logger.Info("member of the cluster", "cluster", w.ClusterID, "voter", w.Voter)
		r.placed = true
	}
	r.announced = time.Now()
}

func (r *Roster) isDismissed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dismissed
}

// announceTo answers this node's own announcement without the network when it leads.
func (r *Roster) announceTo(ctx context.Context, to string, message announcement) (welcome, error) {
	if to == r.cfg.Self.ID {
		return r.welcome(ctx, message)
	}
	return ask[welcome](ctx, r, to, KindAnnounce, message)
}

func (r *Roster) serveAnnounce(ctx context.Context, from wire.Peer, body []byte) ([]byte, error) {
	message, err := decode[announcement](body)
	if err != nil {
		return nil, err
	}
	if message.Member.ID != from.ID {
		return nil, session.ErrBadEncoding
	}
	w, err := r.welcome(ctx, message)
	if err != nil {
		return nil, err
	}
	return encode(w)
}

// welcome gives a node its place: the leader's part of joining.
func (r *Roster) welcome(ctx context.Context, a announcement) (welcome, error) {
	if !r.cfg.Raft.IsLeader() {
		leader := r.cfg.Raft.LeaderID()
		return welcome{LeaderID: leader, LeaderPeer: r.cfg.Book.Lookup(leader)}, nil
	}
	clusterID := r.ClusterID()
	if clusterID == "" {
		return welcome{}, nil // the cluster has no name yet: it is only just being made
	}
	r.cfg.Book.Set(a.Member.ID, a.Member.Peer)
	w := welcome{Accepted: true, ClusterID: clusterID}
	err := r.alone(ctx, func() (err error) {
		if r.tooOld(a.Member) {
			return ErrTooOld
		}
		if w.Voter, err = r.place(ctx, a); err != nil {
			return err
		}
		if err := r.enrol(ctx, a.Member); err != nil {
			return err
		}
		w.Settled = w.Voter || !wantsVote(r.member(a.Member.ID))
		return nil
	})
	if err != nil {
		return welcome{}, err
	}
	if !w.Settled {
		r.wake()
	}
	return w, nil
}

// tooOld reports whether all members, the node's own former program included, know more than the node: then the log may
// hold what it can't read.
func (r *Roster) tooOld(m session.Member) bool {
	var oldest uint8
	r.cfg.Raft.Read(func(machine *session.Machine) {
		for i, known := range machine.Members() {
			if i == 0 || known.MaxVersion < oldest {
				oldest = known.MaxVersion
			}
		}
	})
	return m.MaxVersion < oldest
}

// place puts the node into raft's configuration and reports whether it is a voter there. A new one begins without a
// vote: see Lead.
func (r *Roster) place(ctx context.Context, a announcement) (voter bool, err error) {
	servers, err := r.cfg.Raft.Servers()
	if err != nil {
		return false, err
	}
	id := a.Member.ID
	i := slices.IndexFunc(servers, func(s consensus.Server) bool { return s.ID == id })
	switch {
	case i >= 0:
		return servers[i].Voter, nil
	case a.Admitted:
		return false, r.refuse(ctx, id)
	}
	if err := r.replace(ctx, a.Member, servers); err != nil {
		return false, err
	}
	r.cfg.Logger.Info("node joins", "member", a.Member.Name, "id", id, "peer", a.Member.Peer)
	return false, r.cfg.Raft.AddNonvoter(ctx, id, id)
}

// refuse tells a node that it was removed.
func (r *Roster) refuse(ctx context.Context, id string) error {
	out, err := r.surelyOut(ctx, id)
	switch {
	case err != nil:
		return err
	case !out:
		return wire.ErrNoLeader
	}
	return ErrRemoved
}

// surelyOut reports whether no server has the id. A configuration that lacks it may be an old one, so a command has to
// go through first: it proves that this node leads, and that what it sees is committed.
func (r *Roster) surelyOut(ctx context.Context, id string) (bool, error) {
	if _, err := r.cfg.Do(ctx, &session.Tick{}); err != nil {
		return false, err
	}
	servers, err := r.cfg.Raft.Servers()
	if err != nil {
		return false, err
	}
	return r.cfg.Raft.IsLeader() && !slices.ContainsFunc(servers, func(s consensus.Server) bool { return s.ID == id }), nil
}

// member returns the roster's entry of a node.
func (r *Roster) member(id string) (m session.Member) {
	r.cfg.Raft.Read(func(machine *session.Machine) { m, _ = machine.Member(id) })
	return m
}

// nameOf returns a server's name. One that was lost before it announced itself is known to gossip alone.
func (r *Roster) nameOf(id string) string {
	if name := r.member(id).Name; name != "" {
		return name
	}
	for _, g := range r.cfg.Gossip.Members() {
		if g.ID == id {
			return g.Name
		}
	}
	return ""
}

// here asks a node whether it is there: gossip's word alone takes no vote away.
func (r *Roster) here(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, HereTimeout)
	defer cancel()
	_, err := r.cfg.Peers.Call(ctx, id, KindHere, nil)
	return err == nil
}

// replace takes out the servers of the same name: the new node's data directory was lost, and its former id with it.
// One that gossip sees alive, or that answers, keeps its place, and the new node is refused.
func (r *Roster) replace(ctx context.Context, m session.Member, servers []consensus.Server) error {
	alive := make(map[string]bool)
	for _, g := range r.cfg.Gossip.Members() {
		alive[g.ID] = g.State == gossip.StateAlive
	}
	for _, s := range servers {
		if r.nameOf(s.ID) != m.Name {
			continue
		}
		if alive[s.ID] || r.here(ctx, s.ID) {
			return ErrNameTaken
		}
		r.cfg.Logger.Info("a new node replaces a lost one", "member", m.Name, "lost", s.ID, "id", m.ID)
		if err := r.remove(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// remove takes a server out of the configuration, then out of the roster. Done is done when the first has succeeded: an
// entry that is left over is struck by the leader later.
func (r *Roster) remove(ctx context.Context, id string) error {
	if err := r.cfg.Raft.Remove(ctx, id); err != nil {
		return err
	}
	if _, err := r.cfg.Do(ctx, &session.RemoveMember{ID: id}); err != nil {
		r.cfg.Logger.Warn("entry of a removed member not struck yet, will be tried again", "id", id, "error", err)
	}
	return nil
}

// enrol writes the node's entry of the roster when it has changed. What the node can't know stays as it was: since when
// it is a member, and what an operator has decided about its vote.
func (r *Roster) enrol(ctx context.Context, m session.Member) error {
	servers, err := r.cfg.Raft.Servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.ID != m.ID && r.member(s.ID).Name == m.Name {
			return ErrNameTaken
		}
	}
	known := r.member(m.ID)
	m.Joined, m.Pin = known.Joined, known.Pin
	if known == m {
		return nil
	}
	_, err = r.cfg.Do(ctx, &session.PutMember{Member: m})
	return err
}

// Leave takes this node out of the cluster for good: a leader hands over first. The last node of a cluster stays in.
func (r *Roster) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, LeaveTimeout)
	defer cancel()
	servers, err := r.cfg.Raft.Servers()
	if err != nil || len(servers) < 2 {
		return err
	}
	for {
		if r.cfg.Raft.IsLeader() {
			if err := r.cfg.Raft.Transfer(ctx, ""); err != nil {
				return err
			}
		}
		leader := r.cfg.Raft.LeaderID()
		if leader != "" && leader != r.cfg.Self.ID {
			if _, err = r.cfg.Peers.Call(ctx, leader, KindLeave, nil); err == nil {
				return nil
			}
		}
		pause := time.NewTimer(Tick / 5)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (r *Roster) serveLeave(ctx context.Context, from wire.Peer, _ []byte) ([]byte, error) {
	if !r.cfg.Raft.IsLeader() {
		return nil, consensus.ErrNotLeader
	}
	r.cfg.Logger.Info("node leaves for good", "id", from.ID)
	return nil, r.alone(ctx, func() error { return r.remove(ctx, from.ID) })
}
