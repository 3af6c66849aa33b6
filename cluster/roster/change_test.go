package roster

import (
	"errors"
	"testing"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// An operator's decision is made at any node, and lasts: over announcements, over leaders, until the next one.
func TestPins(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.start("r", replica)
		time.Sleep(5 * time.Second)
		w.expect("add r")
		joined, _ := w.member("b")

		if err := w.hosts["c"].roster.Demote(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		w.expect("pin b 2, demote b")
		time.Sleep(3 * AnnounceInterval)
		w.hosts["b"].roster.Close()
		w.start("b", func(c *Config) { c.ClusterID, c.Admitted, c.Self.HTTP = "c", true, "b:8080" }) // its entry is written anew
		w.elect("c")
		time.Sleep(3 * AnnounceInterval)
		w.expect("")
		if m, _ := w.member("b"); m.Pin != session.PinNonVoter || m.HTTP != "b:8080" || m.Joined != joined.Joined {
			t.Errorf("%+v", m)
		}
		if !w.hosts["b"].roster.Placed() {
			t.Error("a node that is not to vote waits for its vote")
		}

		if err := w.hosts["a"].roster.Promote(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * StabilizeFor)
		w.expect("pin b 0, voter b")
		if err := w.hosts["b"].roster.Promote(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * StabilizeFor)
		w.expect("pin r 1, voter r")
		if err := w.hosts["r"].roster.Demote(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		w.expect("pin r 2, demote r")
		time.Sleep(3 * AnnounceInterval)
		for _, change := range []error{
			w.hosts["a"].roster.Promote(t.Context(), "b"), w.hosts["a"].roster.Demote(t.Context(), "r"), // as they are
		} {
			if change != nil {
				t.Error(change)
			}
		}
		w.expect("")
	})
}

// A member that has not caught up gets the vote that an operator gives it when it has.
func TestPromoteBeforeItHasCaughtUp(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.mu.Lock()
		w.index = 1000
		w.mu.Unlock()
		w.start("r", replica)
		w.set("r", func(h *host) { h.lag = CaughtUp + 1 })
		time.Sleep(time.Second)
		if err := w.hosts["b"].roster.Promote(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.expect("add r, pin r 1")
		w.set("r", func(h *host) { h.lag = 0 })
		time.Sleep(StabilizeFor + time.Second)
		w.expect("voter r")
	})
}

// What takes the quorum is refused, and the cluster is as it was.
func TestRefusals(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.start("r", replica)
		time.Sleep(time.Second)
		w.kill("c")
		w.expect("add r")
		at := w.hosts["b"].roster
		for _, c := range []struct {
			change string
			err    error
			want   *session.Error
		}{
			{"promote x", at.Promote(t.Context(), "x"), ErrMemberNotFound},
			{"demote x", at.Demote(t.Context(), "x"), ErrMemberNotFound},
			{"remove x", at.Remove(t.Context(), "x"), ErrMemberNotFound},
			{"transfer x", at.Transfer(t.Context(), "x"), ErrMemberNotFound},
			{"demote b", at.Demote(t.Context(), "b"), ErrQuorumAtRisk},
			{"remove b", at.Remove(t.Context(), "b"), ErrQuorumAtRisk},
			{"demote a", at.Demote(t.Context(), "a"), ErrQuorumAtRisk},
			{"remove a", at.Remove(t.Context(), "a"), ErrQuorumAtRisk},
			{"transfer r", at.Transfer(t.Context(), "r"), consensus.ErrNotVoter},
			{"transfer c", at.Transfer(t.Context(), "c"), ErrNotTransferred},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s: error %v, want %v", c.change, c.err, c.want)
			}
		}
		w.expect("")
		if err := at.Remove(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		w.expect("remove c, strike c")
		if told := w.told("c"); told != "" {
			t.Errorf("the dead node was told %q", told)
		}
	})
}

// The last voter stays one.
func TestLastVoter(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		w.start("r", replica)
		time.Sleep(time.Second)
		w.expect("add r")
		at := w.hosts["r"].roster
		for _, err := range []error{at.Demote(t.Context(), "a"), at.Remove(t.Context(), "a")} {
			if !errors.Is(err, ErrLastVoter) {
				t.Error(err)
			}
		}
		if err := at.Transfer(t.Context(), ""); !errors.Is(err, ErrNotTransferred) {
			t.Error(err)
		}
		w.expect("")
	})
}

// A node that is removed while it runs notes that before it stops; one after the other.
func TestRemoveTellsTheNode(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		if err := w.hosts["b"].roster.Remove(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		w.expect("remove d, strike d")
		time.Sleep(2 * DismissNotice)
		if told := w.told("d"); told != "on disk, dismissed" {
			t.Errorf("it was told %q", told)
		}
		if err := w.hosts["b"].roster.Remove(t.Context(), "d"); !errors.Is(err, ErrMemberNotFound) {
			t.Errorf("a second time: %v", err)
		}
	})
}

// A note that takes its time is not overtaken by the answer to the node's own announcement, which lets it join anew.
func TestSlowDismissal(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.start("d", func(c *Config) { c.OnDismissed = func() error { time.Sleep(2 * AnnounceInterval); return nil } })
		time.Sleep(5 * time.Second)
		if err := w.hosts["a"].roster.Remove(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * AnnounceInterval)
		if told := w.told("d"); told != "dismissed" {
			t.Errorf("it was told %q", told)
		}
	})
}

// A node whose disk fails at that moment stops all the same.
func TestDismissalThatIsNotOnDisk(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		h := w.start("d", func(c *Config) { c.OnDismissed = func() error { return errors.New("no disk") } })
		time.Sleep(5 * time.Second)
		if err := w.hosts["a"].roster.Remove(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		if told := w.told("d"); told != "dismissed" {
			t.Errorf("it was told %q", told)
		}
		h.roster.Close()
	})
}

// A leader that is to go hands over first, wherever that was asked for; the next one makes the change.
func TestLeaderHandsOver(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		if err := w.hosts["a"].roster.Demote(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		w.expect("transfer b, pin a 2, demote a")
		if err := w.hosts["c"].roster.Remove(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		w.expect("transfer c, remove b, strike b")
		time.Sleep(2 * DismissNotice)
		if told := w.told("b"); told != "on disk, dismissed" {
			t.Errorf("it was told %q", told)
		}
		if got := w.voters(); got != "c d (a)" {
			t.Error(got)
		}
	})
}

func TestTransferTo(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		for _, c := range []struct{ at, to, want string }{
			{"a", "c", "transfer c"}, {"b", "a", "transfer a"}, {"b", "a", ""}, {"a", "", "transfer b"}, {"b", "b", ""},
		} {
			if err := w.hosts[c.at].roster.Transfer(t.Context(), c.to); err != nil {
				t.Errorf("to %q: %v", c.to, err)
			}
			w.expect(c.want)
			time.Sleep(time.Second)
		}
	})
}

// A transfer that ends with another leader, or the same, or none, does not pass for done.
func TestTransferThatAnotherWins(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		for _, c := range []struct {
			to, wins string
			want     error
		}{
			{"b", "c", ErrNotTransferred}, {"b", "a", ErrNotTransferred}, {"", "a", ErrNotTransferred}, {"", "c", nil}, {"b", "", wire.ErrLost},
		} {
			for _, at := range []string{"a", "b"} {
				w.elect("a")
				w.mu.Lock()
				w.upset = func(string) {
					w.resign()
					time.Sleep(time.Second)
					if c.wins != "" {
						w.elect(c.wins)
					}
				}
				w.mu.Unlock()
				if err := w.hosts[at].roster.Transfer(t.Context(), c.to); !errors.Is(err, c.want) {
					t.Errorf("asked for %q at %s, and %q is elected: %v", c.to, at, c.wins, err)
				}
			}
		}
	})
}

// A leader that is to hand over, and does so for another reason while it asks the members how they are, has handed over:
// its successor keeps the leadership.
func TestHandOverBesideTransfer(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.set("c", func(h *host) { h.mute = true }) // it takes a while to find that out
		for _, at := range []string{"a", "b"} {
			w.elect("a")
			time.Sleep(2 * HealthTimeout)
			transferred := make(chan error)
			go func() { transferred <- w.hosts[at].roster.Transfer(t.Context(), "") }()
			time.Sleep(HealthTimeout / 2)
			if err := w.hosts["a"].roster.HandOver(t.Context(), false); err != nil {
				t.Error(err)
			}
			if err := <-transferred; err != nil {
				t.Errorf("asked at %s: %v", at, err)
			}
			w.expect("transfer b")
		}
	})
}

// A change that began, and whose outcome is lost, says so, and the leader's loop completes it.
func TestChangeIsCompleted(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		w.mu.Lock()
		w.refuse = nil
		w.failing["remove d"] = consensus.ErrLeadershipLost
		w.mu.Unlock()
		if err := w.hosts["b"].roster.Remove(t.Context(), "d"); !errors.Is(err, wire.ErrLost) {
			t.Errorf("error %v", err)
		}
		time.Sleep(2 * HealthInterval)
		w.expect("remove d, strike d")

		w.mu.Lock() // the pin is all that was made
		m, _ := w.machine.Member("c")
		m.Pin = session.PinNonVoter
		w.commit(&session.PutMember{Member: m})
		m, _ = w.machine.Member("a") // and of the leader, which another one made that lost its office
		m.Pin = session.PinNonVoter
		w.commit(&session.PutMember{Member: m})
		w.mu.Unlock()
		time.Sleep(5 * HealthInterval)
		w.expect("transfer b, demote a, demote c")
	})
}

// A pin that not all members know yet is refused by the gate, and nothing has changed.
func TestPinThatNotAllKnow(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		pending := &session.Error{Code: "upgrade-pending", Message: "wait"}
		w.mu.Lock()
		w.refuse = func(c session.Command) error {
			if session.VersionOf(c) > 1 {
				return pending
			}
			return nil
		}
		w.mu.Unlock()
		if err := w.hosts["b"].roster.Demote(t.Context(), "c"); !errors.Is(err, pending) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute)
		w.expect("")
	})
}

// Without a leader a change waits for one, and gives up in the end.
func TestChangeWithoutALeader(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.resign()
		begin := time.Now()
		if err := w.hosts["b"].roster.Demote(t.Context(), "c"); !errors.Is(err, wire.ErrNoLeader) || time.Since(begin) != ChangeTimeout {
			t.Errorf("error %v after %v", err, time.Since(begin))
		}
		go func() {
			time.Sleep(ChangeTimeout / 2)
			w.elect("a")
		}()
		if err := w.hosts["b"].roster.Demote(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		w.expect("pin c 2, demote c")
	})
}

// Two changes of which each is fine, and both together are not: one at a time.
func TestChangesAtOnce(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		w.kill("d")
		errs := make(chan error, 2)
		for _, id := range []string{"b", "c"} {
			go func() { errs <- w.hosts["b"].roster.Demote(t.Context(), id) }()
		}
		first, second := <-errs, <-errs
		if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), ErrQuorumAtRisk) {
			t.Errorf("errors %v and %v", first, second)
		}
	})
}
