package consensus

import (
	"bytes"
	"runtime"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

// The library's keys.
var (
	keyTerm          = []byte("CurrentTerm")
	keyVoteTerm      = []byte("LastVoteTerm")
	keyVoteCandidate = []byte("LastVoteCand")
)

// stableStore stands before the store of term and vote. It times writes, and ends the node when one fails or takes too
// long.
//
// A failed write ends the goroutine that asked for it, too, after its deferred calls: when a term can't be stored the
// library panics, which would end the whole program without a word that people could make use of. Nobody is told of what
// is not on disk: the answers that the library has prepared until then, and that those calls send, refuse.
type stableStore struct {
	raft.StableStore
	watch storage.Watch
}

var _ raft.StableStore = (*stableStore)(nil)

// Set stores the candidate that got the vote.
func (s *stableStore) Set(key, value []byte) error {
	s.write("store vote", func() error { return s.StableStore.Set(key, value) })
	return nil
}

// SetUint64 stores a term: the current one, or that of the last vote. What is there already is not written again: the
// library does so at each start, when a full disk is to be told from Open and not by a panic.
//
// The vote's term comes before its candidate. Between the two the old candidate would seem to have this term's vote, and
// after a crash the library would grant it without a look at its log. So the old one is forgotten first: its term is
// over, since the current term was raised before.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	stored, err := s.GetUint64(key)
	switch {
	case err != nil && !storage.NotFound(err):
		s.write("read term", func() error { return err })
	case stored == value:
		return nil
	}
	if bytes.Equal(key, keyVoteTerm) {
		s.forgetCandidate()
	}
	s.write("store term", func() error { return s.StableStore.SetUint64(key, value) })
	return nil
}

func (s *stableStore) forgetCandidate() {
	if candidate, err := s.Get(keyVoteCandidate); err == nil && len(candidate) == 0 {
		return
	}
	s.write("store vote", func() error { return s.StableStore.Set(keyVoteCandidate, nil) })
}

func (s *stableStore) write(what string, write func() error) {
	if s.watch.Must(what, write) != nil {
		runtime.Goexit()
	}
}
