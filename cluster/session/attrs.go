package session

import (
	"slices"
	"strings"
)

// ReservedAttribute is the parameter that always means the CSRF token and is never stored.
const ReservedAttribute = "CSRFToken"

// mergeAttrs returns base, which is sorted by key, with the pairs set; of several pairs with one key the last counts.
// The limits of a session hold for the outcome, which is in dst if there is room: it must share no memory with the others,
// and neither of these is changed.
func mergeAttrs(dst, base, pairs []Attr) ([]Attr, *Error) {
	for _, p := range pairs {
		if err := checkAttr(p.Key, p.Value); err != nil {
			return nil, err
		}
	}
	merged := append(append(dst[:0], base...), pairs...)
	slices.SortStableFunc(merged, func(a, b Attr) int { return strings.Compare(a.Key, b.Key) })
	out := merged[:0]
	for i, p := range merged {
		if i+1 == len(merged) || merged[i+1].Key != p.Key {
			out = append(out, p)
		}
	}
	if len(out) > MaxAttributes {
		return nil, ErrLimitAttributes
	}
	if attrBytes(out) > MaxSessionBytes {
		return nil, ErrLimitSessionBytes
	}
	return out, nil
}

func checkAttr[T string | []byte](key, value T) *Error {
	switch {
	case string(key) == ReservedAttribute:
		return ErrReservedAttribute
	case len(key) == 0 || len(key) > MaxAttributeKey:
		return ErrLimitAttributeKey
	case len(value) > MaxAttributeValue:
		return ErrLimitAttributeValue
	}
	return nil
}

// removeAttrs returns attrs without those of the given names, or none at all when no name is given; in dst as mergeAttrs.
func removeAttrs(dst, attrs []Attr, names []string) ([]Attr, *Error) {
	if slices.Contains(names, ReservedAttribute) {
		return nil, ErrReservedAttribute
	}
	if len(names) == 0 {
		return nil, nil
	}
	out := dst[:0]
	for _, a := range attrs {
		if !slices.Contains(names, a.Key) {
			out = append(out, a)
		}
	}
	return out, nil
}
