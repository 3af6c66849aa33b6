// Package keytest owns the data keys of tests: new ones each time, in a ring of which the first seals. It is for tests
// alone.
package keytest

import (
	"testing"

	"cloakroom/cluster/keyring"
)

// Keys returns n new keys.
func Keys(t testing.TB, n int) (keys []keyring.Key) {
	t.Helper()
	for range n {
		k, err := keyring.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// Ring returns a ring of these keys.
func Ring(t testing.TB, keys ...keyring.Key) *keyring.Ring {
	t.Helper()
	r, err := keyring.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
