package session

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// ValidName reports whether a user, role or realm may have the name. Such names go into headers: 1 to MaxName
// characters of A-Z a-z 0-9 . _ @ -
func ValidName(name string) bool { return len(name) <= MaxName && plain(name) }

// validID holds for the ids of records, which proposing nodes choose.
func validID(id string) bool { return len(id) <= MaxID && plain(id) }

func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '@', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// cut returns s in at most limit bytes, not ending within a character, and sharing no memory with a longer s.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit])
}

// union returns the names of both lists, which are sorted, sorted and without duplicates.
func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	out := append(append(make([]string, 0, len(a)+len(b)), a...), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
