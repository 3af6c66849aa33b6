package credential

import "strings"

// Blot is what stands in place of a token.
const Blot = "(token)"

// WithoutTokens returns a text with each part blotted out that has the form of one of our tokens, wherever it is: a user who
// pastes one rarely hits an empty field.
func WithoutTokens(text string) string {
	var b strings.Builder
	for text != "" {
		n := tokenAt(text)
		if n == 0 {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		before := strings.TrimSuffix(b.String(), BearerPrefix)
		b.Reset()
		b.WriteString(before + Blot)
		text = text[n:]
	}
	return b.String()
}

// tokenAt returns the length of the token that a text begins with, 0 if it does not.
func tokenAt(text string) int {
	for _, n := range []int{AnonymousText, TokenText} {
		if len(text) >= n {
			if _, ok := Parse([]byte(text[:n])); ok {
				return n
			}
		}
	}
	return 0
}
