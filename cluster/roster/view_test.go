package roster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// situation reads a view: nodes parted by commas, each an id and words. A member is known and is to vote unless it says
// otherwise; "steady" and "dead" take for how long.
func situation(t *testing.T, text string) view {
	t.Helper()
	v := view{removeAfter: time.Hour}
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		n := node{id: words[0], known: true, wanted: true}
		for _, word := range words[1:] {
			name, value, _ := strings.Cut(word, "=")
			var long time.Duration
			if value != "" {
				var err error
				if long, err = time.ParseDuration(value); err != nil {
					t.Fatal(err)
				}
			}
			switch name {
			case "stray":
				v.strays = append(v.strays, n.id)
			case "self":
				n.self, n.live = true, true
			case "voter":
				n.voter = true
			case "live":
				n.live = true
			case "unknown":
				n.known, n.wanted = false, false
			case "replica":
				n.wanted = false
			case "barred":
				n.wanted, n.barred = false, true
			case "steady":
				n.live, n.steady = true, noon.Add(-long)
			case "dead":
				n.dead = noon.Add(-long)
			default:
				t.Fatalf("what is %q?", word)
			}
		}
		if !slices.Contains(v.strays, n.id) {
			v.nodes = append(v.nodes, n)
		}
	}
	return v
}

func TestNext(t *testing.T) {
	const three = "a self voter, b voter live, c voter live, "
	for _, c := range []struct {
		name, situation, want string
	}{
		{"nothing to do", three + "d live, r replica steady=1h", ""},

		{"it has kept up", three + "d steady=2s", "promote d"},
		{"not for long enough", three + "d steady=1999ms", ""},
		{"a read replica", three + "d replica steady=1h", ""},
		{"an operator has taken its vote", three + "d barred steady=1h", ""},
		{"its entry is not written yet", three + "d unknown steady=1h", ""},
		{"one at a time", three + "d steady=3s, e steady=3s", "promote d"},
		{"to a leader alone", "a self voter, d steady=2s", "promote d"},

		{"a voter to lose its vote", "a self voter, b voter live, c voter live barred", "demote c"},
		{"as the others are down", "a self voter, b voter dead=1m, c voter live barred", ""},
		{"a dead one", "a self voter, b voter live, c voter barred dead=1m", "demote c"},
		{"the leader", "a self voter barred, b voter live, c voter live", "transfer "},
		{"the last voter", "a self voter barred, b live", ""},
		{"one of two", "a self voter, b voter barred live", "demote b"},

		{"dead for long enough", three + "d voter dead=1h", "remove d"},
		{"not for long enough", three + "d voter dead=59m59s", ""},
		{"a majority does not answer", "a self voter, b voter live, c voter, d voter dead=2h", ""},
		{"a majority answers", "a self voter, b voter live, c voter live, d voter, e voter dead=2h", "remove e"},
		{"three voters must be left", "a self voter, b voter live, c voter dead=2h", ""},
		{"two dead ones, one at a time", three + "d voter dead=2h, e voter dead=2h", "remove d"},
		{"a dead non-voter", "a self voter, d dead=2h", "remove d"},
		{"a dead replica", "a self voter, b voter dead=2h, d replica dead=2h", "remove d"},
		{"a dead voter with a replacement", "a self voter, b voter live, c voter dead=2h, d steady=2s", "promote d"},
		{"the replacement has its vote", "a self voter, b voter live, c voter dead=2h, d voter live", "remove c"},
		{"this node itself", "a self voter dead=2h, b voter live, c voter live, d voter live", ""},

		{"an entry left over", three + "d voter dead=2h, x stray", "forget x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			step := situation(t, c.situation).next(noon)
			if got := strings.TrimSuffix(string(step.Op)+" "+step.ID, " "); got != strings.TrimSpace(c.want) {
				t.Errorf("%s: %q, want %q", c.situation, got, c.want)
			}
		})
	}
	never := situation(t, three+"d voter dead=2h")
	never.removeAfter = 0
	if step := never.next(noon); step.Op != opNone {
		t.Errorf("%v although nothing is to be removed", step)
	}
}

func TestCheck(t *testing.T) {
	const three = "a self voter, b voter live, c voter live, d live, r replica live"
	for _, c := range []struct {
		situation, change string
		want              error
	}{
		{three, "promote d", nil},
		{three, "promote r", nil},
		{three, "promote b", nil},
		{three, "promote x", ErrMemberNotFound},
		{three, "demote b", nil},
		{three, "demote a", nil},
		{three, "demote d", nil},
		{three, "demote x", ErrMemberNotFound},
		{"a self voter, b voter live, c unknown voter live", "demote c", ErrMemberNotFound},
		{three, "remove c", nil},
		{three, "remove d", nil},
		{three, "remove x", ErrMemberNotFound},
		{three, "remove ", ErrMemberNotFound},
		{three, "transfer b", nil},
		{three, "transfer a", nil},
		{three, "transfer ", nil},
		{three, "transfer d", consensus.ErrNotVoter},
		{three, "transfer r", consensus.ErrNotVoter},
		{three, "transfer x", ErrMemberNotFound},
		{three, "forget b", session.ErrBadEncoding},
		{three, "explode b", session.ErrBadEncoding},

		{"a self voter, b live", "demote a", ErrLastVoter},
		{"a self voter, b live", "remove a", ErrLastVoter},
		{"a self voter, b live", "remove b", nil},
		{"a self voter, b live", "transfer ", ErrNotTransferred},
		{"a self voter, b voter, c voter live", "transfer b", ErrNotTransferred},
		{"a self voter, b voter, c live", "transfer ", ErrNotTransferred},

		{"a self voter, b voter live", "remove b", nil},
		{"a self voter, b voter live, c voter", "remove c", nil},
		{"a self voter, b voter live, c voter", "demote c", nil},
		{"a self voter, b voter live, c voter", "remove b", ErrQuorumAtRisk},
		{"a self voter, b voter live, c voter", "demote b", ErrQuorumAtRisk},
		{"a self voter, b voter live, c voter", "demote a", ErrQuorumAtRisk},
		{"a self voter, b voter live, c voter live, d voter", "remove b", nil},
		{"a self voter, b voter live, c voter live, d voter, e voter", "remove b", ErrQuorumAtRisk},
		{"a self voter, b voter live, c voter live, d voter, e voter", "remove e", nil},
		{"a self voter, b voter live, c voter live, d voter, e voter, f", "remove f", nil},
	} {
		o, id, _ := strings.Cut(c.change, " ")
		if err := situation(t, c.situation).check(change{op(o), id}); !errors.Is(err, c.want) {
			t.Errorf("%s: %s: error %v, want %v", c.situation, c.change, err, c.want)
		}
	}
}

// What the rules allow never takes the majority from the voters that answer, in any situation.
func TestMajorityIsKept(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	made := make(map[op]int)
	for range 50_000 {
		v := anyView(random)
		voters, live := v.votes()
		if live < majority(voters) {
			continue // then nothing is committed anyway
		}
		changes := []change{v.next(noon)}
		for _, o := range []op{opPromote, opDemote, opRemove} {
			c := change{o, v.nodes[random.IntN(len(v.nodes))].id}
			if v.check(c) == nil {
				changes = append(changes, c)
			}
		}
		for i, c := range changes {
			after := v.after(c)
			voters, live := after.votes()
			n, _ := v.node(c.ID)
			// Whoever gets a vote from the leader itself answers; an operator's promotion waits for that.
			if live < majority(voters) && (i == 0 || c.Op != opPromote) {
				t.Fatalf("%+v: %v leaves %d of %d", v, c, live, voters)
			}
			if i == 0 && c.Op != opNone && n.self {
				t.Fatalf("%+v: %v to the leader itself", v, c)
			}
			if i == 0 && c.Op == opRemove && (n.live || n.voter && voters < MinVoters) {
				t.Fatalf("%+v: %v", v, c)
			}
			made[c.Op]++
		}
	}
	for _, o := range []op{opPromote, opDemote, opRemove, opTransfer} {
		if made[o] < 300 {
			t.Errorf("only %d of %q: the test shows little", made[o], o)
		}
	}
}

func anyView(random *rand.Rand) view {
	v := view{removeAfter: time.Hour}
	for i := range 1 + random.IntN(7) {
		n := node{id: fmt.Sprint(i), known: true, self: i == 0, voter: i == 0 || random.IntN(4) > 0}
		n.live = n.self || random.IntN(3) > 0
		n.barred = random.IntN(6) == 0
		n.wanted = !n.barred && random.IntN(4) > 0
		if n.live && random.IntN(2) == 0 {
			n.steady = noon.Add(-time.Duration(random.IntN(4)) * time.Second)
		}
		if !n.live && random.IntN(2) == 0 {
			n.dead = noon.Add(-time.Duration(random.IntN(120)) * time.Minute)
		}
		v.nodes = append(v.nodes, n)
	}
	return v
}

// after is the configuration that a change makes.
func (v view) after(c change) view {
	v.nodes = slices.Clone(v.nodes)
	i := slices.IndexFunc(v.nodes, func(n node) bool { return n.id == c.ID })
	switch c.Op {
	case opPromote:
		v.nodes[i].voter = true
	case opDemote:
		v.nodes[i].voter = false
	case opRemove:
		v.nodes = slices.Delete(v.nodes, i, i+1)
	}
	return v
}
