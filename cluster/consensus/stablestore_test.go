package consensus

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

// guarded returns a store of term and vote on a disk that may be bad, and what the node was ended for.
func guarded(inner raft.StableStore, disk *badDisk) (*stableStore, *failures) {
	said := &failures{err: map[string]error{}}
	watch := storage.Watch{Limit: DefaultStall, OnFail: func(err error) { said.note("", err) }}
	return &stableStore{StableStore: badStable{inner, disk}, watch: watch}, said
}

// vote stores a vote as the library does, up to where the disk gives up.
func vote(s *stableStore, term uint64, candidate string) (done bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if s.SetUint64(keyVoteTerm, term) == nil && s.Set(keyVoteCandidate, []byte(candidate)) == nil {
			done = true
		}
	}()
	<-ended
	return done
}

// TestHalfVote: the library takes a candidate that stands beside the term of the last vote for the one that got it, and
// votes for it again without a look at its log. Wherever a vote's writing ends, none may seem given that was not.
func TestHalfVote(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) raft.StableStore{
		"memory": func(*testing.T) raft.StableStore { return raft.NewInmemStore() },
		"disk": func(t *testing.T) raft.StableStore {
			d := reopen(t, t.TempDir())
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
			return d.Stable
		},
	} {
		t.Run(name, func(t *testing.T) {
			for written := range 4 {
				inner, disk := open(t), &badDisk{}
				s, said := guarded(inner, disk)
				if !vote(s, 5, "old:1") {
					t.Fatal("a vote on a good disk was not stored")
				}
				disk.breaks(diskFault{err: full, after: written}, stablePart)
				done := vote(s, 7, "new:1")
				if done != (written == 3) || done == errors.Is(said.of(""), storage.ErrDiskFull) {
					t.Errorf("after %d writes: stored %v, the node says %v", written, done, said.of(""))
				}
				term, err := inner.GetUint64(keyVoteTerm)
				if err != nil {
					t.Fatal(err)
				}
				candidate, err := inner.Get(keyVoteCandidate)
				if err != nil && !storage.NotFound(err) {
					t.Fatal(err)
				}
				switch given := string(candidate); {
				case term == 7 && given == "old:1", term == 5 && given == "new:1":
					t.Errorf("after %d writes: it seems to have voted for %s in term %d", written, given, term)
				case done && (term != 7 || given != "new:1"), term == 7 && !done && candidate != nil:
					t.Errorf("after %d writes: term %d, candidate %q", written, term, given)
				}
			}
		})
	}
}

// TestTermIsNotWrittenAgain: the library stores the term that it has just read at each start.
func TestTermIsNotWrittenAgain(t *testing.T) {
	inner, disk := raft.NewInmemStore(), &badDisk{}
	s, said := guarded(inner, disk)
	for _, term := range []uint64{0, 4} {
		disk.isRepaired()
		if err := s.SetUint64(keyTerm, term); err != nil {
			t.Fatal(err)
		}
		disk.breaks(diskFault{err: full}, stablePart)
		if err := s.SetUint64(keyTerm, term); err != nil || said.of("") != nil {
			t.Errorf("term %d: %v, %v", term, err, said.of(""))
		}
	}
	if stored, err := inner.GetUint64(keyTerm); err != nil || stored != 4 {
		t.Errorf("%d, %v", stored, err)
	}
}
