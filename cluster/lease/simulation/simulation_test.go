package simulation

import (
	"cmp"
	"flag"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 20_000, "how many histories TestSimulation plays")
	first     = flag.Uint64("first", 1, "the seed of the first of them")
	story     = flag.Uint64("story", 0, "tell the history of this seed instead")
	breaking  = flag.String("break", "", "break this one of Breaks in it")
	players   = flag.Int("players", 2, "how many histories are played at a time")
	enough    = flag.Int("enough", 10, "stop when so many are wrong")
	visible   = flag.Bool("visible", false, "only what clients can see is wrong")
)

// minSample is how many histories it takes for shares to mean anything.
const minSample = 1000

// TestSimulation plays histories and wants nothing wrong, and much done.
func TestSimulation(t *testing.T) {
	o := Options{Breaks: breakOf(t, *breaking)}
	if *story > 0 {
		o.Trace = os.Stdout
		out := Run(*story, o)
		t.Logf("%v\n%v", out.Counts, out)
		return
	}
	n := *histories
	if testing.Short() || raceEnabled {
		n = min(n, minSample) // one goroutine plays a history: the race detector has little to see
	}
	begun := time.Now()
	counts, wrong := play(*first, n, o)
	t.Logf("%.0f histories/s; %v", float64(counts.Histories)/time.Since(begun).Seconds(), counts)
	for _, out := range wrong {
		t.Error(out)
	}
	if len(wrong) == 0 && counts.Histories >= minSample {
		checkProgress(t, counts)
	}
}

// checkProgress fails what grants nothing, answers nothing, or is spared the faults.
func checkProgress(t *testing.T, c Counts) {
	t.Helper()
	atLeast := func(what string, share float64, part, of int) {
		if float64(part) < share*float64(of) {
			t.Errorf("%s: %d of %d, want a share of %v", what, part, of, share)
		}
	}
	atLeast("writes acknowledged", 0.80, c.Acknowledged, c.Writes)
	atLeast("lookups answered", 0.60, c.Lookups(), c.Lookups()+c.Unanswered)
	atLeast("answered by the node's own lease", 0.80, c.ByLease, c.Lookups())
	atLeast("answered by a lease of a former leader", 0.03, c.OldLeases, c.ByLease)
	atLeast("offices taken over without waiting", 0.20, c.Handed, c.HandOvers)
	atLeast("histories decided", 0.999, c.Histories*ownerCount-c.Undecided, c.Histories*ownerCount)
	each := func(what string, want float64, n int) { atLeast(what+" in each history", want, n, c.Histories) }
	each("operations", 100, c.Operations)
	each("elections", 3, c.Elections)
	each("crashes", 1.5, c.Crashes)
	each("pauses", 1, c.Pauses)
	each("standstills", 0.2, c.Standstills)
	each("partitions", 2, c.Partitions)
	each("restores", 0.3, c.Restores)
	each("refused snapshots", 0.02, c.Refused)
	each("restores that turn the table back", 0.02, c.Backward)
	each("changes of the members", 0.3, c.Configurations)
	each("hand-overs", 0.3, c.HandOvers)
	each("offices lost and won unnoticed", 0.02, c.Unnoticed)
	each("answers after an office", 0.3, c.LateAnswers)
	each("lookups that began again", 0.1, c.Again)
}

// TestCalm wants nearly everything answered, and nearly every lookup at once, where nothing goes wrong.
func TestCalm(t *testing.T) {
	counts, wrong := play(1, 300, Options{Calm: true})
	t.Log(counts)
	for _, out := range wrong {
		t.Error(out)
	}
	if c := counts; c.Acknowledged*100 < 97*c.Writes || c.ByLease*100 < 98*(c.ByLease+c.ByPoint) {
		t.Errorf("acknowledged %d of %d; lookups by lease %d, by point %d", c.Acknowledged, c.Writes, c.ByLease, c.ByPoint)
	}
}

// TestSameAgain plays histories twice: a seed must tell all of it.
func TestSameAgain(t *testing.T) {
	for seed := range uint64(50) {
		var once, again strings.Builder
		Run(seed, Options{Trace: &once})
		Run(seed, Options{Trace: &again})
		if once.String() != again.String() {
			t.Fatalf("seed %d: two histories", seed)
		}
	}
}

func breakOf(t *testing.T, name string) (b Breaks) {
	t.Helper()
	if name == "" {
		return b
	}
	f := reflect.ValueOf(&b).Elem().FieldByName(name)
	if !f.IsValid() {
		t.Fatalf("no break %q", name)
	}
	f.SetBool(true)
	return b
}

// play plays histories of consecutive seeds and returns what was wrong, by seed, until that is enough.
func play(first uint64, histories int, o Options) (sum Counts, wrong []Outcome) {
	// The heap is small: left alone, the collector would always be at work.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var (
		mu    sync.Mutex
		next  atomic.Uint64
		group sync.WaitGroup
	)
	note := func(out Outcome) {
		mu.Lock()
		defer mu.Unlock()
		sum.Add(out.Counts)
		if out.Visible() || out.Wrong() && !*visible {
			if wrong = append(wrong, out); len(wrong) >= *enough {
				next.Store(uint64(histories))
			}
		}
	}
	for range *players {
		group.Go(func() {
			for i := next.Add(1) - 1; i < uint64(histories); i = next.Add(1) - 1 {
				note(Run(first+i, o))
			}
		})
	}
	group.Wait()
	slices.SortFunc(wrong, func(a, b Outcome) int { return cmp.Compare(a.Seed, b.Seed) })
	return sum, wrong
}
