package realm

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"cloakroom/cluster/session"
)

// HasherConfig says what a password hash costs and how many run at once. Zero values take the defaults.
type HasherConfig struct {
	Memory      uint32 // KiB: MinMemory to MaxMemory
	Iterations  uint32 // 1 to MaxIterations
	Parallelism uint8  // 1 to MaxParallelism

	Concurrent int // hashes at once; 0: as many as keep half of the processors busy, at least one
	Queue      int // callers that wait; 0: DefaultHashQueue

	Worker []string     // command of a process that runs ServeWorker and computes the hashes; nil: they are computed here
	Logger *slog.Logger // for what is wrong with it; nil: nobody is told
}

// Hasher hashes and checks passwords with argon2id, a bounded number at a time: each takes megabytes and milliseconds,
// and a login is free to ask for.
type Hasher struct {
	costs  costs
	gate   *gate
	dummy  phc
	derive func(ctx context.Context, password string, p phc) ([]byte, error)
	apart  *workers // nil: hashes are computed here
	hashes atomic.Uint64
}

// HasherStats counts a Hasher's work.
type HasherStats struct {
	Hashes  uint64 // computed, real and dummy ones
	Refused uint64 // by the queue: it was full, or too slow
	Inline  uint64 // computed at full priority, for want of a worker process
	Waiting int    // at this moment
	Running int
}

// NewHasher checks the configuration.
func NewHasher(cfg HasherConfig) (*Hasher, error) {
	c := costs{orDefault(cfg.Memory, DefaultMemory), orDefault(cfg.Iterations, DefaultIterations), orDefault(cfg.Parallelism, DefaultParallelism)}
	if c.memory < MinMemory || !c.withinBounds() {
		return nil, fmt.Errorf("password hash costs m=%d KiB, t=%d, p=%d: m must be %d to %d, t 1 to %d, p 1 to %d and m×t at most %d",
			c.memory, c.iterations, c.parallelism, MinMemory, MaxMemory, MaxIterations, MaxParallelism, maxWork)
	}
	concurrent := orDefault(cfg.Concurrent, max(1, runtime.GOMAXPROCS(0)/2/int(c.parallelism)))
	queue := orDefault(cfg.Queue, DefaultHashQueue)
	if concurrent < 1 || queue < 1 || queue > MaxHashQueue {
		return nil, fmt.Errorf("password hashes: %d at once and %d waiting: must be at least 1, and at most %d may wait", concurrent, queue, MaxHashQueue)
	}
	h := &Hasher{costs: c, gate: newGate(concurrent, queue, maxHashWait), derive: deriveHere}
	if len(cfg.Worker) > 0 {
		h.apart = newWorkers(cfg.Worker, concurrent, func(err error, hashes int) {
			if cfg.Logger != nil {
				cfg.Logger.Warn("password hashes are computed at full priority: a flood of logins would slow down lookups", "hashes", hashes, "error", err)
			}
		})
		h.derive = h.apart.derive
	}
	h.dummy = phc{costs: c, salt: random(saltSize), hash: random(hashSize)}
	return h, nil
}

// CheckPassword reports whether a new password may be a user's. The error is ErrPasswordTooShort or ErrPasswordTooLong.
func CheckPassword(password string) error {
	switch {
	case utf8.RuneCountInString(password) < MinPasswordRunes:
		return ErrPasswordTooShort
	case len(password) > MaxPassword:
		return ErrPasswordTooLong
	}
	return nil
}

// HashPassword makes the stored form of a new password. Errors: ErrPasswordTooShort, ErrPasswordTooLong, ErrBusy, or
// the context's.
func (h *Hasher) HashPassword(ctx context.Context, password string) (session.Secret, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	p := phc{costs: h.costs, salt: random(saltSize), hash: make([]byte, hashSize)}
	hash, err := h.run(ctx, password, p)
	if err != nil {
		return "", err
	}
	p.hash = hash
	return p.encode(), nil
}

// NeedsRehash reports whether a stored hash was made at other costs than today's, or is not valid.
func (h *Hasher) NeedsRehash(stored session.Secret) bool {
	p, err := parsePHC(stored)
	return err != nil || p.costs != h.costs || len(p.hash) != hashSize || len(p.salt) < saltSize
}

// Stats returns the counters.
func (h *Hasher) Stats() HasherStats {
	inline := uint64(0)
	if h.apart != nil {
		inline = h.apart.inline.Load()
	}
	return HasherStats{
		Inline:  inline,
		Hashes:  h.hashes.Load(),
		Refused: h.gate.refused.Load(),
		Waiting: int(h.gate.waiting.Load()),
		Running: len(h.gate.slots),
	}
}

// check computes one hash of the password, by the stored form or, where there is none that can be used, by a dummy of
// the costs that new hashes have: so that the time taken does not tell which of the two it was, unless the costs were
// changed since the stored form was made. A dummy never matches.
func (h *Hasher) check(ctx context.Context, stored *phc, password string) (bool, error) {
	p := h.dummy
	if stored != nil {
		p = *stored
	}
	hash, err := h.run(ctx, password, p)
	if err != nil {
		return false, err
	}
	equal := subtle.ConstantTimeCompare(hash, p.hash) == 1
	return equal && stored != nil, nil
}

// run computes a hash when its turn has come.
func (h *Hasher) run(ctx context.Context, password string, p phc) ([]byte, error) {
	leave, err := h.gate.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("hash password: %w", err)
	}
	defer leave()
	h.hashes.Add(1)
	hash, err := h.derive(ctx, password, p)
	if err != nil {
		return nil, fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// Close ends the worker processes. A hash that one of them computes is given up.
func (h *Hasher) Close() error {
	if h.apart != nil {
		h.apart.close()
	}
	return nil
}

func deriveHere(_ context.Context, password string, p phc) ([]byte, error) {
	return deriveArgon2id(password, p), nil
}

func deriveArgon2id(password string, p phc) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.iterations, p.memory, p.parallelism, uint32(len(p.hash)))
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// random returns n unguessable bytes. crypto/rand's Read never returns an error: it ends the program instead.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
