package peer

import (
	"context"
	"errors"
	"maps"
	"testing"

	"cloakroom/bench/load"
)

func TestLookupsOfANode(t *testing.T) {
	const text = `# HELP cloakroom_lookups_total Lookups.
# TYPE cloakroom_lookups_total counter
cloakroom_lookups_total{level="lease",outcome="forwarded"} 3
cloakroom_lookups_total{level="lease",outcome="memory"} 1.5e+06
cloakroom_lookups_total{level="lease",outcome="refused"} 1
cloakroom_lookups_total{level="lease",outcome="waited"} 2
cloakroom_lookups_total{level="local",outcome="memory"} 7
cloakroom_lookups_total_more{level="local",outcome="memory"} 9
`
	got, err := parseLookups(text)
	want := map[Level]Lookups{Lease: {Memory: 1_500_000, Waited: 2, Forwarded: 3, Refused: 1}, Local: {Memory: 7}}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{
		"", "cloakroom_lookups_total 5\n", `cloakroom_lookups_total{level="lease",outcome="lost"} 3`, `cloakroom_lookups_total{level="lease",outcome="memory"} x`,
	} {
		if got, err := parseLookups(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
	spent := Lookups{90, 5, 10, 1}.Since(Lookups{10, 1, 1, 1}).Plus(Lookups{5, 1, 1, 0})
	if spent != (Lookups{85, 5, 10, 0}) || spent.All() != 100 || spent.Left() != 0.1 || (Lookups{}).Left() != 0 {
		t.Errorf("%+v, %v left the node", spent, spent.Left())
	}
}

func TestSplitSessionsKeepTheirUsers(t *testing.T) {
	all, err := madeUpSessions(3 * sessionsPerUser)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, sessionsPerUser + 1, all.Len()} {
		first, others := all.Split(n)
		if first.Len() != n || others.Len() != all.Len()-n {
			t.Errorf("%d and %d of %d, want %d first", first.Len(), others.Len(), all.Len(), n)
		}
		for i := range all.Len() {
			part, j := first, i
			if i >= n {
				part, j = others, i-n
			}
			if string(part.Token(j)) != string(all.Token(i)) || part.User(j) != all.User(i) {
				t.Errorf("session %d after a split at %d is another one", i, n)
			}
		}
	}
	_, rest := all.Split(10)
	if _, rest = rest.Split(10); rest.User(5) != all.User(25) || string(rest.Token(5)) != string(all.Token(25)) {
		t.Error("split twice, a session is another one")
	}
}

// counted counts its calls and says how it was closed.
type counted struct {
	calls int
	err   error
}

func (c *counted) Call(context.Context) error { c.calls++; return nil }
func (c *counted) Close() error               { return c.err }

func TestMixSendsEachItsShare(t *testing.T) {
	lookup, put := &counted{}, &counted{err: errors.New("put's connection")}
	open := func(c load.Caller) load.Open {
		return func(context.Context, int) (load.Caller, error) { return c, nil }
	}
	caller, err := Mix(open(lookup), open(put), 0.05)(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	const calls = 20_000
	for range calls {
		if err := caller.Call(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if share := float64(put.calls) / calls; share < 0.04 || share > 0.06 || put.calls+lookup.calls != calls {
		t.Errorf("%d puts, %d lookups", put.calls, lookup.calls)
	}
	if err := caller.Close(); !errors.Is(err, put.err) {
		t.Errorf("%v, want %v", err, put.err)
	}
	broken := errors.New("no route")
	_, err = Mix(open(&counted{err: errors.New("left open")}), func(context.Context, int) (load.Caller, error) { return nil, broken }, 0.05)(t.Context(), 0)
	if !errors.Is(err, broken) || err.Error() != "no route\nleft open" {
		t.Errorf("%v: the lookup's connection was to be closed", err)
	}
}
