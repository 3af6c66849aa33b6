package roster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// A fresh node votes within three seconds, and not before it has kept up for StabilizeFor.
func TestFreshNodeVotesSoon(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		h := w.start("b")
		time.Sleep(StabilizeFor - time.Millisecond)
		if got := w.voters(); got != "a (b)" || h.roster.Placed() {
			t.Fatalf("%s, placed %v", got, h.roster.Placed())
		}
		time.Sleep(3*time.Second - StabilizeFor)
		if got := w.voters(); got != "a b" || !h.roster.Placed() {
			t.Fatalf("%s, placed %v", got, h.roster.Placed())
		}
	})
}

// Whoever has not caught up, has no room, or comes and goes, gets no vote; and not at the first good answer either.
func TestWhoDoesNotKeepUpGetsNoVote(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.set("a", func(*host) { w.index = 10_000 })
		for name, trouble := range map[string]struct{ on, off func(*host) }{
			"d": {func(h *host) { h.lag = CaughtUp + 1 }, func(h *host) { h.lag = 0 }},
			"e": {func(h *host) { h.lag = 1 << 60 }, func(h *host) { h.lag = CaughtUp / 2 }}, // nothing applied
			"f": {func(h *host) { h.diskLow = true }, func(h *host) { h.diskLow = false }},
			"g": {func(h *host) { h.mute = true }, func(h *host) { h.mute = false }},
		} {
			h := w.start(name)
			w.set(name, trouble.on)
			time.Sleep(time.Minute)
			if h.roster.Placed() {
				t.Errorf("%s has its place", name)
			}
			for range 20 { // well for a second, again and again
				w.set(name, trouble.off)
				time.Sleep(time.Second)
				w.set(name, trouble.on)
				time.Sleep(1500 * time.Millisecond)
			}
			w.expect("add " + name)
			w.set(name, trouble.off)
			time.Sleep(2*HealthInterval + StabilizeFor)
			w.expect("voter " + name)
		}
	})
}

// A read replica never votes by itself, and has its place at once.
func TestReplica(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		h := w.start("b", replica)
		time.Sleep(Tick)
		if !h.roster.Placed() {
			t.Error("it has no place")
		}
		time.Sleep(removeAfter)
		w.expect("add b")
	})
}

// Whoever has not applied anything yet is not noted as let in: its log could not be told from one that was lost. It takes
// its place when it has.
func TestAdmittedWithALog(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		admitted := make(chan struct{}, 1)
		h := w.start("b", replica, func(c *Config) {
			c.OnAdmitted = func() error { admitted <- struct{}{}; return nil }
			c.Raft.(*host).lag = 1 << 60
		})
		time.Sleep(2 * AnnounceInterval)
		w.expect("add b")
		if h.roster.Placed() || len(admitted) > 0 {
			t.Error("let in without a log")
		}
		w.set("b", func(h *host) { h.lag = 0 })
		time.Sleep(2 * Tick)
		if !h.roster.Placed() || len(admitted) != 1 {
			t.Error("not let in")
		}
		w.expect("")
	})
}

// A node that was let in and removed before it had a log is told so: it does not join once more.
func TestRemovedBeforeItsLog(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		w.start("b", replica, func(c *Config) { c.Raft.(*host).lag = 1 << 60 })
		time.Sleep(2 * AnnounceInterval)
		w.expect("add b")
		w.kill("b")
		if err := w.hosts["a"].roster.Remove(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		w.back("b")
		time.Sleep(2 * AnnounceInterval)
		w.expect("remove b, strike b")
		if told := w.told("b"); !strings.Contains(told, ErrRemoved.Code) {
			t.Errorf("it was told %q", told)
		}
	})
}

// Dead voters go one after the other, as long as three are left, and not before their time.
func TestDeadVotersAreRemoved(t *testing.T) {
	inWorld(t, "a b c d e f", func(t *testing.T, w *world) {
		w.kill("e", "f")
		time.Sleep(removeAfter - HealthInterval)
		w.expect("")
		time.Sleep(3 * HealthInterval)
		w.expect("remove e, strike e, remove f, strike f")
		w.kill("d")
		time.Sleep(removeAfter + 3*HealthInterval)
		w.expect("remove d, strike d")
		w.kill("c")
		time.Sleep(2 * removeAfter)
		w.expect("") // two would be left
		w.start("g")
		time.Sleep(time.Minute)
		w.expect("add g, voter g, remove c, strike c")
	})
}

// A dead voter stays while its removal is not certain to be committed: fewer than a majority answer.
func TestNobodyIsRemovedWithoutAQuorum(t *testing.T) {
	inWorld(t, "a b c d e", func(t *testing.T, w *world) {
		w.kill("e")
		w.set("c", func(h *host) { h.mute = true })
		w.set("d", func(h *host) { h.mute = true })
		time.Sleep(3 * removeAfter)
		w.expect("")
		w.set("c", func(h *host) { h.mute = false })
		time.Sleep(3 * HealthInterval)
		w.expect("remove e, strike e")
	})
}

// A member that is seen in between, by gossip or on the peer port, is not dead: its time begins anew.
func TestDeadMeansAllTheTime(t *testing.T) {
	for name, sign := range map[string]struct{ on, off func(*host) }{
		"it was back":        {func(h *host) { h.w.mu.Unlock(); h.w.back(h.id); h.w.mu.Lock() }, func(h *host) { h.w.mu.Unlock(); h.w.kill(h.id); h.w.mu.Lock() }},
		"gossip heard of it": {func(h *host) { h.state = "alive" }, func(h *host) { h.state = "failed" }},
		"it answered":        {func(h *host) { h.away = false }, func(h *host) { h.away = true }},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, "a b c d", func(t *testing.T, w *world) {
				w.kill("d")
				time.Sleep(removeAfter - time.Minute)
				w.set("d", sign.on)
				time.Sleep(2 * HealthInterval)
				w.set("d", sign.off)
				time.Sleep(removeAfter - time.Minute)
				w.expect("")
				time.Sleep(2 * time.Minute)
				w.expect("remove d, strike d")
			})
		})
	}
}

// One witness is not enough: a node without gossip that answers, and one that gossip sees and that does not answer, stay.
func TestOneWitnessRemovesNobody(t *testing.T) {
	inWorld(t, "a b c d e", func(t *testing.T, w *world) {
		w.set("d", func(h *host) { h.state = "failed" })
		w.set("e", func(h *host) { h.mute = true })
		time.Sleep(2 * removeAfter)
		w.expect("")
	})
}

// A dead non-voter goes, however few the voters are. With RemoveAfter 0 nobody goes.
func TestDeadNonVoter(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		w.start("b", replica)
		time.Sleep(time.Second)
		w.kill("b")
		time.Sleep(removeAfter + 2*HealthInterval)
		w.expect("add b, remove b, strike b")
		w.resign()
		w.start("z", func(c *Config) { c.RemoveAfter = 0 })
		w.elect("a")
		time.Sleep(time.Minute)
		w.elect("z")
		w.expect("add z, voter z")
		w.start("y", replica)
		time.Sleep(time.Second)
		w.kill("y")
		time.Sleep(2 * removeAfter)
		w.expect("add y")
	})
}

// A new leader begins to count by itself.
func TestNewLeaderBeginsAnew(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		w.kill("d")
		time.Sleep(removeAfter - time.Minute)
		w.elect("b")
		time.Sleep(removeAfter - time.Minute)
		w.expect("")
		w.elect("a")
		time.Sleep(time.Second)
		w.elect("b") // it was the leader a moment ago, and does not know what has been since
		time.Sleep(removeAfter - time.Minute)
		w.expect("")
		time.Sleep(2 * time.Minute)
		w.expect("remove d, strike d")
	})
}

// Questions that were cut short say nothing of those that could not be asked.
func TestQuestionsCutShort(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		leader := w.hosts["a"].roster
		if err := leader.survey(ctx); err == nil {
			t.Error("no error")
		}
		if !leader.Health()["b"].Answers {
			t.Error("the member counts as one that does not answer")
		}
	})
}

// What a removal has left in the roster is struck.
func TestStrayEntryIsStruck(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.mu.Lock()
		w.commit(&session.PutMember{Member: session.Member{ID: "x", Name: "x"}})
		w.mu.Unlock()
		time.Sleep(2 * HealthInterval)
		w.expect("strike x")
	})
}

// Two nodes that were cut off together for so long that they were removed learn it when they see the others again,
// although each of them comes before those in the order of ids, and neither knows of a leader.
func TestHealedHalf(t *testing.T) {
	inWorld(t, "c d e a b", func(t *testing.T, w *world) {
		w.kill("a", "b")
		time.Sleep(removeAfter + time.Minute)
		w.expect("remove a, strike a, remove b, strike b")
		w.back("a", "b")
		time.Sleep(AnnounceInterval + 10*Tick)
		for _, id := range []string{"a", "b"} {
			if told := w.told(id); !strings.HasPrefix(told, "removed") {
				t.Errorf("%s was told %q", id, told)
			}
		}
		w.expect("")
	})
}

// One that was cut off for less is simply back.
func TestShortlyCutOff(t *testing.T) {
	inWorld(t, "c d e a b", func(t *testing.T, w *world) {
		w.kill("a", "b")
		time.Sleep(removeAfter - time.Minute)
		w.back("a", "b")
		time.Sleep(2 * removeAfter)
		w.expect("")
		if told := w.told("a") + w.told("b"); told != "" {
			t.Errorf("they were told %q", told)
		}
	})
}

// A program that is older than those of all members is refused, whether the node is new or a member.
func TestTooOld(t *testing.T) {
	with := func(version uint8) func(*Config) { return func(c *Config) { c.Self.MaxVersion = version } }
	inWorld(t, "a b", func(t *testing.T, w *world) {
		w.start("c", with(1))
		time.Sleep(time.Second)
		if told := w.told("c"); !strings.HasPrefix(told, "too-old") {
			t.Errorf("the new node was told %q", told)
		}
		w.expect("")
		w.hosts["c"].roster.Close()
		w.start("d", with(session.MaxVersion+1))
		time.Sleep(5 * time.Second)
		w.expect("add d, voter d")
		if _, err := w.hosts["a"].roster.welcome(t.Context(), announcement{Member: session.Member{ID: "b", Name: "node-b", MinVersion: 1, MaxVersion: 1}, Admitted: true}); !errors.Is(err, ErrTooOld) {
			t.Errorf("the member came back with %v", err)
		}
		// As long as one member knows no more, whoever knows as much is let in.
		w.mu.Lock()
		w.commit(&session.PutMember{Member: session.Member{ID: "b", Name: "node-b", MinVersion: 1, MaxVersion: 1}})
		w.mu.Unlock()
		w.hosts["b"].roster.Close()
		w.start("e", with(1))
		time.Sleep(5 * time.Second)
		w.expect("add e, voter e")
	})
}

// The leader knows how all are, and nobody else does.
func TestHealth(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.set("b", func(h *host) { h.diskLow, h.lag = true, 1 })
		w.kill("c")
		killed := time.Now()
		time.Sleep(10 * HealthInterval)
		leader := w.hosts["a"].roster
		health := leader.Health()
		a, b, c := health["a"], health["b"], health["c"]
		if len(health) != 3 || !a.Answers || a.DiskLow || a.Applied != w.index || !a.DeadSince.IsZero() {
			t.Errorf("the leader: %+v", a)
		}
		if !b.Answers || !b.DiskLow || b.Applied != w.index-1 || !b.DeadSince.IsZero() {
			t.Errorf("one without room: %+v", b)
		}
		if c.Answers || c.DeadSince.Sub(killed) < 0 || c.DeadSince.Sub(killed) > HealthInterval+HealthTimeout {
			t.Errorf("a dead one: %+v, killed at %v", c, killed)
		}
		if leader.Room() {
			t.Error("one voter of three has room, and there is room")
		}
		if health := w.hosts["b"].roster.Health(); len(health) != 0 {
			t.Errorf("a follower: %v", health)
		}
		w.set("b", func(h *host) { h.diskLow = false })
		time.Sleep(2 * HealthInterval)
		if !leader.Room() {
			t.Error("two voters of three have room, and there is none")
		}
	})
}

// A member of the first version does not know the question. It answers, which makes it a live voter.
func TestMemberOfTheFirstVersion(t *testing.T) {
	inWorld(t, "a b c d", func(t *testing.T, w *world) {
		w.set("b", func(h *host) { delete(h.handlers, KindHealth) })
		w.kill("c")
		time.Sleep(2 * HealthInterval)
		if !w.hosts["a"].roster.Health()["b"].Answers {
			t.Error("it does not answer")
		}
		time.Sleep(removeAfter + HealthInterval)
		w.expect("remove c, strike c")
	})
}
