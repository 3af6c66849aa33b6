package roster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"cloakroom/cluster/session"
)

// Server is a node of a proposed first configuration.
type Server struct{ ID, Peer string }

// Proposal is a first configuration that one node wants to bootstrap.
type Proposal struct {
	Proposer string
	Attempt  uint64   // counts the proposer's proposals: a later one makes an earlier one void
	Servers  []Server // sorted by id
}

func (p Proposal) equal(q Proposal) bool {
	return p.Proposer == q.Proposer && p.Attempt == q.Attempt && slices.Equal(p.Servers, q.Servers)
}

// voidBy reports whether q is a later proposal of the same node: it made none before it had withdrawn this one.
func (p Proposal) voidBy(q Proposal) bool { return p.Proposer == q.Proposer && p.Attempt < q.Attempt }

func (p Proposal) has(id string) bool {
	return slices.ContainsFunc(p.Servers, func(s Server) bool { return s.ID == id })
}

// Record is what a node keeps on disk of the bootstrap.
type Record struct {
	Attempt      uint64            // of this node's last own proposal
	Promise      *Proposal         // the one promise; nil: none
	Locked       bool              // the promise is never released
	Released     map[string]uint64 // proposer to the highest attempt that it withdrew
	Bootstrapper bool              // this node bootstrapped the cluster
}

// withdrawn reports whether the proposal is void, as far as this node knows.
func (r Record) withdrawn(p Proposal) bool { return r.Released[p.Proposer] >= p.Attempt }

// withRelease returns the record with the proposal noted as void.
func (r Record) withRelease(p Proposal) Record {
	released := maps.Clone(r.Released)
	if released == nil {
		released = make(map[string]uint64)
	}
	released[p.Proposer] = max(released[p.Proposer], p.Attempt)
	r.Released = released
	return r
}

// Store keeps the record. Save returns when it is on disk.
type Store interface {
	Load() (Record, error)
	Save(Record) error
}

// Why a promise is refused.
var (
	ErrPromised  = &session.Error{Code: "promised", Message: "this node has promised to take part in another first configuration"}
	ErrHasState  = &session.Error{Code: "has-state", Message: "this node, or one that it sees, belongs to a cluster already"}
	ErrWithdrawn = &session.Error{Code: "withdrawn", Message: "the proposal was withdrawn"}
	ErrMismatch  = &session.Error{Code: "expect-mismatch", Message: "the nodes have different --bootstrap-expect"}
	ErrLocked    = &session.Error{Code: "locked", Message: "the promise is locked: another node completes the bootstrap"}
)

// promiser is a node's part in the bootstrap: it keeps at most one promise.
type promiser struct {
	id     string
	expect int
	store  Store

	mu     sync.Mutex
	record Record
}

func openPromiser(id string, expect int, store Store) (*promiser, error) {
	record, err := store.Load()
	if err != nil {
		return nil, fmt.Errorf("load bootstrap record: %w", err)
	}
	return &promiser{id: id, expect: expect, store: store, record: record}, nil
}

func (p *promiser) current() Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record
}

// saveLocked makes next the record, on disk first.
func (p *promiser) saveLocked(next Record) error {
	if err := p.store.Save(next); err != nil {
		return fmt.Errorf("save bootstrap record: %w", err)
	}
	p.record = next
	return nil
}

// propose makes this node's next proposal and promises it to itself. It fails when another promise is held.
func (p *promiser) propose(servers []Server) (Proposal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.record.Promise != nil {
		return Proposal{}, ErrPromised
	}
	next := p.record
	next.Attempt++
	next.Promise = &Proposal{Proposer: p.id, Attempt: next.Attempt, Servers: servers}
	return *next.Promise, p.saveLocked(next)
}

// promise answers another node's proposal; nil means that the promise is on disk.
func (p *promiser) promise(q Proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(q.Servers) != p.expect || !q.has(p.id):
		return ErrMismatch
	case p.record.Promise != nil && !p.record.Promise.equal(q) && (p.record.Locked || !p.record.Promise.voidBy(q)):
		return ErrPromised
	case p.record.withdrawn(q):
		return ErrWithdrawn
	case p.record.Promise != nil && p.record.Promise.equal(q):
		return nil
	}
	next := p.record
	if next.Promise != nil {
		next = next.withRelease(*next.Promise)
	}
	next.Promise = &q
	return p.saveLocked(next)
}

// withdraw makes this node's own proposal void for good: from now on it is only given back, never completed. Its own
// promise is held on, until everybody else has released theirs.
func (p *promiser) withdraw(q Proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.record.withdrawn(q) {
		return nil
	}
	return p.saveLocked(p.record.withRelease(q))
}

// release gives a promise back to its proposer, or remembers that it is void should the request for it come later.
func (p *promiser) release(q Proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := p.record.Promise != nil && p.record.Promise.equal(q)
	if held && p.record.Locked {
		return ErrLocked
	}
	next := p.record.withRelease(q)
	if held {
		next.Promise = nil
	}
	return p.saveLocked(next)
}

// lock makes a promise final, for a node that completes the bootstrap in place of the proposer. A node whose promise
// was not asked for yet gives it here: it may as well have given it to the proposer, whose request would come late.
func (p *promiser) lock(q Proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.record.withdrawn(q):
		return ErrWithdrawn
	case len(q.Servers) != p.expect || !q.has(p.id):
		return ErrMismatch
	case p.record.Promise != nil && !p.record.Promise.equal(q):
		return ErrPromised
	case p.record.Locked:
		return nil
	}
	next := p.record
	next.Promise, next.Locked = &q, true
	return p.saveLocked(next)
}

// abandon gives up a promise, a locked one too, after another promiser said that it has released its own: then nobody
// can complete the bootstrap any more, and the proposer has withdrawn it.
func (p *promiser) abandon(q Proposal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.record.withRelease(q)
	if next.Promise != nil && next.Promise.equal(q) {
		next.Promise, next.Locked = nil, false
	}
	return p.saveLocked(next)
}

// bootstrapped notes that this node bootstraps the cluster, before it does.
func (p *promiser) bootstrapped() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.record
	next.Bootstrapper = true
	return p.saveLocked(next)
}

// refusal tells a node's refusal from a node that could not be asked.
func refusal(err error) bool {
	return errors.Is(err, ErrPromised) || errors.Is(err, ErrMismatch) || errors.Is(err, ErrWithdrawn) || errors.Is(err, ErrHasState) || errors.Is(err, ErrLocked)
}
