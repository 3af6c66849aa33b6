package realm

import (
	"errors"
	"slices"
	"testing"
)

// Under several keys the first seals, all open, and reseal brings over what an older one has sealed, and only that.
func TestSealUnderSeveralKeys(t *testing.T) {
	const config = `{"host":"h","login":{"password":"hunter"},"servers":[{"clientSecret":"two"}]}`
	keys := [][32]byte{{1}}
	f := newFixture(t, Config{SealKeys: func() [][32]byte { return slices.Clone(keys) }})
	old, err := f.SealConfig(TypeNative, []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	opens := func(sealed []byte, want error) {
		t.Helper()
		opened, err := f.OpenConfig(TypeNative, sealed)
		if !errors.Is(err, want) || want == nil && string(opened) != config {
			t.Errorf("opened %s, %v", opened, err)
		}
	}
	if _, changed, err := f.Reseal(TypeNative, old); err != nil || changed {
		t.Errorf("nothing to do: %v, %v", changed, err)
	}
	keys = [][32]byte{{1}, {2}}
	opens(old, nil)
	if _, changed, err := f.Reseal(TypeNative, old); err != nil || changed {
		t.Errorf("the first key is still the same: %v, %v", changed, err)
	}
	keys = [][32]byte{{2}, {1}}
	opens(old, nil)
	resealed, changed, err := f.Reseal(TypeNative, old)
	if err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	opens(resealed, nil)
	if _, changed, err := f.Reseal(TypeNative, resealed); err != nil || changed {
		t.Errorf("again: %v, %v", changed, err)
	}
	if made, err := f.SealConfig(TypeNative, []byte(config)); err != nil {
		t.Fatal(err)
	} else {
		defer opens(made, nil)
	}
	keys = [][32]byte{{2}}
	opens(resealed, nil)
	opens(old, ErrRealmConfig)
	if _, _, err := f.Reseal(TypeNative, old); !errors.Is(err, ErrRealmConfig) {
		t.Errorf("%v", err)
	}
	if plain, changed, err := f.Reseal(TypeNative, []byte(`{"host":"h"}`)); err != nil || changed || plain != nil {
		t.Errorf("no secret: %s, %v, %v", plain, changed, err)
	}
}
