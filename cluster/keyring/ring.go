package keyring

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// What is wrong with keys. No error repeats any part of one.
var (
	ErrBadKey     = errors.New("not a key: base64 of 32 bytes is needed, as `cloakroom keygen` prints it")
	ErrNoKey      = errors.New("no key")
	ErrTwice      = errors.New("the same key twice")
	ErrTooMany    = fmt.Errorf("more than %d keys", MaxKeys)
	ErrTooLarge   = fmt.Errorf("larger than %d bytes", MaxFile)
	ErrNotCurrent = errors.New("the key that encrypts at present is missing: keep it in the file behind the new one")
)

// Parse reads a key file: one key in each line, the first encrypts and all decrypt. Behind a key, after white space or
// '#', there may be a comment; lines that are empty or begin with '#' are passed over. Errors name the line.
func Parse(text []byte) ([]Key, error) {
	if len(text) > MaxFile {
		return nil, ErrTooLarge
	}
	var keys []Key
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxFile+1)
	for number := 1; lines.Scan(); number++ {
		word, _, _ := strings.Cut(strings.TrimSpace(lines.Text()), "#")
		fields := strings.Fields(word)
		if len(fields) == 0 {
			continue
		}
		key, err := parseKey(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return keys, check(keys)
}

func check(keys []Key) error {
	switch {
	case len(keys) == 0:
		return ErrNoKey
	case len(keys) > MaxKeys:
		return ErrTooMany
	}
	seen := make(map[ID]bool)
	for _, k := range keys {
		if seen[k.id] {
			return fmt.Errorf("%v: %w", k, ErrTwice)
		}
		seen[k.id] = true
	}
	return nil
}

// Ring is the keys of a node, the first of which encrypts. Its methods may be called from any goroutine.
type Ring struct {
	keys atomic.Pointer[[]Key]
}

// New makes a ring of keys, the one that encrypts first.
func New(keys []Key) (*Ring, error) {
	if err := check(keys); err != nil {
		return nil, err
	}
	r := &Ring{}
	r.set(keys)
	return r, nil
}

func (r *Ring) set(keys []Key) {
	kept := append([]Key(nil), keys...)
	r.keys.Store(&kept)
}

// First returns the key that encrypts.
func (r *Ring) First() Key { return (*r.keys.Load())[0] }

// Find returns the key of that name.
func (r *Ring) Find(id ID) (Key, bool) {
	for _, k := range *r.keys.Load() {
		if k.id == id {
			return k, true
		}
	}
	return Key{}, false
}

// IDs names the keys in their order.
func (r *Ring) IDs() []ID {
	keys := *r.keys.Load()
	ids := make([]ID, len(keys))
	for i, k := range keys {
		ids[i] = k.id
	}
	return ids
}

// Replace puts other keys in place of the ones at hand. The key that encrypts until now must be among them, since
// something may be written under it at this moment. Whether the others may go, the ring can't know: consensus.Node does,
// whose method is the one to call while a node runs.
func (r *Ring) Replace(keys []Key) error {
	if err := check(keys); err != nil {
		return err
	}
	current := r.First().id
	for _, k := range keys {
		if k.id == current {
			r.set(keys)
			return nil
		}
	}
	return ErrNotCurrent
}
