package storage

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
)

// A sealed entry lies in the log with its data encrypted, and with
//
//	version, one byte | id of the key | nonce
//
// as its extensions, which are empty in an entry that is not sealed: so no data can be taken for the other kind. The tag
// covers version, key, index, term and type as well, and no entry can be put in another's place. Entries without data
// are sealed too.
const (
	entrySeal   = 1 // version
	nonceSize   = 24
	tagSize     = 16
	sealNonceAt = 1 + len(keyring.ID{})
	sealSize    = sealNonceAt + nonceSize
)

// appendBinding appends what a sealed entry is bound to.
func appendBinding(b, seal []byte, log *raft.Log) []byte {
	b = append(b, "cloakroom entry "...)
	b = append(b, seal[:sealNonceAt]...)
	b = binary.BigEndian.AppendUint64(b, log.Index)
	b = binary.BigEndian.AppendUint64(b, log.Term)
	return append(b, byte(log.Type))
}

// sealEntries returns the entries as they may be written. Those given stay as they are: the library goes on with them.
func sealEntries(key keyring.Key, logs []*raft.Log) ([]*raft.Log, error) {
	size := 0
	for _, l := range logs {
		size += sealSize + len(l.Data) + tagSize
	}
	id, aead := key.ID(), key.Cipher(keyring.Entries)
	nonces := make([]byte, nonceSize*len(logs))
	if _, err := rand.Read(nonces); err != nil {
		return nil, fmt.Errorf("seal entries: %w", err)
	}
	var binding []byte
	room := make([]byte, 0, size)
	copies := make([]raft.Log, len(logs))
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		nonce := nonces[i*nonceSize:][:nonceSize]
		at := len(room)
		room = append(room, entrySeal)
		room = append(room, id[:]...)
		room = append(room, nonce...)
		seal := room[at:]
		binding = appendBinding(binding[:0], seal, l)
		room = aead.Seal(room, nonce, l.Data, binding)
		copies[i] = *l
		copies[i].Extensions = seal[:sealSize:sealSize]
		copies[i].Data = room[at+sealSize : len(room) : len(room)]
		sealed[i] = &copies[i]
	}
	return sealed, nil
}

// sealedUnder tells which key an entry is sealed under, if it is.
func sealedUnder(log *raft.Log) (id keyring.ID, sealed bool, err error) {
	switch seal := log.Extensions; {
	case len(seal) == 0:
		return id, false, nil
	case seal[0] != entrySeal:
		return id, true, fmt.Errorf("entry %d: seal of version %d is not known here: start a newer program, or: %w", log.Index, seal[0], ErrDamaged)
	case len(seal) != sealSize:
		return id, true, fmt.Errorf("entry %d: seal of %d bytes: %w", log.Index, len(seal), ErrDamaged)
	default:
		return keyring.ID(seal[1:sealNonceAt]), true, nil
	}
}

// openEntry makes of a sealed entry what was stored. The bytes of the sealed one are left alone. keys may be nil.
func openEntry(keys *keyring.Ring, log *raft.Log) error {
	id, sealed, err := sealedUnder(log)
	if err != nil || !sealed {
		return err
	}
	key, err := findKey(keys, id)
	if err != nil {
		return fmt.Errorf("entry %d: %w", log.Index, err)
	}
	seal := log.Extensions
	data, err := key.Cipher(keyring.Entries).Open(nil, seal[sealNonceAt:], log.Data, appendBinding(nil, seal, log))
	if err != nil {
		return fmt.Errorf("entry %d, sealed under %v, is not what was written there: %w", log.Index, key, ErrDamaged)
	}
	log.Data, log.Extensions = data, nil
	return nil
}

// findKey returns the key of that name, or says which one is missing.
func findKey(keys *keyring.Ring, id keyring.ID) (keyring.Key, error) {
	if keys == nil {
		return keyring.Key{}, fmt.Errorf("sealed under data key %v: %w", id, ErrNoDataKeys)
	}
	key, ok := keys.Find(id)
	if !ok {
		return keyring.Key{}, fmt.Errorf("sealed under data key %v, the keys at hand are %v: %w", id, keys.IDs(), ErrWrongDataKeys)
	}
	return key, nil
}
