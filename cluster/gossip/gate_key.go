package gossip

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/wire"
)

// How memberlist encrypts (its security.go and label.go, and so the other nodes): a version, a nonce, and AES-256-GCM
// over the message, bound to the label and for streams to the head too. Nodes have never sent the version before, which
// pads, and at whose padding memberlist panics.
const (
	labelByte   = 244
	sealVersion = 1
	nonceSize   = 12
	tagSize     = 16
	sealedMin   = 1 + nonceSize + tagSize + 1 // and a byte that says which message it is
)

// gateKey is one key of the ring as gossip uses it.
type gateKey struct {
	id   wire.KeyID
	aead cipher.AEAD
}

// exchange takes over the keys of the ring: what comes may be under any of them, what goes out is under the first. While
// it runs no packet is lost that is under a key which stays.
func (g *gate) exchange(ring *wire.KeyRing, list *memberlist.Keyring) error {
	var keys []gateKey
	var raw [][]byte
	for _, k := range ring.Keys() {
		derived := k.Derive(wire.PurposeGossip)
		block, err := aes.NewCipher(derived[:])
		if err != nil {
			return fmt.Errorf("exchange the keys of gossip: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return fmt.Errorf("exchange the keys of gossip: %w", err)
		}
		keys = append(keys, gateKey{k.ID(), aead})
		raw = append(raw, derived[:])
	}
	for _, k := range raw {
		if err := list.AddKey(k); err != nil {
			return fmt.Errorf("exchange the keys of gossip: %w", err)
		}
	}
	g.keys.Store(&keys)
	return settle(list, raw)
}

// settle brings memberlist's ring, which holds all these keys, to hold them in this order and no other. RemoveKey moves
// the keys behind the one that goes, in the array that packets are just being decrypted with; so one goes when it is the
// last.
func settle(list *memberlist.Keyring, keys [][]byte) error {
	equal := func(a, b []byte) bool { return string(a) == string(b) }
	if have := list.GetKeys(); len(have) < len(keys) || !slices.EqualFunc(have[:len(keys)], keys, equal) {
		for _, k := range slices.Backward(keys) {
			if err := list.UseKey(k); err != nil { // to the front
				return fmt.Errorf("exchange the keys of gossip: %w", err)
			}
		}
	}
	for have := list.GetKeys(); len(have) > len(keys); have = list.GetKeys() {
		if err := list.RemoveKey(have[len(have)-1]); err != nil {
			return fmt.Errorf("exchange the keys of gossip: %w", err)
		}
	}
	return nil
}

// open decrypts a message, which is bound to what is given. The memory is new.
func (g *gate) open(sealed, bound []byte) ([]byte, error) {
	if len(sealed) < sealedMin || sealed[0] != sealVersion {
		return nil, errSealed
	}
	nonce, box := sealed[1:1+nonceSize], sealed[1+nonceSize:]
	for _, k := range *g.keys.Load() {
		plain, err := k.aead.Open(nil, nonce, box, bound)
		if err != nil {
			continue
		}
		if g.seen.before([tagSize]byte(box[len(box)-tagSize:])) {
			return nil, errReplayed
		}
		g.counts.received(k.id)
		return plain, nil
	}
	return nil, errSealed
}

func (c *gateCounts) received(id wire.KeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.byKey[id]; !known && len(c.byKey) >= 4*wire.MaxKeys {
		clear(c.byKey) // of keys that are no more
	}
	c.byKey[id]++
}

// cutLabel takes the label off a packet.
func cutLabel(b []byte) (rest []byte, ok bool) {
	head := 2 + len(label)
	if len(b) < head || b[0] != labelByte || int(b[1]) != len(label) || string(b[2:head]) != label {
		return nil, false
	}
	return b[head:], true
}

// seen knows the messages that have come lately, by their tags, so that a stranger who has recorded one can't make it
// count twice. What is older than the last seenMessages can come again; then the numbers in it are old too, by which
// memberlist tells what is news.
type seen struct {
	mu       sync.Mutex
	now, old map[[tagSize]byte]struct{}
}

// before says whether the message has come before, and notes it.
func (s *seen) before(tag [tagSize]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.now[tag]; ok {
		return true
	}
	if _, ok := s.old[tag]; ok {
		return true
	}
	if s.now == nil || len(s.now) >= seenMessages {
		s.old, s.now = s.now, make(map[[tagSize]byte]struct{})
	}
	s.now[tag] = struct{}{}
	return false
}
