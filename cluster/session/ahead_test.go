package session

import (
	"fmt"
	"testing"
)

// Ahead changes nothing, whatever the keys stand for, and however many there are.
func TestAhead(t *testing.T) {
	s := newScript(t)
	s.m.Ahead(keysFrom(1, 3)) // of an empty machine
	for i, k := range keysFrom(1, 100) {
		c := s.create(0, "corp", fmt.Sprint("user", i%7))
		c.Key = k
		s.do(c)
	}
	for i, k := range keysFrom(1, 100) {
		if i%3 == 0 {
			s.do(&Invalidate{Key: k, Reason: EndedByLogout})
		}
	}
	before := s.m.Hash()
	for n := range 3*aheadKeys + 2 {
		s.m.Ahead(keysFrom(50, n)) // live, ended and unknown ones
	}
	if s.m.Hash() != before {
		t.Error("the machine is another")
	}
	keys := keysFrom(1, 100)
	if n := testing.AllocsPerRun(10, func() { s.m.Ahead(keys) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func keysFrom(from, n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key{0: byte(from + i), 15: 1}
	}
	return keys
}
