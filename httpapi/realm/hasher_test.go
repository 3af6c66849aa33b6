package realm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/session"
)

// referenceHash is what the reference implementation's own test expects of argon2id for "password" and "somesalt".
const referenceHash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func newTestHasher(t testing.TB, cfg HasherConfig) *Hasher {
	t.Helper()
	if cfg.Memory == 0 {
		cfg.Memory, cfg.Iterations = MinMemory, 1
	}
	h, err := NewHasher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustHash(t testing.TB, h *Hasher, password string) session.Secret {
	t.Helper()
	stored, err := h.HashPassword(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestHasherAgreesWithReference(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	stored, err := parsePHC(referenceHash)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"password": true, "Password": false, "": false, "password\x00": false} {
		got, err := h.check(t.Context(), &stored, password)
		if err != nil || got != want {
			t.Errorf("check(%q) = %v, %v, want %v", password, got, err, want)
		}
	}
}

func TestHashPassword(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	first, second := mustHash(t, h, "correct horse"), mustHash(t, h, "correct horse")
	if first == second {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	if !strings.HasPrefix(string(first), "$argon2id$v=19$m=7168,t=1,p=1$") {
		t.Errorf("hash has other costs than configured: %s", string(first))
	}
	stored, err := parsePHC(first)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.check(t.Context(), &stored, "correct horse"); !ok || err != nil {
		t.Errorf("check of the right password = %v, %v", ok, err)
	}
	if ok, err := h.check(t.Context(), &stored, "correct horsf"); ok || err != nil {
		t.Errorf("check of a wrong password = %v, %v", ok, err)
	}
}

func TestHashPasswordLengths(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"empty", "", ErrPasswordTooShort},
		{"seven characters", "1234567", ErrPasswordTooShort},
		{"seven characters of many bytes", "äöüßéèê", ErrPasswordTooShort},
		{"eight characters", "12345678", nil},
		{"longest", strings.Repeat("x", MaxPassword), nil},
		{"too long", strings.Repeat("x", MaxPassword+1), ErrPasswordTooLong},
	} {
		if _, err := h.HashPassword(t.Context(), tt.password); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestNewHasherBounds(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  HasherConfig
		ok   bool
	}{
		{"defaults", HasherConfig{}, true},
		{"least memory", HasherConfig{Memory: MinMemory, Iterations: 5}, true},
		{"too little memory", HasherConfig{Memory: MinMemory - 1}, false},
		{"too much memory", HasherConfig{Memory: MaxMemory + 1, Iterations: 1}, false},
		{"too many iterations", HasherConfig{Iterations: MaxIterations + 1}, false},
		{"too many lanes", HasherConfig{Parallelism: MaxParallelism + 1}, false},
		{"too much work", HasherConfig{Memory: MaxMemory, Iterations: MaxIterations}, false},
		{"negative concurrency", HasherConfig{Concurrent: -1}, false},
		{"negative queue", HasherConfig{Queue: -1}, false},
		{"long queue", HasherConfig{Queue: MaxHashQueue + 1}, false},
	} {
		if _, err := NewHasher(tt.cfg); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
	}
	h, err := NewHasher(HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (costs{19456, 2, 1}); h.costs != want || h.dummy.costs != want {
		t.Errorf("default costs %+v, dummy %+v, want OWASP's %+v", h.costs, h.dummy.costs, want)
	}
}

func TestNeedsRehash(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	for _, tt := range []struct {
		name   string
		stored session.Secret
		want   bool
	}{
		{"own", mustHash(t, h, "correct horse"), false},
		{"other costs", referenceHash, true},
		{"none", "", true},
		{"broken", "$argon2id$v=19$", true},
	} {
		if got := h.NeedsRehash(tt.stored); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDummyNeverMatches(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	h.derive = func(_ context.Context, _ string, p phc) ([]byte, error) { return p.hash, nil }
	if ok, err := h.check(t.Context(), nil, "anything"); ok || err != nil {
		t.Errorf("the dummy matched: %v, %v", ok, err)
	}
}

// One hash runs, two callers wait, the fourth is refused; a waiting caller that gives up makes room; the other one
// gets its turn.
func TestHasherBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHasher(t, HasherConfig{Concurrent: 1, Queue: 2})
		running, most := 0, 0
		release := make(chan struct{})
		h.derive = func(_ context.Context, _ string, p phc) ([]byte, error) {
			running++
			most = max(most, running)
			<-release
			running--
			return p.hash, nil
		}
		results := make(chan error, 3)
		ctx, cancel := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{t.Context(), ctx, t.Context()} {
			go func() {
				_, err := h.check(ctx, nil, "x")
				results <- err
			}()
			synctest.Wait()
		}
		if s := h.Stats(); s.Running != 1 || s.Waiting != 2 {
			t.Errorf("running %d, waiting %d, want 1 and 2", s.Running, s.Waiting)
		}
		if _, err := h.check(t.Context(), nil, "x"); !errors.Is(err, ErrBusy) {
			t.Errorf("over the queue: %v, want ErrBusy", err)
		}
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v, want context.Canceled", err)
		}
		close(release)
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if s := h.Stats(); most != 1 || s != (HasherStats{Hashes: 2, Refused: 1}) {
			t.Errorf("most at once %d, stats %+v", most, s)
		}
		if _, err := h.check(ctx, nil, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone got %v", err)
		}
	})
}

// On a machine that is busy with other things a hash takes long. Who would wait for too many of them is told at once.
func TestHasherRefusesLongWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHasher(t, HasherConfig{Concurrent: 2})
		takes := maxHashWait / 2
		h.derive = func(_ context.Context, _ string, p phc) ([]byte, error) {
			time.Sleep(takes)
			return p.hash, nil
		}
		ask := func(callers int) (busy int) {
			results := make(chan error, callers)
			begun := time.Now()
			for range callers {
				go func() {
					_, err := h.check(t.Context(), nil, "x")
					if waited := time.Since(begun); err == nil && waited > maxHashWait+takes {
						t.Errorf("one waited for %v, with its own hash", waited)
					}
					results <- err
				}()
			}
			for range callers {
				switch err := <-results; {
				case errors.Is(err, ErrBusy):
					busy++
				case err != nil:
					t.Error(err)
				}
			}
			return busy
		}
		ask(1) // until one is computed, nobody knows what it takes
		if busy := ask(10); busy != 10-2-4 {
			t.Errorf("%d of 10 were refused: 2 had room, and 4 had to wait for no more than %v", busy, maxHashWait)
		}
		takes = time.Millisecond
		for range 5 * stayWeight {
			ask(1)
		}
		if busy := ask(40); busy != 0 {
			t.Errorf("%d of 40 were refused after the machine had become quick again", busy)
		}
	})
}
