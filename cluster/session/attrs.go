package session

import (
	"slices"
	"strings"
)

// ReservedAttribute is the parameter that always means the CSRF token and is never stored.
const ReservedAttribute = "CSRFToken"

// mergeAttrs returns base, which is sorted by key, with the pairs set; of several pairs with one key the last counts.
// The limits of a session hold for the outcome. Neither argument is changed, and what is returned shares no slice
// with them.
func mergeAttrs(base, pairs []Attr) ([]Attr, *Error) {
	for _, p := range pairs {
		if err := checkAttr(p); err != nil {
			return nil, err
		}
	}
	merged := make([]Attr, 0, len(base)+len(pairs))
	merged = append(append(merged, base...), pairs...)
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
	return fit(out), nil
}

func checkAttr(p Attr) *Error {
	switch {
	case p.Key == ReservedAttribute:
		return ErrReservedAttribute
	case p.Key == "" || len(p.Key) > MaxAttributeKey:
		return ErrLimitAttributeKey
	case len(p.Value) > MaxAttributeValue:
		return ErrLimitAttributeValue
	}
	return nil
}

// validAttrs reports whether the attributes could be those of a session.
func validAttrs(attrs []Attr) bool {
	for i, p := range attrs {
		if checkAttr(p) != nil || i > 0 && p.Key <= attrs[i-1].Key {
			return false
		}
	}
	return len(attrs) <= MaxAttributes && attrBytes(attrs) <= MaxSessionBytes
}

// removeAttrs returns attrs without those of the given names, or none at all when no name is given.
func removeAttrs(attrs []Attr, names []string) ([]Attr, *Error) {
	if slices.Contains(names, ReservedAttribute) {
		return nil, ErrReservedAttribute
	}
	if len(names) == 0 {
		return nil, nil
	}
	var out []Attr
	for _, a := range attrs {
		if !slices.Contains(names, a.Key) {
			out = append(out, a)
		}
	}
	return fit(out), nil
}

// fit returns the attributes in a slice of just their length: the record is kept for long.
func fit(attrs []Attr) []Attr {
	if len(attrs) == 0 {
		return nil
	}
	return append(make([]Attr, 0, len(attrs)), attrs...)
}
