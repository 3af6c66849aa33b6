package tries

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Key names a counter without saying whose it is. Its two lowest bits are the kind.
type Key uint64

// kind is what a counter counts.
type kind uint8

const (
	kindUser    kind = 0 // failures of a user from all addresses
	kindPair    kind = 1 // of a user from one address
	kindAddress kind = 2 // from one address
	kindKnown   kind = 3 // none: until when a user's address is known
	kinds            = 4
)

func (k Key) kind() kind { return kind(k % kinds) }

// as returns the key of the same name for another kind of counter.
func (k Key) as(other kind) Key { return k - k%kinds + Key(other) }

// pairOf returns the counter of a user from one address. Who knows no key can't guess it, as both keys are secret hashes.
func pairOf(user, address Key) Key {
	var both [16]byte
	binary.BigEndian.PutUint64(both[:8], uint64(user))
	binary.BigEndian.PutUint64(both[8:], uint64(address))
	sum := sha256.Sum256(both[:])
	return Key(binary.BigEndian.Uint64(sum[:8])).as(kindPair)
}

// Names turns names into keys. All nodes have the same secret; the keys tell nothing to whoever does not have it.
type Names struct {
	hash func(k kind, parts ...string) Key // not the secret: fmt prints the fields of a struct
}

// NewNames returns the names under a secret, or under whatever is the same on all nodes: names travel encrypted anyway.
func NewNames(secret [32]byte) Names {
	return Names{hash: func(k kind, parts ...string) Key {
		mac := hmac.New(sha256.New, secret[:])
		for _, part := range parts { // a hash never returns an error
			_, _ = mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			_, _ = mac.Write([]byte(part))
		}
		return Key(binary.BigEndian.Uint64(mac.Sum(nil)[:8])).as(k)
	}}
}

// User returns the counter of a user. Directory servers don't look at the case of names, so it makes no difference here.
func (n Names) User(realm, username string) Key {
	return n.hash(kindUser, "user", strings.ToLower(realm), strings.ToLower(username))
}

// Address returns the counter of an address.
func (n Names) Address(addr netip.Addr) Key {
	return n.hash(kindAddress, "address", Network(addr).String())
}

// Network returns what counts as one address: a /64 of IPv6, since that is what one customer gets; loopback as a whole,
// from which a program on the machine may choose, together with no address at all, as the zero Addr.
func Network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid() || addr.IsLoopback():
		return netip.Addr{}
	case addr.Is6():
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}
