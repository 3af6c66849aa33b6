//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// aim is which part of the cluster a fault is about. Two faults at once have different aims.
type aim string

const (
	leaders   aim = "leader"
	followers aim = "follower"
	replicas  aim = "replica"
	links     aim = "links"
	clocks    aim = "clocks"
	all       aim = "all" // or it needs all: no other fault goes with it
)

// fault is a kind of fault.
type fault struct {
	name string
	what string // for --list
	aim  aim
	hold time.Duration // from its beginning to its end
	arm  func(context.Context, *scene) (injection, error)
}

// scene is what a fault finds when its time has come.
type scene struct {
	*cluster
	random *rand.Rand
	leader *node
	term   uint64
	busy   []*node // that another fault is about
	halved bool    // another fault takes the majority away: nobody can be elected
}

// injection is one fault at one place. Inject begins it and heal ends it, also if only half of it could be begun. In between, proof says by what it shows that it
// bit; one that shows nothing is an error.
type injection interface {
	targets() []*node
	inject(context.Context) error
	proof(context.Context) (string, error)
	heal(context.Context) error
}

// errNoBite is for a fault that did nothing.
type errNoBite struct{ why string }

func (e errNoBite) Error() string { return "it did not bite: " + e.why }

// errNobody is for a fault that finds nothing to be about.
type errNobody struct{ what string }

func (e errNobody) Error() string { return "there is no " + e.what }

// follower chooses a voter that does not lead.
func (s *scene) follower() (*node, error) {
	return s.choose("follower", func(n *node) bool { return !n.replica && n != s.leader && n != s.spare })
}

// member chooses any node of the cluster.
func (s *scene) member() (*node, error) {
	return s.choose("node", func(n *node) bool { return n != s.spare })
}

func (s *scene) readReplica() (*node, error) {
	return s.choose("read replica", func(n *node) bool { return n.replica })
}

func (s *scene) choose(what string, fit func(*node) bool) (*node, error) {
	fits := slices.DeleteFunc(s.everyone(), func(n *node) bool { return !fit(n) || slices.Contains(s.busy, n) })
	if len(fits) == 0 {
		return nil, errNobody{what}
	}
	return fits[s.random.IntN(len(fits))], nil
}

// theLeader returns who leads.
func (s *scene) theLeader() (*node, error) {
	if s.leader == nil || slices.Contains(s.busy, s.leader) {
		return nil, errNobody{"leader"}
	}
	return s.leader, nil
}

// voters returns the voters besides one.
func (s *scene) voters(not *node) []*node {
	return slices.DeleteFunc(s.others(not), func(n *node) bool { return n.replica || n == s.spare })
}

// faults is all kinds, in the order of --list.
func faults() []fault {
	return slices.Concat(processFaults(), networkFaults(), diskFaults(), clockFaults(), memberFaults())
}

func faultNamed(name string) (fault, bool) {
	for _, f := range faults() {
		if f.name == name {
			return f, true
		}
	}
	return fault{}, false
}

// named returns faults by their names, which must be right.
func named(names []string) []fault {
	list := make([]fault, 0, len(names))
	for _, name := range names {
		f, ok := faultNamed(name)
		if !ok {
			panic("BUG: there is no fault " + name)
		}
		list = append(list, f)
	}
	return list
}

// on makes a fault of what is done to one node.
func on(choose func(*scene) (*node, error), make func(*scene, *node) injection) func(context.Context, *scene) (injection, error) {
	return func(_ context.Context, s *scene) (injection, error) {
		n, err := choose(s)
		if err != nil {
			return nil, err
		}
		return make(s, n), nil
	}
}

// replaced proves that a leader has lost its office: another node leads in a later term.
func (s *scene) replaced(ctx context.Context, old *node, term uint64) (string, error) {
	if s.halved {
		return "nobody can take its place", nil
	}
	leader, now, err := s.awaitLeader(ctx, term, recoverWithin, s.voters(old)...)
	if err != nil {
		return "", errNoBite{err.Error()}
	}
	return fmt.Sprintf("%s leads in term %d after %d", leader.name, now, term), nil
}
