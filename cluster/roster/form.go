package roster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// former takes an empty node's steps towards a first configuration. It is used by the roster's loop alone.
type former struct {
	roster *Roster
	seen   []Server  // the servers that the lowest visible ids make
	since  time.Time // for how long they have been the same
	gone   time.Time // since when the proposer of the promise held is not alive; zero: it is
}

// step looks at the visible nodes and acts on what this node has promised.
func (f *former) step(ctx context.Context, members []gossip.Member) {
	r := f.roster
	if r.cfg.Expect == 0 || r.cfg.Self.ReadReplica {
		return
	}
	servers := lowest(members, r.cfg.Expect)
	if !slices.Equal(servers, f.seen) {
		f.seen, f.since = servers, time.Now()
	}
	stable := len(servers) == r.cfg.Expect && time.Since(f.since) >= StableFor
	if r.cfg.Expect == 1 {
		stable = true // there is nobody to agree with
	}
	record := r.promiser.current()
	held := record.Promise
	switch {
	case held == nil:
		if stable && len(servers) > 0 && servers[0].ID == r.cfg.Self.ID {
			proposal, err := r.promiser.propose(servers)
			if err != nil {
				f.saved(err)
				return
			}
			f.complete(ctx, proposal, stable)
		}
	case held.Proposer == r.cfg.Self.ID && record.withdrawn(*held):
		f.giveWay(ctx, *held)
	case held.Proposer == r.cfg.Self.ID:
		f.complete(ctx, *held, stable)
	default:
		f.watch(ctx, *held, members)
	}
}

// lowest returns the first empty voters by id that wait for the same number, at most that many.
func lowest(members []gossip.Member, expect int) []Server {
	var servers []Server
	for _, m := range members {
		if m.State == gossip.StateAlive && !m.HasState && !m.ReadReplica && int(m.Expect) == expect {
			servers = append(servers, Server{ID: m.ID, Peer: m.Peer})
		}
	}
	slices.SortFunc(servers, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	return servers[:min(len(servers), expect)]
}

// complete asks everybody for the promise and bootstraps when all have given it.
func (f *former) complete(ctx context.Context, p Proposal, stable bool) {
	errs := f.askAll(ctx, KindPromise, p, p.Proposer)
	if len(errs) == 0 {
		f.bootstrap(p)
		return
	}
	refused := slices.ContainsFunc(errs, refusal)
	if refused || stable && !slices.Equal(f.seen, p.Servers) {
		f.giveWay(ctx, p)
	}
}

// giveWay withdraws this node's proposal: its own promise goes last, when another node has released its one. A request
// to release may arrive late, so a proposal that was once withdrawn is never completed, on disk before anybody is asked.
func (f *former) giveWay(ctx context.Context, p Proposal) {
	r := f.roster
	if err := r.promiser.withdraw(p); err != nil {
		f.saved(err)
		return
	}
	// One release is enough: without that node nobody can complete the bootstrap in this one's place. Who still holds
	// the promise takes this node's next proposal for its release.
	if errs := f.askAll(ctx, KindRelease, p, p.Proposer); len(errs) > 0 && len(errs) >= len(p.Servers)-1 {
		r.cfg.Logger.Warn("proposed first configuration not withdrawn yet, will be tried again", "error", errors.Join(errs...))
		return
	}
	f.saved(r.promiser.release(p))
}

// watch waits for the proposer, and completes the bootstrap in its place when it is gone.
func (f *former) watch(ctx context.Context, p Proposal, members []gossip.Member) {
	alive := slices.ContainsFunc(members, func(m gossip.Member) bool {
		return m.ID == p.Proposer && m.State == gossip.StateAlive
	})
	switch {
	case alive:
		f.gone = time.Time{}
		f.confirm(ctx, p)
		return
	case f.gone.IsZero():
		f.gone = time.Now()
		return
	case time.Since(f.gone) < TakeoverAfter:
		return
	}
	r := f.roster
	if err := r.promiser.lock(p); err != nil {
		f.saved(err)
		return
	}
	if errs := f.askAll(ctx, KindLock, p, p.Proposer); len(errs) > 0 {
		if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, ErrWithdrawn) }) {
			f.saved(r.promiser.abandon(p))
			return
		}
		r.cfg.Logger.Warn("bootstrap not taken over yet, will be tried again", "error", errors.Join(errs...))
		return
	}
	f.bootstrap(p)
}

// confirm asks the proposer whether its proposal still stands. It may have withdrawn it while this node was out of reach.
// A locked promise is kept all the same: others may have completed the bootstrap by it.
func (f *former) confirm(ctx context.Context, p Proposal) {
	if _, err := ask[bool](ctx, f.roster, p.Proposer, KindConfirm, p); errors.Is(err, ErrWithdrawn) {
		f.saved(f.roster.promiser.release(p))
	}
}

// saved passes refusals over: the next step sees what has come in between. A record that can't be saved ends the node,
// since it can promise nothing.
func (f *former) saved(err error) {
	if err != nil && !refusal(err) {
		f.roster.cfg.OnFatal(err)
	}
}

// bootstrap stores the first configuration. Several nodes may do so, with the identical one.
func (f *former) bootstrap(p Proposal) {
	r := f.roster
	if err := r.promiser.bootstrapped(); err != nil {
		f.saved(err)
		return
	}
	for _, s := range p.Servers {
		r.cfg.Book.SetNew(s.ID, s.Peer)
	}
	r.cfg.Logger.Info("bootstrapping the cluster", "servers", len(p.Servers))
	err := r.cfg.Raft.Bootstrap(p.servers())
	if err != nil && !errors.Is(err, consensus.ErrBootstrapped) { // another one that completes it was quicker
		r.cfg.OnFatal(err)
	}
}

// Decided returns the first configuration that this node has decided to store, if it has: every server had promised it.
// The process may have ended in the middle of that; nil: nothing was decided here.
func Decided(store Store) ([]consensus.Server, error) {
	record, err := store.Load()
	if err != nil {
		return nil, fmt.Errorf("load bootstrap record: %w", err)
	}
	if !record.Bootstrapper || record.Promise == nil {
		return nil, nil
	}
	return record.Promise.servers(), nil
}

// servers returns the proposal as raft's configuration. A server's address there is its id.
func (p Proposal) servers() []consensus.Server {
	servers := make([]consensus.Server, len(p.Servers))
	for i, s := range p.Servers {
		servers[i] = consensus.Server{ID: s.ID, Addr: s.ID, Voter: true}
	}
	return servers
}

// askAll asks all servers but this node and the one to skip, and returns the errors of those that did not agree.
func (f *former) askAll(ctx context.Context, kind wire.Kind, p Proposal, skip string) []error {
	r := f.roster
	var mu sync.Mutex
	var errs []error
	var group sync.WaitGroup
	for _, s := range p.Servers {
		if s.ID == r.cfg.Self.ID || s.ID == skip {
			continue
		}
		r.cfg.Book.SetNew(s.ID, s.Peer)
		group.Go(func() {
			if _, err := ask[bool](ctx, r, s.ID, kind, p); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	group.Wait()
	return errs
}

// handleFormation registers the questions of the bootstrap. Only the proposer asks for promises and takes them back.
func (r *Roster) handleFormation() {
	own := func(p Proposal, from string) bool { return p.Proposer == from }
	r.handleProposal(KindPromise, own, func(p Proposal) error {
		if r.belongs() {
			return ErrHasState
		}
		return r.promiser.promise(p)
	})
	r.handleProposal(KindRelease, own, r.promiser.release)
	r.handleProposal(KindLock, Proposal.has, func(p Proposal) error {
		// What was promised may be locked although it has been bootstrapped by now: the configuration is the same.
		held := r.promiser.current().Promise
		if (held == nil || !held.equal(p)) && r.belongs() {
			return ErrHasState
		}
		return r.promiser.lock(p)
	})
	r.handleProposal(KindConfirm, Proposal.has, func(p Proposal) error {
		if r.promiser.current().withdrawn(p) {
			return ErrWithdrawn
		}
		return nil
	})
}

// handleProposal registers the answer to one kind of question about a proposal; nil agrees.
func (r *Roster) handleProposal(kind wire.Kind, may func(p Proposal, from string) bool, answer func(Proposal) error) {
	r.cfg.Peers.Handle(kind, func(_ context.Context, from wire.Peer, body []byte) ([]byte, error) {
		p, err := decode[Proposal](body)
		if err != nil {
			return nil, err
		}
		if !may(p, from.ID) {
			return nil, session.ErrBadEncoding
		}
		if err := answer(p); err != nil {
			return nil, err
		}
		return encode(true)
	})
}

// belongs reports whether this node is part of a cluster, or sees one that it is to join.
func (r *Roster) belongs() bool {
	return r.hasState() || r.ClusterID() != "" || anyState(r.cfg.Gossip.Members(), r.cfg.Self.ID)
}
