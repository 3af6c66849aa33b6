package history

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// store is a correct store, written without the model in mind: one lock, one map.
type store struct {
	rev      uint64
	sessions map[string]map[string]string // those that live, by key
	revs     map[string]uint64
	known    map[string]bool
}

func newStore() *store {
	return &store{sessions: map[string]map[string]string{}, revs: map[string]uint64{}, known: map[string]bool{}}
}

// do carries an operation out, and returns how its call ends.
func (s *store) do(op Operation) func(Call) {
	attrs, live := s.sessions[op.Key]
	switch {
	case op.Kind == EndAll:
		n := len(s.sessions)
		clear(s.sessions)
		return func(c Call) { c.Done(Answer{Ended: &n}) }
	case op.Kind == Create && s.known[op.Key]:
		return func(c Call) { c.Refused(KeyUsed) }
	case op.Kind == Create:
		attrs = map[string]string{}
		s.known[op.Key] = true
	case !live:
		return func(c Call) { c.Refused(NotLive) }
	case op.IfRev != 0 && op.IfRev != s.revs[op.Key]:
		return func(c Call) { c.Refused(Conflict) }
	}
	switch op.Kind {
	case End:
		delete(s.sessions, op.Key)
		return func(c Call) { c.Done(Answer{}) }
	case Create, Put:
		attrs = maps.Clone(attrs)
		for _, a := range op.Attrs {
			attrs[a.Key] = a.Value
		}
	case Remove:
		attrs = maps.Clone(attrs)
		for _, name := range op.Names {
			delete(attrs, name)
		}
	}
	if op.changes() {
		s.rev++
		s.sessions[op.Key], s.revs[op.Key] = attrs, s.rev
	}
	answer := Answer{Rev: s.revs[op.Key]}
	if op.Kind == Get {
		for k, v := range attrs {
			answer.Attrs = append(answer.Attrs, Attr{k, v})
		}
	}
	return func(c Call) { c.Done(answer) }
}

// pending is an operation that has begun.
type pending struct {
	op     Operation
	call   Call
	finish func(Call) // nil: it has not taken effect yet
}

// record makes a history of one user with so many operations, so many of them at once. lost is the share of operations
// whose outcome nobody learns.
func record(random *rand.Rand, operations, clients int, lost float64) *History {
	var now time.Duration
	r := New(func() time.Duration { now += time.Millisecond; return now })
	s := newStore()
	running := make(map[int]*pending)
	var late []*pending // may still take effect
	for begun := 0; begun < operations || len(running) > 0; {
		client := random.IntN(clients)
		p := running[client]
		switch {
		case p == nil && begun < operations:
			op := randomOperation(random, s, client, begun)
			running[client] = &pending{op: op, call: r.Begin(op)}
			begun++
		case p == nil:
		case p.finish == nil && random.Float64() < lost:
			p.call.Unknown()
			late = append(late, p)
			delete(running, client)
		case p.finish == nil:
			p.finish = s.do(p.op)
		default:
			p.finish(p.call)
			delete(running, client)
		}
		if n := len(late); n > 0 && random.IntN(20) == 0 {
			s.do(late[n-1].op)
			late = late[:n-1]
		}
	}
	return r.History()
}

func randomOperation(random *rand.Rand, s *store, client, n int) Operation {
	kinds := []Kind{Create, Put, Put, Put, Remove, Get, Get, Get, Get, Verify, End, EndAll}
	op := Operation{Client: client, User: "u", Kind: kinds[random.IntN(len(kinds))]}
	if op.Kind == EndAll && random.IntN(4) > 0 {
		op.Kind = Get
	}
	known := slices.Sorted(maps.Keys(s.known))
	if op.Kind == Create || len(known) == 0 {
		op.Kind, op.Key = Create, fmt.Sprintf("k%d", n)
	} else {
		op.Key = known[random.IntN(len(known))]
	}
	attr := Attr{"abc"[random.IntN(3):][:1], strconv.Itoa(n)}
	switch op.Kind {
	case Create:
		op.Attrs = []Attr{attr}
	case Put:
		op.Attrs = []Attr{attr}
		if random.IntN(2) == 0 {
			op.IfRev = s.revs[op.Key]
		}
	case Remove:
		op.Names = []string{attr.Key}
	}
	return op
}

// patient is for searches that a busy machine may take long for: they end with the test's own time at the latest.
var patient = Rules{Limit: time.Hour}

// Histories of a correct store pass, whatever happens at once and whatever is lost, and are judged quickly.
func TestRandomHistoriesPass(t *testing.T) {
	var slowest time.Duration
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 1))
		h := record(random, 300, 20, []float64{0, 0.01, 0.03}[seed%3])
		r := Check(h, patient)
		if err := r.Err(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		slowest = max(slowest, r.Slowest)
	}
	t.Logf("slowest search: %v", slowest)
}

// One answer that is exchanged for that of a wrong store is found.
func TestRandomLiesAreFound(t *testing.T) {
	told, found := 0, 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		h := record(random, 60, 4, 0)
		i := random.IntN(len(h.Operations))
		if !lie(&h.Operations[i]) {
			continue
		}
		told++
		if err := Check(h, patient).Err(); errors.Is(err, ErrViolation) {
			found++
		} else if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d of %d lies found", found, told)
	// Some lies could be true: a refusal beside a logout, a verify beside a create.
	if told < 150 || found < told*9/10 {
		t.Fatal("too few")
	}
}

// lie turns an answer into another one.
func lie(op *Operation) bool {
	switch {
	case op.Outcome == Refused && op.Refusal == NotLive && op.Kind != Get:
		op.Outcome, op.Answer = Done, Answer{}
	case op.Kind == Get && op.Outcome == Done:
		op.Answer.Attrs = append(op.Answer.Attrs, Attr{"d", "1"})
	case op.Kind == Put && op.Outcome == Done, op.Kind == End && op.Outcome == Done:
		op.Outcome = Dropped
	case op.Outcome == Refused && op.Refusal == Conflict:
		op.Outcome, op.Answer = Done, Answer{}
	case op.Kind == Verify && op.Outcome == Done:
		op.Outcome, op.Refusal = Refused, NotLive
	default:
		return false
	}
	return true
}

// A recorder serves many goroutines.
func TestRecorderAtOnce(t *testing.T) {
	begun := time.Now()
	r := New(func() time.Duration { return time.Since(begun) })
	var group sync.WaitGroup
	for client := range 16 {
		group.Go(func() {
			for i := range 200 {
				call := r.Begin(Operation{Client: client, Kind: Create, User: strconv.Itoa(client), Key: strconv.Itoa(i)})
				if i%2 == 0 {
					call.Done(Answer{})
				}
			}
		})
	}
	group.Wait()
	h := r.History()
	if len(h.Operations) != 16*200 || len(h.marks) != 16*300 || !slices.IsSorted(h.marks) {
		t.Fatalf("%d operations, %d marks", len(h.Operations), len(h.marks))
	}
	for i, op := range h.Operations {
		if i > 0 && op.Call <= h.Operations[i-1].Call || op.Outcome == Done && op.Return <= op.Call {
			t.Fatalf("operation %d: %+v", i, op)
		}
	}
}
