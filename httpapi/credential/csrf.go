package credential

import (
	"crypto/sha256"
	"encoding/hex"
)

// CSRFToken derives a session's CSRF token from the session's token, so that nothing needs to be stored. It comes
// from the token itself and not from its key: the key is the session's public handle. From the CSRF token, which pages
// hand around, there is no way back. text is a cookie's value that Parse has accepted.
func CSRFToken(text []byte) string {
	h := sha256.New()
	h.Write([]byte("cloakroom csrf token v1\x00")) // a hash's Write never fails
	for i := range text {
		// Two spellings of one token are one session, and have one CSRF token.
		if c := text[i]; 'A' <= c && c <= 'F' {
			h.Write([]byte{c + 'a' - 'A'})
		} else {
			h.Write([]byte{c})
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
