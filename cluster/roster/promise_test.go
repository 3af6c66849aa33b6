package roster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

func servers(ids ...string) []Server {
	list := make([]Server, len(ids))
	for i, id := range ids {
		list[i] = Server{ID: id, Peer: id + ":7000"}
	}
	return list
}

func proposal(proposer string, attempt uint64, ids ...string) Proposal {
	return Proposal{Proposer: proposer, Attempt: attempt, Servers: servers(ids...)}
}

func TestPromise(t *testing.T) {
	mine := proposal("a", 1, "a", "b", "c")
	other := proposal("b", 1, "b", "c", "d")
	for _, c := range []struct {
		name string
		do   func(p *promiser) error
		want error
	}{
		{"first", func(p *promiser) error { return p.promise(mine) }, nil},
		{"the same again", func(p *promiser) error { return errors.Join(p.promise(mine), p.promise(mine)) }, nil},
		{"another one", func(p *promiser) error { return errors.Join(p.promise(mine), p.promise(other)) }, ErrPromised},
		{"other number of servers", func(p *promiser) error { return p.promise(proposal("a", 1, "a", "c")) }, ErrMismatch},
		{"without this node", func(p *promiser) error { return p.promise(proposal("a", 1, "a", "b", "d")) }, ErrMismatch},
		{"after its release", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.release(mine), p.promise(mine))
		}, ErrWithdrawn},
		{"late, after its release", func(p *promiser) error { return errors.Join(p.release(mine), p.promise(mine)) }, ErrWithdrawn},
		{"another one after the release", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.release(mine), p.promise(other))
		}, nil},
		{"the next attempt after the release", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.release(mine), p.promise(proposal("a", 2, "a", "b", "c")))
		}, nil},
		{"release of a locked one", func(p *promiser) error { return errors.Join(p.promise(mine), p.lock(mine), p.release(mine)) }, ErrLocked},
		{"lock of one that was not asked for yet", func(p *promiser) error { return errors.Join(p.lock(mine), p.promise(other)) }, ErrPromised},
		{"lock after the release", func(p *promiser) error { return errors.Join(p.promise(mine), p.release(mine), p.lock(mine)) }, ErrWithdrawn},
		{"the next attempt in place of the first", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.promise(proposal("a", 2, "a", "b", "c")))
		}, nil},
		{"the next attempt in place of a locked one", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.lock(mine), p.promise(proposal("a", 2, "a", "b", "c")))
		}, ErrPromised},
		{"the first attempt after the next", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.promise(proposal("a", 2, "a", "b", "c")), p.abandon(proposal("a", 2, "a", "b", "c")), p.promise(mine))
		}, ErrWithdrawn},
		{"another one after a locked one was abandoned", func(p *promiser) error {
			return errors.Join(p.promise(mine), p.lock(mine), p.abandon(mine), p.promise(other))
		}, nil},
		{"lock of another one", func(p *promiser) error { return errors.Join(p.promise(mine), p.lock(other)) }, ErrPromised},
		{"own proposal while one is held", func(p *promiser) error {
			_, err := p.propose(servers("c", "d", "e"))
			_, again := p.propose(servers("c", "d", "e"))
			return errors.Join(err, again)
		}, ErrPromised},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := openPromiser("c", 3, &MemoryStore{})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(p); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
		})
	}
}

// What was promised is still promised after a restart.
func TestPromiseOutlivesTheProcess(t *testing.T) {
	store := FileStore{Path: filepath.Join(t.TempDir(), "bootstrap.json")}
	p, err := openPromiser("c", 3, store)
	if err != nil {
		t.Fatal(err)
	}
	mine := proposal("a", 1, "a", "b", "c")
	if err := errors.Join(p.promise(mine), p.lock(mine)); err != nil {
		t.Fatal(err)
	}
	if p, err = openPromiser("c", 3, store); err != nil {
		t.Fatal(err)
	}
	if err := p.promise(proposal("b", 1, "b", "c", "d")); !errors.Is(err, ErrPromised) {
		t.Fatalf("error %v, want %v", err, ErrPromised)
	}
	if err := p.release(mine); !errors.Is(err, ErrLocked) {
		t.Fatalf("error %v, want %v", err, ErrLocked)
	}
}

// Nodes with any views of each other, whose messages come late, twice or never, and which die: all configurations
// that are ever bootstrapped are the same one.
func TestAtMostOneConfiguration(t *testing.T) {
	formed := 0
	for seed := range uint64(6000) {
		if formation(t, rand.New(rand.NewPCG(seed, 1)), seed) {
			formed++
		}
	}
	if formed < 250 {
		t.Fatalf("only %d of the histories formed a cluster: the test shows little", formed)
	}
}

// formation plays one history of five nodes that expect three.
func formation(t *testing.T, random *rand.Rand, seed uint64) bool {
	ids := []string{"a", "b", "c", "d", "e"}
	nodes := make(map[string]*promiser)
	for _, id := range ids {
		p, err := openPromiser(id, 3, &MemoryStore{})
		if err != nil {
			t.Fatal(err)
		}
		nodes[id] = p
	}
	var bootstrapped []Proposal
	begun := make(map[string]bool)            // nodes that have bootstrapped: they belong to a cluster now
	yes := make(map[string]map[string]bool)   // proposal to those who promised, as its proposer knows
	freed := make(map[string]map[string]bool) // likewise released
	locked := make(map[string]map[string]bool)
	mark := func(of map[string]map[string]bool, key, id string) int {
		if of[key] == nil {
			of[key] = make(map[string]bool)
		}
		of[key][id] = true
		return len(of[key])
	}
	bootstrap := func(by string, p Proposal) {
		if !begun[by] {
			begun[by] = true
			bootstrapped = append(bootstrapped, p)
		}
	}
	type message struct {
		kind byte
		from string
		p    Proposal
		to   string
	}
	var inFlight []message
	for range 150 {
		id := ids[random.IntN(len(ids))]
		node := nodes[id]
		record := node.current()
		held := record.Promise
		action := random.IntN(8)
		switch {
		case action < 5 && begun[id]:
		case action < 2: // proposes with whatever view it has
			view := append([]string{id}, others(ids, id, random)...)
			if _, err := node.propose(sorted(view[:3])); err != nil && !errors.Is(err, ErrPromised) {
				t.Fatal(err)
			}
		case action == 2: // asks for promises
			if held != nil && held.Proposer == id && !record.withdrawn(*held) {
				for _, s := range held.Servers {
					inFlight = append(inFlight, message{'p', id, *held, s.ID})
				}
			}
		case action == 3: // gives way
			if held != nil && held.Proposer == id && random.IntN(3) == 0 {
				if err := node.withdraw(*held); err != nil {
					t.Fatal(err)
				}
				for _, s := range held.Servers {
					if s.ID != id {
						inFlight = append(inFlight, message{'r', id, *held, s.ID})
					}
				}
			}
		case action == 4: // asks the proposer whether it stands, or takes over, whether the proposer is dead or not
			if held != nil && held.Proposer != id && nodes[held.Proposer].current().withdrawn(*held) && random.IntN(2) == 0 {
				if err := node.release(*held); err != nil && !errors.Is(err, ErrLocked) {
					t.Fatal(err)
				}
			} else if held != nil && held.Proposer != id && node.lock(*held) == nil {
				for _, s := range held.Servers {
					if s.ID != held.Proposer {
						inFlight = append(inFlight, message{'l', id, *held, s.ID})
					}
				}
			}
		default: // a message arrives; now and then it stays in flight as well, or is lost
			if len(inFlight) == 0 {
				continue
			}
			i := random.IntN(len(inFlight))
			m := inFlight[i]
			if random.IntN(10) > 0 {
				inFlight = append(inFlight[:i], inFlight[i+1:]...)
			}
			if random.IntN(10) == 0 {
				continue
			}
			to, key, proposer := nodes[m.to], name(m.p), nodes[m.p.Proposer]
			switch m.kind {
			case 'p':
				if begun[m.to] && m.to != m.p.Proposer || to.promise(m.p) != nil && m.to != m.p.Proposer {
					continue
				}
				if mark(yes, key, m.to) == 3 && !proposer.current().withdrawn(m.p) {
					bootstrap(m.p.Proposer, m.p)
				}
			case 'r':
				if to.release(m.p) == nil && mark(freed, key, m.to) >= 1 && !begun[m.p.Proposer] {
					if err := proposer.release(m.p); err != nil && !errors.Is(err, ErrLocked) {
						t.Fatal(err)
					}
				}
			case 'l':
				switch err := to.lock(m.p); {
				case err == nil:
					if mark(locked, key+m.from, m.to) == 2 {
						bootstrap(m.from, m.p)
					}
				case errors.Is(err, ErrWithdrawn) && !begun[m.from]:
					if err := nodes[m.from].abandon(m.p); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	for _, p := range bootstrapped {
		if name(Proposal{Servers: p.Servers}) != name(Proposal{Servers: bootstrapped[0].Servers}) {
			t.Fatalf("seed %d: two configurations were bootstrapped: %v and %v", seed, bootstrapped[0], p)
		}
	}
	return len(bootstrapped) > 0
}

func name(p Proposal) string { return fmt.Sprint(p) }

func others(ids []string, id string, random *rand.Rand) []string {
	var list []string
	for _, i := range random.Perm(len(ids)) {
		if ids[i] != id {
			list = append(list, ids[i])
		}
	}
	return list
}

func sorted(ids []string) []Server {
	list := servers(ids...)
	for i := range list {
		for j := i; j > 0 && list[j].ID < list[j-1].ID; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return list
}

// Lengths that are lies cost no memory.
func TestLengthsAreLies(t *testing.T) {
	lies := []string{
		"\x81\xa1x\xc6\xff\xff\xff\xff", "\x81\xa1x\xdb\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
		"\x81\xa7Servers\xdd\x00\xff\xff\xff", "\x81\xa7Servers\xdc\xff\xff\x80", "\x81\xa2ID\xd9\xff", strings.Repeat("\x91", 1<<16),
	}
	const most = 1 << 20 // bytes, for all of them
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, lie := range lies {
		data := append([]byte{messageVersion}, lie...)
		_, notProposal := decode[Proposal](data)
		_, notCondition := decode[condition](data)
		_, notChange := decode[change](data)
		for _, err := range []error{notProposal, notCondition, notChange} {
			if !errors.Is(err, session.ErrBadEncoding) {
				t.Errorf("%.20q is decoded: %v", lie, err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("%d KiB for %d messages", got>>10, len(lies))
	}
}

func FuzzDecodeMessages(f *testing.F) {
	for _, m := range []any{
		proposal("a", 1, "a", "b", "c"),
		announcement{Member: session.Member{ID: "a", Name: "n1"}, Admitted: true, Applied: 9},
		welcome{LeaderID: "a", Accepted: true, ClusterID: "x", Settled: true},
		condition{Applied: 9, DiskLow: true},
		change{opDemote, "a"},
	} {
		data, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{messageVersion, 0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decode[Proposal](data); err == nil {
			if _, err := encode(p); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := decode[announcement](data); err == nil {
			if _, err := encode(a); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := decode[condition](data); err == nil {
			if _, err := encode(c); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := decode[change](data); err == nil {
			if _, err := encode(c); err != nil {
				t.Fatal(err)
			}
		}
		if w, err := decode[welcome](data); err == nil {
			if _, err := encode(w); err != nil {
				t.Fatal(err)
			}
		}
	})
}
