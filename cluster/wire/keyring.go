package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// KeyRing is the keys of a cluster while they are exchanged, and mostly the one key. The first makes all that is new:
// the node's certificate, what gossip is encrypted under, seals and MACs. What any of them made is accepted. It may be
// used from several goroutines, and prints as the ids of its keys.
//
// A key is exchanged without a pause in three steps, each on all nodes before the next begins: the new key is added as
// the second, it becomes the first, the old one is taken out. Two nodes that are one step apart understand each other.
type KeyRing struct {
	state atomic.Pointer[[]ClusterKey] // what it points to never changes; fmt does not follow it

	mu      sync.Mutex // around Replace and Watch
	watched []func() error
	behind  bool // somebody has kept old keys: Replace with the same ones tells all again
}

// KeyID names a key: a hash of it, from which nobody learns anything of the key. It may be printed.
type KeyID string

// ID returns the key's name, the same on every node.
func (k ClusterKey) ID() KeyID {
	b := k.Derive(purposeID)
	return KeyID(hex.EncodeToString(b[:8]))
}

// purposeID goes into the name of a key.
const purposeID = "key id"

// NewKeyRing makes a ring of one to MaxKeys keys. The development key is accepted alone only: whoever gives it a second
// key takes the cluster for secret.
func NewKeyRing(keys ...ClusterKey) (*KeyRing, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	r := &KeyRing{}
	keys = slices.Clone(keys)
	r.state.Store(&keys)
	return r, nil
}

// DevelopmentRing is the ring of nodes that were given no key; see DevelopmentKey.
func DevelopmentRing() *KeyRing {
	r, err := NewKeyRing(DevelopmentKey())
	if err != nil {
		panic("BUG: development key: " + err.Error())
	}
	return r
}

// ParseKeys reads a file of keys: one to a line, in the form of `cloakroom keygen`, the first one to be used for all that
// is new. What follows a key after a space is for people, and so are lines that begin with #. The errors name the line
// and do not repeat it.
func ParseKeys(text string) ([]ClusterKey, error) {
	var keys []ClusterKey
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := ParseClusterKey(strings.Fields(line)[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
		if len(keys) > MaxKeys {
			break // checkKeys refuses them
		}
	}
	return keys, checkKeys(keys)
}

// checkKeys says whether these may be a ring.
func checkKeys(keys []ClusterKey) error {
	switch {
	case len(keys) == 0:
		return ErrBadKey
	case len(keys) > MaxKeys:
		return fmt.Errorf("%w: at most %d keys", ErrBadRing, MaxKeys)
	case slices.Contains(keys, ClusterKey{}):
		return ErrBadKey
	case len(keys) > 1 && slices.Contains(keys, DevelopmentKey()):
		return fmt.Errorf("%w: one of the keys is the development key, which is known to everyone", ErrBadRing)
	}
	for i, k := range keys {
		if slices.Contains(keys[:i], k) {
			return fmt.Errorf("%w: key %s is there twice", ErrBadRing, k.ID())
		}
	}
	return nil
}

// Replace puts other keys in the place of those that there are, and returns when all that watch the ring have taken them
// over: what is made from then on is under the new first key, and what is under a key that has gone is refused. After
// ErrBadRing nothing has changed. After any other error the keys have been replaced, and somebody has kept old ones: Replace with the same keys
// tells all again.
//
// The development key is not replaced, nor put in a real one's place: which addresses a node listens on hangs on it.
func (r *KeyRing) Replace(keys []ClusterKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.state.Load()
	if slices.Equal(old, keys) && !r.behind {
		return nil
	}
	if err := checkKeys(keys); err != nil {
		return err
	}
	if slices.Contains(old, DevelopmentKey()) || slices.Contains(keys, DevelopmentKey()) {
		return fmt.Errorf("%w: the development key can't be exchanged while a node runs", ErrBadRing)
	}
	keys = slices.Clone(keys)
	r.state.Store(&keys)
	var errs []error
	for _, tell := range r.watched {
		if tell != nil {
			errs = append(errs, tell())
		}
	}
	err := errors.Join(errs...)
	r.behind = err != nil
	return err
}

// Watch has tell called after each Replace, and by it, until stop. tell reads the ring, and must not change or watch it.
// What reads the ring before it watches it misses a change in between.
func (r *KeyRing) Watch(tell func() error) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := slices.IndexFunc(r.watched, func(f func() error) bool { return f == nil })
	if place < 0 {
		place = len(r.watched)
		r.watched = append(r.watched, nil)
	}
	r.watched[place] = tell
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watched[place] = nil
	})
}

// Keys returns the keys, the first of which is used for all that is new. The slice is the caller's.
func (r *KeyRing) Keys() []ClusterKey { return slices.Clone(*r.state.Load()) }

// First returns the key that is used for all that is new.
func (r *KeyRing) First() ClusterKey { return (*r.state.Load())[0] }

// IDs returns the names of the keys, in their order.
func (r *KeyRing) IDs() []KeyID {
	keys := *r.state.Load()
	ids := make([]KeyID, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	return ids
}

// Derive returns what each key's Derive returns, in their order.
func (r *KeyRing) Derive(purpose string) [][32]byte {
	keys := *r.state.Load()
	derived := make([][32]byte, len(keys))
	for i, k := range keys {
		derived[i] = k.Derive(purpose)
	}
	return derived
}

// Deriver returns a function that returns what Derive would. It derives once for each change of the keys, so that it can
// be called for each request.
func (r *KeyRing) Deriver(purpose string) func() [][32]byte {
	type kept struct {
		of      *[]ClusterKey
		derived [][32]byte
	}
	var last atomic.Pointer[kept]
	return func() [][32]byte {
		state := r.state.Load()
		if k := last.Load(); k != nil && k.of == state {
			return k.derived
		}
		k := &kept{of: state}
		for _, key := range *state {
			k.derived = append(k.derived, key.Derive(purpose))
		}
		last.Store(k)
		return k.derived
	}
}

// CheckBind is CheckBind for the keys of the ring.
func (r *KeyRing) CheckBind(addr string) error { return CheckBind(r.First(), addr) }

func (r *KeyRing) String() string {
	ids := r.IDs()
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return "keys " + strings.Join(texts, ", ")
}

func (r *KeyRing) GoString() string             { return r.String() }
func (r *KeyRing) LogValue() slog.Value         { return slog.StringValue(r.String()) }
func (r *KeyRing) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Format covers the verbs that pass String by, such as %d.
func (r *KeyRing) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, r.String()) // fmt keeps the error of its writer itself
}

var (
	_ fmt.Formatter  = (*KeyRing)(nil)
	_ slog.LogValuer = (*KeyRing)(nil)
)
