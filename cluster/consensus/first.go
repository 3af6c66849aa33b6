package consensus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

// errNoVoter: only a member with a vote may begin a cluster; the library demands the same of a bootstrap.
var errNoVoter = errors.New("this node is not a voter in it")

// writeFirst gives an empty node the first entry of a cluster, as BootstrapCluster of the library writes it: that one
// makes the term durable first and then the entry, and refuses a node that has a term. A crash between the two would
// leave a node that can be neither bootstrapped nor elected; so would a vote for another member of the same beginning.
//
// To go on in spite of a term is safe as long as log and snapshots are empty: then the node has acknowledged nothing
// but votes, these stay, and the entry of index and term 1 is the same on all members.
//
// It reports whether it has written the entry, which is then of firstTerm.
func writeFirst(conf *raft.Config, s *storage.Stores, first []Server) (written bool, err error) {
	if len(first) == 0 {
		return false, nil
	}
	stable := risingTerm{s.Stable}
	has, err := raft.HasExistingState(s.Log, stable, s.Snapshots)
	if err != nil || has {
		return false, err
	}
	if !slices.ContainsFunc(first, func(m Server) bool { return m.Voter && m.ID == string(conf.LocalID) }) {
		return false, errNoVoter
	}
	// Without a transport: the library asks it for addresses of its first protocols only.
	err = raft.BootstrapCluster(conf, s.Log, stable, s.Snapshots, nil, configurationOf(first))
	return err == nil, err
}

// firstTerm is the term of the entry that begins a cluster.
const firstTerm = 1

// risingTerm shows a node's term as none, and never lowers it: a node that went back to an earlier term could vote
// twice in one.
type risingTerm struct{ raft.StableStore }

// GetUint64 hides the term, the only number that a bootstrap asks for.
func (s risingTerm) GetUint64([]byte) (uint64, error) { return 0, nil }

// SetUint64 stores a number unless it is there already, or a higher one.
func (s risingTerm) SetUint64(key []byte, value uint64) error {
	stored, err := s.StableStore.GetUint64(key)
	if err != nil && !storage.NotFound(err) {
		return fmt.Errorf("read term: %w", err)
	}
	if stored >= value {
		return nil
	}
	return s.StableStore.SetUint64(key, value)
}

func configurationOf(servers []Server) raft.Configuration {
	var configuration raft.Configuration
	for _, s := range servers {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		configuration.Servers = append(configuration.Servers, raft.Server{
			Suffrage: suffrage, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Addr),
		})
	}
	return configuration
}
