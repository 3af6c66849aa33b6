package simulation

import (
	"flag"
	"fmt"
	"strconv"
	"testing"

	"cloakroom/cluster/clustertest/mutant"
)

var search = flag.Int("search", 0, "search so many seeds for each break, instead of trying the one recorded")

const (
	// before is how many histories before the recorded seed a break is tried from.
	before = 2
	// enoughTries is how many histories it is given then. Mostly the first few do. More are needed after a change that
	// deals the chances anew, as each message more or less does; then the seeds are to be recorded again: see -search.
	enoughTries = 4000
)

// seeds returns which histories a break is tried in.
func seeds(recorded uint64) (first uint64, histories int) {
	if *search > 0 {
		return 1, *search
	}
	return recorded - min(recorded-1, before), enoughTries
}

// TestBreaks breaks what surrounds the machines in each way, and wants the judge to find that.
func TestBreaks(t *testing.T) {
	for _, b := range []struct {
		name   string
		seed   uint64 // the first at which it is seen
		hidden bool   // it breaks the invariant: clients see that much later
	}{
		{"AnswerAtCommit", 2, false},
		{"AnswerByIndex", 8, false},
		{"RefuseEarly", 41, false},
		{"ShowEarly", 8, false},
		{"QuorumShowsEarly", 4, false},
		{"ClockAfter", 356, false},
		{"NoBootCheck", 482, false},
		{"NoTombstones", 16, false},
		{"FloorIgnored", 1174, false},
		{"RestoreUntold", 28, false},
		{"AppliedEarly", 242, false},
		{"BootReused", 226, true},
		{"SentLate", 33, true},
		{"ClockCached", 133, false},
		{"AnchorAtCommit", 263, false},
		{"TicksKeepHandover", 4505, false},
		{"JumpUnnoticed", 8, false},
		{"NoTermCheck", 2606, false},
	} {
		t.Run(b.name, func(t *testing.T) {
			o := Options{Breaks: breakOf(t, b.name)}
			first, histories := seeds(b.seed)
			for seed := first; seed < first+uint64(histories); seed++ {
				if out := Run(seed, o); out.Visible() || b.hidden && out.Wrong() {
					t.Log(out)
					return
				}
			}
			t.Errorf("not caught in %d histories from seed %d on", histories, first)
		})
	}
}

// TestMutants does so with the machine itself, in one program for each.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("compiles a program for each mutant, without the race detector")
	}
	root, err := mutant.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants() {
		t.Run(m.Name, func(t *testing.T) {
			first, histories := seeds(m.seed)
			out, err := mutant.Try(t.Context(), root, t.TempDir(), m.Mutant, mutant.Test{
				Package: "./cluster/lease/simulation",
				Run:     "^TestSimulation$",
				Build:   []string{"-ldflags=-s -w"},
				Args: []string{
					"-first", strconv.FormatUint(first, 10), "-histories", strconv.Itoa(histories),
					"-enough", "1", "-players", "1", fmt.Sprintf("-visible=%t", !m.hidden),
				},
			})
			switch {
			case err != nil:
				t.Error(err)
			case !out.Caught:
				t.Errorf("not caught in %d histories from seed %d on", histories, first)
			default:
				t.Log(out.Output)
			}
		})
	}
}
